/*
 * numbers.h - numbers out of what a process answers: /metrics and /debug/pprof/vars.
 */
#ifndef PROF_TOOL_NUMBERS_H
#define PROF_TOOL_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>

/* The sum of a family of Prometheus' text. False: it has none, and *ret is 0. */
bool numbers_metric(const char *text, const char *name, double *ret);

/* Bytes a minute that the heap has grown by over the last ten minutes, or as long as there is.
 * False: too short to tell. */
bool numbers_growth(const char *vars_json, double *ret);

#endif
