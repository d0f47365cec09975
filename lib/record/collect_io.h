/*
 * collect_io.h - system calls that take their time, for traces that want them: what hooks tell.
 *
 * Context: hook, signal. errno is kept.
 */
#ifndef PROF_RECORD_COLLECT_IO_H
#define PROF_RECORD_COLLECT_IO_H

#include "base/compiler.h"
#include "table/io_calls.h"
#include "table/trace_ring.h"

/* A call that is under way, in the frame of the hook. */
struct prof__io {
    const void *caller;            /* return address of the hook */
    uint64_t since;                /* trace_clock.h; 0: not traced */
    struct prof__trace_now around; /* the call that a handler has interrupted with this one */
    enum prof__io_call call;
    int fd;         /* -1: none */
    int32_t result; /* io_calls.h */
};

/* Before and after the real function. The end is called on every way out, cancellation included, so
 * hooks make it a cleanup. Nothing is held between the two. */
PROF_SHARED void prof__io_begin(struct prof__io *io, enum prof__io_call call, int fd,
                                const void *caller);
PROF_SHARED void prof__io_end(struct prof__io *io);

/* What it returned; errno says why it failed, but for clock_nanosleep(), which returns that. */
static inline void prof__io_returned(struct prof__io *io, int64_t result, int error)
{
    if (io->call == PROF__IO_clock_nanosleep && result > 0) {
        error = (int)result;
        result = -1;
    }
    io->result = result < 0 ? -error : (int32_t)PROF_MIN(result, (int64_t)INT32_MAX);
}

#endif
