/*
 * fork_fds.c - the server's descriptors that a forked child gets copies of.
 */
#include "fork_fds.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

int prof__fork_fds_init(struct prof__fork_fds *f, unsigned n)
{
    f->fd = calloc(n, sizeof(*f->fd));
    if (!f->fd)
        return -ENOMEM;
    f->n = n;
    for (unsigned i = 0; i < n; i++)
        atomic_init(&f->fd[i], -1);
    return 0;
}

void prof__fork_fds_free(struct prof__fork_fds *f)
{
    free(f->fd);
    *f = (struct prof__fork_fds) { 0 };
}

static void replace(struct prof__fork_fds *f, int old, int new)
{
    for (unsigned i = 0; i < f->n; i++)
        /* Relaxed: the number is all there is; fork() orders it for the child. */
        if (atomic_load_explicit(&f->fd[i], memory_order_relaxed) == old) {
            atomic_store_explicit(&f->fd[i], new, memory_order_relaxed);
            return;
        }
}

void prof__fork_fds_add(struct prof__fork_fds *f, int fd)
{
    if (fd >= 0)
        replace(f, -1, fd);
}

void prof__fork_fds_remove(struct prof__fork_fds *f, int fd)
{
    if (fd >= 0)
        replace(f, fd, -1);
}

void prof__fork_fds_close(struct prof__fork_fds *f)
{
    for (unsigned i = 0; i < f->n; i++) {
        int fd = atomic_load_explicit(&f->fd[i], memory_order_relaxed);

        if (fd >= 0)
            close(fd);
    }
}
