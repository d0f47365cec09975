/*
 * bounds.c - the limits of stacks, found without asking anybody who allocates, locks or reads
 * files; pthread_getattr_np() does all three.
 *
 * The top is known: of the main thread's stack it is __libc_stack_end, of others the thread's
 * control block, which glibc puts at the end of the stack's own mapping. What is readable below
 * that is found as the stack pointer gets there, page by page for a thread, so that a guard page
 * cannot be stepped over; the main stack is one mapping, and the page of the stack pointer speaks
 * for all above it. The result is kept in prof__self: each page is probed once in a thread's life.
 * A stack does not go away while its thread is on it, so a page that could be read once will be.
 *
 * Pages tell where a stack begins only if one that cannot be read lies before it. A stack without a
 * guard page may have others right below, which may go away. glibc keeps the first byte in the
 * thread's control block; where that is, is learned from the main thread's, in which the size is
 * the end of the stack. Without it the window is believed as far as unwind tables lead, and from
 * where a way up was guessed the kernel reads.
 */
#include "unwind/bounds.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/memory.h"
#include "unwind/stack.h"

extern void *__libc_stack_end __attribute__((weak));

enum {
    PAGE = 4096,
    PROBES = 64, /* pages of a thread's stack probed in one walk, at most: some 10 us */
};

#define MAIN_STACK_MAX                                                                          \
    ((uintptr_t)64 << 20)                   /* the kernel keeps 128 MiB below it free of others \
                                             */
#define OWN_STACK_MAX  ((uintptr_t)1 << 30) /* below a control block, further is another stack */
#define FRAME_MAX      ((uintptr_t)8 << 20) /* of one frame on a stack that is not our own */
#define RED_ZONE       ((uintptr_t)128)     /* below the stack pointer, and a function's own */
#define BOTTOM_REACHED ((uintptr_t)1)       /* in stack_low: the page below cannot be read */

static uintptr_t page_of(uintptr_t at)
{
    return at & ~(uintptr_t)(PAGE - 1);
}

uintptr_t prof__stack_main_end(void)
{
    return &__libc_stack_end ? (uintptr_t)__libc_stack_end : 0;
}

static uintptr_t main_block; /* the main thread's control block; 0: not known */

/* Of a child, the kernel says so of whichever thread has made it: of fork(), which is on that
 * thread's stack, and of vfork(), which has its memory besides. */
static bool is_main_thread(void)
{
    return main_block ? prof__thread_control_block() == main_block
                      : syscall(SYS_gettid) == syscall(SYS_getpid);
}

/* --- where a stack begins ----------------------------------------------------------------------
 */

int32_t prof__stack_block_at;

/* As in struct pthread of glibc. */
struct block {
    uintptr_t start, size, guard_size; /* the guard is at the start, of what was mapped for it */
};

/* The main thread's record. It is shorter than that, and may have a page to itself: what is missing
 * in front is left as it was. */
static bool read_record(uintptr_t *words, size_t n)
{
    uintptr_t control = prof__thread_control_block(), from = control - prof__thread_record_before();
    size_t missing = 0;

    if (prof__memory_get(from, words, n * sizeof(*words)) == 0)
        return true;
    if (from < control)
        missing = page_of(control - 1) - from;
    return missing > 0 && missing < n * sizeof(*words) &&
           prof__memory_get(from + missing, words + missing / sizeof(*words),
                            n * sizeof(*words) - missing) == 0;
}

/* Twice, or not at all: not known. */
__attribute__((constructor(101))) static void learn(void)
{
    uintptr_t words[PROF__THREAD_RECORD / sizeof(uintptr_t)] = { 0 }, end = prof__stack_main_end();
    int32_t at = 0, n = 0;

    if (!is_main_thread())
        return;
    main_block = prof__thread_control_block();
    if (end == 0 || !read_record(words, ARRAY_LEN(words)))
        return;
    for (size_t i = 1; i < ARRAY_LEN(words); i++)
        if (words[i] == end && words[i - 1] == 0) {
            at = (int32_t)((i - 1) * sizeof(uintptr_t)) - (int32_t)prof__thread_record_before();
            n++;
        }
    prof__stack_block_at = n == 1 ? at : 0;
}

/* The first byte of this thread's stack that may be used; 0: not known. Of the main thread, which
 * has a mapping of its own, it is not asked. */
PROF_NO_SANITIZE
static uintptr_t start_of(const struct prof__thread *t)
{
    const uintptr_t top = t->stack_high;

    if (prof__stack_block_at == 0 || top == prof__stack_main_end())
        return 0;
    struct block b = *(const struct block *)(top + (uintptr_t)(intptr_t)prof__stack_block_at);
    if (b.start == 0 || b.start >= top || top - b.start >= b.size || b.guard_size >= top - b.start)
        return 0;
    return (b.start + b.guard_size + 15) & ~(uintptr_t)15;
}

/* --- the window --------------------------------------------------------------------------------
 */

static void find_top(struct prof__thread *t)
{
    uintptr_t top = is_main_thread() ? prof__stack_main_end() : 0;

    if (top == 0)
        top = prof__thread_control_block();
    /* A handler that comes in between finds stack_high unset, and does the same work again. */
    t->stack_low = top;
    atomic_signal_fence(memory_order_seq_cst);
    t->stack_high = top;
}

/* Move stack_low down to the page of `sp`, as far as that can be read. */
static void lower(struct prof__thread *t, uintptr_t sp)
{
    uintptr_t low = t->stack_low, page = page_of(sp), start = start_of(t);

    if (sp < start)
        return;
    if (t->stack_high == prof__stack_main_end()) {
        if (t->stack_high - sp < MAIN_STACK_MAX && prof__page_readable(page))
            t->stack_low = page;
        return;
    }
    if (low & BOTTOM_REACHED || t->stack_high - sp > OWN_STACK_MAX)
        return;
    /* The top is not at the end of a page; the page it is in holds the last frames. */
    for (int i = 0; i < PROBES && low > page; i++) {
        uintptr_t next = page_of(low - 1);

        if (!prof__page_readable(next)) {
            low |= BOTTOM_REACHED;
            break;
        }
        low = PROF_MAX(next, start);
        if (next <= start)
            break;
    }
    t->stack_low = low;
}

PROF_COLD void prof__bounds_locate(struct prof__bounds *b, uintptr_t sp)
{
    struct prof__thread *t = &prof__self;

    if (t->stack_high == 0)
        find_top(t);
    if (sp < t->stack_low && sp < t->stack_high)
        lower(t, sp);
    b->low = sp;
    if (sp >= t->stack_low && sp < t->stack_high) {
        b->of = PROF__BOUNDS_OWN;
        b->high = t->stack_high;
    } else {
        b->of = PROF__BOUNDS_OTHER;
        b->high = sp;
    }
}

/* Make the window that of this thread's own stack from `at` up, if it lies there. */
static bool move_to_own(struct prof__bounds *b, uintptr_t at)
{
    struct prof__thread *t = &prof__self;

    if (at >= t->stack_high)
        return false;
    if (at < t->stack_low && b->of == PROF__BOUNDS_OWN)
        lower(t, at);
    if (at < t->stack_low)
        return false;
    b->low = at;
    b->high = t->stack_high;
    b->of = PROF__BOUNDS_OWN;
    return true;
}

/* Make the page of `at` part of the window, or the window. */
static bool move_to_page(struct prof__bounds *b, uintptr_t at)
{
    uintptr_t page = page_of(at);

    if (!prof__page_readable(page))
        return false;
    if (page == b->high) {
        b->high = page + PAGE;
    } else if (page + PAGE == b->low) {
        b->low = page;
    } else {
        b->low = page;
        b->high = page + PAGE;
    }
    return true;
}

/* Can it be of the frame, and not of the copy only? */
static bool is_near(const struct prof__bounds *b, uintptr_t sp, uintptr_t at)
{
    return b->of != PROF__BOUNDS_COPY && at % sizeof(at) == 0 && at >= sp - RED_ZONE &&
           at <= sp + FRAME_MAX;
}

PROF_NO_SANITIZE
bool prof__bounds_read(struct prof__bounds *b, uintptr_t sp, uintptr_t at, uintptr_t *ret)
{
    /* No memcpy: sanitizers replace it, and would look at what is not ours. */
    typedef uintptr_t word __attribute__((may_alias, aligned(1)));

    if (at < b->low || at >= b->high || b->high - at < sizeof(word)) {
        if (!is_near(b, sp, at))
            return false;
        if (b->of == PROF__BOUNDS_KERNEL || b->of == PROF__BOUNDS_DOUBTED)
            return prof__memory_get(at, ret, sizeof(*ret)) == 0;
        if (!move_to_own(b, at) && (b->of == PROF__BOUNDS_OWN || !move_to_page(b, at)))
            return false;
    }
    *ret = *(const word *)(at + b->shift);
    return true;
}

/* Is what counts as the thread's own stack nothing else's? */
static bool is_certain(const struct prof__thread *t)
{
    return t->stack_high == prof__stack_main_end() || start_of(t) != 0;
}

void prof__bounds_doubt(struct prof__bounds *b)
{
    if (b->of == PROF__BOUNDS_OTHER) {
        b->of = PROF__BOUNDS_KERNEL;
        b->high = b->low;
    } else if (b->of == PROF__BOUNDS_OWN && !is_certain(&prof__self)) {
        b->of = PROF__BOUNDS_DOUBTED;
        b->high = b->low;
    }
}

/* --- room ------------------------------------------------------------------------------------- */

/* Does this thread stand on its alternate signal stack, and does that not reach down to `low`? */
static bool leaves_signal_stack(uintptr_t sp, uintptr_t low)
{
    stack_t s;

    if (syscall(SYS_sigaltstack, NULL, &s) != 0 || !(s.ss_flags & SS_ONSTACK))
        return false;
    return sp - (uintptr_t)s.ss_sp < s.ss_size && low < (uintptr_t)s.ss_sp;
}

static bool are_readable(uintptr_t page, uintptr_t end)
{
    while (page < end && prof__page_readable(page))
        page += PAGE;
    return page >= end;
}

PROF_COLD static bool look_for_room(struct prof__thread *t, uintptr_t sp, uintptr_t low)
{
    int saved = errno;
    bool room;

    if (t->stack_high == 0)
        find_top(t);
    uintptr_t start = start_of(t);
    if (sp < t->stack_high && low < t->stack_low)
        lower(t, low);
    if (sp >= start && sp < t->stack_high && low < start)
        room = false;
    else if (sp >= t->stack_low && sp < t->stack_high)
        room = low >= t->stack_low;
    else /* another stack, or ours further down than has been looked */
        room = are_readable(page_of(low), page_of(sp)) && !leaves_signal_stack(sp, low);
    errno = saved;
    if (!room)
        atomic_fetch_add_explicit(&prof__stack_stats.no_room, 1, memory_order_relaxed);
    return room;
}

bool prof__stack_room(void)
{
    uintptr_t sp = (uintptr_t)__builtin_frame_address(0), low = sp - PROF__STACK_NEED;
    struct prof__thread *t = &prof__self;

    if (PROF_LIKELY(low >= t->stack_low && sp < t->stack_high))
        return true;
    return look_for_room(t, sp, low);
}
