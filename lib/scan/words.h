/*
 * words.h - the innermost loop of a scan: which of many words could be pointers of interest?
 */
#ifndef PROF_SCAN_WORDS_H
#define PROF_SCAN_WORDS_H

#include "scan/ranges.h"

/* Run `what` for each word[at] of n that may point into a range of *g, a tag in its upper 16 bits
 * left aside. */
#define PROF__EACH_POINTER(g, word, n, what)                                 \
    for (size_t at = 0, n_ = (n); at < n_; at++) {                           \
        uint64_t address_ = (word)[at] & PROF__ADDRESS_MASK;                 \
                                                                             \
        if (PROF_UNLIKELY(prof__ranges_maybe(g, address_)) &&                \
            (address_ == (word)[at] || !prof__word_is_number((word)[at]))) { \
            what;                                                            \
        }                                                                    \
    }

#endif
