/*
 * late_plugin.c - a plugin that is linked with libprof and libprof-hooks; its program is not.
 */
#include <stdlib.h>

#include <prof/prof.h>

__attribute__((visibility("default"))) int use_libprof(void);

static int discard(void *arg, const void *data, size_t size)
{
    return 0;
}

int use_libprof(void)
{
    char status[1000];
    void *p = malloc(100);

    int r = prof_heap_alloc(p, 100);
    prof_heap_free(p);
    free(p);
    if (r == 0)
        r = prof_profile_write(prof_lookup("heap"), NULL, discard, NULL);
    /* nothing of the program comes through these hooks, and the profile says so */
    if (r == 0 && prof_profile_status(prof_lookup("heap"), status, sizeof(status)) <= 0)
        r = 1;
    return r;
}
