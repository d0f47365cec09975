/*
 * oracle.h - the same stack from libunwind's own local unwinder, for comparison. It locks and
 * allocates, so only where the test knows that it may.
 */
#ifndef TEST_ORACLE_H
#define TEST_ORACLE_H

#define UNW_LOCAL_ONLY
#include <libunwind.h>
#include <stddef.h>
#include <stdint.h>

/* Frames from `cursor` on, as libprof gives them: exact pcs for the innermost frame of a signal
 * context and for frames that a signal interrupted, return address - 1 for others. */
static size_t oracle_walk(unw_cursor_t *cursor, int exact, uintptr_t *pcs, size_t max)
{
    size_t n = 0;
    int r = 1;

    while (r > 0 && n < max) {
        unw_word_t ip;

        if (unw_get_reg(cursor, UNW_REG_IP, &ip) < 0 || ip == 0)
            break;
        pcs[n++] = exact ? ip : ip - 1;
        r = unw_step(cursor);
        exact = unw_is_signal_frame(cursor) > 0; /* libunwind's word for one that was interrupted */
    }
    return n;
}

/* From the caller of the calling function on. */
#define ORACLE_HERE(pcs, max, ret_n)                                  \
    do {                                                              \
        unw_context_t oracle_context;                                 \
        unw_cursor_t oracle_cursor;                                   \
                                                                      \
        unw_set_caching_policy(unw_local_addr_space, UNW_CACHE_NONE); \
        unw_getcontext(&oracle_context);                              \
        unw_init_local(&oracle_cursor, &oracle_context);              \
        unw_step(&oracle_cursor);                                     \
        *(ret_n) = oracle_walk(&oracle_cursor, 0, pcs, max);          \
    } while (0)

/* The stack a signal interrupted. */
static inline size_t oracle_interrupted(void *ucontext, uintptr_t *pcs, size_t max)
{
    unw_cursor_t cursor;

    unw_set_caching_policy(unw_local_addr_space, UNW_CACHE_NONE);
    if (unw_init_local2(&cursor, ucontext, UNW_INIT_SIGNAL_FRAME) < 0)
        return 0;
    return oracle_walk(&cursor, 1, pcs, max);
}

#endif
