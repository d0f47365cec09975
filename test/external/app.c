/*
 * app.c - somebody else's program, that uses libprof as installed or as a subproject.
 *
 * Allocates under one name, feeds under another, serves for a moment, and exits 0 if the heap
 * profile has what it should have. WITHOUT_HOOKS: malloc is not replaced, so only what was fed may
 * be there. WITHOUT_HTTP: libprof-http is not linked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <prof/prof.h>
#ifndef WITHOUT_HTTP
#include <prof/http.h>
#endif

#define BLOCKS 100

static char text[1 << 20];
static size_t text_size;
static char pool[BLOCKS];
static void *kept[BLOCKS];

static int take_text(void *arg, const void *data, size_t size)
{
    if (size >= sizeof(text) - text_size)
        return -1;
    memcpy(text + text_size, data, size);
    text_size += size;
    (void)arg;
    return 0;
}

__attribute__((noinline)) static void external_keep(void)
{
    for (int i = 0; i < BLOCKS; i++)
        kept[i] = malloc(1000);
}

__attribute__((noinline)) static void external_feed(void)
{
    for (int i = 0; i < BLOCKS; i++)
        prof_heap_alloc(&pool[i], 1000);
}

static int expect(const char *name, int want)
{
    int got = strstr(text, name) != NULL;

    if (got != want)
        printf("%s is %sin the heap profile\n", name, got ? "" : "not ");
    return got == want;
}

int main(void)
{
    struct prof_write_options opts = PROF_WRITE_OPTIONS_INIT;
    int ok, r;

#ifndef WITHOUT_HTTP
    char address[64];

    if (prof_http_start("127.0.0.1:0") < 0 || prof_http_address(address, sizeof(address)) < 0) {
        printf("cannot serve: %s\n", prof_last_error());
        return 1;
    }
#endif
    prof_set_heap_rate(1);
    /* Before the rate reaches this thread there may be up to 1 MiB to go. */
    free(malloc(2 << 20));
    external_keep();
    external_feed();

    opts.debug = 1;
    r = prof_profile_write(prof_lookup("heap"), &opts, take_text, NULL);
    if (r < 0) {
        printf("cannot write the heap profile: %d, %s\n", r, prof_last_error());
        return 1;
    }
#ifdef WITHOUT_HOOKS
    ok = expect("external_keep", 0);
#else
    ok = expect("external_keep", 1);
#endif
    ok = expect("external_feed", 1) && ok;
#ifndef WITHOUT_HTTP
    prof_http_stop();
#endif
    for (int i = 0; i < BLOCKS; i++) {
        prof_heap_free(&pool[i]);
        free(kept[i]);
    }
    if (!ok)
        fputs(text, stdout);
    return ok ? 0 : 1;
}
