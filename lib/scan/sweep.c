/*
 * sweep.c - present pages, 128 KiB at a time.
 *
 * The kernel holds the lock of the address space while it looks up the pages of one piece, which
 * takes some ten microseconds: a thread that maps memory waits no longer for us.
 */
#include "scan/sweep.h"

#include <string.h>

enum { PAGE = PROF__IMAGE_PAGE, PAGES = PROF__SWEEP_BYTES / PAGE };

/* Read [start, end), which is all in pages that are there. */
static int piece(struct prof__sweep *s, uint64_t start, uint64_t end, prof__sweep_fn *each,
                 void *arg)
{
    while (start < end) {
        size_t n = prof__image_read(s->image, start, s->buf, end - start) & ~(size_t)7;

        if (n)
            each(arg, start, s->buf, n / 8);
        s->read_bytes += n;
        int r = prof__pace_step(s->pace, n + 4096);
        if (r < 0)
            return r;
        start += n;
        if (start < end) { /* a page that went away meanwhile */
            uint64_t next = PROF_MIN(end, (start | (PAGE - 1)) + 1);

            s->lost_bytes += next - start;
            start = next;
        }
    }
    return 0;
}

int prof__sweep(struct prof__sweep *s, uint64_t start, uint64_t end, prof__sweep_fn *each,
                void *arg)
{
    uint8_t state[PAGES];
    int r = 0;

    while (start < end && r == 0) {
        uint64_t page = start & ~(uint64_t)(PAGE - 1);
        size_t n = PROF_MIN((size_t)PAGES, (end - page + PAGE - 1) / PAGE);

        s->image->ops->presence(s->image, page, n, state);
        for (size_t i = 0; i < n && r == 0;) {
            size_t k = i;

            while (k < n &&
                   (state[k] == PROF__PAGE_PRESENT || (state[k] == PROF__PAGE_SWAPPED && s->swap)))
                k++;
            if (k > i)
                r = piece(s, PROF_MAX(start, page + i * PAGE), PROF_MIN(end, page + k * PAGE), each,
                          arg);
            while (k < n &&
                   !(state[k] == PROF__PAGE_PRESENT || (state[k] == PROF__PAGE_SWAPPED && s->swap)))
                s->swapped_pages += state[k++] == PROF__PAGE_SWAPPED;
            i = k;
        }
        start = page + n * PAGE;
        if (r == 0)
            r = prof__pace_step(s->pace, n * 16);
    }
    return r;
}

int prof__sweep_block(struct prof__sweep *s, uint64_t start, uint64_t end, prof__sweep_fn *each,
                      void *arg)
{
    if (start >= end || end - start > PROF__SWEEP_BYTES / 2 || s->image->swapped)
        return prof__sweep(s, start, end, each, arg);
    return piece(s, start, end, each, arg);
}
