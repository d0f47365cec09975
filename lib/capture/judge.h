/*
 * judge.h - does a rule fire, and if not, why not? And when to look again.
 *
 * Pure: numbers and times in, decisions out; a test drives it over recorded series. Times are
 * milliseconds of one clock that is never set.
 */
#ifndef PROF_CAPTURE_JUDGE_H
#define PROF_CAPTURE_JUDGE_H

#include "capture/rules.h"

/* What is seen at one moment; NaN where a number cannot be had. */
struct prof__reading {
    int64_t time_ms;
    double value[PROF__QUANTITIES]; /* in the units of rules.h; PEAK need not be filled in */
    double limit;                   /* bytes that a percentage of a size is of */
};

enum { PROF__MEAN_PARTS = 24 };

/* The mean over the last `window_ms`, of values that hold until the next is known; in parts of the
 * window, so that it takes little room however often is looked. */
struct prof__mean {
    int64_t first_ms, last_ms; /* 0: nothing yet */
    struct {
        int64_t part; /* number of that part of time */
        double sum, ms;
    } part[PROF__MEAN_PARTS + 1];
};

enum prof__why {
    PROF__WHY_NOT_LOOKED,
    PROF__WHY_MISSING, /* the number, or the limit that the percentage is of */
    PROF__WHY_WARMUP,
    PROF__WHY_NO_MEAN, /* the window is not full yet */
    PROF__WHY_BELOW,
    PROF__WHY_CUT_OFF,
    PROF__WHY_COOLDOWN,
    PROF__WHY_FIRED,
    PROF__WHY_EVENT, /* it is no matter of numbers */
};

/* Of one rule. Zero is one that has seen nothing. */
struct prof__judgement {
    struct prof__mean mean;
    double now, threshold; /* what is compared; in the quantity's units. NaN: not known */
    double top;            /* the highest seen, for peaks; and what it was when it last fired */
    double base;
    bool has_base;
    enum prof__why why;
    int64_t until_ms; /* WARMUP, NO_MEAN, COOLDOWN: the end of that */
    int64_t fired_ms; /* the last time; 0: never */
    uint64_t fired;
};

/* True: it fires. Whoever takes the capture says so by prof__judge_fired(). */
bool prof__judge(const struct prof__rule *rule, struct prof__judgement *j,
                 const struct prof__reading *r, int64_t start_ms, int64_t warmup_ms);
void prof__judge_fired(struct prof__judgement *j, int64_t now_ms);

/* In words, without a full stop: "84 % is below 90 %". As snprintf(). */
int prof__judge_explain(const struct prof__rule *rule, const struct prof__judgement *j,
                        int64_t now_ms, char *buf, size_t size);

/* "212 MiB", "93 %", "2000". */
void prof__judge_value(enum prof__quantity q, double value, char *buf, size_t size);

/*
 * Bytes that memory may still grow by until the nearest rule fires that is not cooling down, or
 * until the limit where that comes first; INFINITY: nothing depends on it.
 */
double prof__judge_room(const struct prof__rules *rules, const struct prof__judgement *j,
                        const struct prof__reading *r);

/* From this look to the next, if memory grows by so many bytes a second: 5 ms to 5 s. */
int64_t prof__judge_pause_ms(const struct prof__rules *rules, double room, double growth);

#endif
