/*
 * pagemap.c - proc(5): a word for each of the kernel's pages, which may be several of ours. Of the
 * page table much is read at a time where it is read on, and little elsewhere.
 */
#include "image/pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/memory.h"

#define PRESENT ((uint64_t)1 << 63)
#define SWAPPED ((uint64_t)1 << 62)

enum { FEW = 64 };

static bool fill(struct prof__pagemap *p, const char *file, uint64_t from, size_t n)
{
    uint64_t size = prof__page_size(), next = p->from + p->n * size;
    size_t entries = from == next
                         ? PROF__PAGEMAP_ENTRIES
                         : PROF_MIN(PROF_MAX(n, (size_t)FEW), (size_t)PROF__PAGEMAP_ENTRIES);
    int saved = errno;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC);
    ssize_t r = -1;

    p->n = 0;
    if (fd >= 0) {
        r = syscall(SYS_pread64, fd, p->entry, entries * sizeof(*p->entry),
                    from / size * sizeof(uint64_t));
        syscall(SYS_close, fd);
    }
    errno = saved;
    if (r <= 0)
        return false;
    p->from = from & ~(size - 1);
    p->n = (size_t)r / sizeof(uint64_t);
    return true;
}

size_t prof__pagemap_read(struct prof__pagemap *p, const char *file, uint64_t from, size_t n,
                          uint8_t *ret_state)
{
    uint64_t size = prof__page_size();
    size_t told = 0;

    while (told < n) {
        uint64_t end = p->from + p->n * size;

        if (from < p->from || from >= end) {
            if (!fill(p, file, from, n - told))
                return told;
            end = p->from + p->n * size;
        }
        size_t here = PROF_MIN(n - told, (end - from) / PROF__IMAGE_PAGE);
        for (size_t i = 0; i < here; i++) {
            uint64_t e = p->entry[(from - p->from + i * PROF__IMAGE_PAGE) / size];

            ret_state[told + i] = e & PRESENT   ? PROF__PAGE_PRESENT
                                  : e & SWAPPED ? PROF__PAGE_SWAPPED
                                                : PROF__PAGE_ABSENT;
        }
        told += here;
        from += here * PROF__IMAGE_PAGE;
    }
    return told;
}
