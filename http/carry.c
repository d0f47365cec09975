/*
 * carry.c - a descriptor table of a thread's own, and its open files to the next such thread.
 *
 *   program's thread           ending thread               next thread
 *   socketpair()          ->   pidfd_getfd() of one end
 *                              sendmsg(SCM_RIGHTS)
 *   starts the next one, with the other end in its table
 *                                                      ->  recvmsg(), and each to its number
 *
 * A socket keeps what is sent on it for as long as its other end is open, whoever has sent it. And
 * the numbers stay what they were, since libmicrohttpd and the kernel's epoll know files by them.
 * What makes tables of our own possible, close_range(CLOSE_RANGE_UNSHARE), is younger than
 * pidfd_getfd(), so that is always there.
 */
#include "carry.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    BATCH = 64, /* files in a message, of which the kernel takes 253, and looked at at once */
    NUMBERS_MAX = 65536 /* looked at: more than there can be connections */
};

struct message {
    int n; /* how many; -1: that was all, and number[0] of them */
    int number[BATCH];
};

union control {
    struct cmsghdr header;
    char space[CMSG_SPACE(BATCH * sizeof(int))];
};

static int close_fds(unsigned first, unsigned last, bool unshare)
{
#ifdef SYS_close_range
    return (int)syscall(SYS_close_range, first, last, unshare ? 1U << 1 /* _UNSHARE */ : 0U);
#else
    errno = ENOSYS;
    return -1;
#endif
}

/* There in a program built with ThreadSanitizer. It tells files by their numbers alone, so to it a
 * second table is full of races. */
extern void __tsan_init(void) __attribute__((weak));

/* There where libunwind is. It has one pipe for the process and remembers its two numbers. An
 * allocator that takes stacks with it, as tcmalloc does, takes some in our thread too: in a table
 * of ours it would meet our sockets at these numbers, close them, and remember new ones, which are
 * files of the program's in all other threads. */
extern unsigned long _U_dyn_info_list_addr(void) __attribute__((weak));

bool prof__table_leave(int keep, unsigned n)
{
    if (__tsan_init || _U_dyn_info_list_addr)
        return false;
    if (keep < 0)
        return close_fds(0, ~0U, true) == 0;
    if (keep == 0)
        return close_fds(n, ~0U, true) == 0;
    return close_fds(0, (unsigned)keep - 1, true) == 0 &&
           close_fds((unsigned)keep + n, ~0U, false) == 0;
}

void prof__table_occupy_standard(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && epoll_create1(EPOLL_CLOEXEC) < 0)
            return;
}

int prof__carrier_open(struct prof__carrier *ret)
{
    struct stat st;
    int pair[2];

    *ret = (struct prof__carrier) { -1, -1, 0 };
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -errno;
    *ret = (struct prof__carrier) { pair[0], pair[1], 0 };
    if (fstat(pair[0], &st) == 0)
        ret->ino = st.st_ino;
    return 0;
}

void prof__carrier_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* --- out -------------------------------------------------------------------------------------- */

/* Our copy of the program's descriptor, or a negative errno. */
static int fetch(const struct prof__carrier *carrier)
{
    struct stat st;
    int process = (int)syscall(SYS_pidfd_open, getpid(), 0);

    if (process < 0)
        return -errno;
    int fd = (int)syscall(SYS_pidfd_getfd, process, carrier->out, 0);
    int error = errno;
    close(process);
    if (fd < 0)
        return -error;
    if (fstat(fd, &st) < 0 || st.st_ino != carrier->ino) { /* the caller's table is yet another */
        close(fd);
        return -EBADF;
    }
    return fd;
}

static int send_files(int to, const struct message *m)
{
    union control control;
    struct iovec data = { (void *)(uintptr_t)m, sizeof(*m) };
    struct msghdr header = { .msg_iov = &data, .msg_iovlen = 1 };

    memset(&control, 0, sizeof(control));
    if (m->n > 0) {
        size_t size = (size_t)m->n * sizeof(int);

        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(size);
        control.header = (struct cmsghdr) { .cmsg_level = SOL_SOCKET,
                                            .cmsg_type = SCM_RIGHTS,
                                            .cmsg_len = CMSG_LEN(size) };
        memcpy(CMSG_DATA(&control.header), m->number, size);
    }
    return sendmsg(to, &header, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* The open ones among BATCH numbers, but for `to`. Asks one by one only where poll() may not be
 * asked for so many, as it is where there may be fewer files. */
static void find_open(int first, int to, struct message *ret)
{
    struct pollfd polls[BATCH];

    for (int i = 0; i < BATCH; i++)
        polls[i] = (struct pollfd) { .fd = first + i };
    bool polled = poll(polls, BATCH, 0) >= 0;
    ret->n = 0;
    for (int i = 0; i < BATCH; i++) {
        int fd = first + i;
        bool open = polled ? !(polls[i].revents & POLLNVAL) : fcntl(fd, F_GETFD) >= 0;

        if (open && fd != to)
            ret->number[ret->n++] = fd;
    }
}

int prof__carry_out(const struct prof__carrier *carrier)
{
    struct message m;
    int to = fetch(carrier), total = 0, r = 0;

    if (to < 0)
        return to;
    for (int first = 0; first < NUMBERS_MAX && r == 0; first += BATCH) {
        find_open(first, to, &m);
        total += m.n;
        if (m.n > 0)
            r = send_files(to, &m);
    }
    m.n = -1;
    m.number[0] = total;
    if (r == 0)
        r = send_files(to, &m);
    close(to);
    return r;
}

/* --- in --------------------------------------------------------------------------------------- */

/* Which file is at which number, and where it belongs. */
struct place {
    int at, wanted;
};

/* Takes the files of one message. Their number, 0 at the end, or a negative errno. */
static int receive_files(int from, struct place *place, int n, int room)
{
    struct message m;
    union control control;
    struct iovec data = { &m, sizeof(m) };
    struct msghdr header = { .msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control) };
    ssize_t size = recvmsg(from, &header, MSG_CMSG_CLOEXEC);

    if (size < 0)
        return -errno;
    if (size != (ssize_t)sizeof(m) || header.msg_flags & MSG_CTRUNC)
        return -EMFILE;
    if (m.n < 0)
        return m.number[0] == n ? 0 : -EPROTO;
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    if (!c || c->cmsg_len != CMSG_LEN((size_t)m.n * sizeof(int)) || m.n > room)
        return -EPROTO;
    for (int i = 0; i < m.n; i++) {
        memcpy(&place[i].at, CMSG_DATA(c) + (size_t)i * sizeof(int), sizeof(int));
        place[i].wanted = m.number[i];
    }
    return m.n;
}

/* Move each to its number; who is there before moves out of the way, once. */
static int put_in_place(struct place *place, int n)
{
    for (int i = 0; i < n; i++) {
        if (place[i].at == place[i].wanted)
            continue;
        for (int j = i + 1; j < n; j++)
            if (place[j].at == place[i].wanted) {
                int other = fcntl(place[j].at, F_DUPFD_CLOEXEC, 0);

                if (other < 0)
                    return -errno;
                place[j].at = other;
            }
        if (dup3(place[i].at, place[i].wanted, O_CLOEXEC) < 0)
            return -errno;
        close(place[i].at);
        place[i].at = place[i].wanted;
    }
    return 0;
}

int prof__carry_in(int in)
{
    struct place *place = calloc(NUMBERS_MAX, sizeof(*place));
    int n = 0, r = -ENOMEM;

    while (place && (r = receive_files(in, place + n, n, NUMBERS_MAX - n)) > 0)
        n += r;
    close(in);
    if (r == 0)
        r = put_in_place(place, n);
    free(place);
    return r;
}
