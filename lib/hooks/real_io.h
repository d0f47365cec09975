/*
 * real_io.h - libc's functions that wait for data, peers, disks or time, behind ours.
 *
 * As real_pthread.h: a hook is a jump through prof__io_door, which leads to libc's function, and to
 * the watching one only while a trace with io=1 is on. Those call libc's through prof__io_real.
 */
#ifndef PROF_HOOKS_REAL_IO_H
#define PROF_HOOKS_REAL_IO_H

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/compiler.h"

/* What some of them are where the compiler checks sizes (_FORTIFY_SOURCE). */
ssize_t __read_chk(int fd, void *buf, size_t n, size_t room);
ssize_t __pread_chk(int fd, void *buf, size_t n, off_t at, size_t room);
ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t at, size_t room);
ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *__restrict buf, size_t n, size_t room, int flags,
                       __SOCKADDR_ARG address, socklen_t *__restrict size);
int __poll_chk(struct pollfd *fds, nfds_t n, int timeout_ms, size_t room);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask,
                size_t room);

/* clang-format off */

/* DOOR(result, name, parameters, arguments, io_calls.h's name, descriptor or -1). */
#define PROF__IO_HOOKED(DOOR)                                                                      \
    DOOR(ssize_t, read, (int fd, void *buf, size_t n), (fd, buf, n), read, fd)                     \
    DOOR(ssize_t, __read_chk, (int fd, void *buf, size_t n, size_t room),                          \
         (fd, buf, n, room), read, fd)                                                             \
    DOOR(ssize_t, pread, (int fd, void *buf, size_t n, off_t at), (fd, buf, n, at), pread, fd)     \
    DOOR(ssize_t, pread64, (int fd, void *buf, size_t n, off64_t at),                              \
         (fd, buf, n, at), pread, fd)                                                              \
    DOOR(ssize_t, __pread_chk, (int fd, void *buf, size_t n, off_t at, size_t room),               \
         (fd, buf, n, at, room), pread, fd)                                                        \
    DOOR(ssize_t, __pread64_chk, (int fd, void *buf, size_t n, off64_t at, size_t room),           \
         (fd, buf, n, at, room), pread, fd)                                                        \
    DOOR(ssize_t, readv, (int fd, const struct iovec *v, int n), (fd, v, n), readv, fd)            \
    DOOR(ssize_t, preadv, (int fd, const struct iovec *v, int n, off_t at),                        \
         (fd, v, n, at), preadv, fd)                                                               \
    DOOR(ssize_t, preadv64, (int fd, const struct iovec *v, int n, off64_t at),                    \
         (fd, v, n, at), preadv, fd)                                                               \
    DOOR(ssize_t, recv, (int fd, void *buf, size_t n, int flags), (fd, buf, n, flags), recv, fd)   \
    DOOR(ssize_t, __recv_chk, (int fd, void *buf, size_t n, size_t room, int flags),               \
         (fd, buf, n, room, flags), recv, fd)                                                      \
    DOOR(ssize_t, recvfrom,                                                                        \
         (int fd, void *__restrict buf, size_t n, int flags, __SOCKADDR_ARG address,               \
          socklen_t *__restrict size),                                                             \
         (fd, buf, n, flags, address, size), recvfrom, fd)                                         \
    DOOR(ssize_t, __recvfrom_chk,                                                                  \
         (int fd, void *__restrict buf, size_t n, size_t room, int flags, __SOCKADDR_ARG address,  \
          socklen_t *__restrict size),                                                             \
         (fd, buf, n, room, flags, address, size), recvfrom, fd)                                   \
    DOOR(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags), recvmsg, fd)     \
    DOOR(int, recvmmsg,                                                                            \
         (int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *timeout),             \
         (fd, m, n, flags, timeout), recvmmsg, fd)                                                 \
    DOOR(ssize_t, write, (int fd, const void *buf, size_t n), (fd, buf, n), write, fd)             \
    DOOR(ssize_t, pwrite, (int fd, const void *buf, size_t n, off_t at),                           \
         (fd, buf, n, at), pwrite, fd)                                                             \
    DOOR(ssize_t, pwrite64, (int fd, const void *buf, size_t n, off64_t at),                       \
         (fd, buf, n, at), pwrite, fd)                                                             \
    DOOR(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), writev, fd)          \
    DOOR(ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t at),                       \
         (fd, v, n, at), pwritev, fd)                                                              \
    DOOR(ssize_t, pwritev64, (int fd, const struct iovec *v, int n, off64_t at),                   \
         (fd, v, n, at), pwritev, fd)                                                              \
    DOOR(ssize_t, send, (int fd, const void *buf, size_t n, int flags),                            \
         (fd, buf, n, flags), send, fd)                                                            \
    DOOR(ssize_t, sendto,                                                                          \
         (int fd, const void *buf, size_t n, int flags, __CONST_SOCKADDR_ARG address,              \
          socklen_t size),                                                                         \
         (fd, buf, n, flags, address, size), sendto, fd)                                           \
    DOOR(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags),            \
         sendmsg, fd)                                                                              \
    DOOR(int, sendmmsg, (int fd, struct mmsghdr *m, unsigned n, int flags), (fd, m, n, flags),     \
         sendmmsg, fd)                                                                             \
    DOOR(ssize_t, sendfile, (int fd, int from, off_t *at, size_t n), (fd, from, at, n),            \
         sendfile, fd)                                                                             \
    DOOR(ssize_t, sendfile64, (int fd, int from, off64_t *at, size_t n), (fd, from, at, n),        \
         sendfile, fd)                                                                             \
    DOOR(int, fsync, (int fd), (fd), fsync, fd)                                                    \
    DOOR(int, fdatasync, (int fd), (fd), fdatasync, fd)                                            \
    DOOR(int, connect, (int fd, __CONST_SOCKADDR_ARG address, socklen_t size),                     \
         (fd, address, size), connect, fd)                                                         \
    DOOR(int, accept, (int fd, __SOCKADDR_ARG address, socklen_t *__restrict size),                \
         (fd, address, size), accept, fd)                                                          \
    DOOR(int, accept4, (int fd, __SOCKADDR_ARG address, socklen_t *__restrict size, int flags),    \
         (fd, address, size, flags), accept4, fd)                                                  \
    DOOR(int, poll, (struct pollfd *fds, nfds_t n, int timeout_ms), (fds, n, timeout_ms),          \
         poll, -1)                                                                                   \
    DOOR(int, __poll_chk, (struct pollfd *fds, nfds_t n, int timeout_ms, size_t room),             \
         (fds, n, timeout_ms, room), poll, -1)                                                     \
    DOOR(int, select,                                                                              \
         (int n, fd_set *__restrict readable, fd_set *__restrict writable,                         \
          fd_set *__restrict exceptional, struct timeval *__restrict timeout),                     \
         (n, readable, writable, exceptional, timeout), select, -1)                                \
    DOOR(int, epoll_wait, (int fd, struct epoll_event *events, int n, int timeout_ms),             \
         (fd, events, n, timeout_ms), epoll_wait, fd)                                              \
    DOOR(int, nanosleep, (const struct timespec *time, struct timespec *left), (time, left),       \
         nanosleep, -1)                                                                            \
    DOOR(int, clock_nanosleep,                                                                     \
         (clockid_t clock, int flags, const struct timespec *time, struct timespec *left),         \
         (clock, flags, time, left), clock_nanosleep, -1)                                          \
    DOOR(int, usleep, (useconds_t us), (us), usleep, -1)                                           \
    DOOR(unsigned, sleep, (unsigned seconds), (seconds), sleep, -1)

/* Those that wait under another signal mask: hook_masked.c has their hooks. */
#define PROF__IO_MASKED(DOOR)                                                                      \
    DOOR(int, ppoll,                                                                               \
         (struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask),     \
         (fds, n, timeout, mask), ppoll, -1)                                                       \
    DOOR(int, __ppoll_chk,                                                                         \
         (struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask,      \
          size_t room),                                                                            \
         (fds, n, timeout, mask, room), ppoll, -1)                                                 \
    DOOR(int, pselect,                                                                             \
         (int n, fd_set *__restrict readable, fd_set *__restrict writable,                         \
          fd_set *__restrict exceptional, const struct timespec *__restrict timeout,               \
          const sigset_t *__restrict mask),                                                        \
         (n, readable, writable, exceptional, timeout, mask), pselect, -1)                         \
    DOOR(int, epoll_pwait,                                                                         \
         (int fd, struct epoll_event *events, int n, int timeout_ms, const sigset_t *mask),        \
         (fd, events, n, timeout_ms, mask), epoll_pwait, fd)                                       \
    DOOR(int, epoll_pwait2,                                                                        \
         (int fd, struct epoll_event *events, int n, const struct timespec *timeout,               \
          const sigset_t *mask),                                                                   \
         (fd, events, n, timeout, mask), epoll_pwait2, fd)

#define PROF__IO_DOORS(DOOR) PROF__IO_HOOKED(DOOR) PROF__IO_MASKED(DOOR)
#define PROF__IO_DECLARE(result, name, parameters, ...) result (*name) parameters;
/* clang-format on */

struct prof__io_table {
    PROF__IO_DOORS(PROF__IO_DECLARE)
};
#undef PROF__IO_DECLARE

/* Entries are aligned words; each is read by one jump, and written by any number of threads that
 * look up or switch. */
extern struct prof__io_table prof__io_door __attribute__((visibility("hidden")));
extern struct prof__io_table prof__io_real __attribute__((visibility("hidden")));

/* Let the doors lead to the watching functions, or to libc's. */
void prof__io_watch(bool on) __attribute__((visibility("hidden")));

/* What a hook of this name ends up in, or NULL; for the other copy of the hooks (real.h). */
void *prof__io_real_of(const char *name) __attribute__((visibility("hidden")));

#endif
