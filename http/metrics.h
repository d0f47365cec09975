/*
 * metrics.h - /metrics: numbers for Prometheus.
 */
#ifndef PROF_HTTP_METRICS_H
#define PROF_HTTP_METRICS_H

#include "buffer.h"

#define PROF__METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Write all of them. 0, -ENOMEM, or what a writer of the program's returned. Context: the server's
 * thread, whose processor time is told as our own. */
int prof__metrics_write(struct prof__buffer *out);

/* An answer has been sent: by which handler (a name of a fixed set, or of a profile), with which
 * status. Context: the server's thread. */
void prof__metrics_count(const char *handler, unsigned status);

#endif
