/*
 * pagemap.h - which pages of a process are in memory, from /proc/PID/pagemap.
 */
#ifndef PROF_IMAGE_PAGEMAP_H
#define PROF_IMAGE_PAGEMAP_H

#include "image/image.h"

enum { PROF__PAGEMAP_ENTRIES = 4096 };

/* A piece of the page table, as it was read last. */
struct prof__pagemap {
    uint64_t from; /* page boundary; what the entries below are of */
    size_t n;      /* 0: forget it */
    uint64_t entry[PROF__PAGEMAP_ENTRIES];
};

/* Of n pages from a page boundary on: enum prof__page_state of each. How many could be told: fewer
 * where the file cannot be read. Opens the file for a moment; errno is kept. */
size_t prof__pagemap_read(struct prof__pagemap *p, const char *file, uint64_t from, size_t n,
                          uint8_t *ret_state);

#endif
