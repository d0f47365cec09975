/*
 * series.h - the numbers over time (<prof/vars.h>) as they are shown: which stretch of them, and
 * what there is to each.
 */
#ifndef PROF_HTTP_SERIES_H
#define PROF_HTTP_SERIES_H

#include <prof/vars.h>
#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"

/* One number of a point. */
struct prof__var {
    const char *name;  /* in JSON */
    const char *words; /* in text, and on pages */
    size_t field;      /* in struct prof_vars_point */
    enum { PROF__BYTES, PROF__COUNT, PROF__BYTES_S, PROF__TIME_S, PROF__COUNT_S } unit;
};

#define PROF__VARS_COUNT 10
extern const struct prof__var prof__vars[PROF__VARS_COUNT];

/* PROF_VARS_MISSING if it is. */
uint64_t prof__var_of(const struct prof__var *var, const struct prof_vars_point *p);

/* Is it a total, of which the growth is what one wants to see? */
bool prof__var_is_total(const struct prof__var *var);

struct prof__series {
    struct prof_vars_point *point; /* malloc'ed */
    size_t n;
    int64_t step_ms;         /* from one to the next */
    int64_t now_ms, span_ms; /* what is shown ends now, and begins that long before */
};

/* All points of a series. 0 or a negative errno. */
int prof__series_read(int series, struct prof__series *ret);

/* The last hour by minutes, or the last ten minutes by seconds; or what there is of them. */
int prof__series_recent(struct prof__series *ret);

/* "12 min": what is shown. */
void prof__series_span(const struct prof__series *s, char *buf, size_t size);

void prof__series_free(struct prof__series *s);

/* A value of that unit as people read it: "1.21 GiB", "3.4 %". NaN is "-". */
void prof__var_text(const struct prof__var *var, double value, char *buf, size_t size);

#endif
