/*
 * write.h - what writing a profile and writing a window share.
 */
#ifndef PROF_PROCESS_WRITE_H
#define PROF_PROCESS_WRITE_H

#include <prof/prof.h>

#include "base/reserve.h"
#include "encode/entered.h"
#include "profile/registry.h"
#include "profile/snapshot.h"

/* The caller's options, as this library knows them. -EINVAL, -E2BIG; the sentence set. */
int prof__write_options_read(const struct prof_write_options *from, struct prof_write_options *ret);

/* What `p` has now, into an empty snapshot. */
int prof__take_snapshot(const struct prof_profile *p, const struct prof_write_options *w,
                        struct prof__snapshot *ret);

/* Write a snapshot, of the window of that length if it is not 0. */
int prof__write_snapshot(const struct prof_profile *p, const struct prof__snapshot *s,
                         int64_t duration_ns, const struct prof_write_options *o,
                         struct prof__claim *claim, struct prof__sink *sink);

/* Windows may hold some times this many bytes together. */
void prof__windows_set_limit(size_t memory_limit);

#endif
