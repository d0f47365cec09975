/**
 * vars.h - a record of numbers over time: how much memory, how many threads, how much waiting.
 *
 * A leak is a change over time, and who looks comes late. So a thread of libprof's notes a few
 * numbers each second: of the last ten minutes each, and of the last day one for each minute. The
 * server starts it (http.h), and shows the record at /debug/pprof/vars; LIBPROF_VARS=0 in the
 * environment keeps it from being started. Rules for errors, threads and signals are those of
 * prof.h.
 *
 * The thread is a guest, as prof_helper_start() makes it. It has a descriptor table of its own,
 * with three files of /proc and the cgroup's in it, wakes up once a second, and then makes less
 * than ten system calls: pread() of these, clock_gettime() and futex(). Where the kernel has no
 * close_range() (before 5.9), or a filter refuses it, it opens nothing, and what would be read from
 * files is missing from the record.
 */
#ifndef PROF_VARS_H
#define PROF_VARS_H

#include <stddef.h>
#include <stdint.h>

#include <prof/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A number that could not be had. */
#define PROF_VARS_MISSING UINT64_MAX

/**
 * The numbers of one moment, or of one minute: what is a state is then the highest of the minute,
 * and what is a total, marked so, that at its end.
 */
struct prof_vars_point {
    int64_t time_ms;        /* since 1970, by the clock as it is now set */
    uint64_t rss_bytes;     /* memory of the process: VmRSS of proc(5) */
    uint64_t swap_bytes;    /* VmSwap */
    uint64_t cgroup_bytes;  /* of the process's memory cgroup, with all its processes and the page
                               cache: memory.current, or memory.usage_in_bytes */
    uint64_t threads;       /* those of libprof's with them */
    uint64_t cpu_ns;        /* total of processor time, user and system */
    uint64_t heap_bytes;    /* in use, estimated, as in struct prof_stats; so are those below */
    uint64_t alloc_bytes;   /* total allocated */
    uint64_t block_wait_ns; /* total of the block profile */
    uint64_t mutex_wait_ns; /* total of the mutex profile */
    uint64_t lost;          /* total of samples that are missing, or lack their stack or row */
};

/** The two series, by the seconds from one point to the next. */
#define PROF_VARS_SECOND 1
#define PROF_VARS_MINUTE 60

/** At most so many points are kept of each: ten minutes, and a day. */
#define PROF_VARS_SECONDS_MAX 600
#define PROF_VARS_MINUTES_MAX 1440

/**
 * Have the numbers noted from now on. Each start wants its stop; the first begins, and the last
 * ends the thread, and the record stays. A forked child begins with none.
 *
 * Returns: 0; -ENOTSUP when LIBPROF_VARS=0 forbids it, and then it wants no stop; -EAGAIN, -ENOMEM.
 * Memory:  180 KiB, for ever.
 */
PROF_API int prof_vars_start(void);

/**
 * Take back one start.
 *
 * Returns: 0, or -EALREADY when it is not started.
 * Blocks:  two seconds at most, as a rule not.
 */
PROF_API int prof_vars_stop(void);

/**
 * Copy the latest points of a series, at most `cap`, the oldest of them first.
 *
 * @param point_size  sizeof(struct prof_vars_point), as the caller knows it
 *
 * A point is missing where nothing was noted, as while the process was stopped: look at the times.
 * Returns: how many were copied, -EINVAL. Blocks: no.
 */
PROF_API int64_t prof_vars_read(int series, struct prof_vars_point *out, size_t cap,
                                size_t point_size);

/**
 * Why there is no record, or why numbers are missing from it, in a sentence that ends in a newline;
 * "" if all is well. Returns the length it takes without the final NUL, as snprintf() does.
 */
PROF_API int prof_vars_status(char *buf, size_t size);

#ifdef __cplusplus
}
#endif

#endif
