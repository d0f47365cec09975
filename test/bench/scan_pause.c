/*
 * scan_pause.c - how long a thread that allocates, maps and faults is held up, beside a scan.
 *
 *   scan_pause MIB SECONDS    with a heap of so many MiB, for so long without scans and so long
 *                             beside one after another, in turns of a second
 *
 * Prints the distribution of both: the time of each round of malloc, mmap, first writes, munmap and
 * free. Rounds in which the kernel gave the processor to somebody else are counted and left out, as
 * they tell of the machine; a round that has waited for a lock has given it up by itself.
 */
#include <prof/prof.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

enum { BUCKETS = 64 * 8, PAGES = 16, BLOCK = 1000 };

struct distribution {
    uint64_t count[BUCKETS], n, preempted;
    int64_t worst_ns;
};

static struct distribution without, beside;
static atomic_bool scanning, leave;
static atomic_long scans;

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long preemptions(void)
{
    struct rusage r;

    getrusage(RUSAGE_THREAD, &r);
    return r.ru_nivcsw;
}

/* Eight buckets a doubling. */
static unsigned bucket_of(int64_t ns)
{
    unsigned bits = 63 - (unsigned)__builtin_clzll((uint64_t)ns | 8);

    return (bits - 3) * 8 + ((uint64_t)ns >> (bits - 3) & 7);
}

static int64_t bucket_top(unsigned bucket)
{
    return (int64_t)(9 + bucket % 8) << bucket / 8;
}

static void note(struct distribution *d, int64_t ns)
{
    d->count[bucket_of(ns)]++;
    d->n++;
    if (ns > d->worst_ns)
        d->worst_ns = ns;
}

static void *work(void *arg)
{
    static char *kept[64];
    unsigned seed = 1;

    while (!leave) {
        struct distribution *d = scanning ? &beside : &without;
        long preempted = preemptions();
        int64_t start = now_ns();
        size_t i = (size_t)rand_r(&seed) % 64;

        free(kept[i]);
        kept[i] = malloc(100 + (size_t)rand_r(&seed) % 5000);
        char *p =
            mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED || !kept[i])
            abort();
        for (int k = 0; k < PAGES; k++)
            p[k * 4096] = 1;
        munmap(p, PAGES * 4096);
        int64_t ns = now_ns() - start;
        if (preemptions() == preempted)
            note(d, ns);
        else
            d->preempted++;
    }
    return arg;
}

static int drop(void *arg, const void *data, size_t n)
{
    (void)arg, (void)data, (void)n;
    return 0;
}

static void *scan(void *arg)
{
    while (!leave) {
        struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
        struct prof_scan_options s = PROF_SCAN_OPTIONS_INIT;

        if (!scanning) {
            nanosleep(&(struct timespec) { 0, 1000000 }, NULL);
            continue;
        }
        s.age_s = -1;
        o.scan = &s;
        if (prof_profile_write(prof_lookup("leaks"), &o, drop, NULL) < 0)
            fprintf(stderr, "%s\n", prof_last_error());
        scans++;
    }
    return arg;
}

static void print(const char *name, const struct distribution *d)
{
    static const double at[] = { 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999 };
    uint64_t sum = 0;
    unsigned k = 0;

    printf("%s: %llu rounds, and %llu preempted;", name, (unsigned long long)d->n,
           (unsigned long long)d->preempted);
    for (unsigned i = 0; i < BUCKETS && k < sizeof(at) / sizeof(at[0]); i++) {
        sum += d->count[i];
        for (; k < sizeof(at) / sizeof(at[0]) && (double)sum >= at[k] * (double)d->n; k++)
            printf(" %g %% %.0f us,", at[k] * 100, (double)bucket_top(i) / 1000);
    }
    printf(" worst %.0f us\n", (double)d->worst_ns / 1000);
}

int main(int argc, char **argv)
{
    size_t n = argc > 2 ? strtoul(argv[1], NULL, 10) * (1 << 20) / (BLOCK + 16) : 0;
    int seconds = argc > 2 ? atoi(argv[2]) : 0;
    void **all = calloc(n + 1, sizeof(*all));
    pthread_t worker, scanner;

    if (!all || n == 0) {
        fprintf(stderr, "usage: %s MIB SECONDS\n", argv[0]);
        return 2;
    }
    for (size_t i = 0; i < n; i++) {
        if (!(all[i] = malloc(BLOCK)))
            return 1;
        memset(all[i], 1, BLOCK);
        if (i > 0)
            *(void **)all[i] = all[i - 1]; /* a list, and a table of all */
    }
    if (pthread_create(&worker, NULL, work, NULL) || pthread_create(&scanner, NULL, scan, NULL))
        return 1;
    for (int i = 0; i < seconds * 2; i++) {
        scanning = i % 2;
        nanosleep(&(struct timespec) { 1, 0 }, NULL);
    }
    leave = true;
    pthread_join(worker, NULL);
    pthread_join(scanner, NULL);
    print("without a scan", &without);
    print("beside scans", &beside);
    printf("%ld scans of %zu MiB\n", (long)scans, n * (BLOCK + 16) >> 20);
    return 0;
}
