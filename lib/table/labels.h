/*
 * labels.h - sets of labels (key = value), each distinct one stored once and named by a number.
 *
 * A row carries that number, and so does every thread: pushing a label makes a new set out of the
 * current one. A set has at most one value for a key.
 */
#ifndef PROF_TABLE_LABELS_H
#define PROF_TABLE_LABELS_H

#include "base/compiler.h"

/* Longer ones are cut, between characters; more labels than that are not kept. */
enum { PROF__LABEL_KEY_MAX = 128, PROF__LABEL_VALUE_MAX = 512, PROF__LABELS_MAX = 32 };

struct prof__label_pair {
    const char *key, *value; /* never freed */
};

/* The labels of a set, by key; fills at most `max` and returns how many. Set 0 has none.
 * Context: any. */
size_t prof__labels_get(uint32_t set, struct prof__label_pair *ret, size_t max);

/* Is that a set all of whose parts are there? Of tables from elsewhere (root.h). */
bool prof__labels_are_sane(uint32_t set);

/* Let the calling thread, a new one, start with a set: its creator's. Context: normal. */
void prof__labels_inherit(uint32_t set);

/* Values that could not be kept, and are shown as "[other]". Context: any. */
uint64_t prof__labels_lost(void);

#endif
