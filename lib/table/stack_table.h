/*
 * stack_table.h - each distinct call stack stored once and named by a 32-bit id.
 */
#ifndef PROF_TABLE_STACK_TABLE_H
#define PROF_TABLE_STACK_TABLE_H

#include "base/compiler.h"
#include "table/tables.h"

typedef uint32_t prof__stack_id; /* 0 is none */

/* A stack, never moved or freed. */
struct prof__stack {
    uint32_t next; /* in its hash chain */
    uint32_t hash;
    uint32_t n;
    uintptr_t pcs[]; /* leaf first, addresses as stack.h gives them, marked (eras.h) */
};

/* Mark the addresses pcs[0..n), n >= 1, and keep them. When memory is out or the cap is reached,
 * the id of the one-frame stack PROF__PC_LOST, so that no sample is dropped. Takes no lock.
 * Context: signal. */
prof__stack_id prof__stack_table_add(enum prof__store store, uintptr_t *pcs, size_t n);

/* Forget the stacks of a store. Nobody has an id of one, or is adding. */
void prof__stack_table_empty(enum prof__store store);

/* Any context. */
const struct prof__stack *prof__stack_table_get(prof__stack_id id);

/* Stacks held, and samples whose stack could not be kept. Context: signal. */
size_t prof__stack_table_count(void);
uint64_t prof__stack_table_lost(void);

#endif
