/*
 * hook_mmap.c - who maps memory: mmap(), mremap(), munmap(), sbrk() and brk().
 *
 * A mapping is recorded once it is there. What is unmapped is forgotten after the call, when it is
 * known to be gone, but only if it is older than the call: another thread may have the address by
 * then. libc's own malloc, its threads' stacks and the dynamic linker do not come through here.
 * errno is what the real function left. Context: hook; a handler of the program's may call these.
 */
#undef _FILE_OFFSET_BITS /* or mmap() and mmap64() would be one */
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hooks/real.h"
#include "record/collect_map.h"

#define CALLER __builtin_return_address(0)

#define MAP(real_call)                                      \
    struct prof__site site = prof__site(CALLER);            \
    void *p = real_call;                                    \
    if (PROF_LIKELY(p != MAP_FAILED && !prof__hooks_aside)) \
        prof__map_added(p, length, &site);                  \
    return p

PROF_SHARED void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    MAP(prof__real.mmap(at, length, protection, flags, fd, offset));
}

PROF_SHARED void *mmap64(void *at, size_t length, int protection, int flags, int fd, off64_t offset)
{
    MAP(prof__real.mmap64(at, length, protection, flags, fd, offset));
}

PROF_SHARED int munmap(void *p, size_t length)
{
    uint64_t moment = prof__map_moment();
    int r = prof__real.munmap(p, length);

    if (r == 0 && !prof__hooks_aside)
        prof__map_removed(p, length, moment);
    return r;
}

/* In place or not, it is mapped anew by this caller, as with realloc(). */
PROF_SHARED void *mremap(void *old, size_t old_length, size_t length, int flags, ...)
{
    struct prof__site site = prof__site(CALLER);
    uint64_t moment = prof__map_moment();
    va_list arguments;

    va_start(arguments, flags);
    void *to = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) ? va_arg(arguments, void *) : NULL;
    va_end(arguments);
    void *p = prof__real.mremap(old, old_length, length, flags, to);
    if (p == MAP_FAILED || prof__hooks_aside)
        return p;
    if (old_length && !(flags & MREMAP_DONTUNMAP))
        prof__map_removed(old, old_length, moment);
    prof__map_added(p, length, &site);
    return p;
}

/* To give back more than there is, as with brk(NULL), is a success of libc's that changes nothing:
 * whether less is there now is to be asked. */
static void note_break(char *before, char *end, uint64_t moment, const struct prof__site *site)
{
    if (end >= before || (char *)prof__real.sbrk(0) < before)
        prof__break_moved(before, end, moment, site);
}

PROF_SHARED void *sbrk(intptr_t increment)
{
    struct prof__site site = prof__site(CALLER);
    uint64_t moment = prof__map_moment();
    char *p = prof__real.sbrk(increment);

    if (increment && p != (char *)-1 && !prof__hooks_aside)
        note_break(p, p + increment, moment, &site);
    return p;
}

PROF_SHARED int brk(void *end)
{
    struct prof__site site = prof__site(CALLER);
    uint64_t moment = prof__map_moment();
    char *before = prof__real.sbrk(0);
    int r = prof__real.brk(end);

    if (r == 0 && before != (char *)-1 && !prof__hooks_aside)
        note_break(before, end, moment, &site);
    return r;
}
