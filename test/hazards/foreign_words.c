/*
 * foreign_words.c - a word on a stack that leads into a library which is being unloaded: whoever
 * dumps all threads must not read there and crash.
 *
 *   foreign_words LIBRARY
 *
 * A thread waits in a function with a frame pointer whose frame is full of words that look like
 * return addresses, as earlier calls leave them; another thread loads and unloads the library that
 * they lead into; dumps are taken meanwhile. Guards every reader of what is not known to stay: the
 * guess of a frame pointer, the objects' build ids, unwind tables, code.
 */
#include <alloca.h>
#include <dlfcn.h>
#include <poll.h>
#include <prof/prof.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "check.h"

enum { DUMPS = 150, WORDS = 60000 };

static const char *library;
static _Atomic(char *) code; /* of the library, where it was last */
static _Atomic unsigned unloaded, same_place;
static atomic_bool stop;
static int never[2];

static void *load_and_unload(void *arg)
{
    while (!atomic_load(&stop)) {
        void *h = dlopen(library, RTLD_NOW);
        char *at = h ? dlsym(h, "storm_call") : NULL;

        if (!h || !at)
            return dlerror();
        atomic_fetch_add(&same_place, at == atomic_load(&code));
        atomic_store(&code, at);
        dlclose(h);
        atomic_fetch_add(&unloaded, 1);
    }
    return NULL;
}

#ifndef __clang__ /* which keeps one where the size of a frame is not known before */
__attribute__((optimize("no-omit-frame-pointer")))
#endif
__attribute__((noinline)) static void
wait_among(size_t n)
{
    char **word = alloca(n * sizeof(*word)), byte;

    for (size_t i = 0; i < n; i++)
        word[i] = atomic_load(&code) + 16;
    __asm__ volatile("" : : "r"(word) : "memory");
    if (read(never[0], &byte, 1) < 0)
        n = 0;
    __asm__ volatile("" : : "r"(word), "r"(n) : "memory");
}

static void *wait_for_ever(void *arg)
{
    wait_among(WORDS);
    return arg;
}

static int drop(void *arg, const void *data, size_t size)
{
    *(size_t *)arg += size;
    return 0;
}

int main(int argc, char **argv)
{
    struct prof_write_options options = PROF_WRITE_OPTIONS_INIT;
    pthread_t loader, waiter;
    size_t bytes = 0;
    void *error;

    if (argc != 2 || pipe(never) != 0)
        return 1;
    library = argv[1];
    options.no_symbols = 1;
    pthread_create(&loader, NULL, load_and_unload, NULL);
    while (!atomic_load(&code))
        sched_yield();
    pthread_create(&waiter, NULL, wait_for_ever, NULL);
    for (int i = 0; i < DUMPS; i++)
        CHECK_INT(prof_profile_write(prof_lookup("threads"), &options, drop, &bytes), 0, "a dump");
    CHECK(bytes > 0, "dumps");

    atomic_store(&stop, true);
    close(never[1]);
    pthread_join(loader, &error);
    pthread_join(waiter, NULL);
    CHECK(error == NULL, "%s", (char *)error);
    CHECK(unloaded > 10 && same_place > 0, "%u times unloaded, %u at the same place", unloaded,
          same_place);
    printf("%u times unloaded meanwhile, %u times from where the words lead\n", unloaded,
           same_place);
    return check_report();
}
