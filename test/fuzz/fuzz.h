/*
 * fuzz.h - what every fuzz target defines.
 *
 * With -Dfuzz=true and clang each target is linked with libFuzzer. Always, each is also linked with
 * replay.c, which feeds it the corpus and damaged variants of it: that is the test.
 */
#ifndef TEST_FUZZ_H
#define TEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Abort if what the bytes do to the code under test breaks a promise. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_PROMISE(cond)    \
    do {                      \
        if (!(cond))          \
            __builtin_trap(); \
    } while (0)

#endif
