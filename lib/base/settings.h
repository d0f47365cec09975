/*
 * settings.h - the environment variables LIBPROF_*.
 *
 * Read once, when libprof is loaded: later the environment is the program's to change, in a thread
 * of its own while one of ours would look. With secure_getenv, so a setuid program ignores them
 * all. A value that cannot be understood is reported once to the log and changes nothing; so is a
 * variable LIBPROF_* that nobody knows.
 */
#ifndef PROF_BASE_SETTINGS_H
#define PROF_BASE_SETTINGS_H

#include "base/compiler.h"

/* The numbers, -1 where the variable is unset or malformed. Sizes take the suffixes k, m, g (and
 * KiB, MiB, GiB), powers of 1024; LIBPROF_BLOCK_RATE takes ns, us, ms, s; LIBPROF_CPU_RATE hz. */
struct prof__settings {
    int64_t heap_rate;
    int64_t block_rate;
    int64_t mutex_fraction;
    int64_t cpu_rate;
    int64_t vars;         /* LIBPROF_VARS: 0 or 1 */
    int64_t memory_limit; /* LIBPROF_MEMORY_LIMIT: bytes for stacks and rows */
    int64_t trace_ns;     /* LIBPROF_TRACE: how far back the flight recorder goes */
};

/* As they were when libprof was loaded; or are now, before that. Allocates nothing. `report`: also
 * log what is malformed or unknown, which is for constructors. Context: hook, without `report`. */
void prof__settings_read(struct prof__settings *ret, bool report);

#endif
