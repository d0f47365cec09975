/*
 * mount_wait.c - waiting in a daemon of the program's, as it is made:
 *
 *   MHD_ALLOW_SUSPEND_RESUME     the connection is suspended. One thread of ours, started with the
 *                                first that waits, ends the waits, writes the profiles, and
 *                                resumes: so the daemon's threads are never held up
 *   a thread per connection      that thread waits, and writes the profile
 *
 * Any other daemon has one thread for many connections, which must not sleep: 501.
 *
 * A suspended connection is libmicrohttpd's to keep and ours to resume; stopping the daemon before
 * that aborts the process. So prof_http_handler_stop() returns only when all are resumed, and none
 * waits after that. Nobody but the waiting thread resumes, or who finds that it cannot come back.
 */
#include <errno.h>
#include <poll.h>
#include <prof/prof.h>
#include <pthread.h>

#include "clock.h"
#include "guard.h"
#include "mhd.h"
#include "mount_parts.h"

#define LOOK_NS     SECOND_NS     /* while somebody waits: how often we look who has left */
#define STACK_BYTES (1024 * 1024) /* names are looked up in debug information there */

enum thread_state { NO_THREAD, STARTING, RUNNING, LEAVING, AWAY };

atomic_bool prof__mount_stopping;

/* Guarded by guard.h's lock. */
static struct {
    struct prof__mounted *requests;
    enum thread_state thread_state;
    pthread_t thread;
} waits;

static bool is_changing(void)
{
    return waits.thread_state != NO_THREAD && waits.thread_state != RUNNING;
}

static bool is_stopping(void)
{
    /* Relaxed: who must not miss it reads it under the lock. */
    return atomic_load_explicit(&prof__mount_stopping, memory_order_relaxed);
}

/* --- the list --------------------------------------------------------------------------------- */

void prof__mount_put_in(struct prof__mounted *q)
{
    q->next = waits.requests;
    waits.requests = q;
}

void prof__mount_take_out(struct prof__mounted *q)
{
    for (struct prof__mounted **at = &waits.requests; *at; at = &(*at)->next)
        if (*at == q) {
            *at = q->next;
            return;
        }
}

struct prof__mounted *prof__mount_find(const struct MHD_Connection *mhd, const void *request)
{
    struct prof__mounted *q = waits.requests;

    while (q && (q != request || q->request.mhd != mhd))
        q = q->next;
    return q;
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* The client has closed its side, or all. As in Go, that ends a wait. */
static bool has_left(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLRDHUP };

    return poll(&p, 1, 0) > 0;
}

/* Why a wait is over before its time; NULL: it is not. */
static const char *why_over(const struct prof__mounted *q)
{
    if (is_stopping())
        return prof__stopping_text;
    return has_left(q->fd) ? "the client has left" : NULL;
}

/* A wait is over, for that reason or because its time has come. False: it goes on. */
static bool end_wait(struct prof__mounted *q, const char *why)
{
    if (!why)
        return !prof__request_go_on(&q->request);
    prof__request_give_up(&q->request, 503, why);
    return true;
}

/* Until `end_ns`, or the next look at who has left, or a change. The lock is held. */
static void wait_until(uint64_t end_ns)
{
    uint64_t look_ns = now_ns() + LOOK_NS;

    prof__guard_wait(end_ns < look_ns ? end_ns : look_ns);
}

static void put_last(struct prof__mounted *q)
{
    struct prof__mounted **at = &waits.requests;

    prof__mount_take_out(q);
    while (*at)
        at = &(*at)->next;
    q->next = NULL;
    *at = q;
}

/* With the lock held, left meanwhile. If the wait is over, the request may be gone any time. */
static void try_to_end(struct prof__mounted *q, const char *why)
{
    struct MHD_Connection *mhd = q->request.mhd;

    q->phase = FINISHING;
    prof__guard_unlock();
    bool over = end_wait(q, why);
    prof__guard_lock();
    q->phase = over ? READY : WAITING;
    if (!over) { /* behind the others, who have their turn first */
        put_last(q);
        return;
    }
    prof__guard_unlock();
    MHD_resume_connection(mhd);
    prof__guard_lock();
}

/* End one wait whose time has come, leaving the lock meanwhile. False: there is none, and then
 * *ret_next_ns is when there will be; UINT64_MAX: nobody waits. */
static bool end_one(uint64_t *ret_next_ns)
{
    uint64_t now = now_ns();

    *ret_next_ns = UINT64_MAX;
    for (struct prof__mounted *q = waits.requests; q; q = q->next) {
        const char *why = q->phase == WAITING ? why_over(q) : NULL;

        if (q->phase == SUSPENDING) /* a matter of moments, which ends with a change */
            *ret_next_ns = *ret_next_ns < now + LOOK_NS ? *ret_next_ns : now + LOOK_NS;
        if (q->phase != WAITING)
            continue;
        uint64_t deadline_ns = q->request.deadline_ns;
        if (!why && deadline_ns > now) {
            *ret_next_ns = *ret_next_ns < deadline_ns ? *ret_next_ns : deadline_ns;
            continue;
        }
        try_to_end(q, why);
        return true;
    }
    return false;
}

static void *end_waits(void *unused)
{
    uint64_t next_ns;

    (void)unused;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    prof__guard_lock();
    for (;;) {
        if (waits.thread_state == LEAVING) {
            waits.thread_state = AWAY;
            prof__guard_changed();
            break;
        }
        if (end_one(&next_ns))
            continue;
        if (next_ns != UINT64_MAX)
            wait_until(next_ns);
        else if (is_stopping())
            break;
        else
            prof__guard_wait(UINT64_MAX);
    }
    prof__guard_unlock();
    return NULL;
}

/* There is a thread that ends waits when this returns 0, and prof_http_handler_stop() waits for it.
 * The lock is held, and left meanwhile. */
static int need_thread(void)
{
    int r = 0;

    while (is_changing())
        prof__guard_wait(UINT64_MAX);
    if (is_stopping())
        return -ECANCELED;
    if (waits.thread_state == NO_THREAD) {
        struct prof_helper helper = PROF_HELPER_INIT;

        helper.name = "prof-mount";
        helper.stack_bytes = STACK_BYTES;
        helper.run = end_waits;
        waits.thread_state = STARTING;
        prof__guard_unlock(); /* starting a thread allocates */
        r = prof_helper_start(&helper, &waits.thread);
        prof__guard_lock();
        waits.thread_state = r == 0 ? RUNNING : NO_THREAD;
        prof__guard_changed();
    }
    return is_stopping() ? -ECANCELED : r;
}

/* For prof_helper_can_leave(). Who waits, waits on. */
static int leave(int timeout_ms)
{
    uint64_t end_ns = now_ns() + (uint64_t)timeout_ms * 1000000;
    struct prof__shield shield;
    bool in_time = true;

    prof__guard_enter(&shield);
    while (is_changing() && in_time)
        in_time = prof__guard_wait(end_ns);
    if (waits.thread_state == RUNNING && !is_stopping()) {
        waits.thread_state = LEAVING;
        prof__guard_changed();
        while (waits.thread_state == LEAVING && in_time)
            in_time = prof__guard_wait(end_ns);
    }
    if (waits.thread_state == LEAVING) {
        waits.thread_state = RUNNING;
        prof__guard_changed();
    }
    pthread_t thread = waits.thread;
    bool left = waits.thread_state == AWAY;
    int r = left || waits.thread_state == NO_THREAD ? 0 : -ETIMEDOUT;
    prof__guard_leave(&shield);
    if (left)
        pthread_join(thread, NULL);
    return r;
}

static void give_all_up(void)
{
    for (struct prof__mounted *q = waits.requests; q;) {
        if (q->phase == WAITING) {
            try_to_end(q, "its thread had to leave and could not come back");
            q = waits.requests; /* which may be others by now */
        } else {
            q = q->next;
        }
    }
}

static int come_back(void)
{
    struct prof__shield shield;
    int r = 0;

    prof__guard_enter(&shield);
    if (waits.thread_state == AWAY) {
        waits.thread_state = NO_THREAD;
        prof__guard_changed();
        if (waits.requests)
            r = need_thread();
        if (r < 0)
            give_all_up();
    }
    prof__guard_leave(&shield);
    return r == -ECANCELED ? 0 : r;
}

/* Returns true when the request is suspended; else the reply is ready. */
static bool suspend_request(struct prof__mounted *q)
{
    struct prof__shield shield;

    prof__guard_enter(&shield);
    bool may = need_thread() == 0;
    bool stopped = is_stopping();
    if (may)
        q->phase = SUSPENDING; /* prof_http_handler_stop() does not pass it from here on */
    prof__guard_leave(&shield);
    if (!may) {
        prof__request_give_up(&q->request, 503, stopped ? prof__stopping_text : "out of threads");
        return false;
    }
    MHD_suspend_connection(q->request.mhd);
    prof__guard_enter(&shield);
    q->phase = WAITING;
    prof__guard_changed();
    prof__guard_leave(&shield);
    return true;
}

/* In a thread that has only this connection, or as long as a handler takes anyway. */
static void wait_here(struct prof__mounted *q)
{
    const char *why;

    do {
        while (!(why = why_over(q)) && now_ns() < q->request.deadline_ns) {
            struct prof__shield shield;

            prof__guard_enter(&shield);
            if (!is_stopping())
                wait_until(q->request.deadline_ns);
            prof__guard_leave(&shield);
        }
    } while (!end_wait(q, why));
}

bool prof__mount_wait(struct prof__mounted *q)
{
    struct MHD_Connection *mhd = q->request.mhd;
    struct MHD_Daemon *daemon = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_DAEMON)->daemon;
    unsigned flags = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_FLAGS)->flags;

    if (!(flags & MHD_USE_THREAD_PER_CONNECTION) &&
        (flags & MHD_ALLOW_SUSPEND_RESUME) == MHD_ALLOW_SUSPEND_RESUME)
        return suspend_request(q);
    if (flags & MHD_USE_THREAD_PER_CONNECTION || q->request.exchange.wait_ns == 0)
        wait_here(q);
    else
        prof__request_give_up(&q->request, 501,
                              "this server cannot wait: its program needs to start it with "
                              "MHD_ALLOW_SUSPEND_RESUME");
    return false;
}

void prof__mount_begin_waits(void)
{
    atomic_store_explicit(&prof__mount_stopping, false, memory_order_relaxed);
}

void prof__mount_end_waits(void)
{
    atomic_store_explicit(&prof__mount_stopping, true, memory_order_relaxed);
    prof__guard_changed();
    while (is_changing())
        prof__guard_wait(UINT64_MAX);
    if (waits.thread_state == RUNNING) {
        pthread_t thread = waits.thread;

        prof__guard_unlock();
        pthread_join(thread, NULL); /* it is done when nobody is suspended */
        prof__guard_lock();
    }
    waits.thread_state = NO_THREAD;
}

/* The threads, the daemon's and ours, stayed with the parent, and so did their requests: the list
 * stays, since memory that nothing points at is a leak to a leak checker, but nobody waits. */
static void forked(void)
{
    for (struct prof__mounted *q = waits.requests; q; q = q->next)
        q->phase = READY;
    waits.thread_state = NO_THREAD;
}

__attribute__((constructor)) static void set_up(void)
{
    prof__guard_in_child(forked);
    prof_helper_can_leave(leave, come_back);
}
