/*
 * encode.h - a timeline laid out for its readers.
 */
#ifndef PROF_TRACE_ENCODE_H
#define PROF_TRACE_ENCODE_H

#include "trace/stacks.h"
#include "trace/timeline.h"

/* Perfetto's trace format, in pieces of some KiB. -ENOMEM, or what the sink returned. */
int prof__encode_perfetto(const struct prof__timeline *t, const struct prof__trace_stacks *s,
                          struct prof__arena *a, prof_sink_fn *sink, void *arg);

/* Chrome's "Trace Event Format", a JSON object; without stacks. */
int prof__encode_chrome(const struct prof__timeline *t, struct prof__arena *a, prof_sink_fn *sink,
                        void *arg);

/* A profile of it, as gzipped pprof: "sync", "sched", "io" or "region". -EINVAL: none of these. */
int prof__encode_trace_as(const struct prof__timeline *t, const char *as, bool no_symbols,
                          struct prof__arena *a, prof_sink_fn *sink, void *arg);

/* "thread 123", or its name; into buf. */
enum { PROF__TRACK_NAME_SIZE = 96 };
const char *prof__track_name(const struct prof__timeline *t, uint32_t track,
                             char buf[PROF__TRACK_NAME_SIZE]);

/* The same with its number, since names are often the same: "worker 123". */
const char *prof__track_who(const struct prof__timeline *t, uint32_t track,
                            char buf[PROF__TRACK_NAME_SIZE]);

/* How a wait ended, in a word. */
const char *prof__wait_end_name(const struct prof__item *i);

/* What a system call that is over came to. */
const char *prof__io_result(const struct prof__item *i, char buf[PROF__TRACK_NAME_SIZE]);

#endif
