/*
 * carry.h - a descriptor table of a thread's own, and its open files to the next such thread.
 *
 * A thread whose descriptor table is its own takes that along when it ends. Its files outlive it as
 * messages on a socket, and the next thread takes them out, into a table of its own, under the same
 * numbers: so nobody who remembers a number need know.
 */
#ifndef PROF_HTTP_CARRY_H
#define PROF_HTTP_CARRY_H

#include <stdbool.h>
#include <sys/types.h>

/* Leave the program's descriptor table for one of our own, which is empty but for `keep` and so
 * many in all that follow it; -1: nothing. False: there is none to be had, and nothing has changed.
 */
bool prof__table_leave(int keep, unsigned n);

/* A library that writes to what it thinks is stderr must not write to a client: no connection may
 * get the numbers 0 to 2. An epoll instance takes no data. */
void prof__table_occupy_standard(void);

/* A pair of sockets in the program's table, for the time between the two threads. */
struct prof__carrier {
    int out, in; /* -1: none */
    ino_t ino;   /* of `out` */
};

/* By the program's thread. 0, or a negative errno. */
int prof__carrier_open(struct prof__carrier *ret);
void prof__carrier_close(int *fd);

/* By the thread that ends, whose table it is: put in all that is open there. 0, or a negative
 * errno; then nothing has changed, but what is in the carrier is of no use. Allocates nothing. */
int prof__carry_out(const struct prof__carrier *carrier);

/* By the one that begins, whose table has nothing in it but `in`, which is closed. 0, or a negative
 * errno. */
int prof__carry_in(int in);

#endif
