/*
 * last_thread.c - a process ends with its last thread, and none of ours may be that.
 *
 * main() can leave by pthread_exit(); then the process ends, with status 0, when the last of its
 * threads has. libc counts the profiler's threads among them, and one that serves never ends. So
 * when the main thread leaves while there are such threads, one more of them watches the program's,
 * always one that is still there, and at last calls exit(0), as libc's last thread does.
 *
 * That the main thread leaves shows by a thread-specific value, the destructors of which exit()
 * does not run. Without a key, or without /proc, nothing is seen, and the process stays.
 */
#include "process/last_thread.h"

#include <errno.h>
#include <prof/prof.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/fork.h"
#include "base/slot.h"
#include "base/task.h"
#include "base/thread.h"
#include "base/wait.h"

enum { LOOK_FIRST_NS = 1000 * 1000, LOOK_MOST_NS = 100 * 1000 * 1000 };

static pthread_key_t key; /* a value of the main thread's */
static bool has_key;
static _Atomic bool main_left;
static sigset_t main_mask; /* what it blocked when it left; before main_left */

/* The number of the watch; even: there is none. One that finds another number there ends, whenever
 * that is, so that no two of them end the process. */
static _Atomic uint32_t watch;
#define ENDING UINT32_MAX
static _Atomic bool away; /* to be started anew */

static bool is_alive(pid_t tid)
{
    struct prof__task_state state;
    int r = prof__task_state(tid, &state);

    if (r < 0) /* else it could not be looked at: no descriptor is free, say */
        return r != -ENOENT && r != -ESRCH;
    return state.state != 'Z' && state.state != 'X';
}

struct look {
    pid_t program; /* one that is alive; 0: none was listed */
    unsigned ours; /* listed, and the main thread, which stays until all have ended */
};

static int find_program(pid_t tid, void *arg)
{
    struct look *l = arg;

    if (tid == getpid() || prof__slot_helper(prof__slot_of(tid))) {
        l->ours++;
        return 0;
    }
    if (!is_alive(tid))
        return 0;
    l->program = tid;
    return 1;
}

/* The folder is no picture of one moment: while threads end, others are passed over, as is one
 * that the last to be seen has started. So the kernel's own number has to agree. */
static bool are_all(const struct look *l)
{
    struct prof__task_state state;

    return prof__task_state(prof__gettid(), &state) == 0 && state.threads == l->ours;
}

/* By libc's function, or where a filter refuses that, by any. */
static void rest(long ns)
{
    const struct timespec wait = { 0, ns };

    if (nanosleep(&wait, NULL) < 0 && errno != EINTR)
        prof__sleep_ns(ns);
}

/* Of a thread of the program's. One of ours that has just begun looks like one, until it is known.
 */
static void wait_for_end(pid_t tid, uint32_t mine)
{
    long wait_ns = LOOK_FIRST_NS;

    while (is_alive(tid) && !prof__slot_helper(prof__slot_of(tid)) && atomic_load(&watch) == mine) {
        rest(wait_ns);
        wait_ns = PROF_MIN(wait_ns * 2, (long)LOOK_MOST_NS);
    }
}

static void *wait_for_all(void *number)
{
    uint32_t mine = (uint32_t)(uintptr_t)number;
    int r = 1, sure = 0;

    /* Twice in a row: a thread of ours that ends between the look and the number hides one. */
    while (atomic_load(&watch) == mine && sure < 2 && r != -ENOENT) {
        struct look l = { 0 };

        r = prof__tasks_each(find_program, &l);
        sure = r == 0 && are_all(&l) ? sure + 1 : 0;
        if (r > 0)
            wait_for_end(l.program, mine);
        else if (r < 0) /* for now: no descriptor is free, say */
            rest(LOOK_MOST_NS);
        else if (sure < 2)
            rest(LOOK_FIRST_NS);
    }
    /* Without /proc there is no telling. */
    if (r < 0 || !atomic_compare_exchange_strong(&watch, &mine, ENDING))
        return NULL;
    pthread_sigmask(SIG_SETMASK, &main_mask, NULL); /* for what atexit() functions do */
    exit(0);
}

/* With a stack of the size that the program's threads have, for its atexit() functions. */
static void start_watch(void)
{
    struct prof_helper helper = PROF_HELPER_INIT;
    uint32_t none = atomic_load(&watch);

    if (none % 2 || !atomic_compare_exchange_strong(&watch, &none, none + 1))
        return;
    uint32_t mine = none + 1;
    helper.name = "prof-last";
    helper.run = wait_for_all;
    helper.arg = (void *)(uintptr_t)mine;
    helper.detached = true;
    if (prof_helper_start(&helper, NULL) < 0)
        atomic_compare_exchange_strong(&watch, &mine, mine + 1);
}

static void leave_main(void *arg)
{
    if (prof__gettid() != getpid())
        return;
    pthread_sigmask(SIG_SETMASK, NULL, &main_mask);
    /* Sequentially consistent, as a helper that starts first shows itself and then looks here. */
    atomic_store(&main_left, true);
    if (prof__slots_any_helper())
        start_watch();
}

void prof__last_thread_helper(void)
{
    if (atomic_load(&main_left))
        start_watch();
}

static void mark_main(void)
{
    if (has_key && prof__gettid() == getpid())
        pthread_setspecific(key, &key);
}

/* It looks up ten times a second. */
static int leave(int timeout_ms)
{
    uint32_t number = atomic_load(&watch);

    (void)timeout_ms;
    if (number % 2 && number != ENDING &&
        atomic_compare_exchange_strong(&watch, &number, number + 1))
        atomic_store(&away, true);
    return 0;
}

static int come_back(void)
{
    if (atomic_exchange(&away, false))
        start_watch();
    return 0;
}

void prof__last_thread_init(void)
{
    prof_helper_can_leave(leave, come_back);
    has_key = pthread_key_create(&key, leave_main) == 0;
    mark_main();
}

/* Setting a thread's value may allocate: of a key that libc has no room for in each thread, the
 * first time. */
static bool is_at_hand(void)
{
    enum { AT_HAND = 32 }; /* glibc's PTHREAD_KEY_2NDLEVEL_SIZE */

    return key < AT_HAND || pthread_getspecific(key);
}

/* The forked child's one thread is its main thread. An allocator's own handler may come after this
 * one, and its locks be held: where there is no room the child's main thread is not watched. */
static void fork_child(void)
{
    bool entered = prof__enter(&prof__self);

    atomic_store(&main_left, false);
    atomic_store(&watch, 0);
    atomic_store(&away, false);
    if (is_at_hand())
        mark_main();
    if (entered)
        prof__leave(&prof__self);
}

PROF__AT_FORK(PROF__RANK_SERVER, NULL, NULL, fork_child)
