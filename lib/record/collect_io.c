/*
 * collect_io.c - read, poll, connect and their like, while a trace with io=1 is on.
 *
 * A server makes a hundred thousand calls a second that wait for nothing, and a ring holds some
 * thousands of records: so only those that take as long as stacks are wanted for are told, and
 * those with their stacks. One that is under way is a word in the thread's ring.
 */
#include "record/collect_io.h"

#include <errno.h>

#include "record/collect_lock.h"
#include "record/collect_trace.h"
#include "unwind/stack.h"

static bool wanted(void)
{
    return atomic_load_explicit(&prof__trace_wants, memory_order_acquire) & PROF__TRACE_CALLS;
}

void prof__io_begin(struct prof__io *io, enum prof__io_call call, int fd, const void *caller)
{
    *io = (struct prof__io) { .call = call, .fd = fd, .result = PROF__IO_CANCELLED };
    if (!wanted() || prof__self.busy) /* the profiler's own, or a hidden thread's */
        return;
    io->caller = caller;
    io->since = prof__trace_time();
    prof__trace_now_begin(io->since, (uint64_t)call << 32 | (uint32_t)fd, &io->around);
}

void prof__io_end(struct prof__io *io)
{
    struct prof__thread *t = &prof__self;

    if (!io->since)
        return;
    uint64_t now = prof__trace_time();
    prof__trace_now_end(&io->around);
    if (now - io->since < prof__trace_min_ticks() || !wanted() || !prof__enter(t))
        return;
    int saved = errno;
    prof__trace_write(PROF__TRACE_IO, io->call, now, PROF__IO_OBJECT(io->fd, io->result), io->since,
                      prof__hook_stack(io->caller));
    errno = saved;
    prof__leave(t);
}
