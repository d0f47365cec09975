/*
 * metrics.h - /metrics: numbers for Prometheus.
 */
#ifndef PROF_HTTP_METRICS_H
#define PROF_HTTP_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "buffer.h"

#define PROF__METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/*
 * All calls may come from any number of threads: those of a program's own daemon, and of a server
 * that was stopped and is not done yet beside the next one.
 */

/* Write all of them. 0, -ENOMEM, -EAGAIN: a writer of the program's is at work for somebody else,
 * or what it returned. In a thread that is ours its processor time is told as our own. */
int prof__metrics_write(struct prof__buffer *out, bool thread_is_ours);

/* So many more requests, or less, that are begun and not yet answered in full. */
void prof__metrics_in_flight(int change);

/* An answer has been made: by which handler (a name of a fixed set, or of a profile), with which
 * status, in how much time, not counting what it was asked to wait. */
void prof__metrics_count(const char *handler, unsigned status, uint64_t ns);

/* A connection was ended to make room for another. */
void prof__metrics_displaced(void);

/* In a forked child: nothing is under way here. */
void prof__metrics_forked(void);

#endif
