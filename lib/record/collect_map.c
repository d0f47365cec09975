/*
 * collect_map.c - mmap: who has mapped memory, every mapping counted.
 *
 * A mapping is a system call, and a page fault for each page that is used; a stack costs a fraction
 * of that, so none is left out and nothing is estimated.
 *
 *   row values: mapped objects, mapped bytes, unmapped objects, unmapped bytes; all only grow
 *
 * Order of additions as in collect_heap.c. Context: hook.
 */
#include "record/collect_map.h"

#include <errno.h>

#include "arch/arithmetic.h"
#include "base/fork.h"
#include "base/memory.h"
#include "base/thread.h"
#include "table/mappings.h"
#include "table/rows.h"
#include "table/stack_table.h"
#include "unwind/stack.h"

enum { MAP_OBJECTS, MAP_BYTES, UNMAP_OBJECTS, UNMAP_BYTES };

static _Atomic uint64_t lost;

uint64_t prof__map_lost(void)
{
    return atomic_load_explicit(&lost, memory_order_relaxed);
}

static void count_gone(uint32_t ref, uint64_t bytes, bool object)
{
    struct prof__row *row = prof__rows_at(ref);

    prof__row_add(row, UNMAP_BYTES, bytes);
    if (object)
        prof__row_add(row, UNMAP_OBJECTS, 1);
}

static int end_in_use(uint32_t ref, const struct prof__row *row, void *arg)
{
    uint64_t objects = row->value[MAP_OBJECTS] - row->value[UNMAP_OBJECTS];
    uint64_t bytes = row->value[MAP_BYTES] - row->value[UNMAP_BYTES];

    (void)arg;
    prof__row_add(prof__rows_at(ref), UNMAP_BYTES, bytes);
    prof__row_add(prof__rows_at(ref), UNMAP_OBJECTS, objects);
    atomic_fetch_add_explicit(&lost, objects, memory_order_relaxed);
    return 0;
}

/* What no piece tells the end of would be in use for ever, and again as mapped unseen. */
static void fork_child(void)
{
    if (prof__mappings_fork_child())
        prof__rows_each(PROF__TABLE_MMAP, end_in_use, NULL);
}

PROF__AT_FORK(PROF__FORK_NO_LOCK, NULL, NULL, fork_child)

/* The kernel's part of the call goes by whole pages. */
static size_t whole_pages(size_t size)
{
    size_t page = prof__page_size();

    return (size + page - 1) & ~(page - 1);
}

PROF_APART static void record(const struct prof__thread *t, uintptr_t start, size_t size,
                              const struct prof__site *site)
{
    uintptr_t pcs[PROF__STACK_MAX];
    size_t n = prof__stack_from(site, pcs, PROF__STACK_MAX);
    uint32_t ref = prof__rows_get(PROF__TABLE_MMAP, prof__stack_table_add(PROF__STORE_KEPT, pcs, n),
                                  t->labels, 0);

    if (!ref)
        return;
    prof__row_add(prof__rows_at(ref), MAP_OBJECTS, 1);
    prof__row_add(prof__rows_at(ref), MAP_BYTES, size);
    if (!prof__mappings_add(start, size, ref, count_gone)) {
        count_gone(ref, size, true); /* missing in use, and told so */
        atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
    }
}

static void added(uintptr_t start, size_t size, const struct prof__site *site)
{
    struct prof__thread *t = &prof__self;
    int saved = errno;

    if (prof__stack_room() && prof__enter(t)) {
        uint64_t program = prof__arithmetic_begin();

        record(t, start, size, site);
        prof__arithmetic_end(program);
        prof__leave(t);
    } else { /* it is libprof's own, or a hidden thread's: only what was there is gone */
        prof__mappings_remove(start, size, prof__mappings_now(), count_gone);
    }
    errno = saved;
}

static void removed(uintptr_t start, size_t size, uint64_t moment)
{
    int saved = errno;

    prof__mappings_remove(start, size, moment, count_gone);
    errno = saved;
}

void prof__map_added(const void *p, size_t size, const struct prof__site *site)
{
    added((uintptr_t)p, whole_pages(size), site);
}

uint64_t prof__map_moment(void)
{
    return prof__mappings_now();
}

void prof__map_removed(const void *p, size_t size, uint64_t moment)
{
    removed((uintptr_t)p, whole_pages(size), moment);
}

/* The break goes by bytes: what is asked for is what the program has. */
void prof__break_moved(const void *from, const void *to, uint64_t moment,
                       const struct prof__site *site)
{
    uintptr_t was = (uintptr_t)from, is = (uintptr_t)to;

    if (is > was)
        added(was, is - was, site);
    else if (is < was)
        removed(is, was - is, moment);
}
