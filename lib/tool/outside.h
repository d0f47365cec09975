/*
 * outside.h - commands on what cannot be asked: a process without libprof, or with one that does
 * not listen, and a core file.
 */
#ifndef PROF_TOOL_OUTSIDE_H
#define PROF_TOOL_OUTSIDE_H

#include "tool/ctl.h"
#include "tool/reach.h"

/* `command` is "heap", "threads", "leaks" and so on. An exit status, told. */
int outside_run(const char *command, const struct target *t, const struct ctl_options *o);

#endif
