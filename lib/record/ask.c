/*
 * ask.c - a question slot for each thread asked, and a handler that answers into it.
 *
 * The signal carries the number of a slot and the slot's generation. The handler claims the slot by
 * compare-and-swap, walks its stack into it and marks it done. When the time is up the asker
 * withdraws the question in the same way, so that whoever comes second finds the slot taken: a
 * handler that runs late, maybe minutes later, sees another generation and does nothing. Slots are
 * never freed.
 *
 * The signal is a real-time one, chosen when it is first needed: the highest that nobody handles.
 * A program that waits for signals with sigwait() or a signalfd blocks them, so threads that block
 * ours are not asked. The handler stays installed, since without it a late signal would end the
 * process.
 */
#include "record/ask.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/task.h"
#include "base/thread.h"
#include "record/own_signal.h"
#include "record/resume.h"
#include "unwind/bounds.h"
#include "unwind/stack.h"

enum { SLOTS = 256 };
enum { FREE, ASKED, ANSWERING, DONE }; /* the two low bits of a slot's state */

struct slot {
    _Atomic uint64_t state; /* generation * 4 + one of the above */
    uint32_t n, labels;
    uintptr_t pcs[PROF__STACK_MAX];
};

static struct slot *slots;
static _Atomic(struct slot *) shared_slots; /* the same, for the handler */
static int question;                        /* the signal; 0: none chosen yet */
static _Atomic uint32_t answers;            /* counts them; the asker sleeps on it */

/* --- the thread that is asked ---------------------------------------------------------------- */

static void answer_into(struct slot *s, const void *ucontext)
{
    struct prof__thread *t = &prof__self;
    uintptr_t before = t->busy;

    /* The profiler may be at work below us; walking does not mind, but hooks must keep quiet. */
    if (!before)
        t->busy = (uintptr_t)__builtin_frame_address(0);
    atomic_signal_fence(memory_order_seq_cst);
    s->labels = t->labels;
    s->n = (uint32_t)prof__stack_interrupted(ucontext, s->pcs, PROF__STACK_MAX);
    atomic_signal_fence(memory_order_seq_cst);
    t->busy = before;
}

bool prof__ask_is_ours(int number, const siginfo_t *info)
{
    uint64_t asked = (uint64_t)(uintptr_t)info->si_value.sival_ptr;
    struct slot *s = atomic_load_explicit(&shared_slots, memory_order_acquire);

    /* No later than the slot's present generation: a number that nobody else would hit upon. */
    return s && number == question && info->si_code == SI_QUEUE && info->si_pid == getpid() &&
           asked % 4 == ASKED &&
           asked >> 2 <=
               atomic_load_explicit(&s[(asked >> 2) % SLOTS].state, memory_order_relaxed) >> 2;
}

/* Not inlined, as in collect_cpu.c. */
__attribute__((noinline)) static void answer(int signal, siginfo_t *info, void *ucontext)
{
    int saved = errno;
    uint64_t asked = (uint64_t)(uintptr_t)info->si_value.sival_ptr;
    struct slot *s = atomic_load_explicit(&shared_slots, memory_order_acquire);

    if (prof__ask_is_ours(signal, info)) {
        s += (asked >> 2) % SLOTS;
        /* Acquire: our writes come after the claim. */
        if (atomic_compare_exchange_strong_explicit(&s->state, &(uint64_t) { asked },
                                                    asked - ASKED + ANSWERING, memory_order_acquire,
                                                    memory_order_relaxed)) {
            answer_into(s, ucontext);
            /* Release: the stack is there for who sees DONE. */
            atomic_store_explicit(&s->state, asked - ASKED + DONE, memory_order_release);
            atomic_fetch_add_explicit(&answers, 1, memory_order_release);
            syscall(SYS_futex, &answers, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        }
    }
    prof__resume_system_call(ucontext, signal);
    if (errno != saved) /* as in collect_cpu.c */
        errno = saved;
}

static void on_question(int signal, siginfo_t *info, void *ucontext)
{
    if (prof__thread_is_libcs())
        answer(signal, info, ucontext);
}

/* --- the asker ------------------------------------------------------------------------------- */

static int choose_signal(void)
{
    if (question && prof__own_signal_kept(question))
        return 0;
    for (int s = SIGRTMAX - 1; s >= SIGRTMIN; s--)
        if (prof__own_signal_claim(s, on_question, true) == 0) {
            question = s;
            return 0;
        }
    return -EBUSY;
}

static int prepare(void)
{
    int r = choose_signal();

    if (r < 0)
        return r;
    if (!slots) {
        slots = prof__pages_map(SLOTS * sizeof(*slots));
        /* The low bits of a question name its slot. */
        for (uint64_t i = 0; slots && i < SLOTS; i++)
            atomic_store_explicit(&slots[i].state, i << 2, memory_order_relaxed);
        atomic_store_explicit(&shared_slots, slots, memory_order_release);
    }
    prof__resume_look(question);
    return slots ? 0 : -ENOMEM;
}

static bool blocks_question(pid_t tid)
{
    return prof__task_blocks(tid, question) != 0; /* not known: then it must not be asked */
}

static bool send(pid_t tid, uint64_t value)
{
    siginfo_t info;

    memset(&info, 0, sizeof(info));
    info.si_signo = question;
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_ptr = (void *)(uintptr_t)value;
    return syscall(SYS_rt_tgsigqueueinfo, info.si_pid, tid, question, &info) == 0;
}

/* Ask one thread by a slot that is free. False: it cannot be asked. */
static bool ask_one(struct slot *s, pid_t tid)
{
    uint64_t state = atomic_load_explicit(&s->state, memory_order_relaxed);
    uint64_t asked = (state & ~(uint64_t)3) + ((uint64_t)SLOTS << 2) + ASKED; /* next generation */

    if (blocks_question(tid))
        return false;
    atomic_store_explicit(&s->state, asked, memory_order_release);
    if (send(tid, asked))
        return true;
    atomic_store_explicit(&s->state, asked - ASKED + FREE, memory_order_relaxed);
    return false;
}

/* Take the answer, or withdraw the question. A thread that is answering at this very moment is too
 * late, and its slot is left alone until it is done. */
static void settle(struct slot *s, struct prof__answer *a)
{
    uint64_t state = atomic_load_explicit(&s->state, memory_order_acquire);

    if (state % 4 == ASKED &&
        atomic_compare_exchange_strong_explicit(&s->state, &state, state - ASKED + FREE,
                                                memory_order_acquire, memory_order_acquire))
        return;
    if (state % 4 != DONE)
        return;
    a->stack = prof__stack_table_add(s->pcs, s->n);
    a->labels = s->labels;
    atomic_store_explicit(&s->state, state - DONE + FREE, memory_order_relaxed);
}

static bool is_pending(const struct slot *s)
{
    uint64_t phase = atomic_load_explicit(&s->state, memory_order_acquire) % 4;

    return phase == ASKED || phase == ANSWERING;
}

static void wait_for(struct slot *const *used, size_t n, int64_t deadline_ns)
{
    for (size_t i = 0; i < n;) {
        uint32_t seen = atomic_load_explicit(&answers, memory_order_acquire);
        int64_t left = deadline_ns - prof__monotonic_ns();

        if (!is_pending(used[i])) {
            i++;
            continue;
        }
        if (left <= 0)
            return;
        struct timespec wait = { left / 1000000000, left % 1000000000 };
        syscall(SYS_futex, &answers, FUTEX_WAIT_PRIVATE, seen, &wait, NULL, 0);
    }
}

/* Ask as many from `next` on as there are free slots. */
struct round {
    struct slot *slot[SLOTS];
    struct prof__answer *answer[SLOTS];
    size_t n;
};

static size_t ask_round(struct round *round, struct prof__answer *answer, size_t next, size_t n)
{
    round->n = 0;
    for (size_t at = 0; next < n && at < SLOTS; at++) {
        if (is_pending(&slots[at]))
            continue;
        while (next < n && !ask_one(&slots[at], answer[next].tid))
            next++;
        if (next < n) {
            round->slot[round->n] = &slots[at];
            round->answer[round->n++] = &answer[next++];
        }
    }
    return next;
}

int prof__ask(struct prof__answer *answer, size_t n, int64_t deadline_ns)
{
    int r = n > 0 ? prepare() : 0;
    struct round round = { .n = 1 };

    for (size_t next = 0;
         r == 0 && next < n && round.n > 0 && prof__monotonic_ns() < deadline_ns;) {
        next = ask_round(&round, answer, next, n);
        wait_for(round.slot, round.n, deadline_ns);
        for (size_t i = 0; i < round.n; i++)
            settle(round.slot[i], round.answer[i]);
    }
    return r;
}

void prof__ask_fork_child(void)
{
    for (uint64_t i = 0; slots && i < SLOTS; i++)
        atomic_store_explicit(
            &slots[i].state,
            (atomic_load_explicit(&slots[i].state, memory_order_relaxed) & ~(uint64_t)3),
            memory_order_relaxed);
}
