/*
 * endless_stacks.c - more distinct call stacks than libprof may keep: each block is allocated at
 * the end of a path of its own through 20 calls. Run with LIBPROF_MEMORY_LIMIT=16m and every block
 * recorded.
 *
 * Its memory must keep to the limit, the totals must stay exact, the loss must show, and a profile
 * can be had.
 */
#include <errno.h>
#include <malloc.h>
#include <prof/prof.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "long_run.h"
#include "proc.h"

/* A batch is so small that qsort() sorts it without malloc. */
enum { BITS = 20, SIZE = 48, BATCH = 100, LIMIT_KIB = 16 * 1024 };

static double *batch_ns; /* median of the times in each batch of BATCH blocks */
static double times[BATCH];
static long n;

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

__attribute__((noinline)) static void allocate(void)
{
    double begin = now();
    void *volatile p = malloc(SIZE);

    times[n % BATCH] = (now() - begin) * 1e9;
    free(p);
    if (++n % BATCH == 0) {
        qsort(times, BATCH, sizeof(*times), by_size);
        batch_ns[n / BATCH - 1] = times[BATCH / 2];
    }
}

/* Two ways to call the next of 20: the return addresses of a path spell `path`. */
__attribute__((noinline)) static void walk(unsigned path, int bits)
{
    if (bits == 0) {
        allocate();
        __asm__ volatile("# end"); /* no tail call; and below, no common one */
    } else if (path & 1) {
        walk(path >> 1, bits - 1);
        __asm__ volatile("# one");
    } else {
        walk(path >> 1, bits - 1);
        __asm__ volatile("# zero");
    }
}

/* Of the text form, the first line with the totals, and whether "[lost" was in it. */
struct seen {
    char head[256];
    size_t size;
    char tail[8]; /* of the piece before */
    int lost;
};

static int look(void *arg, const void *data, size_t size)
{
    struct seen *s = arg;
    size_t room = sizeof(s->head) - 1, part = s->size < room ? room - s->size : 0;

    memcpy(s->head + (s->size < room ? s->size : room), data, part < size ? part : size);
    s->size += size;
    s->lost |= memmem(data, size, "[lost", 5) != NULL;
    return 0;
}

static long long median_of_batches(long first, long count)
{
    double m[32];

    memcpy(m, batch_ns + first, sizeof(*m) * (size_t)count);
    qsort(m, (size_t)count, sizeof(*m), by_size);
    return (long long)m[count / 2];
}

int main(void)
{
    long paths = 1L << long_run(17, BITS), rss, extra;
    struct prof_stats before = PROF_STATS_INIT, after = PROF_STATS_INIT;
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
    struct seen seen = { .size = 0 };
    long long inuse, inuse_bytes, objects, bytes;

    alarm((unsigned)long_run(100, 900));
    batch_ns = calloc((size_t)(paths / BATCH + 1), sizeof(*batch_ns));
    prof_set_heap_rate(1);
    for (int i = 0; i < 2; i++) { /* the first may still be counted by the rate before */
        void *volatile p = malloc((size_t)4 << 20);
        free(p);
    }
    rss = proc_status("VmRSS:");
    prof_stats(&before);
    for (long i = 0; i < paths; i++)
        walk((unsigned)i, BITS);
    prof_stats(&after);
    extra = proc_status("VmRSS:") - rss;

    CHECK_INT(after.heap_allocated_objects - before.heap_allocated_objects, paths, "blocks");
    CHECK_INT(after.heap_allocated_bytes - before.heap_allocated_bytes, paths * SIZE, "bytes");
    CHECK_INT(after.heap_inuse_objects, before.heap_inuse_objects, "blocks in use");
    CHECK(after.lost_stacks + after.lost_rows > 0, "there were not too many stacks: %ld",
          (long)after.stacks);
    CHECK_BETWEEN(extra, 0, LIMIT_KIB / 10 * 11, "KiB more in memory");
    CHECK_BETWEEN((double)(after.memory_bytes - before.memory_bytes) / 1024, 0, LIMIT_KIB / 10 * 11,
                  "KiB more by libprof's own account");

    o.debug = 1;
    o.no_symbols = 1;
    CHECK_INT(prof_profile_write(prof_lookup("allocs"), &o, look, &seen), 0, prof_last_error());
    CHECK(sscanf(seen.head, "heap profile: %lld: %lld [%lld: %lld]", &inuse, &inuse_bytes, &objects,
                 &bytes) == 4 &&
              objects >= paths && objects < paths + 1000,
          "the profile's totals: %.80s", seen.head);
    CHECK(seen.lost, "the profile says what is lost");

    long long first = median_of_batches(1, 32), last = median_of_batches(paths / BATCH - 32, 32);
    if (long_run(0, 1))
        CHECK(last <= 2 * first, "a malloc took %lld ns at first and %lld at last", first, last);
    MEASURED("%ld stacks, %ld kept; %ld KiB; a malloc takes %lld ns at first, %lld at last", paths,
             (long)after.stacks, extra, first, last);
    return check_report();
}
