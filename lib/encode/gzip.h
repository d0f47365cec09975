/*
 * gzip.h - a zlib stream into a sink, in one pass and constant memory.
 */
#ifndef PROF_ENCODE_GZIP_H
#define PROF_ENCODE_GZIP_H

#include <prof/prof.h>

#include "base/arena.h"

struct prof__gzip;

/* State lives in `a`. -ENOMEM. */
int prof__gzip_open(struct prof__arena *a, prof_sink_fn *sink, void *arg,
                    struct prof__gzip **ret_gzip);

/* 0, or what the sink returned. */
int prof__gzip_write(struct prof__gzip *z, const void *data, size_t size);

/* The same as a prof_sink_fn; `gzip` is a struct prof__gzip. */
int prof__gzip_sink(void *gzip, const void *data, size_t size);

/* Flush and end the stream; releases zlib's state also on error. NULL is allowed. */
int prof__gzip_close(struct prof__gzip *z);

#endif
