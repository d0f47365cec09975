/*
 * leaks_text.h - leaks and holders as a report that a person reads.
 */
#ifndef PROF_SCAN_LEAKS_TEXT_H
#define PROF_SCAN_LEAKS_TEXT_H

#include "encode/encode.h"

/* 0, -ENOMEM, or what the sink returned. */
int prof__holders_write_text(const struct prof__report *r, struct prof__arena *a,
                             prof_sink_fn *sink, void *arg);
int prof__leaks_write_text(const struct prof__report *r, struct prof__arena *a, prof_sink_fn *sink,
                           void *arg);

#endif
