/*
 * rules.h - when a capture is to be taken, and of what: the text of LIBPROF_CAPTURE as a table.
 *
 *   rules      clause { ";" clause }
 *   clause     condition { "|" condition } [ "->" action { "," action } ] [ "cooldown" TIME ]
 *              or a setting
 *   condition  "term", or
 *              QUANTITY ">" AMOUNT [ "/" TIME ] [ "<" AMOUNT ]
 *              QUANTITY "+" AMOUNT "/" TIME [ "<" AMOUNT ],  "peak" "+" AMOUNT [ "<" AMOUNT ]
 *   action     PROFILE [ ":" TIME ]  or  "exec" PATH
 *   setting    "cooldown" TIME, "warmup" TIME, "baseline" TIME, "dir" PATH, "exec" PATH,
 *              "keep" N "first" [ "+" M "last" ] [ "," SIZE ], or parts of that
 *
 * What each of it means is in docs/captures.md. Pure: a text in, a table or a place in the text
 * out.
 */
#ifndef PROF_CAPTURE_RULES_H
#define PROF_CAPTURE_RULES_H

#include "base/compiler.h"

enum prof__quantity {
    PROF__QUANTITY_MEM,     /* bytes that count against the limit */
    PROF__QUANTITY_RSS,     /* bytes */
    PROF__QUANTITY_SWAP,    /* bytes */
    PROF__QUANTITY_HEAP,    /* bytes in use, estimated */
    PROF__QUANTITY_ALLOC,   /* bytes allocated a second */
    PROF__QUANTITY_THREADS, /* how many */
    PROF__QUANTITY_CPU,     /* percent of the processors that there are for the process */
    PROF__QUANTITY_PEAK,    /* the highest RSS so far, bytes */
    PROF__QUANTITY_STALL,   /* ms that the longest region or task has taken, or has so far */
    PROF__QUANTITY_LOW,     /* what the memory cgroup has counted, a second: limit.h */
    PROF__QUANTITY_HIGH,
    PROF__QUANTITY_MAX,
    PROF__QUANTITY_OOM,
    PROF__QUANTITY_KILL,
    PROF__QUANTITY_TERM, /* no number: the process is about to be ended */
    PROF__QUANTITIES,
};

enum {
    PROF__RULES_MAX = 16,
    PROF__CLAUSES_MAX = 8,
    PROF__ACTIONS_MAX = 4, /* profiles of a clause */
    PROF__RULE_TEXT = 48,
    PROF__PROFILE_NAME = 48,
    PROF__CAPTURE_PATH = 512,
};

struct prof__amount {
    double n; /* of the quantity's unit; < 0: none */
    bool percent;
};

struct prof__rule {
    char text[PROF__RULE_TEXT]; /* as it was written, without blanks */
    enum prof__quantity what;
    bool grows; /* by the amount, over the mean of the window or over the last peak; else above it
                 */
    struct prof__amount amount;
    struct prof__amount below; /* from here on it does not fire */
    int64_t window_ms;         /* of the mean; 0: none */
    int64_t cooldown_ms;
    unsigned clause; /* what is taken */
};

struct prof__wanted {
    char profile[PROF__PROFILE_NAME];
    int seconds; /* of a window; 0: as it is */
};

/* What is no profile: what the flight recorder has (prof/trace.h). It is of what has been, so it
 * has no seconds. */
#define PROF__WANTED_TRACE "trace"

struct prof__clause {
    struct prof__wanted wanted[PROF__ACTIONS_MAX];
    unsigned n;
    bool exec;
};

struct prof__rules {
    struct prof__rule rule[PROF__RULES_MAX];
    struct prof__clause clause[PROF__CLAUSES_MAX];
    unsigned n, n_clauses;
    int64_t warmup_ms, baseline_ms;
    unsigned keep_first, keep_last;
    uint64_t keep_bytes;
    char dir[PROF__CAPTURE_PATH];  /* "": none given */
    char exec[PROF__CAPTURE_PATH]; /* the program of all that run one; "": none */
    bool exec_all;                 /* also for captures that no rule has asked for */
};

struct prof__rules_error {
    unsigned column; /* the first is 1; bytes */
    char sentence[160];
};

/* 0 or -EINVAL, with the place and the reason. `is_profile` tells names of profiles from others.
 */
int prof__rules_parse(const char *text, bool (*is_profile)(const char *name),
                      struct prof__rules *ret, struct prof__rules_error *ret_error);

bool prof__quantity_is_bytes(enum prof__quantity q);

#endif
