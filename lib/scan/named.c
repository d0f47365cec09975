/*
 * named.c - what the program tells of its memory: roots, and blocks that are meant to stay.
 *
 * Short lists behind a lock, as such calls are made when a program starts or loads something.
 */
#include <errno.h>
#include <prof/prof.h>
#include <string.h>

#include "base/error.h"
#include "base/fork.h"
#include "base/lock.h"
#include "scan/scan.h"
#include "table/root.h"

enum { ROOTS_MAX = PROF__TOLD_ROOTS, IGNORED_MAX = PROF__TOLD_IGNORED };

static struct prof__lock lock = PROF__LOCK_INIT(PROF__RANK_NAMED);
static struct prof__told *const told = &prof__told; /* a core file has it, too */

static size_t root_at(uint64_t start)
{
    size_t i = 0;

    while (i < told->n_roots && told->root[i].start != start)
        i++;
    return i;
}

int prof_heap_root(const void *address, size_t size)
{
    uint64_t start = (uintptr_t)address;
    int r = 0;

    if (!address || size == 0 || size > PTRDIFF_MAX)
        return prof_set_last_error(-EINVAL, "prof_heap_root() takes an address and a size");
    uint64_t mask = prof__lock_masked(&lock);
    size_t i = root_at(start);
    if (i == ROOTS_MAX)
        r = -ENOSPC;
    else
        told->root[i] = (struct prof__named_root) { start, start + size };
    if (i == told->n_roots && r == 0)
        told->n_roots++;
    prof__unlock_masked(&lock, mask);
    return r < 0 ? prof_set_last_error(r, "there are %d roots already", ROOTS_MAX) : 0;
}

int prof_heap_root_remove(const void *address)
{
    int r = -ENOENT;
    uint64_t mask = prof__lock_masked(&lock);
    size_t i = root_at((uintptr_t)address);

    if (i < told->n_roots) {
        told->root[i] = told->root[--told->n_roots];
        r = 0;
    }
    prof__unlock_masked(&lock, mask);
    return r < 0 ? prof_set_last_error(r, "no root begins at %p", address) : 0;
}

int prof_heap_ignore(const void *p)
{
    int r = 0;

    if (!p)
        return prof_set_last_error(-EINVAL, "prof_heap_ignore(NULL): a block has an address");
    uint64_t mask = prof__lock_masked(&lock);
    size_t i = 0;
    if (!told->ignored)
        told->ignored = prof__pages_map(IGNORED_MAX * sizeof(*told->ignored));
    while (i < told->n_ignored && told->ignored[i] != (uintptr_t)p)
        i++;
    if (!told->ignored)
        r = -ENOMEM;
    else if (i == IGNORED_MAX)
        r = -ENOSPC;
    else if (i == told->n_ignored)
        told->ignored[told->n_ignored++] = (uintptr_t)p;
    prof__unlock_masked(&lock, mask);
    return r < 0 ? prof_set_last_error(r, "no more than %d blocks can be ignored", IGNORED_MAX) : 0;
}

int prof__named_take(struct prof__arena *a, struct prof__named *ret)
{
    *ret = (struct prof__named) { 0 };
    ret->root = prof__arena_array(a, ROOTS_MAX, sizeof(*ret->root));
    ret->ignored = prof__arena_array(a, IGNORED_MAX, sizeof(*ret->ignored));
    if (!ret->root || !ret->ignored)
        return -ENOMEM;
    uint64_t mask = prof__lock_masked(&lock);
    memcpy(ret->root, told->root, told->n_roots * sizeof(*ret->root));
    if (told->n_ignored)
        memcpy(ret->ignored, told->ignored, told->n_ignored * sizeof(*told->ignored));
    ret->n_roots = told->n_roots;
    ret->n_ignored = told->n_ignored;
    prof__unlock_masked(&lock, mask);
    return 0;
}

static void fork_prepare(void)
{
    prof__lock(&lock);
}

static void fork_done(void)
{
    prof__unlock(&lock);
}

PROF__AT_FORK(PROF__RANK_NAMED, fork_prepare, fork_done, fork_done)
