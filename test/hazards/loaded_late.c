/*
 * loaded_late.c - stacks through code that was loaded after everything else: blocks allocated below
 * it, and its processor time. Where the dynamic linker has no _dl_find_object() (the build option
 * find_object=disabled) such code is known once a profile has been asked for, or a second after a
 * CPU profile began.
 *
 *   loaded_late LIBRARY
 */
#include <dlfcn.h>
#include <prof/prof.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"

static char text[1 << 20];
static size_t size;

static int append(void *arg, const void *data, size_t n)
{
    (void)arg;
    if (n > sizeof(text) - 1 - size)
        return -1;
    memcpy(text + size, data, n);
    size += n;
    text[size] = '\0';
    return 0;
}

/* The sum of the lines with all three words, in this order. */
static long long sum_of(const char *first, const char *second, const char *third)
{
    long long n = 0;

    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char *at = strstr(line, first);

        at = at ? strstr(at, second) : NULL;
        at = at ? strstr(at, third) : NULL;
        n += at ? atoll(strrchr(line, ' ') + 1) : 0;
    }
    return n;
}

static void write_heap(void)
{
    struct prof_write_options options = PROF_WRITE_OPTIONS_INIT;

    options.folded = "alloc_objects";
    size = 0;
    CHECK_INT(prof_profile_write(prof_lookup("heap"), &options, append, NULL), 0, "heap");
}

static void allocate(void)
{
    void *p = malloc(100);

    __asm__ volatile("" : "+r"(p));
    free(p);
}

int main(int argc, char **argv)
{
    struct prof_write_options folded = PROF_WRITE_OPTIONS_INIT;
    struct prof_window *window = NULL;

    alarm(60);
    if (argc < 2)
        return 2;
    prof_set_heap_rate(1);
    write_heap();
    void *library = dlopen(argv[1], RTLD_NOW);
    int (*call)(void (*f)(void)) = NULL;
    unsigned long (*burn)(long ms) = NULL;
    if (library) {
        *(void **)&call = dlsym(library, "late_call");
        *(void **)&burn = dlsym(library, "late_burn");
    }
    CHECK(call && burn, "%s: %s", argv[1], dlerror());
    if (!call || !burn)
        return check_report();

    write_heap(); /* which looks at what is loaded */
    call(allocate);
    call(allocate);
    write_heap();
    CHECK_INT(sum_of("main", "late_call", "allocate"), 2, "blocks allocated below it");

    /* Again, and nothing but the CPU profile looks. */
    CHECK_INT(dlclose(library), 0, "dlclose");
    folded.folded = "cpu";
    CHECK_INT(prof_window_open("profile", &window), 0, prof_last_error());
    library = dlopen(argv[1], RTLD_NOW);
    *(void **)&burn = library ? dlsym(library, "late_burn") : NULL;
    CHECK(burn != NULL, "loaded again");
    if (burn)
        burn(2500);
    size = 0;
    CHECK_INT(prof_window_write(window, &folded, append, NULL), 0, "profile");
    long long ns = sum_of("main", "late_burn", "");
    CHECK(ns > 500000000, "%lld ns of its 2.5 s", ns);
    prof_window_close(window);
    return check_report();
}
