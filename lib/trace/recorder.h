/*
 * recorder.h - the flight recorder's start with the program.
 */
#ifndef PROF_TRACE_RECORDER_H
#define PROF_TRACE_RECORDER_H

#include "base/compiler.h"

/* `ns` as LIBPROF_TRACE says; -1: it does not. */
void prof__trace_recorder_init(int64_t ns);

#endif
