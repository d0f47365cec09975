/*
 * withdraw.c - taking our threads away, for the moment of a call that is not meant for two threads.
 *
 *   hook -> withdraw: each party's leave() -> libc's function -> return: each party's come_back()
 *
 * The kernel counts a thread until it has forgotten it, which is a moment after libc has joined it.
 * So withdrawing ends when the kernel does not know their ids any more.
 *
 * Several threads of the program's may be between the two at once: who comes first takes our
 * threads away, who goes last brings them back. A forked child has none of ours, whatever its
 * parent was at.
 */
#include "base/withdraw.h"

#include <errno.h>
#include <linux/capability.h>
#include <prof/prof.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fork.h"
#include "base/lock.h"
#include "base/rawlog.h"
#include "base/task.h"
#include "base/thread.h"

enum {
    PARTIES = 64,        /* of which some ten are our own */
    HELPERS = 64,        /* whose ids are known; more are only counted */
    LEAVE_MS = 10000,    /* all together; a request that is being answered takes no longer */
    LEAST_MS = 100,      /* for one after another that took it all */
    FORGET_MS = 1000,    /* for the kernel */
    STATUS_BYTES = 16384 /* of /proc/PID/status, which lists the groups */
};

static struct party {
    int (*leave)(int timeout_ms);
    int (*come_back)(void);
    bool left;
} party[PARTIES];
static unsigned n_parties;

static struct prof__lock lock = PROF__LOCK_INIT(PROF__RANK_SERVER);
static unsigned away; /* threads between withdrawing and returning */

/* The threads. */
static _Atomic int tids[HELPERS];
static _Atomic int n_living;
static _Atomic int living_in; /* the process whose they are */

static void in_child(void)
{
    prof__lock_reset(&lock);
    away = 0;
    for (unsigned i = 0; i < n_parties; i++)
        party[i].left = false;
    for (int i = 0; i < HELPERS; i++)
        atomic_store_explicit(&tids[i], 0, memory_order_relaxed);
    atomic_store(&n_living, 0);
}
PROF__AT_FORK(PROF__FORK_NO_LOCK, NULL, NULL, in_child)

int prof_helper_can_leave(int (*leave)(int timeout_ms), int (*come_back)(void))
{
    int r = 0;

    if (!leave || !come_back)
        return prof_set_last_error(-EINVAL, "prof_helper_can_leave() takes two functions");
    uint64_t mask = prof__lock_masked(&lock);
    if (n_parties < PARTIES)
        party[n_parties++] = (struct party) { leave, come_back, false };
    else
        r = -ENOSPC;
    prof__unlock_masked(&lock, mask);
    return r < 0 ? prof_set_last_error(r, "prof_helper_can_leave() was called %d times", PARTIES)
                 : 0;
}

/* --- who there is ----------------------------------------------------------------------------- */

void prof__helper_expected(void)
{
    atomic_store(&living_in, getpid());
    atomic_fetch_add(&n_living, 1);
}

void prof__helper_failed(void)
{
    atomic_fetch_sub(&n_living, 1);
}

void prof__helper_begins(void)
{
    int tid = prof__gettid();

    for (int i = 0; i < HELPERS; i++) {
        int free = 0;

        if (atomic_compare_exchange_strong(&tids[i], &free, tid))
            break;
    }
}

void prof__helper_ends(void)
{
    int tid = prof__gettid();

    for (int i = 0; i < HELPERS; i++) {
        int mine = tid;

        if (atomic_compare_exchange_strong(&tids[i], &mine, 0))
            break;
    }
    atomic_fetch_sub(&n_living, 1);
}

bool prof__helper_is_me(void)
{
    int tid = prof__self.busy == PROF__HIDDEN ? prof__gettid() : 0;

    for (int i = 0; tid && i < HELPERS; i++)
        if (atomic_load(&tids[i]) == tid)
            return true;
    return false;
}

bool prof__helpers_present(void)
{
    return atomic_load(&n_living) > 0 && !prof__helper_is_me() &&
           atomic_load(&living_in) == getpid();
}

static int count(pid_t tid, void *n)
{
    (void)tid;
    ++*(int *)n;
    return 0;
}

bool prof__helpers_only(void)
{
    int n = 0;

    return prof__tasks_each(count, &n) < 0 || n - atomic_load(&n_living) <= 1;
}

/* --- credentials ------------------------------------------------------------------------------ */

/* The line of /proc/PID/status that begins so, and its length. */
static size_t line_of(const char *status, const char *name, const char **ret)
{
    const char *line = strstr(status, name);

    *ret = line;
    return line ? strcspn(line + 1, "\n") + 1 : 0;
}

static bool lines_differ(const char *a, const char *b)
{
    static const char *const names[] = { "\nUid:",    "\nGid:",    "\nGroups:", "\nCapInh:",
                                         "\nCapPrm:", "\nCapEff:", "\nCapBnd:", "\nCapAmb:" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *of_a, *of_b;
        size_t n = line_of(a, names[i], &of_a), m = line_of(b, names[i], &of_b);

        if (n != m || (n && memcmp(of_a, of_b, n) != 0))
            return true;
    }
    return false;
}

static bool capabilities_differ(pid_t tid)
{
    struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct mine[2], its[2];

    memset(mine, 0, sizeof(mine));
    memset(its, 0, sizeof(its));
    if (syscall(SYS_capget, &h, mine) != 0)
        return true;
    h.pid = tid;
    if (syscall(SYS_capget, &h, its) != 0)
        return errno != ESRCH;
    return memcmp(mine, its, sizeof(mine)) != 0;
}

bool prof__helpers_differ(void)
{
    struct prof__arena a = { 0 };
    int saved = errno;
    char *mine = prof__arena_alloc(&a, STATUS_BYTES), *its = prof__arena_alloc(&a, STATUS_BYTES);
    bool can_read =
        mine && its && prof__task_read(prof__gettid(), "status", mine, STATUS_BYTES) > 0;
    bool differ = false;

    for (int i = 0; i < HELPERS && !differ; i++) {
        pid_t tid = atomic_load(&tids[i]);

        if (tid && can_read && prof__task_read(tid, "status", its, STATUS_BYTES) > 0)
            differ = lines_differ(mine, its);
        else if (tid)
            differ = capabilities_differ(tid);
    }
    prof__arena_free(&a);
    errno = saved;
    return differ;
}

/* --- away and back ---------------------------------------------------------------------------- */

/* Does the kernel still know one of these, who were ours and have ended? */
static bool is_known(const int *who, int n)
{
    for (int i = 0; i < n; i++)
        if (syscall(SYS_tgkill, getpid(), who[i], 0) == 0)
            return true;
    return false;
}

static bool all_leave(void)
{
    int who[HELPERS], n = 0;

    for (int i = 0; i < HELPERS; i++) {
        int tid = atomic_load(&tids[i]);

        if (tid)
            who[n++] = tid;
    }
    int64_t end = prof__monotonic_ns() + LEAVE_MS * (int64_t)1000000;
    for (unsigned i = n_parties; i-- > 0;) {
        int64_t left_ms = (end - prof__monotonic_ns()) / 1000000;

        party[i].left = party[i].leave((int)PROF_MAX(left_ms, LEAST_MS)) == 0;
    }
    end = prof__monotonic_ns() + FORGET_MS * (int64_t)1000000;
    while (atomic_load(&n_living) > 0 || is_known(who, n)) {
        if (prof__monotonic_ns() > end)
            return false;
        sched_yield();
    }
    return true;
}

/* The program's calls are no points of cancellation because of us: what waits here for a thread is
 * one, and a thread that ended in it would keep the lock. */
bool prof__helpers_withdraw(void)
{
    struct prof__thread *t = &prof__self;
    bool entered = prof__enter(t), gone = true;
    int saved = errno, cancel;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    uint64_t mask = prof__lock_masked(&lock);

    if (away++ == 0)
        gone = all_leave();
    prof__unlock_masked(&lock, mask);
    pthread_setcancelstate(cancel, &cancel);
    errno = saved;
    if (entered)
        prof__leave(t);
    return gone;
}

void prof__helpers_return(void)
{
    struct prof__thread *t = &prof__self;
    bool entered = prof__enter(t);
    int saved = errno, cancel;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    uint64_t mask = prof__lock_masked(&lock);

    if (away > 0 && --away == 0)
        for (unsigned i = 0; i < n_parties; i++) {
            if (party[i].left && party[i].come_back() < 0)
                prof__log("a thread of libprof's has left and cannot come back: %s",
                          prof_last_error());
            party[i].left = false;
        }
    prof__unlock_masked(&lock, mask);
    pthread_setcancelstate(cancel, &cancel);
    errno = saved;
    if (entered)
        prof__leave(t);
}
