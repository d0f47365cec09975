/*
 * ring.c - blocks that one thread allocates and another frees, of one size class, so that an
 * address is given out again at once. Rate 1: when all is quiet the counts are the truth exactly,
 * and at no moment is anything negative.
 *
 *   ring [THREADS [ROUNDS]]
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "check.h"
#include "long_run.h"
#include "totals.h"

enum { SLOTS = 64, MAX_THREADS = 64 };

static _Atomic(char *) ring[SLOTS];
static atomic_llong allocated, allocated_bytes;
static atomic_bool done;
static long rounds;

static void *pass(void *arg)
{
    unsigned long long seed = (unsigned long long)(uintptr_t)arg * 0x9e3779b97f4a7c15u + 1;
    long long n = 0, bytes = 0;

    for (long i = 0; i < rounds; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        unsigned r = (unsigned)(seed >> 33);
        size_t size = 40 + r % 16; /* one size class of every allocator */
        char *p;

        if (r % 8 == 0) { /* moved, most of the time */
            p = realloc(malloc(size), 3000 + size);
            bytes += (long long)(size + 3000 + size);
            n += 2;
        } else if (r % 8 == 1) { /* in place */
            p = realloc(malloc(size), size - 1);
            bytes += (long long)(size + size - 1);
            n += 2;
        } else {
            p = malloc(size);
            bytes += (long long)size;
            n++;
        }
        p[0] = 1;
        free(atomic_exchange(&ring[(r >> 8) % SLOTS], p));
    }
    atomic_fetch_add(&allocated, n);
    atomic_fetch_add(&allocated_bytes, bytes);
    return NULL;
}

/* Is there a number below nothing, after what comes before numbers in a row? */
static bool has_negative(void)
{
    static const char *const before[] = { "\n-", ": -", "[-" };

    for (size_t i = 0; i < sizeof(before) / sizeof(*before); i++)
        for (const char *at = totals_text; (at = strstr(at, before[i])); at++)
            if (at[strlen(before[i])] >= '0' && at[strlen(before[i])] <= '9')
                return true;
    return false;
}

/* Profiles taken meanwhile. */
static void *watch(void *arg)
{
    long reads = 0, bad = 0;

    while (!atomic_load(&done)) {
        bad += totals_read() < 0 || has_negative();
        reads++;
    }
    CHECK(bad == 0, "%ld of %ld profiles have a negative number, or failed", bad, reads);
    CHECK(reads > 0, "profiles were taken meanwhile");
    return NULL;
}

int main(int argc, char **argv)
{
    long threads = argc > 1 ? atol(argv[1]) : 16;
    pthread_t thread[MAX_THREADS], watcher;
    struct totals before, after;

    rounds = argc > 2 ? atol(argv[2]) : long_run(20000, 3125000); /* 10^8 operations */
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    free(malloc(1));

    /* once round, so that what threads cost once is paid before the counting */
    pthread_create(&watcher, NULL, watch, NULL);
    for (long i = 0; i < threads; i++)
        pthread_create(&thread[i], NULL, pass, (void *)i);
    for (long i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    atomic_store(&done, true);
    pthread_join(watcher, NULL);
    for (int i = 0; i < SLOTS; i++)
        free(atomic_exchange(&ring[i], NULL));

    before = totals_now();
    atomic_store(&allocated, 0);
    atomic_store(&allocated_bytes, 0);
    long long made = 0;
    for (long i = 0; i < threads; i++) {
        pthread_create(&thread[i], NULL, pass, (void *)(i + 1000));
        made++;
    }
    for (long i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    after = totals_now();

    long long in_ring = 0;
    for (int i = 0; i < SLOTS; i++)
        in_ring += ring[i] != NULL;
    CHECK_INT(after.inuse_objects - before.inuse_objects, in_ring, "live blocks");
    /* what pthread_create() takes for itself is a block or two a thread at most */
    CHECK_BETWEEN(after.alloc_objects - before.alloc_objects, allocated, allocated + 2 * made,
                  "blocks allocated");
    for (int i = 0; i < SLOTS; i++)
        free(atomic_exchange(&ring[i], NULL));
    after = totals_now();
    CHECK_INT(after.inuse_objects, before.inuse_objects, "none is left");
    CHECK_INT(after.inuse_bytes, before.inuse_bytes, "not a byte");
    MEASURED("%lld allocations counted exactly", (long long)allocated);
    return check_report();
}
