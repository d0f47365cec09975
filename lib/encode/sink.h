/*
 * sink.h - where written profiles go: a file descriptor, or a file put in place when complete.
 */
#ifndef PROF_ENCODE_SINK_H
#define PROF_ENCODE_SINK_H

#include <prof/prof.h>

/* A prof_sink_fn; `arg` points to the descriptor. */
int prof__sink_fd(void *arg, const void *data, size_t size);

/* Call write(write_arg, sink, sink_arg) with a sink into a new file beside `path`, and rename it
 * to `path` if that returns 0; else remove it. Sets the error sentence for its own failures. */
int prof__sink_file(const char *path,
                    int (*write)(void *write_arg, prof_sink_fn *sink, void *sink_arg),
                    void *write_arg);

#endif
