/*
 * deadlock.c - threads?debug=2, debug=1, the profile's status and prof_deadlocks() name a deadlock,
 * and nothing else that way.
 *
 * Two threads that lock two mutexes in opposite orders; three with three; and a program that is
 * slow but alive. Once with the rates off, when only the kernel knows who waits, and once with them
 * on. The deadlocked threads are left behind.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include <prof/prof.h>

static char text[4 << 20];
static size_t text_size;

static int sink(void *arg, const void *data, size_t size)
{
    (void)arg;
    if (size > sizeof(text) - 1 - text_size)
        return -ENOSPC;
    memcpy(text + text_size, data, size);
    text_size += size;
    text[text_size] = '\0';
    return 0;
}

static void dump_as(int debug)
{
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;

    o.debug = debug;
    text_size = 0;
    text[0] = '\0';
    CHECK_INT(prof_profile_write(prof_lookup("threads"), &o, sink, NULL), 0, "threads as text");
}

static void dump(void)
{
    dump_as(2);
}

static int count_in(const char *where, const char *what)
{
    int n = 0;

    for (const char *at = where; (at = strstr(at, what)) != NULL; at += strlen(what))
        n++;
    return n;
}

static int count(const char *what)
{
    return count_in(text, what);
}

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* What everything else says of `dead` threads in so many deadlocks. */
static void elsewhere(int dead, int deadlocks)
{
    char sentences[8192], status[1024];

    CHECK_INT(prof_deadlocks(NULL, 0), dead, "threads in deadlocks, with no words");
    CHECK_INT(prof_deadlocks(sentences, sizeof(sentences)), dead, "threads in deadlocks");
    CHECK_INT(count_in(sentences, "deadlock: "), deadlocks, "paragraphs");
    CHECK_INT(count_in(sentences, "\n  thread "), dead, "lines of threads");
    char small[20];
    CHECK_INT(prof_deadlocks(small, sizeof(small)), dead, "in a small buffer, too");
    CHECK(strlen(small) < sizeof(small), "which has an end");
    prof_profile_status(prof_lookup("threads"), status, sizeof(status));
    CHECK_INT(count_in(status, "deadlock: "), deadlocks, "the status");
    dump_as(1);
    CHECK_INT(count("\n# deadlock: "), deadlocks, "threads?debug=1");
}

struct party {
    char name[16];
    pthread_mutex_t *first, *second;
    pthread_barrier_t *all;
};

__attribute__((noinline)) static void lock_second(struct party *p)
{
    pthread_mutex_lock(p->second);
    abort(); /* it must not get here */
}

static void *lock_both(void *arg)
{
    struct party *p = arg;

    pthread_setname_np(pthread_self(), p->name);
    pthread_mutex_lock(p->first);
    pthread_barrier_wait(p->all);
    lock_second(p);
    return NULL;
}

/* Returns when the dump shows so many deadlocks. */
static void deadlock(const char *name, unsigned n, int deadlocks)
{
    pthread_mutex_t *m = calloc(n, sizeof(*m)); /* left to the threads */
    struct party *p = calloc(n, sizeof(*p));
    static pthread_barrier_t all[8];
    pthread_t t;
    char line[128];

    pthread_barrier_init(&all[deadlocks], NULL, n);
    for (unsigned i = 0; i < n; i++) {
        pthread_mutex_init(&m[i], NULL);
        p[i] = (struct party) { "", &m[i], &m[(i + 1) % n], &all[deadlocks] };
        snprintf(p[i].name, sizeof(p[i].name), "%s-%u", name, i);
        pthread_create(&t, NULL, lock_both, &p[i]);
    }
    double limit = now_s() + 30;
    do
        dump();
    while (count("# deadlock: ") != deadlocks && now_s() < limit);
    dump(); /* stacks are taken first, and then they may have been on their way into it */
    CHECK_INT(count("# deadlock: "), deadlocks, "deadlocks named");
    snprintf(line, sizeof(line), "# deadlock: %u threads wait for each other", n);
    CHECK(count(line) > 0, "it is at the top, with its number of threads");
    const char *first_thread = strstr(text, "]:\n");
    CHECK(first_thread && strstr(text, line) < first_thread, "before all threads");
    for (unsigned i = 0; i < n; i++) {
        /* The holder of what i wants is i + 1, and it says so in its own block, too. */
        snprintf(line, sizeof(line), "(%s) waits for mutex %p, held by thread ", p[i].name,
                 (void *)p[i].second);
        const char *at = strstr(text, line);
        snprintf(line, sizeof(line), "(%s)", p[(i + 1) % n].name);
        const char *held = at ? strstr(at, "held by") : NULL;
        CHECK(held && strstr(held, line) && strstr(held, line) < strchr(held, '\n'),
              "%s is told to wait for %s", p[i].name, p[(i + 1) % n].name);
    }
    CHECK(count("; part of a deadlock") >= (int)n, "their own blocks say it");
    CHECK(count("lock_second()") >= (int)n, "with their stacks");
}

/* --- slow, but alive -------------------------------------------------------------------------- */

static pthread_mutex_t ordered[3] = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
                                      PTHREAD_MUTEX_INITIALIZER };
static _Atomic bool stop;

static void *lock_in_order(void *arg)
{
    unsigned from = (unsigned)(size_t)arg % 2;

    while (!stop) {
        for (unsigned i = from; i < 3; i++)
            pthread_mutex_lock(&ordered[i]);
        nanosleep(&(struct timespec) { 0, 200000 }, NULL);
        for (unsigned i = 3; i-- > from;)
            pthread_mutex_unlock(&ordered[i]);
    }
    return NULL;
}

static void live(int deadlocks)
{
    enum { THREADS = 6, DUMPS = 100 };
    pthread_t t[THREADS];
    int wrong = 0, waiting = 0;

    stop = false;
    for (size_t i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, lock_in_order, (void *)i);
    for (int i = 0; i < DUMPS; i++) {
        dump();
        wrong += count("# deadlock: ") != deadlocks;
        waiting += count("# waits for mutex");
    }
    stop = true;
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    CHECK_INT(wrong, 0, "dumps that name a deadlock that is none");
    CHECK(waiting > 0, "they did wait");
}

int main(void)
{
    alarm(150);
    live(0);
    elsewhere(0, 0);
    deadlock("off2", 2, 1);
    elsewhere(2, 1);
    deadlock("off3", 3, 2);
    elsewhere(5, 2);
    prof_set_block_rate(1);
    prof_set_mutex_fraction(1);
    live(2);
    deadlock("on2", 2, 3);
    CHECK(count(" s, held by") > 0, "the hooks know since when");
    deadlock("on3", 3, 4);
    elsewhere(10, 4);
    int r = check_report();
    if (r)
        printf("%.3000s\n", text);
    fflush(stdout);
    _exit(r);
}
