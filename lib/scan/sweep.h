/*
 * sweep.h - reading stretches of an image, and only what is there to be read.
 */
#ifndef PROF_SCAN_SWEEP_H
#define PROF_SCAN_SWEEP_H

#include "image/image.h"
#include "scan/pace.h"

enum { PROF__SWEEP_BYTES = 128 * 1024 };

struct prof__sweep {
    struct prof__image *image;
    struct prof__pace *pace;
    bool swap;     /* read swapped pages too, which brings them in */
    uint64_t *buf; /* PROF__SWEEP_BYTES */

    /* Of what has been asked for so far: */
    uint64_t read_bytes, swapped_pages, lost_bytes; /* lost: gone, or refused, meanwhile */
};

/* Some words, n of them, that are at `address` of the image. */
typedef void prof__sweep_fn(void *arg, uint64_t address, const uint64_t *word, size_t n);

/* Give the words of [start, end), both multiples of 8, to `each`, in pieces, by rising address; of
 * pages that were never written there are none. 0 or -ECANCELED. */
int prof__sweep(struct prof__sweep *s, uint64_t start, uint64_t end, prof__sweep_fn *each,
                void *arg);

/* The same of a block that is in use: if it is not large its pages are not asked for one by one, as
 * nearly all of them are there, unless some memory of the process is swapped out. */
int prof__sweep_block(struct prof__sweep *s, uint64_t start, uint64_t end, prof__sweep_fn *each,
                      void *arg);

#endif
