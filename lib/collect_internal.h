/*
 * collect_internal.h - what prof.c asks of the recording half: rates and counts.
 */
#ifndef PROF_COLLECT_INTERNAL_H
#define PROF_COLLECT_INTERNAL_H

#include "base/compiler.h"

/* The heap interval now in force; 0 is off. Context: signal. */
uint64_t prof__heap_rate(void);

/* Set it; returns the previous one. */
uint64_t prof__heap_rate_set(uint64_t interval);

/* Live blocks not remembered for want of memory; prof_heap_free() of blocks that were not there,
 * which only shows at rate 1. */
uint64_t prof__heap_lost(void);
uint64_t prof__heap_foreign_frees(void);

#endif
