/*
 * call_number.h - which system call an instruction makes.
 */
#ifndef PROF_RECORD_CALL_NUMBER_H
#define PROF_RECORD_CALL_NUMBER_H

#include "base/compiler.h"

/*
 * The number that the system call instruction at `at` makes, as the code before it says; -1: it
 * does not say, or says two things. Within libc's syscall(), *sp is where it returns to, and the
 * code before that says it; *ret_passed_on tells that it was so. Context: signal.
 */
long prof__call_number(const uint8_t *at, const uint8_t *const *sp, bool *ret_passed_on);

#endif
