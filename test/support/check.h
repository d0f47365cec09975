/*
 * check.h - the few lines a C test needs. A failed check says where and what, and the program goes
 * on; main() ends with `return check_report();`, which prints "N passed, N failed".
 */
#ifndef TEST_CHECK_H
#define TEST_CHECK_H

#include <stdio.h>
#include <string.h>

static int check_passed, check_failed;

#define CHECK(cond, ...)                                                \
    do {                                                                \
        if (cond) {                                                     \
            __atomic_fetch_add(&check_passed, 1, __ATOMIC_RELAXED);     \
        } else {                                                        \
            __atomic_fetch_add(&check_failed, 1, __ATOMIC_RELAXED);     \
            printf("%s:%d: not true: %s: ", __FILE__, __LINE__, #cond); \
            printf("" __VA_ARGS__);                                     \
            printf("\n");                                               \
        }                                                               \
    } while (0)

#define CHECK_INT(got, want, what)                                                    \
    do {                                                                              \
        long long check_g = (long long)(got), check_w = (long long)(want);            \
        CHECK(check_g == check_w, "%s: got %lld, want %lld", what, check_g, check_w); \
    } while (0)

#define CHECK_BETWEEN(got, min, max, what)                                                       \
    do {                                                                                         \
        double check_g = (double)(got);                                                          \
        CHECK(check_g >= (double)(min) && check_g <= (double)(max), "%s: %g is not in [%g, %g]", \
              what, check_g, (double)(min), (double)(max));                                      \
    } while (0)

#define CHECK_STR(got, want, what)                                                          \
    do {                                                                                    \
        const char *check_g = (got), *check_w = (want);                                     \
        CHECK(check_g &&strcmp(check_g, check_w) == 0, "%s: got \"%s\", want \"%s\"", what, \
              check_g ? check_g : "(null)", check_w);                                       \
    } while (0)

static inline int check_report(void)
{
    printf("%d passed, %d failed\n", check_passed, check_failed);
    return check_failed || !check_passed;
}

#endif
