/*
 * params.h - a request target taken apart: path, query, numbers.
 *
 * What Go's net/url and strconv accept is accepted, what they refuse is refused, because clients
 * were written against those. Nothing here allocates or keeps state.
 */
#ifndef PROF_HTTP_PARAMS_H
#define PROF_HTTP_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prof__target {
    const char *path;  /* percent-decoded, not normalized: a path names no file here */
    const char *query; /* raw: after the first '?'; "" when there is none */
    const char *host;  /* of a target in absolute form, "http://host/path"; NULL otherwise */
};

/* Take `raw` apart, in place. -EINVAL for a broken escape, or an escaped NUL, in the path. */
int prof__target_parse(char *raw, struct prof__target *ret_target);

/*
 * The value of the first `name` in a raw query, decoded ('+' is a space) into `buf`,
 * NUL-terminated. Returns its length; -ENOENT when absent; -E2BIG when it does not fit; -EILSEQ
 * when there is a NUL in it. Pairs with a broken escape or a ';' are passed over, as in Go.
 */
int prof__param_text(const char *query, const char *name, char *buf, size_t size);

/* A whole decimal number with an optional sign. -EINVAL; -ERANGE, and then the nearest number. */
int prof__parse_int(const char *text, int64_t *ret_value);

/* A parameter that is such a number. -ENOENT: absent or empty; -EINVAL; -ERANGE as above. */
int prof__param_int(const char *query, const char *name, int64_t *ret_value);

/* One that is a time: "90", "90s", "10m", "2h", "1d", of up to INT32_MAX seconds. -ENOENT: absent
 * or empty; -EINVAL. */
int prof__param_duration(const char *query, const char *name, int64_t *ret_s);

/* A code address as Go reads it: 0x hex, 0b, 0o, 0 octal, else decimal. -EINVAL. */
int prof__parse_address(const char *text, size_t size, uint64_t *ret_address);

#endif
