/**
 * trace.h - a timeline: which thread ran, which waited, for what, and who woke it.
 *
 * A profile says how much; a trace says when and because of whom, as `go tool trace` does. While
 * one is on, each thread writes what it does into a ring of its own, over the oldest: waits for
 * locks, condition variables, semaphores, barriers and threads; releases of locks that others wait
 * for, and wake-ups; threads that begin and end; labels; CPU samples; and what the program itself
 * tells with the calls below. What is written is a Perfetto trace, for https://ui.perfetto.dev or
 * its trace_processor, or the JSON that Chrome and many viewers read. Nothing of it needs
 * privileges.
 *
 * Waits and wake-ups are seen where libprof-hooks is; see prof.h, whose rules for errors, threads
 * and signals are good here, too. Off, as it is by default, nothing is written.
 *
 * Memory: 16 MiB for the rings, of which only what is written is used; given back when no trace is
 * on. 64 threads have rings of 4,096 records of 32 bytes, 64 of 1,024, 256 of 256, and 2,048 of 64;
 * rings of threads that have ended go to new ones. What has been overwritten is counted, and told
 * in the trace.
 */
#ifndef PROF_TRACE_H
#define PROF_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include <prof/prof.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What to trace, and how to write it. Start from PROF_TRACE_OPTIONS_INIT; zero is the default
 * everywhere. */
struct prof_trace_options {
    size_t size;         /* sizeof(struct prof_trace_options) */
    int64_t min_wait_ns; /* call stacks for waits that take so long. 0: 10 µs; negative: for all */
    int no_cpu;          /* not 0: no CPU samples, so SIGPROF is not used */
    int no_symbols;      /* not 0: stacks as addresses, without names */
    const char *format;  /* NULL or "perfetto"; "json": Chrome's, without stacks */
    int gzip;            /* not 0: compressed, which the viewers read as it is */
    const char *as; /* NULL: a timeline. Else gzipped pprof of it, after `go tool trace`: "sync",
                       time in waits; "sched", from a wake-up until the woken thread runs; "io",
                       time in system calls, as `io` has them; "region", time in the program's
                       regions */
    int io;    /* not 0: system calls that take `min_wait_ns` or longer, too: read, write, poll,
                  epoll_wait, connect, accept and their like, and sleeps. Seen where
                  libprof-hooks is; what libc calls by itself, as in stdio, is not */
    int sched; /* not 0: which thread ran when and on which processor, as the kernel tells of
                  the threads that are there at the beginning: perf_event_open(), without
                  privileges where kernel.perf_event_paranoid is 2 or less. Where it is refused
                  the trace says so. 36 KiB of locked memory for each thread */
};
#define PROF_TRACE_OPTIONS_INIT                                         \
    {                                                                   \
        sizeof(struct prof_trace_options), 0, 0, 0, NULL, 0, NULL, 0, 0 \
    }

/** A trace under way. Any number may be at once. */
struct prof_trace;

/**
 * Begin one. If CPU samples are wanted and cannot be had, because the program uses SIGPROF, it is
 * begun without, and the trace says so.
 *
 * Returns: 0, -EINVAL, -E2BIG, -ENOMEM.
 */
PROF_API int prof_trace_start(const struct prof_trace_options *opts, struct prof_trace **ret_trace);

/**
 * Write what has happened since, as the options of prof_trace_start() say. May be called more than
 * once; the trace goes on.
 *
 * Returns: 0, -EINVAL, -ENOMEM, -ENOSYS: libprotobuf-c is missing, so "json" is all there is; or
 *          what the sink returned.
 * Memory:  some 300 bytes for each record that is there, until it returns.
 * Blocks:  while symbols are read from disk, as prof_profile_write().
 */
PROF_API int prof_trace_write(struct prof_trace *trace, prof_sink_fn *sink, void *arg);

/** The same to a file, as prof_profile_write_file(). */
PROF_API int prof_trace_write_file(struct prof_trace *trace, const char *path);

/** End it, and free it. NULL is allowed. */
PROF_API void prof_trace_stop(struct prof_trace *trace);

/* --- the flight recorder ---------------------------------------------------------------------- */

/**
 * From now on have the last `ns` nanoseconds at hand, as far as the rings hold them: for what is
 * noticed only when it is over. 0 ends it; a negative value only reads. Takes no CPU samples, so
 * SIGPROF is left alone.
 *
 * Returns: the previous value, -EINVAL above one hour, -ENOMEM.
 * Environment: LIBPROF_TRACE=10s starts it with the program.
 */
PROF_API int64_t prof_trace_record(int64_t ns);

/**
 * Write what it has. `opts` may be NULL; what it says on what to trace has no meaning here.
 *
 * Returns: as prof_trace_write(); -EALREADY when the recorder is off.
 */
PROF_API int prof_trace_snapshot(const struct prof_trace_options *opts, prof_sink_fn *sink,
                                 void *arg);

/** The same to a file, as prof_profile_write_file(). */
PROF_API int prof_trace_snapshot_file(const struct prof_trace_options *opts, const char *path);

/* --- what the program tells ------------------------------------------------------------------- */

/*
 * Cheap enough to be left in: some nanoseconds while no trace is on. Strings are copied; names up
 * to 128 bytes, longer ones are cut. Distinct names are kept for ever, 512 KiB of them: a region is
 * "parse", and what it parses is for prof_trace_log(). Signals: safe.
 * All return 0, traced or not, or -EINVAL for NULL and empty names.
 */

/**
 * The calling thread is in a part of its work until prof_region_end() with the same name. Regions
 * nest; ending one ends those that were begun in it.
 */
PROF_API int prof_region_begin(const char *name);
PROF_API int prof_region_end(const char *name);

/** A piece of work that may go from thread to thread, such as a request: `id` tells it apart from
 * others of that name that are under way. Any thread may end it. */
PROF_API int prof_task_begin(uint64_t id, const char *name);
PROF_API int prof_task_end(uint64_t id, const char *name);

/** A line of text at this moment, up to 256 bytes. */
PROF_API int prof_trace_log(const char *text);

#ifdef __cplusplus
}
#endif

#endif
