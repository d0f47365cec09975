/*
 * test_lockstate.c - deadlocks are found, by who waits for whom, and only deadlocks.
 *
 * The deadlocks here are real ones, of threads that are left behind when the test ends. No hook is
 * in this process: all is seen from outside.
 */
#include "profile/lockstate.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/task.h"
#include "check.h"
#include "table/wait_table.h"

enum { MOST = 64 };

/* --- the arithmetic --------------------------------------------------------------------------- */

static void test_cycles_are_found_in_any_graph(void)
{
    static const struct {
        const char *name;
        int holder[6]; /* of what thread 1, 2, .. waits for */
        bool timed[6];
        unsigned cycle[6], cycles;
    } cases[] = {
        { "nobody", { 0 }, { 0 }, { 0 }, 0 },
        { "a queue", { 2, 3, 4, 5, 6, 0 }, { 0 }, { 0 }, 0 },
        { "a star", { 6, 6, 6, 6, 6, 0 }, { 0 }, { 0 }, 0 },
        { "itself", { 1, 0, 0, 0, 0, 0 }, { 0 }, { 1 }, 1 },
        { "two", { 2, 1, 0, 0, 0, 0 }, { 0 }, { 1, 1 }, 1 },
        { "three, and three behind them", { 2, 3, 1, 1, 4, 5 }, { 0 }, { 1, 1, 1 }, 1 },
        { "two circles", { 2, 1, 4, 3, 3, 1 }, { 0 }, { 1, 1, 2, 2 }, 2 },
        { "a queue into a circle", { 2, 3, 4, 3, 0, 0 }, { 0 }, { 0, 0, 1, 1 }, 1 },
        { "one will give up", { 2, 3, 1, 0, 0, 0 }, { false, true }, { 0 }, 0 },
        { "somebody else's thread", { 99, 1, 0, 0, 0, 0 }, { 0 }, { 0 }, 0 },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct prof__waiting w[6] = { 0 };

        for (int k = 0; k < 6; k++) {
            w[k].tid = k + 1;
            w[k].holder = cases[i].holder[k];
            w[k].object = w[k].holder ? 0x1000 : 0;
            w[k].timed = cases[i].timed[k];
        }
        CHECK_INT(prof__lockstate_cycles(w, 6), cases[i].cycles, cases[i].name);
        for (int k = 0; k < 6; k++)
            CHECK_INT(w[k].cycle, cases[i].cycle[k], cases[i].name);
    }
}

/* --- real threads ----------------------------------------------------------------------------- */

static int add_thread(pid_t tid, void *arg)
{
    pid_t **end = arg;

    *(*end)++ = tid;
    return 0;
}

static unsigned read_all_threads(struct prof__waiting *w, size_t *ret_n)
{
    pid_t tid[MOST], *end = tid;

    prof__tasks_each(add_thread, &end);
    *ret_n = (size_t)(end - tid);
    return prof__lockstate_read(tid, *ret_n, w);
}

/* Look until there are so many cycles, or ten seconds have passed. */
static unsigned wait_for_cycles(unsigned want, struct prof__waiting *w, size_t *ret_n)
{
    int64_t end = prof__monotonic_ns() + 10000000000;
    unsigned got;

    while ((got = read_all_threads(w, ret_n)) != want && prof__monotonic_ns() < end)
        sched_yield();
    return got;
}

static const struct prof__waiting *waiting_for(const struct prof__waiting *w, size_t n,
                                               const void *object)
{
    for (size_t i = 0; i < n; i++)
        if (w[i].object == (uintptr_t)object)
            return &w[i];
    return NULL;
}

struct chain {
    pthread_mutex_t *first, *second;
    pthread_barrier_t *both;
};

static void *lock_two(void *arg)
{
    struct chain *c = arg;

    pthread_mutex_lock(c->first);
    pthread_barrier_wait(c->both);
    pthread_mutex_lock(c->second);
    return NULL;
}

static void deadlock(pthread_mutex_t *m, unsigned n, pthread_barrier_t *both)
{
    struct chain *c = calloc(n, sizeof(*c)); /* the threads keep it */
    pthread_t t;

    pthread_barrier_init(both, NULL, n);
    for (unsigned i = 0; i < n; i++) {
        c[i] = (struct chain) { &m[i], &m[(i + 1) % n], both };
        pthread_create(&t, NULL, lock_two, &c[i]);
    }
}

static void test_no_deadlock_among_live_threads(void)
{
    struct prof__waiting w[MOST];
    size_t n;

    CHECK_INT(read_all_threads(w, &n), 0, "cycles");
    CHECK_INT(n, 1, "threads");
    CHECK(w[0].object == 0, "the reader waits for nothing");
}

static void test_deadlocks_of_two_and_three_mutexes(void)
{
    static pthread_mutex_t two[2] = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER };
    static pthread_mutex_t three[3] = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
                                        PTHREAD_MUTEX_INITIALIZER };
    static pthread_barrier_t both[2];
    struct prof__waiting w[MOST];
    size_t n;

    deadlock(two, 2, &both[0]);
    CHECK_INT(wait_for_cycles(1, w, &n), 1, "cycles");
    for (int i = 0; i < 2; i++) {
        const struct prof__waiting *a = waiting_for(w, n, &two[i]);
        const struct prof__waiting *b = waiting_for(w, n, &two[1 - i]);

        CHECK(a && b && a->holder == b->tid && a->kind == PROF__WAIT_MUTEX && a->cycle == 1,
              "each waits for the other");
    }
    deadlock(three, 3, &both[1]);
    CHECK_INT(wait_for_cycles(2, w, &n), 2, "cycles");
    const struct prof__waiting *a = waiting_for(w, n, &three[0]);
    unsigned members = 0;
    for (size_t i = 0; i < n; i++)
        members += a && w[i].cycle == a->cycle;
    CHECK_INT(members, 3, "threads of the second");
}

static void *wait_for_itself(void *arg)
{
    pthread_mutex_lock(arg);
    pthread_mutex_lock(arg);
    return NULL;
}

static void test_a_thread_that_waits_for_itself(unsigned before)
{
    static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
    struct prof__waiting w[MOST];
    pthread_t t;
    size_t n;

    pthread_create(&t, NULL, wait_for_itself, &m);
    CHECK_INT(wait_for_cycles(before + 1, w, &n), before + 1, "cycles");
    const struct prof__waiting *a = waiting_for(w, n, &m);
    CHECK(a && a->holder == a->tid && a->cycle, "it is its own circle");
}

static pthread_t joined;
static sem_t go;

static void *join_it(void *arg)
{
    pthread_mutex_lock(arg);
    sem_post(&go);
    pthread_join(joined, NULL);
    return NULL;
}

static void *lock_it(void *arg)
{
    sem_wait(&go);
    pthread_mutex_lock(arg);
    return NULL;
}

static void test_a_join_of_a_thread_that_wants_our_lock(unsigned before)
{
    static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
    struct prof__waiting w[MOST];
    pthread_t t;
    size_t n;

    sem_init(&go, 0, 0);
    pthread_create(&joined, NULL, lock_it, &m);
    pthread_create(&t, NULL, join_it, &m);
    CHECK_INT(wait_for_cycles(before + 1, w, &n), before + 1, "cycles");
    const struct prof__waiting *a = waiting_for(w, n, &m);
    const struct prof__waiting *b = NULL;
    for (size_t i = 0; i < n; i++)
        if (w[i].kind == PROF__WAIT_JOIN)
            b = &w[i];
    CHECK(a && b && a->holder == b->tid && b->holder == a->tid && a->cycle == b->cycle,
          "the lock's owner joins who waits for the lock");
}

static struct {
    pthread_rwlock_t *a, *b;
    pthread_barrier_t both;
} cross;

static void *write_both(void *arg)
{
    pthread_rwlock_wrlock(arg ? cross.a : cross.b);
    pthread_barrier_wait(&cross.both);
    pthread_rwlock_wrlock(arg ? cross.b : cross.a);
    return NULL;
}

static void test_two_writers(unsigned before)
{
    static pthread_rwlock_t a = PTHREAD_RWLOCK_INITIALIZER, b = PTHREAD_RWLOCK_INITIALIZER;
    struct prof__waiting w[MOST];
    pthread_t t;
    size_t n;

    cross.a = &a;
    cross.b = &b;
    pthread_barrier_init(&cross.both, NULL, 2);
    pthread_create(&t, NULL, write_both, NULL);
    pthread_create(&t, NULL, write_both, &cross);
    CHECK_INT(wait_for_cycles(before + 1, w, &n), before + 1, "cycles");
    CHECK(waiting_for(w, n, &a) && waiting_for(w, n, &b), "both locks are told");
}

/* --- slow, but alive -------------------------------------------------------------------------- */

static _Atomic bool stop;
static pthread_mutex_t busy[3] = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
                                   PTHREAD_MUTEX_INITIALIZER };

/* Pairs of locks, each pair in any order, but a trylock for the second: waits go both ways. */
static void *lock_pairs(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;

    while (!stop) {
        unsigned i = (unsigned)rand_r(&seed) % 3, k = (unsigned)rand_r(&seed) % 3;
        struct timespec until;

        pthread_mutex_lock(&busy[i]);
        if (i != k && pthread_mutex_trylock(&busy[k]) == 0)
            pthread_mutex_unlock(&busy[k]);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 100000; /* a circle that opens by itself */
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (i != k && pthread_mutex_timedlock(&busy[k], &until) == 0)
            pthread_mutex_unlock(&busy[k]);
        pthread_mutex_unlock(&busy[i]);
    }
    return NULL;
}

static void test_live_programs_are_never_called_dead(unsigned before)
{
    enum { THREADS = 6, LOOKS = 3000 };
    struct prof__waiting w[MOST];
    pthread_t t[THREADS];
    unsigned wrong = 0, seen = 0;
    size_t n;

    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, lock_pairs, (void *)(i + 1));
    for (int i = 0; i < LOOKS; i++) {
        wrong += read_all_threads(w, &n) != before;
        for (int k = 0; k < 3; k++)
            seen += waiting_for(w, n, &busy[k]) != NULL;
    }
    stop = true;
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    CHECK_INT(wrong, 0, "looks that saw more cycles than there are");
    CHECK(seen > 0, "they did wait for each other");
}

/* By it a thread is told from others; a child of vfork() has its memory and another id. */
static void *with_a_child(void *unused)
{
    pid_t child = vfork();

    if (child == 0)
        _exit(prof__tid() != (uint32_t)getpid());
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child, "a child");
    CHECK_INT(status, 0, "the child's id");
    CHECK_INT(prof__tid(), prof__gettid(), "the thread's id, after a child of its own has asked");
    return unused;
}

static void test_a_child_of_vfork_leaves_no_id(void)
{
    pthread_t t;

    CHECK_INT(pthread_create(&t, NULL, with_a_child, NULL), 0, "a thread");
    pthread_join(t, NULL);
}

int main(void)
{
    test_cycles_are_found_in_any_graph();
    /* Before any thread is made: with the first ThreadSanitizer makes one of its own. */
    test_no_deadlock_among_live_threads();
    test_a_child_of_vfork_leaves_no_id();
    test_live_programs_are_never_called_dead(0);
    test_deadlocks_of_two_and_three_mutexes();
    test_a_thread_that_waits_for_itself(2);
    test_a_join_of_a_thread_that_wants_our_lock(3);
    test_two_writers(4);
    stop = false;
    test_live_programs_are_never_called_dead(5);
    int r = check_report();
    fflush(stdout);
    _exit(r); /* past the threads that never end */
}
