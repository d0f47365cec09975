/**
 * capture.h - profiles that are taken by themselves, when it matters and nobody looks.
 *
 *     LIBPROF_CAPTURE="mem>80% | mem+25%/10m -> heap; threads>2000 -> threads; dir
 * /var/lib/app/prof"
 *
 * or prof_capture_start() with the same text. A thread of libprof's watches what the rules name,
 * looks the more often the less memory is left, and writes profiles into files before the kernel
 * ends a process that takes too much. What it needs for that is there from the start. The rules are
 * explained in docs/captures.md; those for errors, threads and signals are of prof.h.
 *
 * The thread is a guest, as prof_helper_start() makes it, with a descriptor table of its own; where
 * the kernel has no close_range() (before 5.9), or a filter refuses it, nothing is watched, and
 * prof_capture_status() says so. The program's own threads never write a capture and never wait for
 * one.
 */
#ifndef PROF_CAPTURE_H
#define PROF_CAPTURE_H

#include <stddef.h>
#include <stdint.h>

#include <prof/export.h>
#include <prof/prof.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Watch from now on. A text without rules has captures taken on demand only. Captures are kept in
 * the directory that the text names ("dir /path"), or else in libprof-captures-UID below TMPDIR or
 * /tmp, mode 0700. A forked child begins without.
 *
 * @param rules  NULL: those of LIBPROF_CAPTURE, as it was when libprof was loaded
 *
 * Returns: 0; -EINVAL, with the column of the text that is wrong in the sentence; -ENOENT: NULL,
 *          and LIBPROF_CAPTURE is not set; -EALREADY; -EAGAIN, -ENOMEM. A directory that cannot be
 *          used shows in prof_capture_status().
 * Memory:  some 2 MiB, all of it in use from the start.
 */
PROF_API int prof_capture_start(const char *rules);

/** Returns 0, or -EALREADY. Blocks: two seconds at most, as a rule not; a capture that is being
 * written is ended by itself. */
PROF_API int prof_capture_stop(void);

/**
 * Have the heap captured now, whatever the rules say. The thread does it: this only asks.
 *
 * @param reason  shows in the list, and the file's name; at most 40 bytes count, of letters,
 *                digits, "-" and "_". NULL: none
 *
 * Returns: the capture's number, for prof_capture_wait(); -ENOTCONN: nothing was started; -EAGAIN:
 *          eight wait already.
 * Signals: safe in a handler, as that of SIGTERM.
 */
PROF_API int prof_capture_now(const char *reason);

/** The same of any profile; of "profile" and others for some seconds, 600 at most. Returns also
 * -EINVAL for a name that is none or too long. */
PROF_API int prof_capture_profile(const char *profile, int seconds, const char *reason);

/**
 * Wait until that capture is there, or has failed.
 * Returns: 0, -ETIMEDOUT, -EINVAL: there was no such number, -EIO: it could not be written.
 */
PROF_API int prof_capture_wait(int number, int timeout_ms);

/** A capture's file. */
struct prof_capture {
    char name[256];      /* of the file, in the directory */
    int64_t time_ms;     /* since 1970, when it was taken, to the second */
    uint64_t size_bytes; /* of the file */
    int pid;          /* of its process: earlier processes' of the same program are listed, too */
    unsigned number;  /* of its process, from 1; 0: the baseline */
    int own;          /* not 0: of this process */
    char rule[64];    /* "mem>80%", "now: REASON", "baseline" */
    char value[32];   /* what was measured: "212 MiB"; "": nothing */
    char profile[64]; /* "heap" */
};

/**
 * The captures in the directory, the newest first: fills at most `cap` and returns how many were
 * filled in; 512 are looked at.
 *
 * @param item_size  sizeof(struct prof_capture), as the caller knows it
 *
 * Returns also -ENOTCONN: nothing was started, or what opening the directory gives.
 */
PROF_API int64_t prof_captures(struct prof_capture *out, size_t cap, size_t item_size);

/** Give the file of that name, one of the list, to `sink`, as it is: gzipped pprof protobuf.
 * Returns: 0, -ENOENT, -ENOTCONN, or what reading or the sink gives. */
PROF_API int prof_capture_read(const char *name, prof_sink_fn *sink, void *arg);

/** What a rule sees. */
struct prof_capture_rule {
    char rule[64];    /* as it was written */
    char takes[192];  /* "heap, profile for 10 s" */
    char now[32];     /* "212 MiB"; "unknown" */
    char limit[32];   /* what it is compared with */
    char why[160];    /* why it has not fired, or that it has: a sentence without full stop */
    uint64_t fired;   /* how often */
    int64_t fired_ms; /* the last time, since 1970; 0: never */
};

/** The rules: fills at most `cap`, and returns how many there are; 0 when nothing was started. */
PROF_API int64_t prof_capture_rules(struct prof_capture_rule *out, size_t cap, size_t item_size);

/** Captures by other ways than rules, and what went wrong. */
struct prof_capture_stats {
    size_t size;        /* sizeof(struct prof_capture_stats) */
    uint64_t on_demand; /* by prof_capture_now() and its like */
    uint64_t failed;   /* files that could not be written, or only in part: the disk is full, say */
    uint64_t nameless; /* files without names, since there was no time or memory for these */
    uint64_t unheard;  /* programs to run that were not told, as the last one has not ended */
};
#define PROF_CAPTURE_STATS_INIT                       \
    {                                                 \
        sizeof(struct prof_capture_stats), 0, 0, 0, 0 \
    }

/** Returns 0, or -EINVAL. */
PROF_API int prof_capture_counts(struct prof_capture_stats *ret);

/** What keeps captures from being taken, in sentences that each end in a newline; "" if all is
 * well. Returns the length it takes without the final NUL, as snprintf() does. */
PROF_API int prof_capture_status(char *buf, size_t size);

/** The directory; "" when nothing was started. Returns the whole length, as snprintf() does. */
PROF_API int prof_capture_dir(char *buf, size_t size);

#ifdef __cplusplus
}
#endif

#endif
