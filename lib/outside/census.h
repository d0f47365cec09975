/*
 * census.h - what the heap of another's image is made of: by arena, size, type, holder; and what
 * of it nothing points at.
 *
 *   image -> plan -> heap walk -> glibc's own lists -> types -> rows
 *                                                   -> flood -> leaked chunks, holders
 *
 * A process that is not stopped goes on meanwhile. What of it is a matter of moments is asked for
 * several times, and only what all the looks agree on is told: as in scan.h.
 */
#ifndef PROF_OUTSIDE_CENSUS_H
#define PROF_OUTSIDE_CENSUS_H

#include "outside/glibc.h"
#include "outside/types.h"
#include "scan/paths.h"
#include "scan/roots.h"

/* Blocks of one type and size, held one way. */
struct prof__census_row {
    uint32_t type;
    uint64_t size;   /* of the chunk, header included; 0: of several */
    uint32_t holder; /* a path; 0: not asked for, or not known */
    bool possible;   /* of leaks: what could not be read may hold it */
    bool indirect;   /* of leaks: another leaked block points to it */
    double blocks, bytes;
};

struct prof__census {
    struct prof__image *image;
    struct prof__pace pace;
    struct prof__sweep sweep;
    struct prof__arena arena, pass_arena;
    struct prof__types *types;

    /* Of the last walk: */
    struct prof__plan plan;
    struct prof__heap heap;
    struct prof__targets targets;
    struct prof__glibc glibc;
    uint64_t **storage; /* of each region, two bits a chunk: string, vector */

    struct prof__census_row *row;
    size_t n_rows, room_rows;
    uint32_t *slot;
    size_t n_slots;

    /* With holders: */
    struct prof__paths paths;
    struct prof__roots roots;
    double sampled_bytes; /* one block in so many bytes stands for all of them; 0: all were asked */
    unsigned hidden_regs; /* of waiting threads */
    int passes;
    bool cut; /* of leaks: there were more than are kept */
};

/* `image` stays the caller's. 0 or -ENOMEM; end it also then. */
int prof__census_begin(struct prof__census *c, struct prof__image *image);
void prof__census_end(struct prof__census *c);

/* Walk the heap. 0, or a negative errno, the sentence set: -ENOTSUP, it is not glibc's, and whose
 * it is if that can be told. Clears the rows. */
int prof__census_walk(struct prof__census *c);

/* What is in use, into rows by type and size. After a walk. */
int prof__census_types(struct prof__census *c);

/* The same with the path that holds each: of a sample of blocks. Walks by itself. `passes` looks,
 * which have to agree on the path's outer part. */
int prof__census_holders(struct prof__census *c, int passes, unsigned depth);

/* What nothing in use points at, in `passes` looks, some 300 ms apart. Walks by itself. */
int prof__census_leaks(struct prof__census *c, int passes);

/* Rows of `now` less those of `before`, by type and size: what has grown or shrunk, into `now`. */
int prof__census_subtract(struct prof__census *now, const struct prof__census *before);

/* The holder of a row from the block outwards: the text of each step, up to n. How many. */
size_t prof__census_path(struct prof__census *c, uint32_t holder, const char **ret, size_t n);

#endif
