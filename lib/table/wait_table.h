/*
 * wait_table.h - which thread is waiting for what right now, as far as the hooks have seen it
 * begin.
 */
#ifndef PROF_TABLE_WAIT_TABLE_H
#define PROF_TABLE_WAIT_TABLE_H

#include "base/compiler.h"

enum prof__wait_kind {
    PROF__WAIT_UNKNOWN, /* a futex that nothing is known about */
    PROF__WAIT_MUTEX,
    PROF__WAIT_READ, /* of a read/write lock */
    PROF__WAIT_WRITE,
    PROF__WAIT_CONDITION,
    PROF__WAIT_SEMAPHORE,
    PROF__WAIT_BARRIER,
    PROF__WAIT_JOIN, /* `object` is a pthread_t */
};

struct prof__wait_entry {
    uint32_t tid;
    enum prof__wait_kind kind;
    bool timed; /* ends by itself */
    uintptr_t object;
    int64_t since_ns; /* CLOCK_MONOTONIC */
};

/* The calling thread's kernel id. Context: signal. */
uint32_t prof__tid(void);

/* The calling thread begins to wait. Returns what prof__wait_table_remove() wants; 0 when there is
 * no room. Takes no lock. Context: hook, signal. */
uint32_t prof__wait_table_add(enum prof__wait_kind kind, bool timed, const void *object,
                              int64_t since_ns);
void prof__wait_table_remove(uint32_t ref);

/* The innermost wait of a thread; false: none is known. */
bool prof__wait_table_find(uint32_t tid, struct prof__wait_entry *ret);

#endif
