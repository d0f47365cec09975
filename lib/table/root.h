/*
 * root.h - where the tables are, for who has only the memory: of a process that has ended.
 *
 * One descriptor in .data, known by its first 16 bytes, which stand nowhere else: found by
 * searching writable data, so that stripped and static programs have it too. It names what the
 * profiles are made of by address. A core file has all of it: .data, and what is mapped by
 * prof__pages_map(), which is never marked MADV_DONTDUMP.
 *
 * Who reads it puts the same tables in the place of its own (lib/outside/prepared.c), and so must
 * know them as they are: PROF__TABLES_ROOT_LAYOUT changes with any of the structs behind it, and
 * root.c's assertions say which these are.
 */
#ifndef PROF_TABLE_ROOT_H
#define PROF_TABLE_ROOT_H

#include "base/chain.h"
#include "table/rows.h"

enum {
    PROF__TABLES_ROOT_LAYOUT = 1,
    PROF__TABLES_ROOT_MAGIC = 16,
    PROF__TABLES_ROOT_SLABS = 2 * PROF__STORES + 1, /* rows, stacks, labels */
    PROF__TABLES_ROOT_PLAIN = 2,
};

struct prof__tables_root {
    char magic[PROF__TABLES_ROOT_MAGIC];
    uint32_t layout, size; /* of this struct */
    char version[16];      /* of libprof */
    struct prof__slab *slab[PROF__TABLES_ROOT_SLABS];
    struct {
        void *at;
        uint64_t size;
    } plain[PROF__TABLES_ROOT_PLAIN]; /* copied as they are */
    _Atomic uint64_t *heap_rate;      /* NULL: too early to tell */
    struct prof__own_pages *own;
    uint64_t n_own;
};

extern struct prof__tables_root prof__tables_root;

/* Its first bytes, made so that they are in no other place of who looks for them. */
void prof__tables_root_magic(char ret[PROF__TABLES_ROOT_MAGIC]);

/* What it names. */
extern struct prof__chains prof__row_stores[PROF__STORES], prof__stack_stores[PROF__STORES];
extern struct prof__chains prof__label_store;
extern struct prof__row prof__lost_rows[PROF__TABLES];
extern _Atomic uint32_t prof__row_counts[PROF__TABLES];

/* Call `each` for all memory that it leads to, itself first. Context: signal. */
void prof__tables_root_each(void (*each)(const void *start, size_t size, void *arg), void *arg);

#endif
