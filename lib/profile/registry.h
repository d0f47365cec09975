/*
 * registry.h - name -> what the profile measures and how to read it.
 */
#ifndef PROF_PROFILE_REGISTRY_H
#define PROF_PROFILE_REGISTRY_H

#include <prof/prof.h>

#include "encode/encode.h"
#include "table/rows.h"

struct prof__snapshot;
struct prof__report_options;

/* Row values, or differences of two moments: then as 64 bits have them, below zero or wrapped. */
struct prof__values {
    uint64_t value[PROF__ROW_VALUES];
    uint8_t full; /* as in the row: these are not the whole */
};

/* Value i, which only grows and has `shift` bits behind the point, rounded; or the largest there is
 * where it has grown too large. */
int64_t prof__values_total(const struct prof__values *raw, unsigned i, unsigned shift);

/* What is shown of the values of a row of `p`. */
void prof__values_finish(const struct prof_profile *p, const struct prof__values *raw,
                         int64_t ret_value[PROF__VALUES_MAX]);

/* A profile's definition: constant; the built-in ones are in the files that builtin.h names. */
struct prof_profile {
    const char *name;
    const char *description;
    unsigned table; /* rows.h */
    enum prof__text text;
    size_t n_values;
    struct prof__value_type value_type[PROF__VALUES_MAX];
    const char *default_type; /* NULL: the last */
    struct prof__value_type period_type;
    bool has_sizes;          /* samples carry the numeric label "bytes" */
    bool no_window;          /* prof_window_open() is refused: custom profiles, as in Go */
    bool time_is_start;      /* a window's time is that of its opening, as for Go's CPU profile */
    int64_t (*period)(void); /* NULL: 1 */

    /* What prof_profile_count() answers; NULL: the number of rows. */
    int64_t (*count)(const struct prof_profile *p);

    /* Row values, fixed point and all, into what is shown. NULL: as they are. */
    void (*finish)(const struct prof__values *raw, int64_t ret_value[PROF__VALUES_MAX]);

    /* Fill a snapshot, whose arena is there and empty; NULL: the rows of `table`. `w` is NULL for
     * one end of a window. -ENOMEM, or an errno with its sentence set. */
    int (*take)(const struct prof_write_options *w, struct prof__snapshot *ret);

    /* Make the whole report, instead of one from a snapshot. NULL: that. */
    int (*report)(const struct prof_profile *p, const struct prof_write_options *w,
                  const struct prof__report_options *o, struct prof__arena *a,
                  struct prof__report *ret);

    /* What debug=1 writes; NULL: the legacy text of pprof. */
    int (*write_text)(const struct prof__report *r, struct prof__arena *a, prof_sink_fn *sink,
                      void *arg);

    /* What prof_write_options.json writes; NULL: there is none. */
    int (*write_json)(const struct prof__report *r, struct prof__arena *a, prof_sink_fn *sink,
                      void *arg);

    /* Called when a window opens, and when it closes: what is only recorded while somebody looks.
     * `open` may refuse with a negative errno, its sentence set. NULL: nothing to do. */
    int (*open)(void);
    void (*close)(void);

    /* What debug=2 writes; NULL: the same as debug=1. */
    int (*write_detail)(const struct prof_profile *p, const struct prof__report_options *o,
                        prof_sink_fn *sink, void *arg);

    /* A newline-ended sentence for each thing that makes it empty or incomplete. */
    int (*status)(char *buf, size_t size);
};

/* Add a definition, which must live for ever. -EEXIST. */
int prof__registry_add(struct prof_profile *p);

#endif
