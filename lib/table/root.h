/*
 * root.h - where the tables are, for who has only the memory: of a process that has ended, or does
 * not answer.
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
#include "table/live_table.h"
#include "table/rows.h"

enum {
    PROF__TABLES_ROOT_LAYOUT = 2,
    PROF__TABLES_ROOT_MAGIC = 16,
    PROF__TABLES_ROOT_SLABS = 2 * PROF__STORES + 1, /* rows, stacks, labels */
    PROF__TABLES_ROOT_PLAIN = 2,
    PROF__TABLES_ROOT_BUILD_ID = 32,
    PROF__TABLES_ROOT_CUSTOMS = PROF__TABLES - PROF__TABLE_CUSTOM,
    PROF__TOLD_ROOTS = 256,
    PROF__TOLD_IGNORED = 4096,
};

/* Told by the program: a region to be looked at as a root. */
struct prof__named_root {
    uint64_t start, end;
};

/* What scan/named.c, which has the lock, keeps of what was told. */
struct prof__told {
    uint64_t n_roots, n_ignored;
    uint64_t *ignored; /* of our own pages: it must not hold what it names. NULL: none yet */
    struct prof__named_root root[PROF__TOLD_ROOTS];
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
    uint64_t build_id_bytes; /* of what libprof is in; 0: it has none, or it is too early to tell */
    uint8_t build_id[PROF__TABLES_ROOT_BUILD_ID];
    _Atomic(struct prof__live_segment *) *live;
    const char **custom; /* names of the custom profiles, by table; NULL: no more */
    struct prof__told *told;
};

extern struct prof__tables_root prof__tables_root;

/* Its first bytes, made so that they are in no other place of who looks for them. */
void prof__tables_root_magic(char ret[PROF__TABLES_ROOT_MAGIC]);

/* What it names. */
extern struct prof__chains prof__row_stores[PROF__STORES], prof__stack_stores[PROF__STORES];
extern struct prof__chains prof__label_store;
extern struct prof__row prof__lost_rows[PROF__TABLES];
extern _Atomic uint32_t prof__row_counts[PROF__TABLES];
extern const char *prof__custom_names[PROF__TABLES_ROOT_CUSTOMS]; /* profile/custom.c's */
extern struct prof__told prof__told;

/* Call `each` for all memory that it leads to, itself first. Context: signal. */
void prof__tables_root_each(void (*each)(const void *start, size_t size, void *arg), void *arg);

#endif
