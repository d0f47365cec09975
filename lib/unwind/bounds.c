/*
 * bounds.c - the limits of stacks, found without asking anybody who allocates, locks or reads
 * files; pthread_getattr_np() does all three.
 *
 * The top is known: of the main thread's stack it is __libc_stack_end, of others the thread's
 * control block, which glibc puts at the end of the stack's own mapping. What is readable below
 * that is found as the stack pointer gets there, page by page for a thread, so that a guard page
 * cannot be stepped over; the main stack is one mapping, and the page of the stack pointer speaks
 * for all above it. The result is kept in prof__self: each page is probed once in a thread's life.
 *
 * The probe is rt_sigprocmask() with a `how` that does not exist: the kernel copies the set in
 * first, so EFAULT means unreadable, and EINVAL readable. It needs no descriptor and changes
 * nothing.
 */
#include "unwind/bounds.h"

#include <errno.h>
#include <unistd.h>

#include "unwind/rawmask.h"

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

bool prof__page_readable(uintptr_t at)
{
    /* Not its first word: in page 0 that would be a null pointer, and nothing to copy. */
    return prof__raw_sigmask(~0L, (const void *)(page_of(at) + 8), NULL) == -EINVAL;
}

static uintptr_t main_stack_top(void)
{
    return &__libc_stack_end ? (uintptr_t)__libc_stack_end : 0;
}

static uintptr_t control_block(void)
{
    uintptr_t at;

    __asm__("movq %%fs:0, %0" : "=r"(at));
    return at;
}

#define NO_STACK_PROTECTOR __attribute__((no_stack_protector)) /* it is thread-local data */

NO_STACK_PROTECTOR bool prof__thread_is_libcs(void)
{
    enum { GET_FS = 0x1003, SELF = 2 }; /* ARCH_GET_FS; a word of glibc's control block */
    const uintptr_t *block = NULL;
    long r;

    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "0"((long)SYS_arch_prctl), "D"((long)GET_FS), "S"(&block)
                     : "rcx", "r11", "memory");
    if (r < 0) /* a filter's answer; nothing is known, and nearly all threads are */
        return true;
    return (uintptr_t)block % sizeof(*block) == 0 && prof__page_readable((uintptr_t)block) &&
           block[0] == (uintptr_t)block && block[SELF] == (uintptr_t)block;
}

static bool is_main_thread(void)
{
    return syscall(SYS_gettid) == syscall(SYS_getpid);
}

static void find_top(struct prof__thread *t)
{
    uintptr_t top = is_main_thread() ? main_stack_top() : 0;

    if (top == 0)
        top = control_block();
    /* A handler that comes in between finds stack_high unset, and does the same work again. */
    t->stack_low = top;
    atomic_signal_fence(memory_order_seq_cst);
    t->stack_high = top;
}

/* Move stack_low down to the page of `sp`, as far as that can be read. */
static void lower(struct prof__thread *t, uintptr_t sp)
{
    uintptr_t low = t->stack_low, page = page_of(sp);

    if (t->stack_high == main_stack_top()) {
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
        low = next;
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

static bool move_to(struct prof__bounds *b, uintptr_t sp, uintptr_t at)
{
    if (b->of == PROF__BOUNDS_COPY || at % sizeof(at) != 0 || at < sp - RED_ZONE ||
        at > sp + FRAME_MAX)
        return false;
    return move_to_own(b, at) || (b->of == PROF__BOUNDS_OTHER && move_to_page(b, at));
}

PROF_NO_SANITIZE
bool prof__bounds_read(struct prof__bounds *b, uintptr_t sp, uintptr_t at, uintptr_t *ret)
{
    /* No memcpy: sanitizers replace it, and would look at what is not ours. */
    typedef uintptr_t word __attribute__((may_alias, aligned(1)));

    if ((at < b->low || at >= b->high || b->high - at < sizeof(word)) && !move_to(b, sp, at))
        return false;
    *ret = *(const word *)(at + b->shift);
    return true;
}
