/*
 * big_program.c - the main program of a generated one with very many functions (big_program.py):
 * threads allocate through all of them while heap profiles with names are written.
 *
 *   big_program PROFILE
 *
 * Says "ready", waits for a line, writes the profile as text to the file PROFILE, twice, and says
 * what it cost: NAME VALUE, one a line.
 */
#include <prof/prof.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proc.h"

/* Of all functions HOT are called, from all over the program, and DEPTH more by each. */
enum { THREADS = 4, HOT = 500, DEPTH = 6, WARM = 5 };

typedef void *function(int depth, unsigned seed);
extern function *const all_functions[];
extern const unsigned n_functions;

static atomic_bool stop;
static atomic_long allocations;
static void *volatile kept[4096];

static void *call(unsigned hot, unsigned seed)
{
    return all_functions[hot * (n_functions / HOT)](DEPTH, seed);
}

static void *allocate(void *arg)
{
    unsigned seed = (unsigned)(size_t)arg * 977 + 1;

    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        seed = seed * 1664525 + 1013904223;
        free(call(seed / 65536 % HOT, seed));
        atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    }
    return NULL;
}

static double rate_over(double seconds)
{
    long before = atomic_load(&allocations);
    double begin = now();

    while (now() < begin + seconds)
        usleep(10000);
    return (double)(atomic_load(&allocations) - before) / (now() - begin);
}

int main(int argc, char **argv)
{
    pthread_t t[THREADS];
    char line[16];

    if (argc < 2)
        return 2;
    prof_set_heap_rate(64 * 1024);
    for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) /* in use all the time */
        kept[i] = call((unsigned)i % HOT, (unsigned)i);
    for (size_t i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, allocate, (void *)i);
    printf("ready\n");
    fflush(stdout);
    if (!fgets(line, sizeof(line), stdin))
        return 3;

    double alone = rate_over(0.2);
    proc_forget_peak();
    long rss = proc_status("VmRSS:");
    double warm_s = 0;
    for (int i = 0; i <= WARM; i++) {
        long before = atomic_load(&allocations);
        double begin = now();
        int r = prof_profile_write_file(prof_lookup("heap"), argv[1], 1);
        double took = now() - begin;

        if (r < 0) {
            fprintf(stderr, "%s\n", prof_last_error());
            return 4;
        }
        if (i > 0) {
            warm_s = i > 1 && warm_s < took ? warm_s : took;
            continue;
        }
        printf("cold_s %.3f\n", took);
        printf("cold_throughput %.2f\n",
               (double)(atomic_load(&allocations) - before) / took / alone);
    }
    printf("warm_s %.3f\n", warm_s); /* the least: others may want the processors meanwhile */
    printf("peak_kib %ld\n", proc_status("VmHWM:") - rss);
    printf("after_kib %ld\n", proc_status("VmRSS:") - rss);
    atomic_store(&stop, 1);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    return 0;
}
