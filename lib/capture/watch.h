/*
 * watch.h - the thread that looks, judges and has captures taken.
 */
#ifndef PROF_CAPTURE_WATCH_H
#define PROF_CAPTURE_WATCH_H

#include "capture/guest.h"
#include "capture/judge.h"
#include "capture/taker.h"

enum { PROF__REQUESTS_MAX = 8, PROF__RESULTS = 64 };

/* A capture that was asked for. Filled in by whoever takes it from FREE to FILLING. */
struct prof__request {
    _Atomic uint32_t state;
    unsigned number;
    char reason[48];
    struct prof__wanted wanted;
};
enum { PROF__REQUEST_FREE, PROF__REQUEST_FILLING, PROF__REQUEST_READY };

struct prof__watch {
    /* Set before the thread starts. */
    struct prof__rules rules;
    char path[PROF__CAPTURE_PATH];
    bool own_path;       /* it was not named by anybody */
    int64_t since_s;     /* 1970: when this was started */
    void (*ended)(void); /* what was asked for at the end of the process is done */

    /* What others may see, with the lock held. */
    struct prof__lock lock;
    struct prof__judgement judgement[PROF__RULES_MAX];
    int64_t fired_wall_ms[PROF__RULES_MAX];
    int64_t now_ms; /* of the last look; monotonic */

    struct prof__request request[PROF__REQUESTS_MAX];
    _Atomic unsigned numbers;               /* given out */
    _Atomic uint64_t result[PROF__RESULTS]; /* 2 * number, + 1: it has failed */
    _Atomic uint32_t results;               /* a futex: how many there have been */
    _Atomic uint64_t on_demand;
    _Atomic int sources_error; /* no descriptor table of its own */
    struct prof__taker_counts counts;

    /* The thread's. */
    struct prof__taker taker;
    int64_t start_ms; /* of the first thread; 0: not yet */
    bool has_baseline;
};

/* For who ends the process: have what is to be captured then captured, and say that it is done. */
bool prof__watch_wants_end(void);
bool prof__watch_ask_end(void);

extern struct prof__watch prof__watch;
extern struct prof__guest prof__watch_guest;

#endif
