/*
 * hook_malloc.c - the malloc family of the whole program.
 *
 * malloc() and free() are what every program does most, so theirs is the shortest way: charge and
 * compare, or one look at the page filter, then a jump into the real function, which returns to
 * our caller. No frame, no call, no test for being ready (real.c).
 *
 * An allocator may implement one door by another, and reach that through us. So the other doors
 * charge after the call (charge.h), but for calloc() and realloc() where they have been seen not to
 * do this: then theirs is the way of malloc().
 *
 * C++'s operators come through malloc(), aligned_alloc() and free(), with libstdc++ and libc++,
 * shared or static. Those of an allocator do not (own_doors.c).
 *
 * Order: a block is forgotten before it is really freed; libc may give the same address to another
 * thread at once, and we would forget that thread's block instead. errno is what the real function
 * left. Nothing of ours is held across a real function, and none of this is a cancellation point.
 * Context: hook.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rawlog.h"
#include "base/valgrind.h"
#include "hooks/boot.h"
#include "hooks/charge.h"
#include "hooks/handed_out.h"
#include "hooks/real.h"
#include "hooks/redirect.h"
#include "record/collect_heap.h"
#include "record/presence.h"

/* Those that libc's headers do not declare everywhere. */
PROF_SHARED void *memalign(size_t alignment, size_t size);
PROF_SHARED void *pvalloc(size_t size);

/* Where a hook returns to: the innermost frame of the stack that is recorded. */
#define CALLER __builtin_return_address(0)

/* Return a block that was charged before the call, and was due. */
#define DUE(size, caller, real_call)                     \
    struct prof__site site = prof__site(caller);         \
    uint64_t interval = prof__charge_claim(size);        \
    void *block = real_call;                             \
    if (block && interval)                               \
        prof__heap_sample(block, size, interval, &site); \
    return block

/* --- malloc and free -------------------------------------------------------------------------- */

static PROF_COLD void *malloc_due(size_t size, const void *caller)
{
    DUE(size, caller, prof__real.malloc(size));
}

PROF_SHARED void *malloc(size_t size)
{
    if (prof__heap_due(size))
        return malloc_due(size, CALLER);
    return prof__real.malloc(size);
}

extern void *prof__hooks_malloc(size_t size)
    __attribute__((alias(PROF__HOOKS_PREFIX "malloc"), visibility("hidden"), malloc, alloc_size(1),
                   nothrow, leaf));

static PROF_COLD void free_sampled(void *p)
{
    prof__heap_forget(p);
    if (!prof__boot_owns(p))
        prof__real.free(p);
}

static PROF_COLD void free_marked(void *p)
{
    if (prof__heap_is_sampled(p))
        free_sampled(p);
    else
        prof__real.free(p);
}

PROF_SHARED void free(void *p)
{
    if (prof__heap_is_marked(p))
        free_marked(p);
    else
        prof__real.free(p);
}

/* --- calloc and realloc ----------------------------------------------------------------------- */

/* Is it known that these two do not reach another door through us? Set once, before main(). */
static bool direct;

static PROF_COLD void *calloc_indirect(size_t n, size_t size, const void *caller)
{
    uint64_t before = prof__charges();

    return prof__charge(prof__real.calloc(n, size), n * size, before, caller);
}

static PROF_COLD void *calloc_due(size_t n, size_t size, const void *caller)
{
    DUE(n * size, caller, prof__real.calloc(n, size));
}

PROF_SHARED void *calloc(size_t n, size_t size)
{
    size_t total;

    if (PROF_UNLIKELY(__builtin_mul_overflow(n, size, &total)))
        return prof__real.calloc(n, size); /* which refuses it in its own way */
    if (PROF_UNLIKELY(!direct))
        return calloc_indirect(n, size, CALLER);
    if (prof__heap_due(total))
        return calloc_due(n, size, CALLER);
    return prof__real.calloc(n, size);
}

/* Nothing can resize a block of boot.c, so move it. As glibc, a size of 0 frees. */
static void *boot_realloc(void *p, size_t size, const void *caller)
{
    uint64_t before = prof__charges();

    if (size == 0) {
        prof__heap_forget(p);
        return NULL;
    }
    void *moved = prof__charge(prof__real.malloc(size), size, before, caller);
    if (moved) {
        memcpy(moved, p, PROF_MIN(size, prof__boot_size(p)));
        prof__heap_forget(p);
    }
    return moved;
}

static PROF_COLD void *realloc_sampled(void *p, size_t size, const void *caller)
{
    struct prof__site site = prof__site(caller);
    struct prof__live live;
    uint64_t before = prof__charges();

    if (prof__boot_owns(p))
        return boot_realloc(p, size, caller);

    uint64_t interval = direct && prof__heap_due(size) ? prof__charge_claim(size) : 0;
    prof__heap_take(p, &live); /* after the call its address may be another thread's */
    void *q = prof__real.realloc(p, size);
    if (!q && size) {
        int saved = errno;
        prof__heap_put_back(p, &live);
        errno = saved;
        return NULL;
    }
    if (live.row)
        prof__heap_count_free(&live);
    if (!direct)
        return prof__charge(q, size, before, caller);
    if (q && interval)
        prof__heap_sample(q, size, interval, &site);
    return q;
}

static PROF_COLD void *realloc_indirect(void *p, size_t size, const void *caller)
{
    uint64_t before = prof__charges();

    return prof__charge(prof__real.realloc(p, size), size, before, caller);
}

static PROF_COLD void *realloc_due(void *p, size_t size, const void *caller)
{
    DUE(size, caller, prof__real.realloc(p, size));
}

/* Return from realloc(p, size). A macro, so that `caller` is looked at only where it is wanted. */
#define RESIZE(p, size, caller)                                  \
    do {                                                         \
        if (prof__heap_is_marked(p) && prof__heap_is_sampled(p)) \
            return realloc_sampled(p, size, caller);             \
        if (PROF_UNLIKELY(!direct))                              \
            return realloc_indirect(p, size, caller);            \
        if (prof__heap_due(size))                                \
            return realloc_due(p, size, caller);                 \
        return prof__real.realloc(p, size);                      \
    } while (0)

PROF_SHARED void *realloc(void *p, size_t size)
{
    RESIZE(p, size, CALLER);
}

extern __typeof__(realloc) prof__hooks_realloc
    __attribute__((alias(PROF__HOOKS_PREFIX "realloc"), visibility("hidden"), nothrow, leaf));

static inline __attribute__((always_inline)) void *resize(void *p, size_t size, const void *caller)
{
    RESIZE(p, size, caller);
}

void *prof__hooks_reallocarray(void *p, size_t total, const void *caller)
{
    void *q = resize(p, total, caller);

    /* An allocator whose reallocarray() says so may have a realloc() that does not (mimalloc). */
    if (PROF_UNLIKELY(!q && total))
        errno = ENOMEM;
    return q;
}

static bool is_direct(void)
{
    uint64_t before = prof__charges();
    void *p = prof__real.calloc(1, 64), *q = prof__real.realloc(NULL, 64);

    if (p)
        p = prof__real.realloc(p, 1000);
    prof__real.free(p);
    prof__real.free(q);
    return prof__charges() == before;
}

/* --- aligned ---------------------------------------------------------------------------------- */

PROF_SHARED int posix_memalign(void **ret, size_t alignment, size_t size)
{
    uint64_t before = prof__charges();
    int r = prof__real.posix_memalign(ret, alignment, size);

    if (r == 0)
        prof__charge_new(*ret, size, before, CALLER);
    return r;
}

PROF_SHARED void *aligned_alloc(size_t alignment, size_t size)
{
    uint64_t before = prof__charges();

    return prof__charge_new(prof__real.aligned_alloc(alignment, size), size, before, CALLER);
}

PROF_SHARED void *memalign(size_t alignment, size_t size)
{
    uint64_t before = prof__charges();

    return prof__charge_new(prof__real.memalign(alignment, size), size, before, CALLER);
}

PROF_SHARED void *valloc(size_t size)
{
    uint64_t before = prof__charges();

    return prof__charge_new(prof__real.valloc(size), size, before, CALLER);
}

PROF_SHARED void *pvalloc(size_t size)
{
    uint64_t before = prof__charges();

    return prof__charge_new(prof__real.pvalloc(size), size, before, CALLER);
}

/* --- start ------------------------------------------------------------------------------------ */

/* Defined in a process whose malloc belongs to that sanitizer. */
extern void __asan_init(void) __attribute__((weak));
extern void __hwasan_init(void) __attribute__((weak));
extern void __lsan_init(void) __attribute__((weak));
extern void __msan_init(void) __attribute__((weak));
extern void __tsan_init(void) __attribute__((weak));

/* Does an allocation that another library makes come through the hooks? It is not recorded: the
 * program did not ask for it. Not strdup(), of which allocators have one of their own (mimalloc 3),
 * as they may of whatever else is no more than a malloc() and a copy. */
static bool reached(void)
{
    const uint64_t far = UINT64_MAX / 2;
    uint64_t left = prof__self.bytes_left;
    char *text = NULL;

    prof__self.bytes_left = far;
    if (asprintf(&text, "libprof") >= 0)
        prof__hooks_process_free(text); /* free() here would be ours, come what may */
    bool charged = prof__self.bytes_left != far;
    prof__self.bytes_left = left;
    return charged;
}

__attribute__((constructor)) static void start(void)
{
    if (__asan_init || __hwasan_init || __lsan_init || __msan_init || __tsan_init) {
        prof__hooks_aside = true;
        prof__hooks_present(PROF__HOOKS_ASIDE, NULL);
        prof__log("a sanitizer owns malloc in this process; the heap is not profiled");
        return;
    }
    direct = is_direct();
    if (reached()) {
        struct prof__thread *t = &prof__self;
        bool entered = prof__enter(t); /* a look-up that fails allocates its message */

        prof__hooks_present(PROF__HOOKS_HERE, NULL);
        prof__redirect_start();
        if (entered)
            prof__leave(t);
    } else if (*PROF__HOOKS_PREFIX) {
        prof__hooks_present(PROF__HOOKS_WRAPPED, NULL);
    } else {
        char object[256] = "valgrind";

        /* memcheck, DHAT and massif have a malloc that runs in the place of any. */
        if (!prof__in_valgrind())
            prof__redirect_name_of(prof__hooks_process_malloc(), object, sizeof(object));
        prof__hooks_present(PROF__HOOKS_BYPASSED, object);
        prof__log("malloc of this process is that of %s, not libprof's: it comes before it in the "
                  "link order or in LD_PRELOAD, or libprof-hooks was loaded with dlopen; the heap "
                  "is not profiled",
                  object);
    }
    prof__handed_out_prepare();
}
