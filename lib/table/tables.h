/*
 * tables.h - what stacks and rows are kept for, and the memory bound that they share.
 */
#ifndef PROF_TABLE_TABLES_H
#define PROF_TABLE_TABLES_H

#include "base/arena.h"
#include "base/compiler.h"

/*
 * A busy thread has another stack at each sample, to the byte, and no use for it after the profile;
 * the stack of a block in use is wanted for as long as the process lives. So there are three of
 * each, and none takes another's memory. That of CPU profiles is emptied before the next one.
 */
enum prof__store { PROF__STORE_KEPT, PROF__STORE_CPU, PROF__STORE_THREADS, PROF__STORES };

/* What names a stack or a row: the store, and a reference in its slab. */
enum { PROF__STORE_SHIFT = 28 };
static_assert((uint64_t)PROF__SLAB_CHUNK * PROF__SLAB_CHUNKS / 8 <= 1 << PROF__STORE_SHIFT,
              "references fit");

static inline uint32_t prof__store_ref(uint32_t id)
{
    return id & (((uint32_t)1 << PROF__STORE_SHIFT) - 1);
}

/* Bytes for all; some 45,000 kept stacks of 20 frames. Three quarters are the stacks'. */
#define PROF__TABLES_LIMIT ((size_t)16 << 20)

void prof__stack_table_set_limit(size_t bytes);
void prof__rows_set_limit(size_t bytes);

#endif
