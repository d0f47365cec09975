/*
 * pagemap.c - proc(5): a word a page. Of the page table much is read at a time where it is read on,
 * and little elsewhere.
 */
#include "image/pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PRESENT ((uint64_t)1 << 63)
#define SWAPPED ((uint64_t)1 << 62)

enum { FEW = 64 };

static bool fill(struct prof__pagemap *p, const char *file, uint64_t from, size_t n)
{
    uint64_t next = p->from + p->n * PROF__IMAGE_PAGE;
    size_t entries = from == next
                         ? PROF__PAGEMAP_ENTRIES
                         : PROF_MIN(PROF_MAX(n, (size_t)FEW), (size_t)PROF__PAGEMAP_ENTRIES);
    int saved = errno;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC);
    ssize_t r = -1;

    p->n = 0;
    if (fd >= 0) {
        r = syscall(SYS_pread64, fd, p->entry, entries * sizeof(*p->entry),
                    from / PROF__IMAGE_PAGE * sizeof(uint64_t));
        syscall(SYS_close, fd);
    }
    errno = saved;
    if (r <= 0)
        return false;
    p->from = from;
    p->n = (size_t)r / sizeof(uint64_t);
    return true;
}

size_t prof__pagemap_read(struct prof__pagemap *p, const char *file, uint64_t from, size_t n,
                          uint8_t *ret_state)
{
    size_t told = 0;

    while (told < n) {
        uint64_t at = (from - p->from) / PROF__IMAGE_PAGE;

        if (from < p->from || at >= p->n) {
            if (!fill(p, file, from, n - told))
                return told;
            at = 0;
        }
        size_t here = PROF_MIN(n - told, p->n - at);
        for (size_t i = 0; i < here; i++) {
            uint64_t e = p->entry[at + i];

            ret_state[told + i] = e & PRESENT   ? PROF__PAGE_PRESENT
                                  : e & SWAPPED ? PROF__PAGE_SWAPPED
                                                : PROF__PAGE_ABSENT;
        }
        told += here;
        from += here * PROF__IMAGE_PAGE;
    }
    return told;
}
