/*
 * peer.h - what a connected socket tells of who is at its other end.
 */
#ifndef PROF_HTTP_PEER_H
#define PROF_HTTP_PEER_H

#include <stdbool.h>

/* It reached us over 127.0.0.0/8 or ::1. */
bool prof__peer_is_loopback(int fd);

/* A Unix peer that is neither our user nor root, or cannot be told. */
bool prof__peer_is_foreign_user(int fd);

/* A Unix socket in the abstract name space, where no file mode keeps others out. */
bool prof__peer_is_abstract(int fd);

#endif
