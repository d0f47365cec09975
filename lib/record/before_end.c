/*
 * before_end.c - a signal that ends the process has it do something first.
 *
 * System calls are made without libc: the handler may run in a thread that libc has not made, which
 * has no errno of its own.
 */
#include "record/before_end.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arch/thread.h"
#include "base/clock.h"
#include "base/fork.h"
#include "base/signals.h"
#include "base/thread.h"
#include "base/wait.h"
#include "base/withdraw.h"
#include "record/own_signal.h"

enum { IDLE, ASKED, DONE };

#define WAIT_NS   INT64_C(8000000000) /* two seconds less than docker stop gives */
#define LOOK_NS   INT64_C(100000000)
#define REPEAT_NS INT64_C(1000000000)

static const int signals[] = { SIGTERM, SIGINT };

/* Those who wait are few, and never taken off. */
static struct prof__before_end *_Atomic all;
static _Atomic pid_t owner;      /* the process that all this is of */
static _Atomic int64_t first_ns; /* when the first signal came; 0: none has */
static _Atomic int first_signal; /* and which it was: the one that the process is ended by */

static pid_t process(void)
{
    return (pid_t)syscall(SYS_getpid);
}

/* --- asking and waiting ----------------------------------------------------------------------- */

void prof__before_end_done(struct prof__before_end *b)
{
    /* Release: what was done. */
    atomic_store_explicit(&b->state, DONE, memory_order_release);
    prof__word_wake(&b->state);
}

/* Has somebody lost patience? One that is held off in this thread is asked for. */
static bool is_pressed(int64_t since_ns)
{
    uint64_t pending = 0;

    syscall(SYS_rt_sigpending, &pending, sizeof(pending));
    if (pending & PROF__SIGNAL_BIT(SIGQUIT))
        return true;
    return prof__monotonic_ns() - since_ns > REPEAT_NS &&
           pending & (PROF__SIGNAL_BIT(SIGTERM) | PROF__SIGNAL_BIT(SIGINT));
}

/* Until it is done, or for so long. */
static bool await(struct prof__before_end *b, int64_t since_ns)
{
    while (atomic_load_explicit(&b->state, memory_order_acquire) == ASKED) {
        if (prof__monotonic_ns() - since_ns > WAIT_NS || is_pressed(since_ns))
            break;
        prof__word_wait(&b->state, ASKED, prof__monotonic_ns() + LOOK_NS);
    }
    return atomic_load_explicit(&b->state, memory_order_acquire) == DONE;
}

bool prof__before_end_take(struct prof__before_end *b)
{
    uint32_t idle = IDLE;

    if (atomic_compare_exchange_strong(&b->state, &idle, ASKED))
        return true;
    await(b, prof__monotonic_ns());
    return false;
}

/* All at once, and then for each. */
static bool have_done(int64_t since_ns)
{
    bool done = true;

    for (struct prof__before_end *b = atomic_load(&all); b; b = b->next) {
        uint32_t idle = IDLE;

        if (atomic_compare_exchange_strong(&b->state, &idle, ASKED) && !b->ask())
            atomic_store(&b->state, IDLE);
    }
    for (struct prof__before_end *b = atomic_load(&all); b; b = b->next)
        done &= await(b, since_ns);
    return done;
}

bool prof__before_end(void)
{
    /* A thread of ours that ends the process is the one that would be waited for. */
    if (atomic_load(&owner) != process() || !prof__thread_is_libcs() || prof__helper_is_me())
        return false;
    return have_done(prof__monotonic_ns());
}

/* --- the signal ------------------------------------------------------------------------------- */

/* As the kernel has it, all zero being SIG_DFL. */
static void make_default(int signal)
{
    const struct {
        uintptr_t handler, flags, restorer;
        uint64_t mask;
    } action = { 0 };

    syscall(SYS_rt_sigaction, signal, &action, NULL, sizeof(action.mask));
}

static void end_by(int signal)
{
    uint64_t bit = PROF__SIGNAL_BIT(signal);

    make_default(signal);
    syscall(SYS_tgkill, process(), (pid_t)syscall(SYS_gettid), signal);
    syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &bit, NULL, sizeof(bit));
}

static void on_signal(int signal, siginfo_t *info, void *ucontext)
{
    int64_t now = prof__monotonic_ns(), first = 0;

    (void)info;
    (void)ucontext;
    if (atomic_load(&owner) != process()) { /* made by vfork(), in our memory, or in its own */
        end_by(signal);
        return;
    }
    if (atomic_compare_exchange_strong(&first_ns, &first, now))
        atomic_store(&first_signal, signal);
    if (prof__thread_is_libcs() && (first == 0 || now - first < REPEAT_NS))
        have_done(first ? first : now);
    end_by(atomic_load(&first_signal) ? atomic_load(&first_signal) : signal);
}

/* Many a handler of a program's ends by asking for the default action and raising the signal again.
 */
static bool stands_in(void)
{
    return atomic_load(&owner) == process();
}

static const struct prof__own_signal own = { .handler = on_signal, .stands_in = stands_in };

/* A child is ended as any process is, until it has something to do first itself. */
static void fork_child(void)
{
    if (!atomic_load(&all))
        return;
    for (struct prof__before_end *b = atomic_load(&all); b; b = b->next)
        atomic_store(&b->state, IDLE);
    atomic_store(&all, NULL);
    atomic_store(&owner, 0);
    atomic_store(&first_ns, 0);
    atomic_store(&first_signal, 0);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        if (prof__own_signal_kept(signals[i]))
            make_default(signals[i]);
}

PROF__AT_FORK(PROF__FORK_NO_LOCK, NULL, NULL, fork_child)

void prof__before_end_add(struct prof__before_end *b)
{
    atomic_store(&b->state, IDLE);
    b->next = atomic_load(&all);
    while (!atomic_compare_exchange_strong(&all, &b->next, b))
        ;
    atomic_store(&owner, process());
    for (size_t i = 0; i < ARRAY_LEN(signals) && process() != 1; i++)
        prof__own_signal_claim(signals[i], &own, true); /* or the program has it */
}
