/*
 * tables.h - what stacks and rows are kept for, and the memory bound that they share.
 */
#ifndef PROF_TABLE_TABLES_H
#define PROF_TABLE_TABLES_H

#include "base/compiler.h"

/*
 * A busy thread has another stack at each sample, to the byte, and no use for it after the profile;
 * the stack of a block in use is wanted for as long as the process lives. So there are three of
 * each, and none takes another's memory. That of CPU profiles is emptied before the next one.
 */
enum prof__store { PROF__STORE_KEPT, PROF__STORE_CPU, PROF__STORE_THREADS, PROF__STORES };

/* Bytes for all; some 45,000 kept stacks of 20 frames. Three quarters are the stacks'. */
#define PROF__TABLES_LIMIT ((size_t)16 << 20)

void prof__stack_table_set_limit(size_t bytes);
void prof__rows_set_limit(size_t bytes);

#endif
