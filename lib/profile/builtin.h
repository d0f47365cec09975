/*
 * builtin.h - the profiles that are there without anybody adding them.
 *
 * cpu.c, heap.c, lock.c and threads.c hold the definitions: what rows mean to a reader. prof.c
 * registers them.
 */
#ifndef PROF_PROFILE_BUILTIN_H
#define PROF_PROFILE_BUILTIN_H

#include "profile/registry.h"

extern struct prof_profile prof__profile_allocs, prof__profile_heap;
extern struct prof_profile prof__profile_block, prof__profile_mutex;
extern struct prof_profile prof__profile_threads, prof__profile_goroutine;
extern struct prof_profile prof__profile_threadcreate, prof__profile_mmap;

/* Not in the list: prof_lookup() does not find it, as in Go. */
extern struct prof_profile prof__profile_cpu;

/* What makes the live heap incomplete. Takes the place of `status`. */
int prof__heap_status(char *buf, size_t size);

/* Ends with NULL. */
extern struct prof_profile *const prof__builtin[];

/* For status sentences: append to buf as snprintf() does; *length is what it would take in all. */
void prof__append(char *buf, size_t size, int *length, const char *format, ...) PROF_PRINTF(4, 5);

/* What any profile may have lost. */
void prof__append_losses(char *buf, size_t size, int *length);

#endif
