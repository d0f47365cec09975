/*
 * peer.h - what a connected socket tells of who is at its other end.
 */
#ifndef PROF_HTTP_PEER_H
#define PROF_HTTP_PEER_H

#include "access.h"

/* Whoever is at the other end of `fd`; the headers of a request are left as they are. */
void prof__peer_tell(int fd, struct prof__caller *ret);

#endif
