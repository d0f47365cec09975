/*
 * mount_parts.h - requests in a daemon of the program's: for mount.c and mount_wait.c.
 */
#ifndef PROF_HTTP_MOUNT_PARTS_H
#define PROF_HTTP_MOUNT_PARTS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "request.h"

enum prof__mount_phase {
    RECEIVING,  /* headers are there; the body, if any, is coming in */
    SUSPENDING, /* libmicrohttpd is being told */
    WAITING,    /* suspended, until the deadline */
    FINISHING,  /* the waiting thread makes the reply */
    READY,      /* the reply is there */
};

/* One request. Only `phase` and the list are shared; the rest belongs to the waiting thread while
 * WAITING and FINISHING, and to the daemon's thread otherwise. */
struct prof__mounted {
    struct prof__mounted *next;
    int fd;
    enum prof__mount_phase phase;
    struct prof__request request;
};

/* Waits are to end: written under the lock; writers of bodies look at it without. */
extern atomic_bool prof__mount_stopping;

/* All that follow, but for prof__mount_wait(), with guard.h's lock held. */

void prof__mount_put_in(struct prof__mounted *q);
void prof__mount_take_out(struct prof__mounted *q);

/* `request` if it is one of ours, on this connection; else NULL. It is not looked into. */
struct prof__mounted *prof__mount_find(const struct MHD_Connection *mhd, const void *request);

/* From the start to the stop of the handler. The end leaves the lock, until nobody is suspended and
 * nobody will be. */
void prof__mount_begin_waits(void);
void prof__mount_end_waits(void);

/* The request wants to wait. True: it is suspended, and the reply comes later; else it is there. */
bool prof__mount_wait(struct prof__mounted *q);

#endif
