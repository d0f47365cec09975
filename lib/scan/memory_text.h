/*
 * memory_text.h - the profile `memory` for people, and as JSON.
 */
#ifndef PROF_SCAN_MEMORY_TEXT_H
#define PROF_SCAN_MEMORY_TEXT_H

#include "encode/encode.h"

/* 0, -ENOMEM, or what the sink returned. */
int prof__memory_write_text(const struct prof__report *r, struct prof__arena *a, prof_sink_fn *sink,
                            void *arg);
int prof__memory_write_json(const struct prof__report *r, struct prof__arena *a, prof_sink_fn *sink,
                            void *arg);

#endif
