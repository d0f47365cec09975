/*
 * judge.c - comparing numbers with rules.
 */
#include "capture/judge.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PAUSE_LEAST_MS = 5, PAUSE_MOST_MS = 5000, LOOKS_AHEAD = 8 };
enum { STALL_PAUSE_LEAST_MS = 100, STALL_PAUSE_MOST_MS = 1000 };

/* --- means ------------------------------------------------------------------------------------ */

static int64_t part_ms(int64_t window_ms)
{
    return PROF_MAX((window_ms + PROF__MEAN_PARTS - 1) / PROF__MEAN_PARTS, (int64_t)1);
}

/* A value has held from `from` to `to`, which may be in several parts. */
static void hold(struct prof__mean *m, int64_t window_ms, int64_t from, int64_t to, double value)
{
    int64_t length = part_ms(window_ms);

    from = PROF_MAX(from, to - window_ms);
    while (from < to) {
        int64_t number = from / length, end = PROF_MIN((number + 1) * length, to);
        size_t i = (size_t)(number % (PROF__MEAN_PARTS + 1));

        if (m->part[i].part != number) {
            m->part[i].part = number;
            m->part[i].sum = m->part[i].ms = 0;
        }
        m->part[i].sum += value * (double)(end - from);
        m->part[i].ms += (double)(end - from);
        from = end;
    }
}

/* NaN: there is none yet. */
static double mean(struct prof__mean *m, int64_t window_ms, int64_t now_ms, double value)
{
    int64_t oldest = (now_ms - window_ms) / part_ms(window_ms);
    double sum = 0, ms = 0;

    if (m->first_ms)
        /* What is a rate, was that since the last look; what is a state, has been on its way. */
        hold(m, window_ms, m->last_ms, now_ms, value);
    else
        m->first_ms = now_ms;
    m->last_ms = now_ms;
    if (now_ms - m->first_ms < window_ms)
        return NAN;
    for (size_t i = 0; i <= PROF__MEAN_PARTS; i++)
        if (m->part[i].part >= oldest) {
            sum += m->part[i].sum;
            ms += m->part[i].ms;
        }
    return ms > 0 ? sum / ms : value;
}

/* --- one rule --------------------------------------------------------------------------------- */

/* In the quantity's units. NaN: a percentage of what is not known. */
static double in_units(const struct prof__rule *rule, const struct prof__amount *a, double limit)
{
    if (!a->percent || !prof__quantity_is_bytes(rule->what))
        return a->n;
    return limit > 0 ? limit * a->n / 100 : NAN;
}

static bool wait(struct prof__judgement *j, enum prof__why why, int64_t until_ms)
{
    j->why = why;
    j->until_ms = until_ms;
    return false;
}

/* What is compared, and with what. False: not yet, or never. */
static bool weigh(const struct prof__rule *rule, struct prof__judgement *j,
                  const struct prof__reading *r)
{
    if (rule->what == PROF__QUANTITY_TERM) {
        j->now = j->threshold = NAN;
        return wait(j, PROF__WHY_EVENT, 0);
    }
    double value = r->value[rule->what == PROF__QUANTITY_PEAK ? PROF__QUANTITY_RSS : rule->what];

    j->now = value;
    j->threshold = NAN;
    if (isnan(value))
        return wait(j, PROF__WHY_MISSING, 0);
    if (rule->what == PROF__QUANTITY_PEAK) {
        j->now = j->top = j->has_base ? fmax(j->top, value) : value;
        if (!j->has_base)
            j->base = value;
        j->has_base = true;
        j->threshold =
            rule->amount.percent ? j->base * (1 + rule->amount.n / 100) : j->base + rule->amount.n;
        return true;
    }
    double average = rule->window_ms ? mean(&j->mean, rule->window_ms, r->time_ms, value) : value;
    if (!rule->grows) {
        j->threshold = in_units(rule, &rule->amount, r->limit);
        if (isnan(j->threshold))
            return wait(j, PROF__WHY_MISSING, 0);
        if (!isnan(average))
            j->now = average;
    }
    if (isnan(average))
        return wait(j, PROF__WHY_NO_MEAN, j->mean.first_ms + rule->window_ms);
    if (rule->grows)
        j->threshold =
            rule->amount.percent ? average * (1 + rule->amount.n / 100) : average + rule->amount.n;
    return true;
}

bool prof__judge(const struct prof__rule *rule, struct prof__judgement *j,
                 const struct prof__reading *r, int64_t start_ms, int64_t warmup_ms)
{
    bool warm = r->time_ms >= start_ms + warmup_ms;

    /* Peaks are those after the warm-up. */
    if (!warm && rule->what == PROF__QUANTITY_PEAK)
        j->has_base = false;
    bool known = weigh(rule, j, r);
    if (!warm && j->why != PROF__WHY_EVENT)
        return wait(j, PROF__WHY_WARMUP, start_ms + warmup_ms);
    if (!known)
        return false;
    if (rule->grows && rule->what == PROF__QUANTITY_PEAK ? j->now < j->threshold
                                                         : j->now <= j->threshold)
        return wait(j, PROF__WHY_BELOW, 0);
    double below = rule->below.n < 0 ? NAN : in_units(rule, &rule->below, r->limit);
    if (j->now >= below) /* not so for NaN */
        return wait(j, PROF__WHY_CUT_OFF, 0);
    if (j->fired_ms && r->time_ms < j->fired_ms + rule->cooldown_ms)
        return wait(j, PROF__WHY_COOLDOWN, j->fired_ms + rule->cooldown_ms);
    return true;
}

void prof__judge_fired(struct prof__judgement *j, int64_t now_ms)
{
    j->fired++;
    j->fired_ms = now_ms;
    j->base = j->top;
    j->why = PROF__WHY_FIRED;
}

/* --- in words --------------------------------------------------------------------------------- */

void prof__judge_value(enum prof__quantity q, double value, char *buf, size_t size)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    size_t u = 0;

    if (isnan(value)) {
        snprintf(buf, size, "unknown");
    } else if (q == PROF__QUANTITY_STALL) {
        snprintf(buf, size, "%.0f ms", value);
    } else if (q == PROF__QUANTITY_CPU) {
        snprintf(buf, size, "%.0f %%", value);
    } else if (q >= PROF__QUANTITY_LOW && q <= PROF__QUANTITY_KILL) {
        snprintf(buf, size, value > 0 && value < 10 ? "%.1f/s" : "%.0f/s", value);
    } else if (!prof__quantity_is_bytes(q)) {
        snprintf(buf, size, "%.0f", value);
    } else {
        for (; value >= 1024 && u + 1 < ARRAY_LEN(units); u++)
            value /= 1024;
        snprintf(buf, size, value < 10 && u ? "%.1f %s%s" : "%.0f %s%s", value, units[u],
                 q == PROF__QUANTITY_ALLOC ? "/s" : "");
    }
}

/* "40 s", "9 min", "3 h". */
static void duration(int64_t ms, char *buf, size_t size)
{
    int64_t s = PROF_MAX((ms + 999) / 1000, (int64_t)1);

    if (s < 120)
        snprintf(buf, size, "%lld s", (long long)s);
    else if (s < 7200)
        snprintf(buf, size, "%lld min", (long long)(s + 59) / 60);
    else
        snprintf(buf, size, "%lld h", (long long)(s + 3599) / 3600);
}

int prof__judge_explain(const struct prof__rule *rule, const struct prof__judgement *j,
                        int64_t now_ms, char *buf, size_t size)
{
    char value[32], threshold[32], rest[32];

    prof__judge_value(rule->what, j->now, value, sizeof(value));
    prof__judge_value(rule->what, j->threshold, threshold, sizeof(threshold));
    duration(j->until_ms - now_ms, rest, sizeof(rest));
    switch (j->why) {
    case PROF__WHY_MISSING:
        if (!isnan(j->now))
            return snprintf(buf, size, "there is no limit that this could be a part of");
        return snprintf(buf, size, "this number cannot be had here");
    case PROF__WHY_WARMUP:
        return snprintf(buf, size, "warming up for another %s", rest);
    case PROF__WHY_NO_MEAN:
        return snprintf(buf, size, "its mean is known in %s", rest);
    case PROF__WHY_BELOW:
        return snprintf(buf, size, "%s is not above %s", value, threshold);
    case PROF__WHY_CUT_OFF:
        return snprintf(buf, size, "%s has reached the cut-off", value);
    case PROF__WHY_COOLDOWN:
        return snprintf(buf, size, "%s is above %s; cooling down for another %s", value, threshold,
                        rest);
    case PROF__WHY_FIRED:
        return snprintf(buf, size, "has fired just now, at %s", value);
    case PROF__WHY_EVENT:
        return snprintf(buf, size, "waits for SIGTERM, SIGINT or _exit()");
    case PROF__WHY_NOT_LOOKED:
        break;
    }
    return snprintf(buf, size, "nothing has been looked at yet");
}

/* --- when to look again ----------------------------------------------------------------------- */

static bool is_memory(enum prof__quantity q)
{
    return q == PROF__QUANTITY_MEM || q == PROF__QUANTITY_RSS || q == PROF__QUANTITY_HEAP ||
           q == PROF__QUANTITY_PEAK;
}

double prof__judge_room(const struct prof__rules *rules, const struct prof__judgement *j,
                        const struct prof__reading *r)
{
    double room = INFINITY;

    for (unsigned i = 0; i < rules->n; i++) {
        const struct prof__rule *rule = &rules->rule[i];
        bool cools = j[i].fired_ms && r->time_ms < j[i].fired_ms + rule->cooldown_ms;

        /* A mean moves slowly: one with a window is looked at by the window. */
        if (!is_memory(rule->what) || cools || j[i].why == PROF__WHY_CUT_OFF ||
            (rule->window_ms && !rule->grows) || isnan(j[i].now) || isnan(j[i].threshold))
            continue;
        room = fmin(room, fmax(j[i].threshold - j[i].now, 0));
    }
    /* Beyond it there is nobody to look. */
    if (!isinf(room) && r->limit > r->value[PROF__QUANTITY_MEM])
        room = fmin(room, r->limit - r->value[PROF__QUANTITY_MEM]);
    return room;
}

int64_t prof__judge_pause_ms(const struct prof__rules *rules, double room, double growth)
{
    double pause = PAUSE_MOST_MS;

    for (unsigned i = 0; i < rules->n; i++)
        if (rules->rule[i].window_ms)
            pause = fmin(pause, fmax((double)rules->rule[i].window_ms / 10, 1000));
    /* It should be in what the recorder has. */
    for (unsigned i = 0; i < rules->n; i++)
        if (rules->rule[i].what == PROF__QUANTITY_STALL)
            pause = fmin(pause, fmax(fmin(rules->rule[i].amount.n, STALL_PAUSE_MOST_MS),
                                     STALL_PAUSE_LEAST_MS));
    if (growth > 0)
        pause = fmin(pause, room / growth / LOOKS_AHEAD * 1000);
    return (int64_t)fmax(pause, PAUSE_LEAST_MS);
}
