/*
 * memory.c - process_vm_readv(2) of ourselves; where a filter refuses it, /proc/self/mem.
 *
 * That a page can be read is asked of rt_sigprocmask(2) with a `how` that does not exist: the
 * kernel copies the set in first, so EFAULT means unreadable, and EINVAL readable. It changes
 * nothing.
 */
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/valgrind.h"

#define PAGE ((uintptr_t)4096)

/* Cut [from, from + n) at the ends of pages, since a transfer that meets a bad page ends with that
 * piece. What is left when `max` are used up is one piece. */
static size_t cut(uintptr_t from, size_t n, struct iovec *piece, size_t max)
{
    size_t pieces = 0;

    for (; n > 0 && pieces < max; pieces++) {
        size_t size = pieces + 1 == max ? n : PROF_MIN(n, PAGE - from % PAGE);

        piece[pieces] = (struct iovec) { (void *)from, size };
        from += size;
        n -= size;
    }
    return pieces;
}

static ssize_t read_pieces(const struct iovec *piece, size_t pieces, void *to, size_t n)
{
    struct iovec local = { to, n };
    long r = syscall(SYS_process_vm_readv, getpid(), &local, 1UL, piece, pieces, 0UL);

    return r < 0 ? -errno : r;
}

int prof__memory_get(uintptr_t from, void *to, size_t n)
{
    struct iovec piece[2];
    int saved = errno;
    ssize_t r = read_pieces(piece, cut(from, n, piece, ARRAY_LEN(piece)), to, n);

    errno = saved;
    return r < 0 ? (int)r : (size_t)r == n ? 0 : -EFAULT;
}

/* pread(2), open(2) and close(2) are points of cancellation; the system calls are not. */
static ssize_t read_file(uintptr_t from, void *to, size_t n)
{
    long fd, r;

    do
        fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDONLY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return -errno;
    do
        r = syscall(SYS_pread64, fd, to, n, from);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        r = -errno;
    syscall(SYS_close, fd);
    return r;
}

ssize_t prof__memory_read(uintptr_t from, void *to, size_t n)
{
    struct iovec piece[64] = { { (void *)from, n } };
    int saved = errno;
    ssize_t r = read_pieces(piece, 1, to, n); /* nearly always all is there */

    if ((r >= 0 && (size_t)r < n) || r == -EFAULT)
        r = read_pieces(piece, cut(from, n, piece, ARRAY_LEN(piece)), to, n);

    if (r < 0 && r != -EFAULT)
        r = read_file(from, to, n);
    errno = saved;
    return r;
}

bool prof__page_readable(uintptr_t at)
{
    int saved = errno;
    char byte;

    /* It takes the question below for a fault of the program's, and that transfer, which it does
     * not look into, for none. */
    if (PROF_UNLIKELY(prof__in_valgrind()))
        return prof__memory_get(at & ~(PAGE - 1), &byte, sizeof(byte)) == 0;
    /* Not its first word: in page 0 that would be a null pointer, and nothing to copy. */
    long r = syscall(SYS_rt_sigprocmask, ~0L, (at & ~(PAGE - 1)) + 8, NULL, sizeof(uint64_t));
    bool readable = r < 0 && errno == EINVAL;

    errno = saved;
    return readable;
}

size_t prof__page_size(void)
{
    size_t size = getauxval(AT_PAGESZ); /* which keeps errno where it finds something */

    return size ? size : PAGE;
}
