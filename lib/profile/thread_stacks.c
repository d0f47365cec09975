/*
 * thread_stacks.c - every thread's stack, without disturbing it.
 *
 *   waiting    /proc/self/task/TID/syscall tells its pc and sp; its stack is copied out and the
 *              copy walked
 *   running    it is asked (ask.h), and looked at again meanwhile, as it may go to sleep
 *   neither    a pseudo frame says so
 *
 * A copy counts only if the thread has not moved meanwhile, which its place and how often it has
 * run tell. The stacks of a thousand threads are mostly shallow, so little is copied at first and
 * more only when the walk comes to the end of it. Nothing is read beyond the mapping that the stack
 * is in: what is next to it may be a device, or pages that somebody else has yet to supply.
 *
 * A running thread answers when it has been on a processor at a tick of the kernel's clock. One
 * that blocks the signal is not asked; it is looked at again for 30 ms, as it may do so for a
 * moment only. One that has had the time and has not answered is at work inside the kernel, and is
 * given up after 100 ms. One that has not had a processor yet, since there are more threads
 * than processors, is waited for a second: its own clock tells the two apart.
 */
#include "profile/thread_stacks.h"

#include <errno.h>
#include <prof/prof.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fork.h"
#include "base/memory.h"
#include "base/slot.h"
#include "base/task.h"
#include "base/thread.h"
#include "record/ask.h"
#include "record/thread_timer.h"
#include "symbol/maps.h"
#include "table/eras.h"
#include "unwind/stack.h"

enum {
    TRIES = 8,
    LOOK_NS = 5 * 1000 * 1000,        /* from one look at those that run to the next, at first */
    LOOK_MOST_NS = 80 * 1000 * 1000,  /* and later, since looking takes a processor, too */
    BLOCKED_NS = 30 * 1000 * 1000,    /* for a thread to let the signal in */
    ANSWER_NS = 100 * 1000 * 1000,    /* for an answer */
    PATIENCE_NS = 1000 * 1000 * 1000, /* for a processor, and an answer */
};

/* Of its own time, in which a thread has met a tick: the longest there are take 10 ms. */
#define TICK_NS ((uint64_t)20 * 1000 * 1000)

#define COPIES_NS ((int64_t)2 * 1000 * 1000 * 1000) /* for all copies; 10,000 take a quarter */

static const size_t copy_sizes[] = { 16 << 10, 256 << 10, 8 << 20 };

#define COPY_MAX ((size_t)8 << 20)

/* One dump at a time: the questions have one set of slots. */
static struct prof__lock lock = PROF__LOCK_INIT(PROF__RANK_THREADS);
static struct prof__threads_missing missing; /* guarded by the lock */

struct list {
    struct prof__arena *arena;
    struct prof__thread_stack *thread;
    size_t n, room;
    bool places; /* of all threads */
};

/* What a copy of a waiting thread's stack is made into, and where the stacks are. */
struct copier {
    struct prof__arena *arena;
    char *buf; /* COPY_MAX bytes */
    size_t n;  /* frames of the last walk, */
    uintptr_t pcs[PROF__STACK_MAX];
    struct prof__stack_frame frames[PROF__STACK_MAX]; /* and what is known of each */
    struct prof__map *map;
    size_t n_maps;
    bool no_memory; /* for the frames of one */
};

static prof__stack_id pseudo(uintptr_t pc)
{
    return prof__stack_table_add(PROF__STORE_THREADS, &pc, 1);
}

/* --- the list -------------------------------------------------------------------------------- */

static int count_one(pid_t tid, void *arg)
{
    (void)tid;
    ++*(size_t *)arg;
    return 0;
}

static int count_visible(pid_t tid, void *arg)
{
    *(size_t *)arg += !prof__slot_hidden(prof__slot_of(tid));
    return 0;
}

static int64_t count_threads(bool hidden_too)
{
    size_t n = 0;
    int r = prof__tasks_each(hidden_too ? count_one : count_visible, &n);

    return r < 0 ? r : (int64_t)n;
}

int64_t prof__threads_count(void)
{
    return count_threads(false);
}

static int add_one(pid_t tid, void *arg)
{
    struct list *list = arg;
    const struct prof__slot *s = prof__slot_of(tid);

    bool hidden = prof__slot_hidden(s);
    struct prof__thread_place *place = NULL;

    if ((hidden && !list->places) || list->n == list->room)
        return 0;
    if (list->places && !(place = prof__arena_alloc(list->arena, sizeof(*place))))
        return -ENOMEM;
    list->thread[list->n++] = (struct prof__thread_stack) {
        .tid = tid,
        .hidden = hidden,
        .place = place,
        .labels = s ? atomic_load_explicit(&s->labels, memory_order_acquire) : 0,
    };
    return 0;
}

static int make_list(struct list *list)
{
    int64_t n = count_threads(list->places);

    if (n < 0)
        return prof_set_last_error((int)n, "the threads cannot be listed: /proc/self/task: %s",
                                   strerror((int)-n));
    list->room = (size_t)n + (size_t)n / 8 + 64; /* those that come meanwhile */
    list->thread = prof__arena_array(list->arena, list->room, sizeof(*list->thread));
    if (!list->thread)
        return -ENOMEM;
    int r = prof__tasks_each(add_one, list);
    if (r == -ENOMEM)
        return r;
    return r < 0 ? prof_set_last_error(r, "the threads cannot be listed: %s", strerror(-r)) : 0;
}

/* --- one waiting thread ---------------------------------------------------------------------- */

/* How much of the stack is above `sp`. Of one that was mapped a moment ago, its page. */
static size_t stack_above(const struct copier *c, uintptr_t sp)
{
    uintptr_t end = (sp | 4095) + 1, main_end = prof__stack_main_end();
    size_t low = 0, high = c->n_maps;

    while (low < high) { /* the first mapping that ends above sp */
        size_t middle = low + (high - low) / 2;

        if (c->map[middle].limit <= sp)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < c->n_maps && c->map[low].start <= sp)
        end = c->map[low].limit;
    if (main_end > sp && main_end < end)
        end = main_end;
    return end - sp;
}

/* The stack at a place, from a copy; 0 when not even its innermost page is there. */
static prof__stack_id walk_copy(const struct prof__position *at, struct copier *c)
{
    uintptr_t *pcs = c->pcs;
    size_t n = 0, above = stack_above(c, at->sp);

    for (size_t i = 0; i < ARRAY_LEN(copy_sizes); i++) {
        size_t want = PROF_MIN(copy_sizes[i], above);
        ssize_t size = prof__memory_read(at->sp, c->buf, want);
        struct prof__stack_copy copy = { at->pc, at->sp, c->buf, size > 0 ? (size_t)size : 0,
                                         size > 0 && (size_t)size == above };

        if (size <= 0)
            break;
        n = prof__stack_copied(&copy, pcs, c->frames, PROF__STACK_MAX);
        if (pcs[n - 1] != PROF__PC_UNREADABLE || copy.size < want || want == above)
            break;
    }
    c->n = n;
    if (n == 0 && at->pc != 0) { /* the stack may not be read, but where it stands is known */
        pcs[n++] = at->pc;
        pcs[n++] = PROF__PC_UNREADABLE;
    }
    return n ? prof__stack_table_add(PROF__STORE_THREADS, pcs, n) : 0;
}

enum outcome { TAKEN, RUNNING, GONE, UNREADABLE };

static void note_frames(struct prof__thread_place *place, struct copier *c)
{
    uintptr_t *pcs = prof__arena_array(c->arena, c->n + 1, sizeof(*pcs));
    struct prof__stack_frame *frames = prof__arena_array(c->arena, c->n + 1, sizeof(*frames));

    if (!pcs || !frames) {
        c->no_memory = true;
        return;
    }
    for (size_t i = 0; i < c->n; i++)
        pcs[i] = prof__era_address(c->pcs[i]);
    memcpy(frames, c->frames, c->n * sizeof(*frames));
    place->frame_pc = pcs;
    place->frame = frames;
    place->n_frames = c->n;
}

static void note_place(struct prof__thread_place *place, const struct prof__position *at)
{
    place->sp = at->sp;
    place->pc = at->pc;
    if (at->system_call < 0)
        return;
    memcpy(place->word, at->argument, sizeof(at->argument));
    place->n_words = ARRAY_LEN(at->argument);
}

static enum outcome take_waiting(struct prof__thread_stack *t, struct copier *c, int *ret_error)
{
    enum outcome outcome = RUNNING;

    for (int tries = 0; tries < TRIES; tries++) {
        struct prof__position before, after;
        uint64_t runs = prof__task_switches(t->tid);
        int r = prof__task_position(t->tid, &before);

        if (r == -ENOENT && runs == 0)
            return GONE;
        if (r < 0) {
            *ret_error = r;
            return UNREADABLE;
        }
        if (before.running)
            return RUNNING;
        prof__stack_id stack = walk_copy(&before, c);
        if (prof__task_position(t->tid, &after) == 0 && after.sp == before.sp &&
            after.pc == before.pc && !after.running && prof__task_switches(t->tid) == runs) {
            t->stack = stack ? stack : pseudo(PROF__PC_NO_STACK);
            if (t->place) {
                note_place(t->place, &before);
                note_frames(t->place, c);
            }
            return TAKEN;
        }
    }
    return outcome; /* always on the move */
}

static bool is_running(pid_t tid)
{
    struct prof__task_state state;

    return prof__task_state(tid, &state) == 0 && state.state == 'R';
}

/* --- all ------------------------------------------------------------------------------------- */

/* A thread that runs. */
struct running {
    struct prof__thread_stack *thread;
    int question;     /* negative: it has not been asked, and why not */
    uint64_t used_ns; /* its own time when it was found running */
};

static uint64_t time_of(pid_t tid)
{
    uint64_t ns;

    return prof__thread_time(tid, &ns) ? ns : UINT64_MAX;
}

static void take_own(struct prof__thread_stack *t)
{
    uintptr_t pcs[PROF__STACK_MAX];
    const void *from = prof__entered_from(&prof__self); /* the caller of libprof */
    size_t depth =
        prof__stack_here(from ? from : __builtin_return_address(0), pcs, PROF__STACK_MAX);

    t->stack = prof__stack_table_add(PROF__STORE_THREADS, pcs, depth);
}

/* Fill in what can be had without a question; those to ask go to `running`. */
static size_t take_all_waiting(struct list *list, struct copier *c, struct running *running)
{
    int64_t end = prof__monotonic_ns() + COPIES_NS;
    pid_t self = prof__gettid();
    size_t n = 0;

    for (size_t i = 0; i < list->n; i++) {
        struct prof__thread_stack *t = &list->thread[i];
        enum outcome outcome;
        int error = 0;

        if (t->tid == self) {
            take_own(t);
            continue;
        }
        if (prof__monotonic_ns() > end) {
            t->stack = pseudo(PROF__PC_NO_ANSWER);
            missing.no_answer++;
            continue;
        }
        outcome = take_waiting(t, c, &error);
        if (outcome == UNREADABLE) {
            missing.error = error;
            if (is_running(t->tid))
                outcome = RUNNING;
            else
                missing.unreadable++;
        }
        if (outcome == RUNNING)
            running[n++] = (struct running) { t, -EAGAIN, time_of(t->tid) };
        else if (outcome == UNREADABLE)
            t->stack = pseudo(PROF__PC_UNREADABLE);
        /* a thread that is gone keeps stack 0 */
    }
    return n;
}

static void note_answer(struct prof__thread_place *place, const struct prof__answer *answer)
{
    place->sp = answer->sp;
    place->pc = answer->pc;
    memcpy(place->word, answer->word, sizeof(answer->word));
    place->n_words = PROF__CONTEXT_WORDS;
}

static bool has_answered(struct running *r)
{
    struct prof__answer answer;

    if (r->question < 0 || !prof__ask_answered(r->question, &answer))
        return false;
    r->thread->stack = answer.stack;
    r->thread->labels = answer.labels;
    r->thread->asked = true;
    if (r->thread->place)
        note_answer(r->thread->place, &answer);
    return true;
}

/* It has gone to sleep, or is no more. */
static bool has_stopped(struct running *r, struct copier *c)
{
    int error;
    enum outcome outcome = take_waiting(r->thread, c, &error);

    return outcome == TAKEN || outcome == GONE;
}

/* Has it had its time, so that no answer will come? */
static bool is_given_up(const struct running *r, int64_t waited_ns)
{
    if (waited_ns >= PATIENCE_NS)
        return true;
    if (r->question < 0)
        return waited_ns >= BLOCKED_NS && r->question != -ENOBUFS; /* its turn comes */
    return waited_ns >= ANSWER_NS && time_of(r->thread->tid) - r->used_ns >= TICK_NS;
}

static void give_up(struct running *r)
{
    r->thread->stack = pseudo(PROF__PC_NO_ANSWER);
    missing.no_answer++;
    if (r->question < 0 && r->question != -EBUSY)
        missing.ask_error = r->question;
}

/* Ask all that run, until each has answered, or stopped, or is given up. */
static void take_all_running(struct running *running, size_t n, struct copier *c)
{
    int refused = n > 0 ? prof__ask_prepare() : 0;
    int64_t start = prof__monotonic_ns(), look = start, pause = LOOK_NS;

    while (n > 0) {
        uint32_t seen = prof__ask_count();
        int64_t now = prof__monotonic_ns();
        bool looking = now >= look;
        size_t left = 0;

        for (size_t i = 0; i < n; i++) {
            struct running *r = &running[i];
            bool over = has_answered(r);

            if (!over && looking && r->question < 0)
                r->question = refused ? refused : prof__ask(r->thread->tid);
            if (!over && looking && now > start) {
                over = has_stopped(r, c);
                if (!over && is_given_up(r, now - start)) {
                    give_up(r);
                    over = true;
                }
                if (over && r->question >= 0)
                    prof__ask_withdraw(r->question);
            }
            if (!over)
                running[left++] = *r;
        }
        n = left;
        if (looking) {
            look = prof__monotonic_ns() + pause;
            pause = PROF_MIN(pause * 2, LOOK_MOST_NS);
        }
        if (n > 0)
            prof__ask_wait(seen, look - prof__monotonic_ns());
    }
    missing.waited_ns = prof__monotonic_ns() - start;
}

static void drop_gone(struct list *list)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->n; i++)
        if (list->thread[i].stack)
            list->thread[kept++] = list->thread[i];
    list->n = kept;
}

static int take(struct list *list)
{
    int r = make_list(list);

    if (r < 0)
        return r;
    struct running *running = prof__arena_array(list->arena, list->n + 1, sizeof(*running));
    struct copier copier = { .arena = list->arena, .buf = prof__pages_map(COPY_MAX) };
    if (!running || !copier.buf) {
        prof__pages_unmap(copier.buf, COPY_MAX);
        return -ENOMEM;
    }
    /* After the threads: all of them have their stacks by now. */
    if (prof__maps_read_all(list->arena, &copier.map, &copier.n_maps) < 0)
        copier.n_maps = 0;

    missing = (struct prof__threads_missing) { 0 };
    take_all_running(running, take_all_waiting(list, &copier, running), &copier);
    prof__pages_unmap(copier.buf, COPY_MAX);
    drop_gone(list);
    return copier.no_memory ? -ENOMEM : 0;
}

static int take_locked(struct list *list, struct prof__thread_stack **ret, size_t *ret_n)
{
    prof__lock(&lock);
    int r = take(list);
    prof__unlock(&lock);
    if (r == 0) {
        *ret = list->thread;
        *ret_n = list->n;
    }
    return r;
}

int prof__threads_take(struct prof__arena *a, struct prof__thread_stack **ret, size_t *ret_n)
{
    return take_locked(&(struct list) { .arena = a }, ret, ret_n);
}

int prof__threads_take_places(struct prof__arena *a, struct prof__thread_stack **ret, size_t *ret_n)
{
    return take_locked(&(struct list) { .arena = a, .places = true }, ret, ret_n);
}

void prof__threads_missing(struct prof__threads_missing *ret)
{
    prof__lock(&lock);
    *ret = missing;
    prof__unlock(&lock);
}

static void fork_child(void)
{
    prof__lock_reset(&lock);
}

PROF__AT_FORK(PROF__RANK_THREADS, NULL, NULL, fork_child)
