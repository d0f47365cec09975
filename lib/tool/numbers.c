/*
 * numbers.c - numbers out of what a process answers. Both texts are libprof's own, and no general
 * ones: a number is looked for where libprof puts it.
 */
#include "tool/numbers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool numbers_metric(const char *text, const char *name, double *ret)
{
    size_t n = strlen(name);
    bool found = false;

    *ret = 0;
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, n) != 0 || (line[n] != ' ' && line[n] != '{'))
            continue;
        const char *value = line[n] == '{' ? strchr(line, '}') : line + n;
        *ret += value ? strtod(value + 1, NULL) : 0;
        found = true;
    }
    return found;
}

/* A series of /debug/pprof/vars: the numbers of "NAME":[...] in "seconds". */
static size_t series(const char *json, const char *name, double *ret, size_t cap)
{
    char key[64];
    size_t n = 0;

    snprintf(key, sizeof(key), "\"%s\":[", name);
    const char *at = strstr(json, "\"seconds\"");
    at = at ? strstr(at, key) : NULL;
    if (!at)
        return 0;
    at += strlen(key);
    while (*at && *at != ']' && n < cap) {
        char *end;
        double v = strtod(at, &end);

        ret[n++] = end == at ? -1 : v; /* null */
        at = end == at ? at + strcspn(at, ",]") : end;
        at += *at == ',';
    }
    return n;
}

/* The slope of a straight line through all of them, so that one spike at an end does not count for
 * much. */
bool numbers_growth(const char *vars_json, double *ret)
{
    enum { POINTS = 600 };
    static double t[POINTS], v[POINTS];
    size_t n = series(vars_json, "time_ms", t, POINTS),
           k = series(vars_json, "heap_bytes", v, POINTS);
    double st = 0, sv = 0, stt = 0, stv = 0, m = 0;

    n = n < k ? n : k;
    for (size_t i = 0; i < n; i++) {
        double x = (t[i] - t[0]) / 60000;

        if (v[i] < 0)
            continue;
        st += x;
        sv += v[i];
        stt += x * x;
        stv += x * v[i];
        m++;
    }
    double d = m * stt - st * st;
    if (m < 10 || d <= 0)
        return false;
    *ret = (m * stv - st * sv) / d;
    return true;
}
