/*
 * own_doors.c - blocks that come and go by an allocator's own doors.
 *
 * These hooks are not exported: a program may ask by a weak mallocx() which allocator it has, and
 * an operator new of ours would come before the one that a library brings along. They stand only
 * in the words through which objects call the functions of an allocator that is there (redirect.c),
 * and call those.
 *
 * A row of the table is a door: its parameters are words in registers, and as many are passed on as
 * the longest has. What its row says of the block is where its size, its old address and the
 * address of the new one are. Operators throw through us: nothing is to be undone then.
 *
 * Not here: what only asks or makes no block (nallocx, sallocx, mi_usable_size), what gives whole
 * heaps back (mi_heap_destroy), whose blocks stay recorded until their addresses come round again,
 * rarities of mimalloc's (mi_realpath, mi_wcsdup, reallocarr), and doors with a prefix of
 * somebody's own (je_malloc).
 *
 * Order as in hook_malloc.c. Context: hook.
 */
#include "hooks/own_doors.h"

#include <errno.h>
#include <string.h>

#include "hooks/boot.h"
#include "hooks/charge.h"

#define CALLER __builtin_return_address(0)

typedef uintptr_t word;
#define PARAMETERS word a, word b, word c, word d, word e, word f
#define ARGUMENTS  a, b, c, d, e, f
typedef word door_fn(PARAMETERS);

/* Of a product that overflows no block is made, so what it comes to is not used. */
static inline word times(word n, word size)
{
    word total;

    return __builtin_mul_overflow(n, size, &total) ? UINTPTR_MAX : total;
}

/*
 *   MAKE(name, size)              returns a block
 *   MAKE_OUT(name, out, size)     stores its address at `out`, and returns 0
 *   RESIZE(name, old, size, end)  returns a block in place of `old`; after NULL `old` lives, as
 *                                 `end` says: but for a size of 0 (NOTHING), in no case (FAILURE),
 *                                 always (NEVER)
 *   DROP(name, p)                 takes a block back
 */
enum end { NOTHING, FAILURE, NEVER };

/* C++'s operators, with size_t as unsigned long, and what some systems have in libc. An allocator's
 * own strdup() does not come by the hook of malloc(), as libc's does. */
#define COMMON(MAKE, MAKE_OUT, RESIZE, DROP)     \
    MAKE(strdup, strlen((const char *)p) + 1)    \
    MAKE(strndup, strlen((const char *)p) + 1)   \
    RESIZE(reallocf, a, b, FAILURE)              \
    DROP(cfree, a)                               \
    DROP(vfree, a)                               \
    MAKE(_Znwm, a)                               \
    MAKE(_Znam, a)                               \
    MAKE(_ZnwmRKSt9nothrow_t, a)                 \
    MAKE(_ZnamRKSt9nothrow_t, a)                 \
    MAKE(_ZnwmSt11align_val_t, a)                \
    MAKE(_ZnamSt11align_val_t, a)                \
    MAKE(_ZnwmSt11align_val_tRKSt9nothrow_t, a)  \
    MAKE(_ZnamSt11align_val_tRKSt9nothrow_t, a)  \
    DROP(_ZdlPv, a)                              \
    DROP(_ZdaPv, a)                              \
    DROP(_ZdlPvm, a)                             \
    DROP(_ZdaPvm, a)                             \
    DROP(_ZdlPvRKSt9nothrow_t, a)                \
    DROP(_ZdaPvRKSt9nothrow_t, a)                \
    DROP(_ZdlPvSt11align_val_t, a)               \
    DROP(_ZdaPvSt11align_val_t, a)               \
    DROP(_ZdlPvmSt11align_val_t, a)              \
    DROP(_ZdaPvmSt11align_val_t, a)              \
    DROP(_ZdlPvSt11align_val_tRKSt9nothrow_t, a) \
    DROP(_ZdaPvSt11align_val_tRKSt9nothrow_t, a)

#define JEMALLOC(MAKE, MAKE_OUT, RESIZE, DROP) \
    MAKE(mallocx, a)                           \
    RESIZE(rallocx, a, b, NOTHING)             \
    DROP(dallocx, a)                           \
    DROP(sdallocx, a)

#define TCMALLOC(MAKE, MAKE_OUT, RESIZE, DROP) \
    MAKE(tc_malloc, a)                         \
    MAKE(tc_malloc_skip_new_handler, a)        \
    MAKE(tc_calloc, times(a, b))               \
    MAKE(tc_memalign, b)                       \
    MAKE(tc_valloc, a)                         \
    MAKE(tc_pvalloc, a)                        \
    MAKE(tc_new, a)                            \
    MAKE(tc_newarray, a)                       \
    MAKE(tc_new_nothrow, a)                    \
    MAKE(tc_newarray_nothrow, a)               \
    MAKE(tc_new_aligned, a)                    \
    MAKE(tc_newarray_aligned, a)               \
    MAKE(tc_new_aligned_nothrow, a)            \
    MAKE(tc_newarray_aligned_nothrow, a)       \
    MAKE_OUT(tc_posix_memalign, a, c)          \
    RESIZE(tc_realloc, a, b, NOTHING)          \
    DROP(tc_free, a)                           \
    DROP(tc_cfree, a)                          \
    DROP(tc_free_sized, a)                     \
    DROP(tc_delete, a)                         \
    DROP(tc_delete_sized, a)                   \
    DROP(tc_delete_nothrow, a)                 \
    DROP(tc_delete_aligned, a)                 \
    DROP(tc_delete_sized_aligned, a)           \
    DROP(tc_delete_aligned_nothrow, a)         \
    DROP(tc_deletearray, a)                    \
    DROP(tc_deletearray_sized, a)              \
    DROP(tc_deletearray_nothrow, a)            \
    DROP(tc_deletearray_aligned, a)            \
    DROP(tc_deletearray_sized_aligned, a)      \
    DROP(tc_deletearray_aligned_nothrow, a)

/* As mi_heap_X(heap, ...) is X(...) with one parameter more in front. */
#define MIMALLOC(MAKE, MAKE_OUT, RESIZE, DROP)                   \
    MAKE(mi_malloc, a)                                           \
    MAKE(mi_malloc_small, a)                                     \
    MAKE(mi_malloc_aligned, a)                                   \
    MAKE(mi_malloc_aligned_at, a)                                \
    MAKE(mi_zalloc, a)                                           \
    MAKE(mi_zalloc_small, a)                                     \
    MAKE(mi_zalloc_aligned, a)                                   \
    MAKE(mi_zalloc_aligned_at, a)                                \
    MAKE(mi_calloc, times(a, b))                                 \
    MAKE(mi_calloc_aligned, times(a, b))                         \
    MAKE(mi_calloc_aligned_at, times(a, b))                      \
    MAKE(mi_mallocn, times(a, b))                                \
    MAKE(mi_memalign, b)                                         \
    MAKE(mi_aligned_alloc, b)                                    \
    MAKE(mi_valloc, a)                                           \
    MAKE(mi_pvalloc, a)                                          \
    MAKE(mi_new, a)                                              \
    MAKE(mi_new_n, times(a, b))                                  \
    MAKE(mi_new_nothrow, a)                                      \
    MAKE(mi_new_aligned, a)                                      \
    MAKE(mi_new_aligned_nothrow, a)                              \
    MAKE(mi_heap_malloc, b)                                      \
    MAKE(mi_heap_malloc_small, b)                                \
    MAKE(mi_heap_malloc_aligned, b)                              \
    MAKE(mi_heap_malloc_aligned_at, b)                           \
    MAKE(mi_heap_zalloc, b)                                      \
    MAKE(mi_heap_zalloc_aligned, b)                              \
    MAKE(mi_heap_zalloc_aligned_at, b)                           \
    MAKE(mi_heap_calloc, times(b, c))                            \
    MAKE(mi_heap_calloc_aligned, times(b, c))                    \
    MAKE(mi_heap_calloc_aligned_at, times(b, c))                 \
    MAKE(mi_heap_mallocn, times(b, c))                           \
    MAKE(mi_heap_alloc_new, b)                                   \
    MAKE(mi_heap_alloc_new_n, times(b, c))                       \
    MAKE(mi_strdup, strlen((const char *)p) + 1)                 \
    MAKE(mi_strndup, strlen((const char *)p) + 1)                \
    MAKE(mi_heap_strdup, strlen((const char *)p) + 1)            \
    MAKE(mi_heap_strndup, strlen((const char *)p) + 1)           \
    MAKE_OUT(mi_posix_memalign, a, c)                            \
    RESIZE(mi_expand, a, b, NEVER)                               \
    RESIZE(mi_realloc, a, b, NOTHING)                            \
    RESIZE(mi_realloc_aligned, a, b, NOTHING)                    \
    RESIZE(mi_realloc_aligned_at, a, b, NOTHING)                 \
    RESIZE(mi_rezalloc, a, b, NOTHING)                           \
    RESIZE(mi_rezalloc_aligned, a, b, NOTHING)                   \
    RESIZE(mi_rezalloc_aligned_at, a, b, NOTHING)                \
    RESIZE(mi_recalloc, a, times(b, c), NOTHING)                 \
    RESIZE(mi_recalloc_aligned, a, times(b, c), NOTHING)         \
    RESIZE(mi_recalloc_aligned_at, a, times(b, c), NOTHING)      \
    RESIZE(mi_reallocn, a, times(b, c), NOTHING)                 \
    RESIZE(mi_reallocarray, a, times(b, c), NOTHING)             \
    RESIZE(mi_reallocf, a, b, FAILURE)                           \
    RESIZE(mi_new_realloc, a, b, NOTHING)                        \
    RESIZE(mi_new_reallocn, a, times(b, c), NOTHING)             \
    RESIZE(mi_heap_realloc, b, c, NOTHING)                       \
    RESIZE(mi_heap_realloc_aligned, b, c, NOTHING)               \
    RESIZE(mi_heap_realloc_aligned_at, b, c, NOTHING)            \
    RESIZE(mi_heap_rezalloc, b, c, NOTHING)                      \
    RESIZE(mi_heap_rezalloc_aligned, b, c, NOTHING)              \
    RESIZE(mi_heap_rezalloc_aligned_at, b, c, NOTHING)           \
    RESIZE(mi_heap_recalloc, b, times(c, d), NOTHING)            \
    RESIZE(mi_heap_recalloc_aligned, b, times(c, d), NOTHING)    \
    RESIZE(mi_heap_recalloc_aligned_at, b, times(c, d), NOTHING) \
    RESIZE(mi_heap_reallocn, b, times(c, d), NOTHING)            \
    RESIZE(mi_heap_reallocf, b, c, FAILURE)                      \
    DROP(mi_free, a)                                             \
    DROP(mi_free_size, a)                                        \
    DROP(mi_free_size_aligned, a)                                \
    DROP(mi_free_aligned, a)                                     \
    DROP(mi_cfree, a)

/* xallocx() resizes in place and tells what has come of it. */
static door_fn *real_xallocx;

/* --- what each kind does ---------------------------------------------------------------------- */

static inline bool may_be_sampled(word p)
{
    return prof__heap_is_marked((const void *)p) && prof__heap_is_sampled((const void *)p);
}

static PROF_COLD void forget(word p)
{
    prof__heap_forget((const void *)p);
}

/* After a call that was to resize a sampled block. */
static PROF_COLD void settle(word old, const struct prof__live *live, bool lives)
{
    int saved = errno;

    if (lives)
        prof__heap_put_back((const void *)old, live);
    else
        prof__heap_count_free(live);
    errno = saved;
}

static inline bool lives_on(word p, word size, enum end end)
{
    return !p && (end == NEVER || (end == NOTHING && size));
}

#define HOOK_MAKE(name, size)                                    \
    static door_fn *real_##name;                                 \
    static word hook_##name(PARAMETERS)                          \
    {                                                            \
        uint64_t before = prof__charges();                       \
        word p = real_##name(ARGUMENTS);                         \
                                                                 \
        if (p)                                                   \
            prof__charge_new((void *)p, (size), before, CALLER); \
        return p;                                                \
    }

#define HOOK_MAKE_OUT(name, out, size)                                 \
    static door_fn *real_##name;                                       \
    static word hook_##name(PARAMETERS)                                \
    {                                                                  \
        uint64_t before = prof__charges();                             \
        word r = real_##name(ARGUMENTS);                               \
                                                                       \
        if ((int)r == 0)                                               \
            prof__charge_new(*(void **)(out), (size), before, CALLER); \
        return r;                                                      \
    }

#define HOOK_RESIZE(name, old, size, end)                                \
    static door_fn *real_##name;                                         \
    static word hook_##name(PARAMETERS)                                  \
    {                                                                    \
        struct prof__live live = { 0 };                                  \
                                                                         \
        if (may_be_sampled(old)) {                                       \
            if (prof__boot_owns((void *)(old)))                          \
                return (word)prof__hooks_realloc((void *)(old), (size)); \
            prof__heap_take((void *)(old), &live);                       \
        }                                                                \
        uint64_t before = prof__charges();                               \
        word p = real_##name(ARGUMENTS);                                 \
                                                                         \
        if (PROF_UNLIKELY(live.row))                                     \
            settle((old), &live, lives_on(p, (size), (end)));            \
        if (p == (old))                                                  \
            prof__charge((void *)p, (size), before, CALLER);             \
        else if (p)                                                      \
            prof__charge_new((void *)p, (size), before, CALLER);         \
        return p;                                                        \
    }

#define HOOK_DROP(name, p)                    \
    static door_fn *real_##name;              \
    static word hook_##name(PARAMETERS)       \
    {                                         \
        if (may_be_sampled(p)) {              \
            forget(p);                        \
            if (prof__boot_owns((void *)(p))) \
                return 0;                     \
        }                                     \
        return real_##name(ARGUMENTS);        \
    }

/* clang-format off */
COMMON(HOOK_MAKE, HOOK_MAKE_OUT, HOOK_RESIZE, HOOK_DROP)
JEMALLOC(HOOK_MAKE, HOOK_MAKE_OUT, HOOK_RESIZE, HOOK_DROP)
TCMALLOC(HOOK_MAKE, HOOK_MAKE_OUT, HOOK_RESIZE, HOOK_DROP)
MIMALLOC(HOOK_MAKE, HOOK_MAKE_OUT, HOOK_RESIZE, HOOK_DROP)
/* clang-format on */

static word hook_xallocx(PARAMETERS)
{
    struct prof__live live = { 0 };
    word p = a, size = b;

    if (may_be_sampled(p)) {
        if (prof__boot_owns((void *)p))
            return prof__boot_size((void *)p); /* as it was */
        prof__heap_take((void *)p, &live);
    }
    uint64_t before = prof__charges();
    word has = real_xallocx(ARGUMENTS);

    if (PROF_UNLIKELY(live.row))
        settle(p, &live, has < size);
    if (has >= size)
        prof__charge((void *)p, size, before, CALLER);
    return has;
}

/* clang-format off */
#define DOOR(name, ...) { #name, (void *)(uintptr_t)hook_##name, (void **)&real_##name },

const struct prof__own_door prof__own_doors[] = {
    COMMON(DOOR, DOOR, DOOR, DOOR)
    JEMALLOC(DOOR, DOOR, DOOR, DOOR)
    TCMALLOC(DOOR, DOOR, DOOR, DOOR)
    MIMALLOC(DOOR, DOOR, DOOR, DOOR)
    DOOR(xallocx, a)
};
/* clang-format on */
const size_t prof__n_own_doors = ARRAY_LEN(prof__own_doors);

static_assert(ARRAY_LEN(prof__own_doors) <= PROF__OWN_DOORS_MAX, "room for what is known of each");
