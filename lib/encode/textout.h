/*
 * textout.h - text into a sink, in pieces of a few KiB.
 */
#ifndef PROF_ENCODE_TEXTOUT_H
#define PROF_ENCODE_TEXTOUT_H

#include <prof/prof.h>

#include "base/compiler.h"

struct prof__textout {
    prof_sink_fn *sink;
    void *arg;
    int error; /* what the sink returned; nothing is written after it */
    size_t used;
    char buf[8 * 1024];
};

/* A fixed word, at most some hundred bytes. */
void prof__textout_word(struct prof__textout *o, const char *s);

/* Numbers and fixed words, at most some hundred bytes. */
void prof__textout_printf(struct prof__textout *o, const char *format, ...) PROF_PRINTF(2, 3);

/*
 * A string from outside, made fit for one line: control characters become '?', wrong bytes U+FFFD.
 * Of more than `max` bytes the rest is left out and shown as "...".
 */
void prof__textout_string(struct prof__textout *o, const char *s, size_t max);

/* The same of the first `size` bytes of `s`. */
void prof__textout_string_n(struct prof__textout *o, const char *s, size_t size, size_t max);

/* The same in double quotes, with '"' and '\' escaped. */
void prof__textout_quoted(struct prof__textout *o, const char *s, size_t max);

/* `prefix` and v: rows have many numbers, and printf is slow at them. */
void prof__textout_hex(struct prof__textout *o, const char *prefix, uint64_t v);
void prof__textout_decimal(struct prof__textout *o, const char *prefix, uint64_t v);

/* What is still in the buffer. 0, or what the sink returned. */
int prof__textout_flush(struct prof__textout *o);

/* A number as people read it, in `unit`: "6.20MiB", "1.50s", "42". Returns buf. */
enum { PROF__HUMAN_SIZE = 32 };
const char *prof__human(char buf[PROF__HUMAN_SIZE], int64_t value, const char *unit);

#endif
