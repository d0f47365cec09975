/*
 * collect.h - what the event sources (hooks, the feeding API) call.
 *
 * The inline parts are the hot path: a few instructions, no call. Everything rare is behind one
 * branch. Context of all of it: hook.
 */
#ifndef PROF_RECORD_COLLECT_H
#define PROF_RECORD_COLLECT_H

#include <signal.h>

#include "base/compiler.h"
#include "base/site.h"
#include "base/thread.h"
#include "table/live_table.h"
#include "table/lock_ledger.h"
#include "table/wait_table.h"

/* --- heap ----------------------------------------------------------------------------------- */

/* What an allocation counts for: 0 bytes as 1. */
static inline uint64_t prof__heap_charge(size_t size)
{
    return size ? size : 1;
}

/*
 * Charge an allocation of `size` bytes to this thread. True: it is due, and prof__heap_claim() or
 * prof__heap_undo() must be called.
 *
 * "Due" is charge >= bytes_left, so a new thread, a rate change and a due sample are one branch.
 */
static inline bool prof__heap_due(size_t size)
{
    bool due;

    /* bytes_left -= size + (size < 1), and was it no more than that? By hand because a compiler
     * makes eight instructions of it; and so the handler of a signal that comes between has its
     * own charge kept. */
    __asm__("cmpq $1, %[size]\n\t"
            "sbbq %[size], %[left]"
            : [left] "+m"(prof__self.bytes_left), "=@ccbe"(due)
            : [size] "r"(size));
    return PROF_UNLIKELY(due);
}

/* Take off the charge of a block that was due. The handler of a signal may have charged more than
 * was left meanwhile: then some block is due since, and that will be the next one. */
static inline void prof__heap_undo(size_t size)
{
    prof__self.bytes_left += prof__heap_charge(size);
    if (PROF_UNLIKELY(prof__self.bytes_left > INT64_MAX))
        prof__self.bytes_left = 0;
}

/*
 * Is a block that was due sampled? Then the rate at which it is, else 0. Once the block is there
 * prof__heap_sample() is called with that; not if the allocation failed. In between others may be
 * charged and sampled, of which an allocator makes this one. errno, MXCSR and x87 state are kept.
 */
PROF_SHARED PROF_COLD uint64_t prof__heap_claim(size_t size);

/* The block `p`, for which prof__heap_claim() gave `interval`, exists. `site` is where the hook was
 * called. errno, MXCSR and x87 state are kept. */
PROF_SHARED PROF_COLD void prof__heap_sample(const void *p, size_t size, uint64_t interval,
                                             const struct prof__site *site);

/* Ask before freeing: might this be a sampled block, or one beside it? */
static inline bool prof__heap_is_marked(const void *p)
{
    return PROF_UNLIKELY(prof__live_maybe((uintptr_t)p));
}

/* And if so: might it be that block? */
static inline bool prof__heap_is_sampled(const void *p)
{
    return prof__live_maybe_here((uintptr_t)p);
}

/* Forget `p`, before the real free: once libc has it back, another thread may be given the same
 * address. */
PROF_SHARED PROF_COLD void prof__heap_forget(const void *p);

/* For realloc: take the record of `p` out before the call; put it back if the call failed, else
 * count it as freed. ret_live->row is 0 when there was none. */
PROF_SHARED PROF_COLD void prof__heap_take(const void *p, struct prof__live *ret_live);
PROF_SHARED PROF_COLD void prof__heap_put_back(const void *p, const struct prof__live *live);
PROF_SHARED PROF_COLD void prof__heap_count_free(const struct prof__live *live);

/*
 * Some of a program's frees may go by the hooks: those of a library loaded with RTLD_DEEPBIND, or
 * through an allocator's own door. When it has been seen that one did, by a sampled block at an
 * address that has a record, the hooks are told to begin looking at every block that they hand out.
 */
typedef void prof__heap_watch_fn(void);
PROF_SHARED void prof__heap_can_watch(prof__heap_watch_fn *begin);

PROF_SHARED PROF_COLD void prof__heap_handed_out_slow(const void *p, size_t size);

/* The allocator has handed out this block: what was recorded of that memory is over. */
static inline void prof__heap_handed_out(const void *p, size_t size)
{
    /* Most blocks lie on one page or two; larger ones are rare enough to be looked through. */
    if (PROF_UNLIKELY(prof__live_maybe((uintptr_t)p) || size > 4096 ||
                      prof__live_maybe((uintptr_t)p + size)))
        prof__heap_handed_out_slow(p, size);
}

/* --- mutex and block ------------------------------------------------------------------------ */

/* How a wait ended. */
enum prof__wait_end {
    PROF__WAIT_CANCELLED, /* it did not return: the thread is being cancelled */
    PROF__WAIT_GOT,       /* what was waited for */
    PROF__WAIT_GAVE_UP,   /* after a time-out or a signal */
    PROF__WAIT_REFUSED,   /* an error; nobody waited */
};

/* A wait that is under way, in the frame of the hook. */
struct prof__wait {
    const void *caller; /* return address of the hook; NULL: not watched */
    int64_t since_ns;   /* CLOCK_MONOTONIC */
    uint32_t account;   /* lock_ledger.h; 0: none */
    uint32_t place;     /* wait_table.h; 0: none */
    enum prof__wait_end end;
};

/* Before and after a real function that waits. Nothing is held between the two. The end is called
 * on every way out, cancellation included, so hooks make it a cleanup. errno is kept. */
PROF_SHARED void prof__wait_begin(struct prof__wait *w, enum prof__wait_kind kind, bool timed,
                                  const void *object, const void *caller);
PROF_SHARED void prof__wait_end(struct prof__wait *w);

/* Before an unlock, if prof__ledger_maybe() says so: take what this critical section owes. False:
 * nothing. After it, charge it to `caller`, or put it back when the unlock was refused. The lock is
 * a name by then and is not read. errno is kept. */
PROF_SHARED bool prof__release_begin(const void *lock, struct prof__debt *ret_debt);
PROF_SHARED void prof__release_end(const void *lock, const struct prof__debt *debt, bool released,
                                   const void *caller);

/* What the pthread hooks tell of themselves. */
struct prof__lock_hooks {
    /* Switches between forwarding and recording. Called at once, and whenever a rate changes, by
     * any thread, maybe with the same value again. */
    void (*watch)(bool on);

    /* What they ask before an unlock. */
    struct prof__lock_filter *filter;

    /* The pointers that the hooks jump through, and their size. */
    const void *doors;
    size_t doors_size;
};

/* They are in this process. Never taken back. */
PROF_SHARED void prof__lock_hooks_present(const struct prof__lock_hooks *hooks);

/* --- threads -------------------------------------------------------------------------------- */

/* The caller has made a thread. */
PROF_SHARED void prof__thread_created(const void *return_address);

/* Has a thread that the caller is about to make anything to take over? Then it calls
 * prof__thread_started() first, with the caller's prof__self.labels, and with the address of the
 * function that it is to run. */
PROF_SHARED bool prof__thread_wants_start(void);
PROF_SHARED void prof__thread_started(uint32_t labels, uintptr_t function);

/* --- signals -------------------------------------------------------------------------------- */

/* The program is about to set an action for a signal: stop sending it, if it is one of ours.
 * errno is kept. Context: signal. */
PROF_SHARED void prof__signal_before(int signal);

/* Is this a signal that we sent, and not for the program to see? `number` is that of the signal.
 * Context: signal. */
PROF_SHARED bool prof__signal_is_ours(int number, const siginfo_t *info);

/* What the program is to see where the kernel says `handler`: that, SIG_DFL or SIG_IGN.
 * Context: signal. */
PROF_SHARED uintptr_t prof__signal_seen(int signal, uintptr_t handler);

/* Of our signals, those that the thread blocks now and that `mask` would let in, as the kernel
 * counts them: bit n - 1 for signal n. NULL lets none in. errno is kept. Context: signal. */
PROF_SHARED uint64_t prof__signals_let_in(const sigset_t *mask);

/* --- code ----------------------------------------------------------------------------------- */

/* Around a dlclose(): what was at an address must not be confused with what comes there next.
 * Context: normal. */
PROF_SHARED void prof__code_before_unload(void);
PROF_SHARED void prof__code_after_unload(void);

/* --- start ---------------------------------------------------------------------------------- */

enum prof__hooks {
    PROF__HOOKS_NONE,
    PROF__HOOKS_HERE,     /* they see what the process allocates */
    PROF__HOOKS_ASIDE,    /* a sanitizer owns malloc, so they forward and record nothing */
    PROF__HOOKS_WRAPPED,  /* they see what was linked with --wrap, and no shared library */
    PROF__HOOKS_BYPASSED, /* another malloc comes first in the process, or they came too late */
};

/*
 * One copy of the hooks. There may be two in a process: that of libprof-hooks or libprof-wrap,
 * linked, and that of libprof-preload. The one that comes first goes straight to what stands behind
 * the other.
 */
struct prof__hooks_copy {
    void *(*malloc)(size_t size);    /* its own */
    void *(*real)(const char *name); /* the function that its hook of this name ends up in */
};

/* Defined by those libraries, if they are there. */
extern PROF_SHARED const struct prof__hooks_copy prof__hooks_linked __attribute__((weak));
extern PROF_SHARED const struct prof__hooks_copy prof__hooks_preloaded __attribute__((weak));
extern PROF_SHARED const struct prof__hooks_copy prof__hooks_wrapped __attribute__((weak));

/* All, or NULL. Here, because an executable that holds a copy cannot itself name a symbol that may
 * be missing; and asking dlsym() for one leaves an error behind for the program. */
extern PROF_SHARED const struct prof__hooks_copy *const prof__hooks_copies[3];

/* The hooks are in this process, and how they fare. If bypassed, `object` is what has the malloc()
 * that comes before theirs, else NULL. */
PROF_SHARED void prof__hooks_present(enum prof__hooks how, const char *object);

/* A runtime that gives out parts of blocks, of which only the whole is seen. */
enum prof__pool {
    PROF__POOL_PYTHON = 1,
    PROF__POOL_PHP = 2,
    PROF__POOL_RUBY = 4,
};
PROF_SHARED void prof__heap_pools(unsigned pools);

/* This many loaded objects call another malloc than the hooks stand before; the last that was found
 * is this one, by this function. 0: none, and the names of those before are forgotten. By one
 * thread at a time. Context: normal. */
PROF_SHARED void prof__heap_bypassed(unsigned objects, const char *object, const char *function);

#endif
