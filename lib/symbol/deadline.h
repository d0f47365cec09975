/*
 * deadline.h - until when the look-up at work may go on, for every loop over what a file says.
 *
 * Files are others', and may be huge, damaged or made to be slow; and where the machine is busy,
 * little work takes long. So each loop whose length a file decides asks prof__late() in each round.
 * One thread at a time looks things up (symbolize.c), so there is one deadline.
 */
#ifndef PROF_SYMBOL_DEADLINE_H
#define PROF_SYMBOL_DEADLINE_H

#include "base/clock.h"
#include "base/compiler.h"

extern struct prof__deadline {
    int64_t at_ns; /* of prof__monotonic_ns(); 0: none */
    size_t rounds; /* since the clock was looked at */
    bool is_over;
} prof__deadline;

/* From here on it is that one. */
static inline void prof__deadline_set(int64_t at_ns)
{
    prof__deadline = (struct prof__deadline) { .at_ns = at_ns };
}

/* After, or before, a round that takes long by itself. Once late, always late. */
static inline bool prof__late_now(void)
{
    struct prof__deadline *d = &prof__deadline;

    if (d->at_ns && !d->is_over)
        d->is_over = prof__monotonic_ns() > d->at_ns;
    return d->is_over;
}

/* In each of many rounds, with how many short ones it was worth: looks at the clock in one of some
 * thousand. */
static inline bool prof__late_after(size_t n)
{
    struct prof__deadline *d = &prof__deadline;

    d->rounds += n;
    if (PROF_LIKELY(d->rounds < 4096))
        return d->is_over;
    d->rounds = 0;
    return prof__late_now();
}

static inline bool prof__late(void)
{
    return prof__late_after(1);
}

#endif
