/*
 * rows.h - (profile, stack, labels, size class) -> up to four counters that only grow.
 *
 * The one table behind every profile. A row is found or made without a lock, lives for ever, and
 * is added to with plain atomic additions.
 */
#ifndef PROF_TABLE_ROWS_H
#define PROF_TABLE_ROWS_H

#include "base/compiler.h"
#include "table/stack_table.h"

/* Whose rows. Custom profiles take numbers from PROF__TABLE_CUSTOM up. */
enum prof__table {
    PROF__TABLE_HEAP,
    PROF__TABLE_CPU,
    PROF__TABLE_MUTEX,
    PROF__TABLE_BLOCK,
    PROF__TABLE_THREADCREATE,
    PROF__TABLE_THREADS, /* rows without values: names for pairs of stack and labels */
    PROF__TABLE_MMAP,
    PROF__TABLE_CUSTOM = 16,
    PROF__TABLES = 256,
};

enum { PROF__ROW_VALUES = 4 };

struct prof__row {
    uint32_t next; /* in its hash chain */
    uint8_t table;
    _Atomic uint8_t full;         /* a bit for each value that has passed 2^64 and begun anew */
    uint16_t size_class;          /* prof__size_class(); 0 where sizes mean nothing */
    _Atomic prof__stack_id stack; /* 0: not complete */
    uint32_t labels;
    uint64_t size; /* of the first block; the others are of its class. Never changes */
    _Atomic uint64_t value[PROF__ROW_VALUES];
};

/* Note that a value has passed the end of its range. */
PROF_COLD void prof__row_is_full(struct prof__row *row, unsigned value);

/*
 * Add to a value. It may pass the end of its range, which a busy row does in a year: the difference
 * of two moments is right all the same, and of the whole it is known that it is too large to tell.
 * Release: additions are seen in the order in which they are made; pairs with snapshot.c.
 * Context: signal.
 */
static inline __attribute__((always_inline)) void prof__row_add(struct prof__row *row,
                                                                unsigned value, uint64_t n)
{
    uint64_t before = atomic_fetch_add_explicit(&row->value[value], n, memory_order_release);

    if (PROF_UNLIKELY(before + n < before))
        prof__row_is_full(row, value);
}

/*
 * Reference of the row for blocks of the class of `size` (0 where sizes mean nothing), made if need
 * be. When memory is out or the cap is reached, that of the table's own row [lost: table full]; 0
 * only if even that could not be made. Context: signal.
 */
uint32_t prof__rows_get(unsigned table, prof__stack_id stack, uint32_t labels, uint64_t size);

/* Context: signal. */
struct prof__row *prof__rows_at(uint32_t ref);

/* Is it the row of what could not be kept? */
bool prof__rows_is_lost(uint32_t ref);

/* Call `each` for every row of `table`, by rising reference. Rows made meanwhile may be missed. A
 * non-zero return stops and is returned. */
int prof__rows_each(unsigned table,
                    int (*each)(uint32_t ref, const struct prof__row *row, void *arg), void *arg);

size_t prof__rows_count(unsigned table);

/* Forget the rows of CPU profiles. Nobody has a reference to one, or is adding. What a value of
 * them came to in all such rows stays known. */
void prof__rows_empty_cpu(void);
uint64_t prof__rows_emptied(unsigned table, unsigned value);

/* Samples whose row could not be kept, and values that have passed the end of their range.
 * Context: signal. */
uint64_t prof__rows_lost(void);
uint64_t prof__rows_full(void);

/* Eight classes per doubling; every size up to 16 has its own. At least 1. Context: signal. */
unsigned prof__size_class(uint64_t size);

#endif
