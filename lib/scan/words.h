/*
 * words.h - the innermost loop of a scan: which of many words could be pointers of interest?
 */
#ifndef PROF_SCAN_WORDS_H
#define PROF_SCAN_WORDS_H

#include "scan/ranges.h"

/* Run `what` for each word[at] of n whose address, a tag in its upper 16 bits left aside, `maybe`
 * says of `set` that it may be in: prof__ranges_maybe or prof__wanted_maybe. */
#define PROF__EACH_POINTER(maybe, set, word, n, what)                        \
    for (size_t at = 0, n_ = (n); at < n_; at++) {                           \
        uint64_t address_ = (word)[at] & PROF__ADDRESS_MASK;                 \
                                                                             \
        if (PROF_UNLIKELY(maybe(set, address_)) &&                           \
            (address_ == (word)[at] || !prof__word_is_number((word)[at]))) { \
            what;                                                            \
        }                                                                    \
    }

#endif
