/*
 * cpu_dump.h - a CPU profile of the run, or of its first seconds, instead of the heap profile.
 */
#ifndef PROF_PRELOAD_CPU_DUMP_H
#define PROF_PRELOAD_CPU_DUMP_H

/* Begin, in this process. `seconds`: what LIBPROF_CPU_DUMP says; 0 means until it ends. Then the
 * profile goes to the path that prof__preload_dump_path() gives. What fails is in the log. */
void prof__cpu_dump_start(const char *seconds);

/* The process exits: write what there is, unless that is done. */
void prof__cpu_dump_finish(void);

/* A forked child that is to have a profile of its own. */
void prof__cpu_dump_restart(void);

#endif
