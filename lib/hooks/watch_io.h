/*
 * watch_io.h - the functions that watch system calls (hook_io.c).
 */
#ifndef PROF_HOOKS_WATCH_IO_H
#define PROF_HOOKS_WATCH_IO_H

#include "hooks/real_io.h"

#pragma GCC visibility push(hidden)
#define PROF__IO_WATCH(result, name, parameters, ...) result prof__watch_##name parameters;
PROF__IO_DOORS(PROF__IO_WATCH)
#undef PROF__IO_WATCH
#pragma GCC visibility pop

#endif
