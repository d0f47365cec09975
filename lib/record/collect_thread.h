/*
 * collect_thread.h - what hooks tell of threads that begin. Context: hook.
 */
#ifndef PROF_RECORD_COLLECT_THREAD_H
#define PROF_RECORD_COLLECT_THREAD_H

#include "base/compiler.h"

/* The caller has made a thread. */
PROF_SHARED void prof__thread_created(const void *return_address);

/* Has a thread that the caller is about to make anything to take over? Then it calls
 * prof__thread_started() first, with this, and with the address of the function that it is to run.
 */
struct prof__thread_heritage {
    uint32_t labels; /* the caller's prof__self.labels */
    uint32_t number; /* in the timeline; 0: none */
};
PROF_SHARED bool prof__thread_wants_start(struct prof__thread_heritage *ret);
PROF_SHARED void prof__thread_started(struct prof__thread_heritage from, uintptr_t function);

#endif
