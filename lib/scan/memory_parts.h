/*
 * memory_parts.h - the table that memory.c sums up in; memory_parts.c.
 */
#ifndef PROF_SCAN_MEMORY_PARTS_H
#define PROF_SCAN_MEMORY_PARTS_H

#include "scan/memory.h"

/* The part of a kind, a name and a row (0: of nobody's), which is added if it is not there; good
 * until the next. The name is copied. With PROF__MEMORY_PARTS of them: "[others]" of the kind.
 * NULL: out of memory. */
struct prof__memory_part *prof__memory_part_of(struct prof__memory *m, enum prof__memory_kind kind,
                                               const char *name, uint32_t row);

#endif
