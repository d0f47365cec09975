/*
 * rawlog.h - one line to where LIBPROF_LOG says, by write(2), without stdio.
 *
 * LIBPROF_LOG is "stderr" or a path to append to; unset, nothing is ever written. A path is opened
 * for each line and closed again, so no descriptor of the program's is held. It is read when
 * libprof is loaded; before that, nothing is logged.
 */
#ifndef PROF_BASE_RAWLOG_H
#define PROF_BASE_RAWLOG_H

#include "base/compiler.h"

/* "libprof[PID]: " and the line, a newline added. errno is kept. */
PROF_SHARED void prof__log(const char *format, ...) PROF_PRINTF(1, 2);

/* A line of at most 512 bytes to standard error, if descriptor 2 is still what it was when libprof
 * was loaded; else, and where it would have to wait for its reader, it is lost. errno is kept.
 * Context: signal. */
PROF_SHARED void prof__stderr_line(const char *line, size_t size);

#endif
