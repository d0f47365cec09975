/*
 * error.h - the sentence behind prof_last_error().
 *
 * prof_set_last_error() of the public header is what the inside uses too: `return
 * prof_set_last_error(-ENOMEM, "...")`. Calls that succeed leave it alone.
 */
#ifndef PROF_ERROR_H
#define PROF_ERROR_H

#include <errno.h>

#include <prof/prof.h>

/* "out of memory for WHAT", -ENOMEM. */
int prof__error_memory(const char *what);

#endif
