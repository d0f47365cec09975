/*
 * compiler.h - attributes and small macros; GCC and clang only.
 */
#ifndef PROF_BASE_COMPILER_H
#define PROF_BASE_COMPILER_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROF_LIKELY(x)    __builtin_expect(!!(x), 1)
#define PROF_UNLIKELY(x)  __builtin_expect(!!(x), 0)
#define PROF_COLD         __attribute__((cold, noinline))
#define PROF_APART        __attribute__((noinline)) /* its frame is not always there */
#define PROF_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Seen by libprof-hooks (version node LIBPROF_PRIVATE_...), never by programs. */
#define PROF_SHARED __attribute__((visibility("default")))

/* Of a variable in a header: it is this library's own, so its address is known. Without it code for
 * shared libraries asks a table; of a function that makes no difference. */
#define PROF_HIDDEN __attribute__((visibility("hidden")))

/* Code that reads stacks and other memory the sanitizers do not know to be ours. */
#define PROF_NO_SANITIZE \
    __attribute__((no_sanitize("address"), no_sanitize("thread"), no_sanitize("undefined")))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define PROF_MIN(a, b) ((a) < (b) ? (a) : (b))
#define PROF_MAX(a, b) ((a) > (b) ? (a) : (b))

/* a + b, stopping at the ends of int64_t. */
static inline int64_t prof__add_saturate(int64_t a, int64_t b)
{
    int64_t sum;

    if (__builtin_add_overflow(a, b, &sum))
        return b < 0 ? INT64_MIN : INT64_MAX;
    return sum;
}

#endif
