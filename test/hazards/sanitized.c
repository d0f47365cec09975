/*
 * sanitized.c - a program for the sanitizers: it allocates, has threads, and does one thing wrong
 * if asked to.
 *
 *   sanitized [leak|overflow|race]
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int shared;
static void *volatile sink;

static void *work(void *arg)
{
    for (int i = 1; i < 1000; i++) {
        char *volatile p = malloc((size_t)i);

        memset(p, i, (size_t)i);
        p = realloc(p, (size_t)i * 2);
        free(p);
    }
    if (arg)
        shared++;
    return NULL;
}

/* What libprof says of the heap profile, if it is here. */
static void print_status(void)
{
    void *(*lookup)(const char *) =
        (void *(*)(const char *))(uintptr_t)dlsym(RTLD_DEFAULT, "prof_lookup");
    int (*status)(void *, char *, size_t) =
        (int (*)(void *, char *, size_t))(uintptr_t)dlsym(RTLD_DEFAULT, "prof_profile_status");
    static char text[1000];

    if (lookup && status && status(lookup("heap"), text, sizeof(text)) > 0)
        printf("status: %s", text);
}

int main(int argc, char **argv)
{
    const char *wrong = argc > 1 ? argv[1] : "";
    pthread_t thread[2];

    for (int i = 0; i < 2; i++)
        pthread_create(&thread[i], NULL, work, strcmp(wrong, "race") == 0 ? &shared : NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    if (strcmp(wrong, "leak") == 0) {
        sink = malloc(4321);
        sink = NULL;
    } else if (strcmp(wrong, "overflow") == 0) {
        volatile char *p = malloc(10);

        p[10] = 1;
        free((void *)p);
    }
    print_status();
    puts("done");
    return 0;
}
