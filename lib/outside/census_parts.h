/*
 * census_parts.h - what the two floods of a census are made with.
 */
#ifndef PROF_OUTSIDE_CENSUS_PARTS_H
#define PROF_OUTSIDE_CENSUS_PARTS_H

#include "outside/census.h"

enum { PROF__CENSUS_INTERVAL_NS = 300 * 1000 * 1000 }; /* between two looks */

/* The image as it is now: walk the heap, into c->pass_arena, which begins anew. 0, or a negative
 * errno. The rows stay. */
int prof__census_look(struct prof__census *c);

/* Find the blocks that are storage of strings and of vectors. After a look. 0 or -ENOMEM. */
int prof__census_storage(struct prof__census *c);

/* Find storage; then call `each` for each chunk in use, by rising address, until it gives other
 * than 0, which is given back. */
typedef int prof__census_each_fn(struct prof__census *c, uint32_t type,
                                 const struct prof__chunk *chunk, void *arg);
int prof__census_each_used(struct prof__census *c, prof__census_each_fn *each, void *arg);

/* The type of one chunk, once storage has been found. */
uint32_t prof__census_type_of(struct prof__census *c, uint32_t region, uint64_t start,
                              uint64_t end);

/* Add to the row that `key` names. 0 or -ENOMEM. */
int prof__census_count(struct prof__census *c, struct prof__census_row key, double blocks,
                       double bytes);
void prof__census_clear(struct prof__census *c);

/* Sizes of large blocks are told by class: the size, or the next lower one that has a row. */
uint64_t prof__census_size_class(uint64_t size);

/* `r`, with a sentence where no part has set one. */
int prof__census_error(int r);

#endif
