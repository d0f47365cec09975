/*
 * deadlocks.h - threads that wait for each other for ever, as sentences.
 */
#ifndef PROF_PROFILE_DEADLOCKS_H
#define PROF_PROFILE_DEADLOCKS_H

#include <stddef.h>

/* A sentence for each deadlock, for status texts: appends as prof__append() does. */
void prof__append_deadlocks(char *buf, size_t size, int *length);

#endif
