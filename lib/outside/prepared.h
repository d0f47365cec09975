/*
 * prepared.h - libprof's own tables, from the core file of a program that had it, or from a process
 * that has it and does not listen. That one may change them meanwhile: each value is of its moment.
 *
 *   root (table/root.h) -> slabs copied into the place of ours -> snapshot -> report
 *
 * References between tables are numbers within slabs, so that copied whole they mean the same here;
 * only what is an address has to be put right. Everything is checked before it is used: a core may
 * have been cut short, or be somebody's joke. A tool that has done this has no profiles of its own
 * any more.
 */
#ifndef PROF_OUTSIDE_PREPARED_H
#define PROF_OUTSIDE_PREPARED_H

#include "encode/encode.h"
#include "image/foreign.h"
#include "symbol/names.h"

struct prof__prepared {
    uint64_t at;      /* of its root; 0: there is no libprof in it */
    bool is_known;    /* this build can read it */
    char version[17]; /* of libprof */
    uint32_t layout;
    uint64_t absent_bytes;         /* of its tables, that could not be read */
    uint8_t build_id[32];          /* of what libprof is in; */
    size_t build_id_bytes;         /* 0: none */
    size_t rows, dropped;          /* rows read; and of these left out, since they made no sense */
    size_t blocks, dropped_blocks; /* sampled blocks in use, likewise */
};

/* Is libprof in it? Of an image that was refreshed. */
void prof__prepared_find(struct prof__image *image, struct prof__prepared *ret);

/* The memory that is libprof's own, so that it is no root of anything: image->own, in `a`. -ENOMEM
 */
int prof__prepared_own(struct prof__image *image, const struct prof__prepared *p,
                       struct prof__arena *a);

/* Put its tables in the place of ours, and let scans look at the image, which is to stay open.
 * Once. 0, or -ENOTSUP: another layout; -ENOMEM; the sentence set. Memory is kept for ever. */
int prof__prepared_adopt(struct prof__image *image, struct prof__prepared *p);

/* What is asked of a profile. */
struct prof__prepared_ask {
    const char *name, *site; /* site: of holders; NULL: all */
    enum prof__names names;
};

/* After that: a profile of theirs. Everything is in `a`. 0, -ENOENT or -ENOMEM, the sentence set.
 */
int prof__prepared_report(struct prof__image *image, const struct prof__prepared *p,
                          const struct prof__prepared_ask *ask, struct prof__arena *a,
                          struct prof__report *ret);

/* The text that leaks and holders have of their own, of their report. -ENOTSUP: others. */
int prof__prepared_text(const char *name, const struct prof__report *r, struct prof__arena *a,
                        prof_sink_fn *sink, void *arg);

/* Name after name of the profiles that can be had, from 0 on; NULL: no more. */
const char *prof__prepared_name(size_t i);

#endif
