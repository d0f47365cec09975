#include "guard.h"

#include "clock.h"

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int forker_cancel_state; /* of the thread that forks */
    void (*in_child[4])(void);
    unsigned n_in_child;
} guard = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void shut_out(struct prof__shield *ret)
{
    sigset_t all;

    sigfillset(&all);
    sigdelset(&all,
              SIGSYS); /* a sandbox answers our calls by it, and by death where it is blocked */
    pthread_sigmask(SIG_SETMASK, &all, &ret->mask);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &ret->cancel_state);
}

static void let_in(const struct prof__shield *was)
{
    pthread_setcancelstate(was->cancel_state, NULL);
    pthread_sigmask(SIG_SETMASK, &was->mask, NULL);
}

void prof__shield_raise(struct prof__shield *ret)
{
    shut_out(ret);
    prof_hide_begin(&ret->hiding);
}

void prof__shield_lower(const struct prof__shield *was)
{
    prof_hide_end(&was->hiding);
    let_in(was);
}

void prof__guard_lock(void)
{
    pthread_mutex_lock(&guard.lock);
}

bool prof__guard_trylock(void)
{
    return pthread_mutex_trylock(&guard.lock) == 0;
}

void prof__guard_unlock(void)
{
    pthread_mutex_unlock(&guard.lock);
}

void prof__guard_enter(struct prof__shield *ret)
{
    prof__shield_raise(ret);
    prof__guard_lock();
}

void prof__guard_leave(const struct prof__shield *was)
{
    prof__guard_unlock();
    prof__shield_lower(was);
}

bool prof__guard_wait(uint64_t end_ns)
{
    struct timespec end = { (time_t)(end_ns / SECOND_NS), (long)(end_ns % SECOND_NS) };

    if (end_ns == UINT64_MAX)
        return pthread_cond_wait(&guard.changed, &guard.lock) == 0;
    return pthread_cond_timedwait(&guard.changed, &guard.lock, &end) == 0;
}

void prof__guard_changed(void)
{
    pthread_cond_broadcast(&guard.changed);
}

/* --- fork ------------------------------------------------------------------------------------- */

static void init_condition(void)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&guard.changed, &attr);
    pthread_condattr_destroy(&attr);
}

/* With signals blocked by libprof. */
static void before_fork(void)
{
    int state;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    prof__guard_lock();
    guard.forker_cancel_state = state;
}

static void after_fork_in_parent(void)
{
    int state = guard.forker_cancel_state;

    prof__guard_unlock();
    pthread_setcancelstate(state, NULL);
}

static void after_fork_in_child(void)
{
    pthread_mutex_init(&guard.lock, NULL);
    init_condition();
    for (unsigned i = 0; i < guard.n_in_child; i++)
        guard.in_child[i]();
    pthread_setcancelstate(guard.forker_cancel_state, NULL);
}

void prof__guard_in_child(void (*forked)(void))
{
    struct prof__shield shield;

    prof__guard_enter(&shield); /* a library that is loaded late has threads beside it that fork */
    guard.in_child[guard.n_in_child++] = forked;
    prof__guard_leave(&shield);
}

/* Our lock is taken after the program's, as it is by a thread that has one of those and calls us.
 */
__attribute__((constructor(101))) static void set_up(void)
{
    init_condition();
    prof_helper_at_fork(before_fork, after_fork_in_parent, after_fork_in_child);
}
