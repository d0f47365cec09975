/*
 * tables.h - the memory bound that stacks and rows share.
 */
#ifndef PROF_TABLE_TABLES_H
#define PROF_TABLE_TABLES_H

#include "base/compiler.h"

/* Bytes for both; some 60,000 stacks of 20 frames. Three quarters are the stacks'. */
#define PROF__TABLES_LIMIT ((size_t)16 << 20)

void prof__stack_table_set_limit(size_t bytes);
void prof__rows_set_limit(size_t bytes);

#endif
