/*
 * io_calls.h - the system calls that a trace with io=1 tells of, by number and name.
 *
 * What waits for data, for peers, for disks or for time; under the names of libc's functions.
 */
#ifndef PROF_TABLE_IO_CALLS_H
#define PROF_TABLE_IO_CALLS_H

/* clang-format off */
#define PROF__IO_CALLS(X) \
    X(read) X(pread) X(readv) X(preadv) X(recv) X(recvfrom) X(recvmsg) X(recvmmsg)           \
    X(write) X(pwrite) X(writev) X(pwritev) X(send) X(sendto) X(sendmsg) X(sendmmsg)         \
    X(sendfile) X(fsync) X(fdatasync)                                                        \
    X(poll) X(ppoll) X(select) X(pselect) X(epoll_wait) X(epoll_pwait) X(epoll_pwait2)       \
    X(connect) X(accept) X(accept4)                                                          \
    X(nanosleep) X(clock_nanosleep) X(usleep) X(sleep)
/* clang-format on */

#define PROF__IO_NUMBER(name) PROF__IO_##name,
enum prof__io_call { PROF__IO_CALLS(PROF__IO_NUMBER) PROF__IO_NUMBERS };
#undef PROF__IO_NUMBER

/* What a call that did not return, as its thread was cancelled, has for a result; others have a
 * number, cut to 32 bits, or a negative errno. */
#define PROF__IO_CANCELLED INT32_MIN

/* Of a record: the descriptor, or -1, and the result. */
#define PROF__IO_OBJECT(fd, result) ((uint64_t)(uint32_t)(result) << 32 | (uint32_t)(fd))
#define PROF__IO_FD(object)         ((int32_t)(uint32_t)(object))
#define PROF__IO_RESULT(object)     ((int32_t)(uint32_t)((object) >> 32))

#endif
