/*
 * fork_fds.h - the server's descriptors that a forked child gets copies of, to be closed there.
 *
 * Only where the server has no descriptor table of its own. The thread that forks reads them while
 * the server's goes on.
 */
#ifndef PROF_HTTP_FORK_FDS_H
#define PROF_HTTP_FORK_FDS_H

#include <stdatomic.h>

/* Zero is an empty one, which takes none. */
struct prof__fork_fds {
    _Atomic int *fd; /* -1: free */
    unsigned n;
};

/* Room for n descriptors. 0 or -ENOMEM. */
int prof__fork_fds_init(struct prof__fork_fds *f, unsigned n);
void prof__fork_fds_free(struct prof__fork_fds *f);

/* Context: the server's thread. */
void prof__fork_fds_add(struct prof__fork_fds *f, int fd);
void prof__fork_fds_remove(struct prof__fork_fds *f, int fd);

/* In the child: close them. */
void prof__fork_fds_close(struct prof__fork_fds *f);

#endif
