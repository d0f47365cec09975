/*
 * settings.c - one table of variables, one parser of numbers with units.
 *
 * strtoll() and friends would do, but the first reading happens inside the first malloc of the
 * process, where locale data is not to be relied on. Values are plain decimal digits.
 */
#include "base/settings.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rawlog.h"
#include "base/sampler.h"

struct unit {
    const char *suffix;
    int64_t factor;
};

static const struct unit size_units[] = {
    { "", 1 },          { "b", 1 },        { "k", 1 << 10 },   { "kb", 1 << 10 },
    { "kib", 1 << 10 }, { "m", 1 << 20 },  { "mb", 1 << 20 },  { "mib", 1 << 20 },
    { "g", 1 << 30 },   { "gb", 1 << 30 }, { "gib", 1 << 30 }, { NULL, 0 },
};
static const struct unit time_units[] = {
    { "", 1 }, { "ns", 1 }, { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 }, { NULL, 0 },
};
static const struct unit span_units[] = {
    { "ms", 1000000 },      { "s", 1000000000 }, { "m", 60000000000 },
    { "min", 60000000000 }, { NULL, 0 },
};
static const struct unit hz_units[] = { { "", 1 }, { "hz", 1 }, { NULL, 0 } };
static const struct unit no_units[] = { { "", 1 }, { NULL, 0 } };

static const struct {
    const char *name;
    const struct unit *units;
    int64_t max;
    size_t field; /* in struct prof__settings */
    const char *expected;
} numbers[] = {
    { "LIBPROF_HEAP_RATE", size_units, (int64_t)PROF__RATE_MAX,
      offsetof(struct prof__settings, heap_rate),
      "bytes between two samples, such as 524288 or 512k; 0 is off" },
    { "LIBPROF_BLOCK_RATE", time_units, INT64_MAX, offsetof(struct prof__settings, block_rate),
      "nanoseconds between two samples, such as 10000 or 10us; 0 is off" },
    { "LIBPROF_MUTEX_FRACTION", no_units, INT_MAX, offsetof(struct prof__settings, mutex_fraction),
      "a number n, for 1 event in n; 0 is off" },
    { "LIBPROF_CPU_RATE", hz_units, 250, offsetof(struct prof__settings, cpu_rate),
      "samples per second, 1 to 250" },
    { "LIBPROF_VARS", no_units, 1, offsetof(struct prof__settings, vars),
      "0, or 1 to note numbers over time where there is a server" },
    { "LIBPROF_MEMORY_LIMIT", size_units, (int64_t)1 << 28,
      offsetof(struct prof__settings, memory_limit), "bytes up to 256m" },
    { "LIBPROF_TRACE", span_units, (int64_t)3600 * 1000000000,
      offsetof(struct prof__settings, trace_ns), "a time up to 60m, such as 10s" },
};

/* Those read elsewhere. */
static const char *const others[] = {
    "LIBPROF_HTTP",
    "LIBPROF_HTTP_TOKEN",
    "LIBPROF_HTTP_HOSTS",
    "LIBPROF_CONTROL",
    "LIBPROF_UI_SOURCE",
    "LIBPROF_CAPTURE",
    "LIBPROF_DUMP",
    "LIBPROF_LOG",
    "LIBPROF_PRELOAD",
    "LIBPROF_ANNOUNCE",
    "LIBPROF_PROFRUN",
    "LIBPROF_CHILDREN",
    "LIBPROF_CPU_DUMP",
    "LIBPROF_PRELOAD_READERS",
    NULL,
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool same_word(const char *a, const char *b)
{
    for (; lower(*a) == lower(*b); a++, b++)
        if (!*a)
            return true;
    return false;
}

/* -1: not a number of those units, or above max. */
static int64_t parse(const char *s, const struct unit *units, int64_t max)
{
    int64_t n = 0;

    if (*s < '0' || *s > '9')
        return -1;
    for (; *s >= '0' && *s <= '9'; s++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *s - '0', &n))
            return -1;
    for (const struct unit *u = units; u->suffix; u++)
        if (same_word(s, u->suffix))
            return __builtin_mul_overflow(n, u->factor, &n) || n > max ? -1 : n;
    return -1;
}

static bool known(const char *variable, size_t length)
{
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (strlen(numbers[i].name) == length && memcmp(numbers[i].name, variable, length) == 0)
            return true;
    for (size_t i = 0; others[i]; i++)
        if (strlen(others[i]) == length && memcmp(others[i], variable, length) == 0)
            return true;
    return false;
}

static void report_unknown(void)
{
    for (char **e = environ; e && *e; e++) {
        const char *end = strchr(*e, '=');

        if (strncmp(*e, "LIBPROF_", 8) == 0 && end && !known(*e, (size_t)(end - *e)))
            prof__log("%.*s is not a variable of libprof; ignored", (int)(end - *e), *e);
    }
}

static struct prof__settings at_start;
static atomic_bool is_started;

static void parse_all(struct prof__settings *ret, bool report)
{
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        const char *value = secure_getenv(numbers[i].name);
        int64_t n = value ? parse(value, numbers[i].units, numbers[i].max) : -1;

        *(int64_t *)((char *)ret + numbers[i].field) = n;
        if (report && value && n < 0)
            prof__log("%s=%.80s is not %s; ignored", numbers[i].name, value, numbers[i].expected);
    }
}

__attribute__((constructor(101))) static void start(void)
{
    parse_all(&at_start, false);
    /* Release: they are there; pairs with the acquire below. */
    atomic_store_explicit(&is_started, true, memory_order_release);
}

void prof__settings_read(struct prof__settings *ret, bool report)
{
    if (report || !atomic_load_explicit(&is_started, memory_order_acquire))
        parse_all(ret, report);
    else
        *ret = at_start;
    if (report)
        report_unknown();
}
