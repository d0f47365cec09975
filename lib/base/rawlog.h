/*
 * rawlog.h - one line to where LIBPROF_LOG says, by write(2), without stdio.
 *
 * LIBPROF_LOG is "stderr" or a path to append to; unset, nothing is ever written. A path is opened
 * for each line and closed again, so no descriptor of the program's is held.
 */
#ifndef PROF_BASE_RAWLOG_H
#define PROF_BASE_RAWLOG_H

#include "base/compiler.h"

/* "libprof[PID]: " and the line, a newline added. errno is kept. */
PROF_SHARED void prof__log(const char *format, ...) PROF_PRINTF(1, 2);

#endif
