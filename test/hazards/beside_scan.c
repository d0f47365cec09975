/*
 * beside_scan.c - a program that does everything that is hard to look at, while it is looked at.
 *
 *   beside_scan LIBRARY
 *
 * Beside scans for leaks and holders there are threads that wait in every call that a signal ends,
 * fork, start and join threads, load and unload a library, map, cut and unmap memory, close and
 * open descriptors, and a list of blocks that goes from hand to hand; and there are 10,000
 * mappings. No call may end with EINTR, nothing may fail that would not without, no block that is
 * held may be told, and libprof's memory is what it was before. (Of the calls, not epoll_wait():
 * beside such storms Linux 6.18 ends it with EINTR now and then, with nobody looking.)
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <prof/prof.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "long_run.h"

enum { MAPPINGS = 10000, ITEMS = 3000 };

static atomic_bool leave;
static atomic_long rounds[6], interrupted, failed;
static const char *library;

/* --- threads that wait ------------------------------------------------------------------------ */

static void note(long r)
{
    if (r < 0 && errno == EINTR)
        interrupted++;
}

static void *wait_in_poll(void *arg)
{
    (void)arg;
    while (!leave)
        note(poll(NULL, 0, 20));
    return NULL;
}

static void *wait_in_nanosleep(void *arg)
{
    (void)arg;
    while (!leave)
        note(nanosleep(&(struct timespec) { 0, 20000000 }, NULL));
    return NULL;
}

static void *wait_in_semaphore(void *arg)
{
    sem_t s;

    (void)arg;
    sem_init(&s, 0, 0);
    while (!leave) {
        struct timespec t;

        clock_gettime(CLOCK_REALTIME, &t);
        t.tv_nsec += 20000000;
        if (t.tv_nsec >= 1000000000) {
            t.tv_sec++;
            t.tv_nsec -= 1000000000;
        }
        note(sem_timedwait(&s, &t));
    }
    return NULL;
}

/* --- storms ----------------------------------------------------------------------------------- */

static void *fork_storm(void *arg)
{
    (void)arg;
    while (!leave) {
        pid_t child = fork();
        int status;

        if (child == 0)
            _exit(7);
        if (child < 0 || waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 7)
            failed++;
        rounds[0]++;
    }
    return NULL;
}

static void *nothing(void *arg)
{
    return arg;
}

static void *thread_storm(void *arg)
{
    (void)arg;
    while (!leave) {
        pthread_t t[4];

        for (int i = 0; i < 4; i++)
            if (pthread_create(&t[i], NULL, nothing, NULL) != 0)
                abort();
        for (int i = 0; i < 4; i++)
            pthread_join(t[i], NULL);
        rounds[1]++;
    }
    return NULL;
}

static void *library_storm(void *arg)
{
    (void)arg;
    while (!leave) {
        void *handle = dlopen(library, RTLD_NOW);

        if (!handle || dlclose(handle) != 0)
            failed++;
        rounds[2]++;
    }
    return NULL;
}

/* AddressSanitizer takes what comes where memory of its own has been for a mistake. */
__attribute__((no_sanitize("address"))) static void *mapping_storm(void *arg)
{
    (void)arg;
    while (!leave) {
        size_t size = 64 * 4096;
        char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED) {
            failed++;
            continue;
        }
        for (size_t i = 0; i < size; i += 4096)
            p[i] = 1;
        if (munmap(p + 4096, 4096) != 0 || mprotect(p + 3 * 4096, 4096, PROT_NONE) != 0 ||
            madvise(p + 8 * 4096, 4096, MADV_DONTNEED) != 0 || p[8 * 4096] != 0 ||
            munmap(p, 4096) != 0 ||
            munmap(p + 2 * 4096, size - 2 * 4096) != 0) /* no hole of ours */
            failed++;
        rounds[3]++;
    }
    return NULL;
}

static void *descriptor_storm(void *arg)
{
    (void)arg;
    while (!leave) {
        int fd = eventfd(0, EFD_NONBLOCK), other = dup(fd);
        uint64_t one = 1, got = 0;

        if (fd < 0 || write(fd, &one, 8) != 8 || read(other, &got, 8) != 8 || got != 1 ||
            close(fd) != 0 || close(other) != 0)
            failed++;
        rounds[4]++;
    }
    return NULL;
}

/* --- blocks that are held all the time -------------------------------------------------------- */

struct item {
    struct item *next;
    char pad[200];
};

enum { HANDS = 64 };

static struct item *_Atomic hands[HANDS];

__attribute__((noinline)) static struct item *item_that_is_held(void)
{
    struct item *i = calloc(1, sizeof(*i));

    if (!i)
        abort();
    return i;
}

/* Lists whose newest comes first, and that change hands. On the way they are on this stack: what a
 * thread has in a register while it waits for malloc's lock, which a fork may hold for long, nobody
 * can read, and would be told as possible. */
static void *pass_around(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;

    while (!leave) {
        struct item *volatile list = atomic_exchange(&hands[rand_r(&seed) % HANDS], NULL);

        if (list) {
            struct item *first = item_that_is_held(), *old = list;

            first->next = old->next;
            list = first;
            free(old);
        }
        struct item *expected = NULL;
        while (list &&
               !atomic_compare_exchange_weak(&hands[rand_r(&seed) % HANDS], &expected, list))
            expected = NULL;
        rounds[5]++;
    }
    return NULL;
}

/* --- scans ------------------------------------------------------------------------------------ */

struct text {
    char *data;
    size_t n;
};

static int take(void *arg, const void *data, size_t n)
{
    struct text *t = arg;

    t->data = realloc(t->data, t->n + n + 1);
    if (!t->data)
        return -ENOMEM;
    memcpy(t->data + t->n, data, n);
    t->n += n;
    t->data[t->n] = '\0';
    return 0;
}

static void scan(const char *name)
{
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
    struct prof_scan_options scan = PROF_SCAN_OPTIONS_INIT;
    struct text text = { 0 };

    scan.age_s = 1;
    scan.interval_ms = 20;
    /* Two lists are on the way from hand to hand most of the time. */
    scan.passes = strcmp(name, "leaks") == 0 ? 8 : 0;
    scan.cpu_percent = 100;
    o.debug = 1;
    o.scan = &scan;
    int r = prof_profile_write(prof_lookup(name), &o, take, &text);
    CHECK_INT(r, 0, name);
    if (r == 0 && strcmp(name, "leaks") == 0)
        CHECK(!strstr(text.data, "item_that_is_held"), "%.2000s", text.data);
    free(text.data);
}

static uint64_t memory_bytes(void)
{
    struct prof_stats s = PROF_STATS_INIT;

    prof_stats(&s);
    return s.memory_bytes;
}

int main(int argc, char **argv)
{
    static void *(*const body[])(void *) = {
        wait_in_poll,  wait_in_nanosleep, wait_in_semaphore, fork_storm,  thread_storm,
        library_storm, mapping_storm,     descriptor_storm,  pass_around, pass_around,
    };
    enum { THREADS = sizeof(body) / sizeof(body[0]) };
    pthread_t thread[THREADS];
    long n = long_run(2, 60), turns = 0;
    time_t begin = time(NULL);
    static char *mapping[MAPPINGS];

    if (argc < 2)
        return 2;
    library = argv[1];
    prof_set_heap_rate(1000);
    for (int i = 0; i < ITEMS; i++) {
        struct item *item = item_that_is_held();

        item->next = atomic_load(&hands[i % HANDS]);
        atomic_store(&hands[i % HANDS], item);
    }
    for (int i = 0; i < MAPPINGS; i++) {
        /* Every other one read-only, or the kernel would make one of them all. */
        mapping[i] = mmap(NULL, 4096, PROT_READ | (i % 2 ? PROT_WRITE : 0),
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapping[i] == MAP_FAILED)
            abort();
    }
    scan("leaks");
    scan("holders");
    uint64_t before = memory_bytes();
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&thread[i], NULL, body[i], (void *)(uintptr_t)(i + 1)) != 0)
            abort();
    for (; turns < n && long_run_goes_on(begin); turns++) {
        scan("leaks");
        scan("holders");
    }
    MEASURED("%ld scans of each kind", turns);
    leave = true;
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    CHECK_INT(interrupted, 0, "calls that ended with EINTR");
    CHECK_INT(failed, 0, "calls that failed");
    for (int i = 0; i < 6; i++)
        CHECK(rounds[i] > 0, "storm %d did nothing", i);
    uint64_t after = memory_bytes();
    CHECK(after <= before + (8 << 20), "%llu bytes before, %llu after", (unsigned long long)before,
          (unsigned long long)after);
    for (int i = 0; i < MAPPINGS; i++)
        munmap(mapping[i], 4096);
    return check_report();
}
