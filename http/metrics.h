/*
 * metrics.h - /metrics: numbers for Prometheus.
 */
#ifndef PROF_HTTP_METRICS_H
#define PROF_HTTP_METRICS_H

#include <stdint.h>

#include "buffer.h"

#define PROF__METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Write all of them. 0, -ENOMEM, or what a writer of the program's returned. Context: the server's
 * thread, whose processor time is told as our own. */
int prof__metrics_write(struct prof__buffer *out);

/* Requests begun and not yet answered in full. Context: the server's thread. */
void prof__metrics_in_flight(unsigned n);

/* An answer has been made: by which handler (a name of a fixed set, or of a profile), with which
 * status, in how much time, not counting what it was asked to wait. Context: the server's thread.
 */
void prof__metrics_count(const char *handler, unsigned status, uint64_t ns);

/* A connection was ended to make room for another. Context: the server's thread. */
void prof__metrics_displaced(void);

#endif
