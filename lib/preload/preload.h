/*
 * preload.h - between the files of libprof-preload.so.
 */
#ifndef PROF_PRELOAD_PRELOAD_H
#define PROF_PRELOAD_PRELOAD_H

#include "base/compiler.h"

/* Of a thread that loads libraries, or looks names up in debug information. */
enum { PROF__PRELOAD_STACK = 1024 * 1024 };

/* Start serving where LIBPROF_HTTP says; on the last try, where that port is taken, on a socket of
 * this process's own. 0, or a negative errno that is already in the log. */
int prof__preload_serve(bool last_try);

/* Serve on the control socket and begin with this client of it: prof_http_control(). 0, or a
 * negative errno with a sentence in why[size]. */
int prof__preload_control(int listening, int accepted, char *why, size_t size);

/* This process, a forked one, takes over from its parent: the file of LIBPROF_DUMP is its now. */
void prof__preload_take_over(void);

/* Where LIBPROF_DUMP says that this process writes. 0, or a negative errno that is in the log. */
int prof__preload_dump_path(char *buf, size_t size);

/* From now on see to forked children and daemons. `serve`: they may serve; `each`: all of them. */
void prof__daemon_watch(bool serve, bool each);

#endif
