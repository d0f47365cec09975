/*
 * soak_toggle.c - changes libprof's rates at random inside whatever program it is preloaded into.
 *
 * Rates cannot be set from outside, so soak preloads this beside libprof-preload.so. A thread of
 * its own, which takes no signal and stays out of the profiles, changes one rate after another for
 * as long as the process lives. SOAK_SEED makes the order repeatable. The file SOAK_COUNT is mapped
 * and holds the number of changes so far; a rate that was refused, or that another one was read
 * back for, goes to its second word.
 */
#include <fcntl.h>
#include <prof/prof.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static _Atomic uint64_t *count; /* [0] changes, [1] those that went wrong */
static uint64_t seed;

static int64_t set_cpu_rate(int64_t hz)
{
    return prof_set_cpu_rate((int)hz);
}

/* Off is one choice of several: most of the time everything is on. */
static const struct {
    int64_t (*set)(int64_t rate);
    int64_t rate[6];
} rates[] = {
    { prof_set_heap_rate, { 0, 1, 4096, 65536, 524288, 16 << 20 } },
    { prof_set_block_rate, { 0, 1, 1000, 10000, 100000, 1000000 } },
    { prof_set_mutex_fraction, { 0, 1, 2, 10, 100, 1000 } },
    { set_cpu_rate, { 1, 19, 50, 100, 200, 250 } },
};

static uint64_t random_below(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 16) % n;
}

static void *toggle(void *arg)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    prof_thread_hide();
    for (;;) {
        struct timespec pause = { 0, 50000000 + (long)random_below(900000000) };
        size_t which = (size_t)random_below(sizeof(rates) / sizeof(rates[0]));
        int64_t rate = rates[which].rate[random_below(6)];

        nanosleep(&pause, NULL);
        if (rates[which].set(rate) < 0 || rates[which].set(-1) != rate)
            atomic_fetch_add(&count[1], 1);
        atomic_fetch_add(&count[0], 1);
    }
    return arg;
}

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("SOAK_COUNT"), *number = getenv("SOAK_SEED");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    pthread_t thread;

    seed = number ? strtoull(number, NULL, 10) | 1 : 1;
    if (fd < 0)
        return;
    count = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (count != MAP_FAILED && pthread_create(&thread, NULL, toggle, NULL) == 0)
        pthread_detach(thread);
}
