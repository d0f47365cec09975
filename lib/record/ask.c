/*
 * ask.c - a question slot for each thread asked, and a handler that answers into it.
 *
 * The signal carries the address of a slot and the slot's generation. The handler claims the slot
 * by compare-and-swap, walks its stack into it and marks it done. The asker withdraws a question in
 * the same way, so that whoever comes second finds the slot taken: a handler that runs late, maybe
 * minutes later in a thread that had blocked the signal, sees another generation and does nothing.
 * Slots are never freed.
 *
 * The signal is SIGURG, which is ignored unless somebody handles it, so that a question could not
 * do harm even where it does not belong. Where the program handles that itself it is a real-time
 * one, the highest that nobody handles. A program that waits for signals with sigwait() or a
 * signalfd blocks them, so threads that block ours are not asked.
 */
#include "record/ask.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/thread.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/fork.h"
#include "base/task.h"
#include "base/thread.h"
#include "base/wait.h"
#include "record/own_signal.h"
#include "record/thread_timer.h"
#include "unwind/stack.h"

enum { SLOTS = 256, GENERATION_SHIFT = 48 };   /* in what a signal carries */
enum { FREE, ASKED, ANSWERING, DONE, PHASES }; /* the low bits of a slot's state */

struct slot {
    _Atomic uint64_t state; /* generation * PHASES + one of the above */
    _Atomic uint32_t tid;   /* who is asked */
    int timer;              /* guarded by the lock */
    bool open;              /* the asker's: it has not been told the end */
    uint32_t n, labels;
    uintptr_t word[PROF__CONTEXT_WORDS];
    uintptr_t pcs[PROF__STACK_MAX];
};

static _Atomic(struct slot *) slots;
static int question;             /* the signal; 0: none chosen yet */
static _Atomic uint32_t answers; /* counts them; the asker sleeps on it */

/* Guards the timers, since the program may take the signal for itself at any moment. Signals are
 * blocked meanwhile. */
static struct prof__lock lock = PROF__LOCK_INIT(PROF__RANK_ASK);
static bool taken_over; /* it has, since prof__ask_prepare(); guarded by the lock */
static pid_t asker;     /* the process; guarded by the lock */

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
    memcpy(s->word, (const char *)ucontext + prof__context_at, sizeof(s->word));
    s->pcs[0] = PROF__PC_NO_STACK;
    s->n = 1;
    if (prof__stack_room())
        s->n = (uint32_t)prof__stack_interrupted(ucontext, s->pcs, PROF__STACK_MAX);
    atomic_signal_fence(memory_order_seq_cst);
    t->busy = before;
}

static void *value_of(struct slot *s, uint64_t generation)
{
    return (void *)((uintptr_t)s | (uintptr_t)generation << GENERATION_SHIFT);
}

/* The slot that a signal is about, if it is one of ours: nobody else would hit upon that number. */
static struct slot *slot_of(const siginfo_t *info)
{
    uintptr_t value = (uintptr_t)info->si_value.sival_ptr;
    struct slot *first = atomic_load_explicit(&slots, memory_order_acquire);
    uintptr_t at = (value & (((uintptr_t)1 << GENERATION_SHIFT) - 1)) - (uintptr_t)first;

    return first && info->si_code == SI_TIMER && at < SLOTS * sizeof(*first) &&
                   at % sizeof(*first) == 0
               ? &first[at / sizeof(*first)]
               : NULL;
}

static bool is_sent(const siginfo_t *info)
{
    return slot_of(info) != NULL;
}

/* Not inlined, as in collect_cpu.c. */
__attribute__((noinline)) static void answer(const siginfo_t *info, void *ucontext)
{
    int saved = errno;
    struct slot *s = slot_of(info);
    uint64_t state = s ? atomic_load_explicit(&s->state, memory_order_relaxed) : 0;

    /* Acquire: our writes come after the claim. */
    if (s && state % PHASES == ASKED && info->si_value.sival_ptr == value_of(s, state / PHASES) &&
        atomic_load_explicit(&s->tid, memory_order_relaxed) == (uint32_t)prof__gettid() &&
        atomic_compare_exchange_strong_explicit(&s->state, &state, state - ASKED + ANSWERING,
                                                memory_order_acquire, memory_order_relaxed)) {
        answer_into(s, ucontext);
        /* Release: the stack is there for who sees DONE. */
        atomic_store_explicit(&s->state, state - ASKED + DONE, memory_order_release);
        atomic_fetch_add_explicit(&answers, 1, memory_order_release);
        prof__word_wake(&answers);
    }
    if (errno != saved) /* as in collect_cpu.c */
        errno = saved;
}

static void on_question(int signal, siginfo_t *info, void *ucontext)
{
    (void)signal;
    if (prof__thread_is_libcs())
        answer(info, ucontext);
}

/* --- whose signal it is ---------------------------------------------------------------------- */

static void take_over(void)
{
    int saved = errno;
    uint64_t mask = prof__lock_masked(&lock);
    struct slot *s = atomic_load_explicit(&slots, memory_order_relaxed);

    /* A child made by vfork() shares our memory, but neither the timers nor the actions. */
    if (asker == getpid()) {
        taken_over = true;
        for (size_t i = 0; s && i < SLOTS; i++)
            prof__thread_timer_delete(&s[i].timer);
    }
    prof__unlock_masked(&lock, mask);
    errno = saved;
}

static const struct prof__own_signal own = { on_question, is_sent, take_over };

static int choose_signal(void)
{
    if (question && prof__own_signal_kept(question))
        return 0;
    question = SIGURG;
    if (prof__own_signal_claim(question, &own, false) == 0)
        return 0;
    for (question = SIGRTMAX - 1; question >= SIGRTMIN; question--)
        if (prof__own_signal_claim(question, &own, true) == 0)
            return 0;
    question = 0;
    return -EBUSY;
}

/* --- the asker ------------------------------------------------------------------------------- */

int prof__ask_prepare(void)
{
    struct slot *s = atomic_load_explicit(&slots, memory_order_relaxed);
    int r = choose_signal();

    if (r < 0)
        return r;
    if (!s) {
        if (!(s = prof__pages_map(SLOTS * sizeof(*s))))
            return -ENOMEM;
        for (size_t i = 0; i < SLOTS; i++)
            s[i].timer = PROF__NO_TIMER;
        /* Release: the handler finds them so. */
        atomic_store_explicit(&slots, s, memory_order_release);
    }
    uint64_t mask = prof__lock_masked(&lock);
    asker = getpid();
    taken_over = false;
    prof__unlock_masked(&lock, mask);
    return 0;
}

/* Nobody writes into it any more. */
static bool is_free(const struct slot *s)
{
    uint64_t phase = atomic_load_explicit(&s->state, memory_order_acquire) % PHASES;

    return !s->open && (phase == FREE || phase == DONE);
}

static int set_timer(struct slot *s, pid_t tid, void *value)
{
    uint64_t mask = prof__lock_masked(&lock);
    int r = taken_over ? -EBUSY : prof__thread_timer_make(tid, question, value);

    if (r >= 0) {
        s->timer = r;
        r = prof__thread_timer_set(s->timer, 1, 0);
        if (r < 0)
            prof__thread_timer_delete(&s->timer);
    }
    prof__unlock_masked(&lock, mask);
    return r;
}

static void clear_timer(struct slot *s)
{
    uint64_t mask = prof__lock_masked(&lock);

    prof__thread_timer_delete(&s->timer);
    prof__unlock_masked(&lock, mask);
}

int prof__ask(pid_t tid)
{
    struct slot *first = atomic_load_explicit(&slots, memory_order_relaxed), *s = first;

    if (prof__task_blocks(tid, question) != 0) /* not known: then it must not be asked */
        return -EBUSY;
    while (s < first + SLOTS && !is_free(s))
        s++;
    if (s == first + SLOTS)
        return -ENOBUFS;
    uint64_t generation = atomic_load_explicit(&s->state, memory_order_relaxed) / PHASES + 1;
    atomic_store_explicit(&s->tid, (uint32_t)tid, memory_order_relaxed);
    /* Release: it is about that thread. */
    atomic_store_explicit(&s->state, generation * PHASES + ASKED, memory_order_release);
    s->open = true;
    int r = set_timer(s, tid, value_of(s, generation));
    if (r < 0) {
        prof__ask_withdraw((int)(s - first));
        return r;
    }
    return (int)(s - first);
}

bool prof__ask_answered(int number, struct prof__answer *ret)
{
    struct slot *s = &atomic_load_explicit(&slots, memory_order_relaxed)[number];

    /* Acquire: what the thread has written. */
    if (atomic_load_explicit(&s->state, memory_order_acquire) % PHASES != DONE)
        return false;
    ret->stack = prof__stack_table_add(PROF__STORE_THREADS, s->pcs, s->n);
    ret->labels = s->labels;
    struct prof__registers regs;
    prof__registers_from_context(&regs, s->word);
    ret->sp = regs.r[PROF__REG_SP];
    ret->pc = regs.pc;
    memcpy(ret->word, s->word, sizeof(ret->word));
    clear_timer(s);
    s->open = false;
    return true;
}

/* A thread that is answering at this very moment is too late, and its slot is left alone until it
 * is done. */
void prof__ask_withdraw(int number)
{
    struct slot *s = &atomic_load_explicit(&slots, memory_order_relaxed)[number];
    uint64_t state = atomic_load_explicit(&s->state, memory_order_relaxed);

    clear_timer(s);
    if (state % PHASES == ASKED)
        atomic_compare_exchange_strong_explicit(&s->state, &state, state - ASKED + FREE,
                                                memory_order_relaxed, memory_order_relaxed);
    s->open = false;
}

uint32_t prof__ask_count(void)
{
    return atomic_load_explicit(&answers, memory_order_acquire);
}

void prof__ask_wait(uint32_t seen, int64_t ns)
{
    if (ns > 0)
        prof__word_wait(&answers, seen, prof__monotonic_ns() + ns);
}

static void fork_child(void)
{
    struct slot *s = atomic_load_explicit(&slots, memory_order_relaxed);

    prof__lock_reset(&lock);
    for (size_t i = 0; s && i < SLOTS; i++) {
        uint64_t state = atomic_load_explicit(&s[i].state, memory_order_relaxed);

        atomic_store_explicit(&s[i].state, state - state % PHASES, memory_order_relaxed);
        s[i].timer = PROF__NO_TIMER;
        s[i].open = false;
    }
}

PROF__AT_FORK(PROF__RANK_ASK, NULL, NULL, fork_child)
