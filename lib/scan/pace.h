/*
 * pace.h - how fast a scan goes, and how it ends early.
 */
#ifndef PROF_SCAN_PACE_H
#define PROF_SCAN_PACE_H

#include "base/compiler.h"

struct prof__pace {
    unsigned cpu_percent;        /* of one processor; 100: no limit */
    int (*cancelled)(void *arg); /* not 0: give up. NULL: nobody will */
    void *arg;
    int64_t cpu_ns, wall_ns; /* at the start of the stretch that is accounted for */
    int64_t used_ns;         /* processor time so far, for the reader */
    size_t since;            /* bytes since the last look at the clocks */
};

/* Zero is 100 percent. */
void prof__pace_start(struct prof__pace *p);

/* To be called about every 100 microseconds of work, with the bytes that it was: sleeps as much as
 * the share asks for. 0 or -ECANCELED. Never a point of cancellation of the thread. */
int prof__pace_step(struct prof__pace *p, size_t bytes);

/* Sleep, and give up meanwhile if told to. 0 or -ECANCELED. */
int prof__pace_sleep(struct prof__pace *p, int64_t ns);

#endif
