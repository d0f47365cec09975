/*
 * hook_io.c - system calls that wait for data, peers, disks or time.
 *
 * Each hook is one jump: to libc's function, and only while a trace with io=1 is on to the one that
 * watches, which calls libc's once, with what it was given, and changes nothing of what comes back:
 * not the result, not errno, and a call that a signal has interrupted is not made again. Nothing
 * that the program points to is read.
 *
 * What cannot be seen: libc's own calls inside stdio and its resolver, since libc does not call
 * itself through the symbol table; system calls that a program makes by itself; io_uring.
 *
 * Context: hook, signal. Points of cancellation stay ones, and no other call becomes one: a thread
 * that is cancelled in libc's function is unwound through the watching one, whose frame has no more
 * to undo than its record.
 */
#include <errno.h>

#include "hooks/watch.h"
#include "hooks/watch_io.h"
#include "record/collect_io.h"

/* clang-format off */
#define HOOK(result, name, parameters, arguments, ...)                                             \
    PROF_SHARED PROF_NO_SANITIZE result name parameters                                            \
    {                                                                                              \
        return prof__io_door.name arguments;                                                       \
    }
PROF__IO_HOOKED(HOOK)

#define WATCH(result, name, parameters, arguments, call, fd)                                       \
    result prof__watch_##name parameters                                                           \
    {                                                                                              \
        struct prof__io io __attribute__((cleanup(prof__io_end))) = { 0 };                         \
                                                                                                   \
        prof__io_begin(&io, PROF__IO_##call, fd, CALLER);                                          \
        result r = prof__io_real.name arguments;                                                   \
        prof__io_returned(&io, (int64_t)r, errno);                                                 \
        return r;                                                                                  \
    }
PROF__IO_DOORS(WATCH)
/* clang-format on */
