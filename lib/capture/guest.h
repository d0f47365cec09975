/*
 * guest.h - a thread of ours that lives for as long as somebody wants it, sleeps until there is
 * something to do, and can leave the process for a moment.
 *
 *   start -> RUNNING: run() until prof__guest_is_ending()
 *   stop, or a call that is for processes of one thread -> ENDING -> LEAVING -> GONE
 *
 * The thread is detached and its last act is to say that it is gone, so nobody joins it.
 */
#ifndef PROF_CAPTURE_GUEST_H
#define PROF_CAPTURE_GUEST_H

#include "base/lock.h"

struct prof__guest {
    struct prof__lock lock; /* starting and ending; taken with signals masked */
    const char *name;
    size_t stack_bytes;
    void (*run)(void);
    void (*gone)(void); /* NULL, or called by the thread when it has left, and is not gone yet */
    unsigned users;
    bool away;              /* between leave() and come_back() */
    _Atomic uint32_t state; /* a futex: what it is to do; 0 is GONE */
    _Atomic uint32_t turn;  /* a futex: changes with each thing that it is to look at */
};

#define PROF__GUEST_INIT(rank, name, stack_bytes, run, gone)                \
    {                                                                       \
        PROF__LOCK_INIT(rank), name, stack_bytes, run, gone, 0, false, 0, 0 \
    }

/* One user more; the first has the thread started. -EAGAIN, -ENOMEM. */
int prof__guest_start(struct prof__guest *g);

/* One user less; the last has it end, and waits for that two seconds at most. -EALREADY: there is
 * none. */
int prof__guest_stop(struct prof__guest *g);

bool prof__guest_is_gone(struct prof__guest *g);

/* It looks for nothing to do any more, and gone() has been or will be called. Context: signal. */
bool prof__guest_has_left(struct prof__guest *g);

/* What prof_helper_can_leave() takes. */
int prof__guest_leave(struct prof__guest *g, int timeout_ms);
int prof__guest_come_back(struct prof__guest *g);

/* In a forked child there is none. */
void prof__guest_in_child(struct prof__guest *g);

/* Have it look up. Context: signal. */
void prof__guest_wake(struct prof__guest *g);

/* For the thread itself: run() is to close what it has and return. It is called again if it was
 * wanted again meanwhile. */
bool prof__guest_is_ending(struct prof__guest *g);

/* What is to be read before looking for something to do, and given to wait(): sleep until that
 * moment of prof__monotonic_ns(), or until somebody wakes it or has done so since then. */
uint32_t prof__guest_turn(struct prof__guest *g);
void prof__guest_wait(struct prof__guest *g, uint32_t turn, int64_t until_ns);

#endif
