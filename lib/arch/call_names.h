/*
 * call_names.h - what this processor's system calls are called.
 */
#ifndef PROF_ARCH_CALL_NAMES_H
#define PROF_ARCH_CALL_NAMES_H

/* "futex"; NULL: none that was known when libprof was built. Context: any. */
const char *prof__call_name(long number);

#endif
