/*
 * loop.h - the server at work, in one thread of ours.
 *
 * Everything here but the two marked calls is for the server's thread alone.
 */
#ifndef PROF_HTTP_LOOP_H
#define PROF_HTTP_LOOP_H

#include <stdatomic.h>
#include <stdbool.h>

#include "listen.h"

struct prof__loop;

struct prof__loop_setup {
    const struct prof__address *address; /* NULL: the control socket alone */
    int inherited_fd;                    /* for PROF__ADDRESS_FD */
    bool control;                        /* open the control socket, too, if it can be */
    int control_fd, accepted_fd; /* that socket, where it is there, and a client of it; or -1.
                                    Copied */
    bool own_descriptors;        /* nobody else sees or closes this thread's descriptors */
    const char *token;           /* NULL: none is asked for. Copied */
    const char *hosts;        /* names allowed as Host; NULL: no more than hosts.h says. Copied */
    unsigned max_connections; /* not 0 */
    bool source;              /* source files may be read */
};

/* Listen. 0, or a negative errno with one sentence in reason[size]. */
int prof__loop_open(struct prof__loop **ret_loop, const struct prof__loop_setup *setup,
                    char *reason, size_t size);

/* Where it listens; the control socket where that is all. Lives as long as the loop. */
const struct prof__listener *prof__loop_listener(const struct prof__loop *loop);

/* Serve. The thread is cancellable only where it waits; there it leaves by pthread_cancel(). It
 * returns only if its descriptors were closed by others. */
void prof__loop_run(struct prof__loop *loop);

/* Stop listening, answer who is waiting with 503, close everything. Takes at most a second beyond
 * the handler under way. False: the descriptors were closed by others, and the loop is left as it
 * is, for ever. */
bool prof__loop_close(struct prof__loop *loop);

/* Once it is closed, and no fork handler can find it. */
void prof__loop_free(struct prof__loop *loop);

/* Any thread: requests under way are to end soon. */
void prof__loop_stop_soon(struct prof__loop *loop);

/* In a forked child, which has copies of the descriptors unless they were in a table of our own:
 * close them. The memory is left as it is, since another thread was in the middle of it. */
void prof__loop_forked(struct prof__loop *loop);

/* Put a loop that was left as it is into a list: memory that nothing points at is a leak to a leak
 * checker. */
void prof__loop_shelve(struct prof__loop *loop, struct prof__loop **list);

#endif
