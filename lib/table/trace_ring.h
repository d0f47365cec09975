/*
 * trace_ring.h - what threads do, each into a ring of its own, while a trace is on.
 *
 *   event -> record in the thread's ring, over the oldest -> copied by who reads, at any time
 *
 * A thread writes its own ring only, so no write waits for another; its signal handlers may write
 * in the middle. A record is whole when its number is in it, and a reader that sees another number
 * before or after copying it takes it for lost. How many have been written is known, so how many
 * are lost is exact.
 */
#ifndef PROF_TABLE_TRACE_RING_H
#define PROF_TABLE_TRACE_RING_H

#include "base/compiler.h"
#include "base/thread.h"
#include "table/trace_clock.h"

/* The kinds of records; what `object` and `value` are. Times are prof__trace_time(). */
enum prof__trace_kind {
    PROF__TRACE_NOTHING,
    PROF__TRACE_OWNER,   /* the ring is now thread `object`'s, and was `value`'s */
    PROF__TRACE_WAIT,    /* has waited for `object` since `value`; detail: PROF__TRACE_WAITED() */
    PROF__TRACE_RELEASE, /* lets go of lock `object`, for which others waited `value` ns */
    PROF__TRACE_WAKE,    /* wakes one, detail 0, or all, detail 1, that wait for `object` */
    PROF__TRACE_CREATE,  /* makes thread number `object` */
    PROF__TRACE_START,   /* is thread number `object`, 0: not known; value: its function */
    PROF__TRACE_END,     /* ends; `object` is its pthread_t */
    PROF__TRACE_NAME,    /* is called so: 16 bytes, `object` and `value` */
    PROF__TRACE_LABELS,  /* has the label set `object` */
    PROF__TRACE_REGION_BEGIN, /* `object` is a name: trace_names.h */
    PROF__TRACE_REGION_END,
    PROF__TRACE_TASK_BEGIN, /* `object` is the task's id, `value` a name */
    PROF__TRACE_TASK_END,
    PROF__TRACE_LOG,  /* a text begins: the first 16 bytes; detail: records that follow */
    PROF__TRACE_MORE, /* 24 bytes more: time, `object` and `value`; unused ones are 0 */
    PROF__TRACE_CPU,  /* was running for `value` ns */
    PROF__TRACE_IO,   /* was in a call since `value`; object: PROF__IO_OBJECT(), detail: which */
    PROF__TRACE_KINDS,
};

/* Of a wait: what for, how it ended (enum prof__wait_kind, enum prof__wait_end). */
#define PROF__TRACE_WAITED(kind, end) ((unsigned)(kind) | (unsigned)(end) << 4)

enum {
    PROF__TRACE_RING_RECORDS = 4096, /* of the largest rings */
    PROF__TRACE_RECORD_BYTES = 32,
    PROF__TRACE_TEXT_MAX = 16 + 24 * 10, /* of one log line */
};
#define PROF__TRACE_POOL_BYTES ((size_t)16 << 20)

/* What is wanted now: bits. 0, as a rule: then nobody comes here. */
enum { PROF__TRACE_EVENTS = 1, PROF__TRACE_SAMPLES = 2, PROF__TRACE_CALLS = 4 };
extern PROF_HIDDEN _Atomic uint32_t prof__trace_wants;

/* Does the calling thread trace events, and not hide? Context: signal. */
static inline bool prof__tracing(void)
{
    /* Acquire: with it comes how time is told. */
    return PROF_UNLIKELY(atomic_load_explicit(&prof__trace_wants, memory_order_acquire) != 0) &&
           prof__self.busy != PROF__HIDDEN;
}

/* Have memory for the rings, at the first trace; it is reserved for ever, and none of it is used
 * before it is written. -ENOMEM. */
int prof__trace_rings_begin(void);

/* Give back what the records take, for no trace is on; the next are written as ever. */
void prof__trace_rings_end(void);

/* Has the owner of a ring ended? errno is kept. Context: signal. */
bool prof__trace_is_gone(uint32_t tid);

/* Kind and detail in one word, as a record has them. */
enum { PROF__TRACE_KIND_BITS = 6, PROF__TRACE_DETAIL_BITS = 8 };
static inline uint32_t prof__trace_what(enum prof__trace_kind kind, unsigned detail)
{
    return (uint32_t)kind | (detail & ((1u << PROF__TRACE_DETAIL_BITS) - 1))
                                << PROF__TRACE_KIND_BITS;
}

void prof__trace_add(uint32_t what, uint64_t time, uint64_t object, uint64_t value, uint32_t stack);

/* Write one record of this thread; count it, if no ring is to be had. Takes no lock; errno is kept.
 * Context: signal. */
static inline void prof__trace_write(enum prof__trace_kind kind, unsigned detail, uint64_t time,
                                     uint64_t object, uint64_t value, uint32_t stack)
{
    prof__trace_add(prof__trace_what(kind, detail), time, object, value, stack);
}

/* The same of this moment, without a stack. */
void prof__trace_add_now(uint32_t what, uint64_t object, uint64_t value);
static inline void prof__trace_write_now(enum prof__trace_kind kind, unsigned detail,
                                         uint64_t object, uint64_t value)
{
    prof__trace_add_now(prof__trace_what(kind, detail), object, value);
}

/* And a text, cut to PROF__TRACE_TEXT_MAX bytes. Context: signal. */
void prof__trace_write_text(const char *text, size_t size);

/* What the thread is in just now, which is told when it is over; within it only handlers run.
 * `what` is the call's, as PROF__TRACE_IO's detail above its descriptor. A thread that has left one
 * by a jump, as a frame further down its stack shows, is in none. Context: signal. */
struct prof__trace_now {
    uint64_t since, what; /* since 0: in nothing */
    uintptr_t frame;
};
void prof__trace_now_begin(uint64_t since, uint64_t what, struct prof__trace_now *ret_around);
void prof__trace_now_end(const struct prof__trace_now *around);

/* Records that no ring could be had for. Context: signal. */
uint64_t prof__trace_lost(void);

/* --- reading ---------------------------------------------------------------------------------- */

struct prof__trace_record {
    uint64_t time, object, value;
    uint32_t stack;
    uint8_t kind, detail;
};

/* One ring, as it is now. */
struct prof__trace_ring_copy {
    uint64_t written; /* ever; the next record's number */
    uint64_t first;   /* number of the first one in `record`; those before are overwritten */
    uint32_t tid;     /* of whoever writes it */
    uint64_t now_since, now_what; /* what that thread is in; 0: nothing */
    size_t n;                     /* records; those that were not whole are PROF__TRACE_NOTHING */
    struct prof__trace_record record[PROF__TRACE_RING_RECORDS];
};

/* Rings that there can be, by number. */
unsigned prof__trace_rings(void);

/* How many records have been written to it, ever; 0: it has never been used. Any context. */
uint64_t prof__trace_ring_written(unsigned ring);

/* Copy one; false: it has never been used. Waits for nobody. Context: normal. */
bool prof__trace_ring_read(unsigned ring, struct prof__trace_ring_copy *ret);

#endif
