/*
 * listen.h - a listening socket for an address.
 *
 * Runs in the server's thread, whose descriptor table is its own: whatever is opened here, name
 * lookups included, never shows among the program's descriptors.
 */
#ifndef PROF_HTTP_LISTEN_H
#define PROF_HTTP_LISTEN_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "address.h"

/* A socket file we made. */
struct prof__socket_file {
    char path[PATH_MAX]; /* absolute: the program may chdir(); "": none */
    dev_t dev;           /* which file that was: a successor's is left alone */
    ino_t ino;
};

struct prof__listener {
    int fd;           /* listening, non-blocking, close-on-exec; -1: none */
    char name[320];   /* where it listens, in the forms of http.h, the real port filled in */
    char reason[512]; /* one sentence on why opening failed */
    struct prof__socket_file file;
};

/* Open a socket for `a`, an inherited one given as `inherited_fd`. 0, or a negative errno with
 * `reason` filled in and nothing left open. */
int prof__listener_open(struct prof__listener *l, const struct prof__address *a, int inherited_fd);

/* The control socket, on a descriptor that has its name and listens, which is copied, or -1. The
 * same. */
int prof__listener_open_control(struct prof__listener *l, int fd);

/* Close, and remove the socket file. */
void prof__listener_close(struct prof__listener *l);

/* Remove the file, if it is still the one that was made. */
void prof__socket_file_remove(const struct prof__socket_file *file);

#endif
