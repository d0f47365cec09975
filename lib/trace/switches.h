/*
 * switches.h - when each thread was on which processor, and whether it left by itself, where the
 * kernel tells (perf_event_open).
 *
 * A ring of the kernel's for each thread that is there at the beginning, written over from its
 * oldest end and read once. Threads that come later are not seen, and that is said.
 */
#ifndef PROF_TRACE_SWITCHES_H
#define PROF_TRACE_SWITCHES_H

#include "base/arena.h"
#include "base/compiler.h"

struct prof__switches;

/* What a thread is in from a switch on. */
enum prof__state {
    PROF__STATE_RUNNING,
    PROF__STATE_READY,    /* put off its processor by others */
    PROF__STATE_SLEEPING, /* it waits, for whatever */
};

struct prof__switch {
    int64_t ns; /* CLOCK_MONOTONIC */
    enum prof__state state;
    uint32_t cpu;
};

/* Of all threads of the process but the profiler's own. 0, or a negative errno: the kernel lets
 * nobody see. A descriptor is open for a moment, close-on-exec. */
int prof__switches_open(struct prof__switches **ret, bool *ret_mapping);

/* Why not, in a sentence for who can do something about it: by its error, whether that came of the
 * mapping, *ret_mapping, and kernel.perf_event_paranoid, which is negative where there is none. */
void prof__switches_refused(int error, bool mapping, int paranoid, char *ret, size_t size);
int prof__switches_paranoid(void);
void prof__switches_close(struct prof__switches *s);

/* Threads that are followed, and those for which there was no memory that may be locked. */
size_t prof__switches_threads(const struct prof__switches *s, size_t *ret_unseen);
bool prof__switches_follows(const struct prof__switches *s, uint32_t tid);

/* Most that prof__switches_read() gives. */
size_t prof__switches_most(const struct prof__switches *s);

/* Of the i-th thread, oldest first; how many there are in *ret. *ret_whole: it goes back to the
 * beginning. -ENOMEM. */
int64_t prof__switches_read(const struct prof__switches *s, size_t i, struct prof__arena *a,
                            uint32_t *ret_tid, const struct prof__switch **ret, bool *ret_whole);

#endif
