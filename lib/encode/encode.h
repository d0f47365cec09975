/*
 * encode.h - a finished report, as pprof protobuf or as text.
 *
 * A report is a profile at one moment with everything looked up. The encoders only lay it out:
 * they read no table, take no lock and know no profile by name.
 */
#ifndef PROF_ENCODE_ENCODE_H
#define PROF_ENCODE_ENCODE_H

#include <prof/prof.h>

#include "base/arena.h"
#include "symbol/symbolize.h"

enum { PROF__VALUES_MAX = 4 };

struct prof__value_type {
    const char *type, *unit;
};

/* How the legacy text of a profile looks; google/pprof reads each. */
enum prof__text {
    PROF__TEXT_COUNT,      /* "NAME profile: total N" */
    PROF__TEXT_HEAP,       /* "heap profile: ..." */
    PROF__TEXT_CONTENTION, /* "--- NAME:" */
};

struct prof__report_mapping {
    uint64_t start, limit, offset;
    uint64_t bias; /* run-time address - address in the file; unless is_elf is not set */
    bool is_elf, is_program;
    const char *file;     /* never NULL */
    const char *build_id; /* lower-case hex, "" when there is none */
    /* For all locations of this mapping: */
    bool has_functions, has_filenames, has_line_numbers, has_inline_frames;
};

struct prof__location {
    uint64_t address;              /* non-zero, unique in the report, inside its mapping */
    uint32_t mapping;              /* index */
    uint32_t n_lines;              /* 0: unsymbolized */
    bool is_nameless;              /* its line says no more than the address */
    uint32_t own_line;             /* the innermost that is the program's own (mycode.h); n_lines:
                                      none. Only when the report was asked to tell */
    const struct prof__line *line; /* innermost first; function and name are never NULL */
};

struct prof__label {
    const char *key, *value; /* value NULL: numeric */
    int64_t number;
    const char *unit; /* NULL: none */
};

struct prof__report_sample {
    const uint32_t *location; /* indexes, leaf first; at least one */
    uint32_t n_locations;
    uint32_t n_labels;
    const struct prof__label *label;
    int64_t value[PROF__VALUES_MAX];
};

struct prof__report {
    const char *name; /* of the profile */
    enum prof__text text;
    size_t n_values;
    const struct prof__value_type *value_type;
    const char *default_type;            /* NULL: the last */
    struct prof__value_type period_type; /* always set */
    int64_t period;
    int64_t time_ns;     /* wall clock */
    int64_t duration_ns; /* 0: a snapshot, no window */
    bool has_own_lines;  /* what is the program's own has been told */
    size_t n_samples, n_locations, n_mappings, n_comments;
    const struct prof__report_sample *sample;
    const struct prof__location *location;
    const struct prof__report_mapping *mapping;
    const char *const *comment;
};

/* Gzipped protobuf into `sink`, streamed; scratch memory from `a`. 0, -ENOMEM, or what the sink
 * returned. */
int prof__encode_pprof(const struct prof__report *r, struct prof__arena *a, prof_sink_fn *sink,
                       void *arg);

/* Folded stacks of the sample type of that name, "" being the one shown first. -EINVAL: the report
 * has none such. */
int prof__encode_folded(const struct prof__report *r, const char *type, struct prof__arena *a,
                        prof_sink_fn *sink, void *arg);

/* Legacy text, as `debug` 1 or 2 asks for, with the memory map section that lets pprof symbolize
 * it. */
int prof__encode_text(const struct prof__report *r, int debug, struct prof__arena *a,
                      prof_sink_fn *sink, void *arg);

/* Is libprotobuf-c there? Without it prof__encode_pprof() says -ENOSYS. */
bool prof__encode_can_pprof(void);

#endif
