/*
 * mount.c - the endpoints in the program's own libmicrohttpd daemon.
 *
 * The daemon, its threads and its limits are the program's; what is asked and how it is answered is
 * the same as in the server of our own: routes.c. All that is added here is how to wait, for which
 * there are two ways, as the daemon is made:
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
 *
 * No call of libmicrohttpd is made under the lock, since it may call us under locks of its own.
 */
#include <errno.h>
#include <fenv.h>
#include <microhttpd.h>
#include <poll.h>
#include <prof/capture.h>
#include <prof/http.h>
#include <prof/prof.h>
#include <prof/vars.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "guard.h"
#include "hosts.h"
#include "mhd.h"
#include "mount_target.h"
#include "options.h"
#include "peer.h"
#include "request.h"

#define LOOK_NS     SECOND_NS     /* while somebody waits: how often we look who has left */
#define STACK_BYTES (1024 * 1024) /* names are looked up in debug information there */

enum phase {
    RECEIVING,  /* headers are there; the body, if any, is coming in */
    SUSPENDING, /* libmicrohttpd is being told */
    WAITING,    /* suspended, until the deadline */
    FINISHING,  /* the waiting thread makes the reply */
    READY,      /* the reply is there */
};

/* One request. Only `phase` and the list are shared; the rest belongs to the waiting thread while
 * WAITING and FINISHING, and to the daemon's thread otherwise. */
struct mounted_request {
    struct mounted_request *next;
    int fd;
    enum phase phase;
    struct prof__request request;
};

enum thread_state { NO_THREAD, STARTING, RUNNING, LEAVING, AWAY };

static atomic_bool stopping; /* written under the lock; writers of bodies look at it without */

/* Guarded by guard.h's lock. */
static struct {
    struct mounted_request *requests;
    struct prof__site site;
    char *token, *hosts; /* the site's */
    bool started;
    bool ending; /* prof_http_handler_stop() is at work */
    bool notes;  /* prof_vars_start() wants its stop */
    enum thread_state thread_state;
    pthread_t thread;
} mounted = { .site.stopping = &stopping };

static bool is_changing(void)
{
    return mounted.thread_state != NO_THREAD && mounted.thread_state != RUNNING;
}

static bool is_stopping(void)
{
    /* Relaxed: who must not miss it reads it under the lock. */
    return atomic_load_explicit(&stopping, memory_order_relaxed);
}

/* --- fork ------------------------------------------------------------------------------------- */

/* The threads, the daemon's and ours, stayed with the parent, and so did their requests: the list
 * stays, since memory that nothing points at is a leak to a leak checker, but nobody waits. */
static void forked(void)
{
    for (struct mounted_request *q = mounted.requests; q; q = q->next)
        q->phase = READY;
    mounted.started = mounted.ending = mounted.notes = false;
    mounted.thread_state = NO_THREAD;
}

static int leave(int timeout_ms);
static int come_back(void);

__attribute__((constructor)) static void set_up(void)
{
    prof__guard_in_child(forked);
    prof_helper_can_leave(leave, come_back);
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* The client has closed its side, or all. As in Go, that ends a wait. */
static bool has_left(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLRDHUP };

    return poll(&p, 1, 0) > 0;
}

/* Why a wait is over before its time; NULL: it is not. */
static const char *why_over(const struct mounted_request *q)
{
    if (is_stopping())
        return prof__stopping_text;
    return has_left(q->fd) ? "the client has left" : NULL;
}

/* A wait is over, for that reason or because its time has come. False: it goes on. */
static bool end_wait(struct mounted_request *q, const char *why)
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

static void take_out(struct mounted_request *q)
{
    for (struct mounted_request **at = &mounted.requests; *at; at = &(*at)->next)
        if (*at == q) {
            *at = q->next;
            return;
        }
}

static void put_last(struct mounted_request *q)
{
    struct mounted_request **at = &mounted.requests;

    take_out(q);
    while (*at)
        at = &(*at)->next;
    q->next = NULL;
    *at = q;
}

/* With the lock held, left meanwhile. If the wait is over, the request may be gone any time. */
static void try_to_end(struct mounted_request *q, const char *why)
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
    for (struct mounted_request *q = mounted.requests; q; q = q->next) {
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
        if (mounted.thread_state == LEAVING) {
            mounted.thread_state = AWAY;
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
    if (mounted.thread_state == NO_THREAD) {
        struct prof_helper helper = PROF_HELPER_INIT;

        helper.name = "prof-mount";
        helper.stack_bytes = STACK_BYTES;
        helper.run = end_waits;
        mounted.thread_state = STARTING;
        prof__guard_unlock(); /* starting a thread allocates */
        r = prof_helper_start(&helper, &mounted.thread);
        prof__guard_lock();
        mounted.thread_state = r == 0 ? RUNNING : NO_THREAD;
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
    if (mounted.thread_state == RUNNING && !mounted.ending) {
        mounted.thread_state = LEAVING;
        prof__guard_changed();
        while (mounted.thread_state == LEAVING && in_time)
            in_time = prof__guard_wait(end_ns);
    }
    if (mounted.thread_state == LEAVING) {
        mounted.thread_state = RUNNING;
        prof__guard_changed();
    }
    pthread_t thread = mounted.thread;
    bool left = mounted.thread_state == AWAY;
    int r = left || mounted.thread_state == NO_THREAD ? 0 : -ETIMEDOUT;
    prof__guard_leave(&shield);
    if (left)
        pthread_join(thread, NULL);
    return r;
}

static void give_all_up(void)
{
    for (struct mounted_request *q = mounted.requests; q;) {
        if (q->phase == WAITING) {
            try_to_end(q, "its thread had to leave and could not come back");
            q = mounted.requests; /* which may be others by now */
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
    if (mounted.thread_state == AWAY) {
        mounted.thread_state = NO_THREAD;
        prof__guard_changed();
        if (mounted.requests)
            r = need_thread();
        if (r < 0)
            give_all_up();
    }
    prof__guard_leave(&shield);
    return r == -ECANCELED ? 0 : r;
}

/* Returns true when the request is suspended; else the reply is ready. */
static bool suspend_request(struct mounted_request *q)
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
static void wait_here(struct mounted_request *q)
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

/* The request wants to wait. Returns true when the reply comes later. */
static bool begin_wait(struct mounted_request *q)
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

/* --- requests --------------------------------------------------------------------------------- */

/* Takes it off the list and frees it. */
static void forget(struct mounted_request *q)
{
    struct prof__shield shield;

    prof__guard_enter(&shield);
    take_out(q);
    prof__guard_leave(&shield);
    prof__request_close(&q->request);
    free(q);
}

/* `request` if it is one of ours, on this connection. The program's are never looked into. */
static struct mounted_request *find(const struct MHD_Connection *mhd, const void *request)
{
    struct prof__shield shield;
    struct mounted_request *q;

    prof__guard_enter(&shield);
    for (q = mounted.requests; q && (q != request || q->request.mhd != mhd); q = q->next)
        ;
    prof__guard_leave(&shield);
    return q;
}

static int send_reply(struct mounted_request *q, void **request)
{
    int r = prof__request_send(&q->request) == MHD_YES;

    forget(q);
    *request = NULL;
    return r;
}

/* Started, and for whoever asks. */
static void admit(struct mounted_request *q)
{
    struct prof__shield shield;

    prof__guard_enter(&shield);
    bool started = mounted.started;
    int r = prof__request_admit(&q->request, &mounted.site);
    prof__guard_leave(&shield);
    if (!started)
        prof__request_give_up(&q->request, 503, "profiles are not served now");
    else if (r < 0)
        prof__request_refuse(&q->request, r);
}

/* All headers are there. NULL: out of memory. */
static struct mounted_request *begin(struct MHD_Connection *mhd, const char *below,
                                     const char *method)
{
    struct mounted_request *q = calloc(1, sizeof(*q));
    char *target = prof__mount_target(mhd, below);
    struct prof__shield shield;

    if (!q || !target) {
        free(q);
        free(target);
        return NULL;
    }
    q->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    prof__peer_tell(q->fd, &q->request.caller);
    prof__guard_enter(&shield);
    struct prof__site site = mounted.site; /* its texts may go when the lock does */
    prof__guard_leave(&shield);
    prof__request_open(&q->request, &site, mhd, method, target);
    admit(q);
    prof__guard_enter(&shield);
    q->next = mounted.requests;
    mounted.requests = q;
    prof__guard_leave(&shield);
    return q;
}

/* --- the program's side ----------------------------------------------------------------------- */

static int handle(struct MHD_Connection *connection, const char *prefix, const char *url,
                  const char *method, const char *upload, size_t *upload_size, void **request)
{
    const char *below;

    if (!connection || !url || !method || !upload_size || !request)
        return prof_set_last_error(-EINVAL, "prof_http_handler() needs all that a handler is "
                                            "given");
    if (!prefix || !prof__mount_is_prefix(prefix))
        return prof_set_last_error(-EINVAL, "a prefix begins with a slash and ends in "
                                            "/debug/pprof/");

    struct mounted_request *q = *request ? find(connection, *request) : NULL;
    if (!q) {
        if (*request || !prof__mount_is_below(url, prefix, &below))
            return -ENOENT;
        q = begin(connection, below, method);
        if (!q)
            return 0;
        *request = q;
        return prof__request_begin(&q->request) ? send_reply(q, request) : 1;
    }
    if (q->phase == RECEIVING && *upload_size) {
        prof__request_receive(&q->request, upload, *upload_size);
        *upload_size = 0;
        return 1;
    }
    if (q->phase == RECEIVING && prof__request_run(&q->request) && begin_wait(q))
        return 1;
    return send_reply(q, request);
}

int prof_http_handler(struct MHD_Connection *connection, const char *prefix, const char *url,
                      const char *method, const char *upload, size_t *upload_size, void **request)
{
    fenv_t program; /* its arithmetic may trap, and ours must not */
    struct prof_hiding hiding;

    if (prof__mhd_need() < 0)
        return 0;
    fegetenv(&program);
    fesetenv(FE_DFL_ENV);
    prof_hide_begin(&hiding);
    int r = handle(connection, prefix, url, method, upload, upload_size, request);
    prof_hide_end(&hiding);
    fesetenv(&program);
    return r;
}

void prof_http_handler_completed(struct MHD_Connection *connection, void **request)
{
    struct mounted_request *q = request && *request ? find(connection, *request) : NULL;

    if (!q)
        return;
    forget(q);
    *request = NULL;
}

static void forget_text(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

int prof_http_handler_start(const struct prof_http_options *opts)
{
    struct prof_http_options known;
    struct prof__shield shield;
    int r = prof__options_read(opts, &known);

    if (r == 0)
        r = prof__mhd_need();
    if (r < 0)
        return r;
    prof__shield_raise(&shield); /* also while this allocates: a handler may fork */
    char *token = known.token ? strdup(known.token) : NULL;
    char *hosts = prof__hosts_list(NULL, known.hosts);
    if ((known.token && !token) || !hosts)
        r = -ENOMEM;
    bool notes = r == 0 && prof_vars_start() == 0;
    if (r == 0 && prof_capture_start(NULL) < 0) /* as the server does */
        prof_set_last_error(0, "%s", "");
    prof__guard_lock();
    if (r == 0 && (mounted.started || mounted.ending))
        r = -EALREADY;
    if (r == 0) {
        char *old_token = mounted.token, *old_hosts = mounted.hosts;

        mounted.token = token;
        mounted.hosts = hosts;
        mounted.site = (struct prof__site) {
            .token = token,
            .hosts = hosts,
            .source = known.source > 0,
            .stopping = &stopping,
        };
        token = old_token;
        hosts = old_hosts;
        mounted.started = true;
        mounted.notes = notes;
        notes = false;
        atomic_store_explicit(&stopping, false, memory_order_relaxed);
    }
    prof__guard_unlock();
    if (notes)
        prof_vars_stop();
    forget_text(token);
    forget_text(hosts);
    prof__shield_lower(&shield);
    return r < 0 ? prof_set_last_error(r, r == -ENOMEM ? "out of memory" : "started already") : 0;
}

int prof_http_handler_stop(void)
{
    struct prof__shield shield;

    prof__guard_enter(&shield);
    if (!mounted.started) {
        prof__guard_leave(&shield);
        return prof_set_last_error(-EALREADY, "not started");
    }
    mounted.started = false;
    mounted.ending = true;
    atomic_store_explicit(&stopping, true, memory_order_relaxed);
    prof__guard_changed();
    while (is_changing())
        prof__guard_wait(UINT64_MAX);
    bool has_thread = mounted.thread_state == RUNNING;
    pthread_t thread = mounted.thread;
    bool notes = mounted.notes;
    mounted.notes = false;
    prof__guard_unlock();
    if (notes)
        prof_vars_stop();
    if (has_thread)
        pthread_join(thread, NULL); /* it is done when nobody is suspended */
    prof__guard_lock();
    mounted.thread_state = NO_THREAD;
    mounted.ending = false;
    prof__guard_leave(&shield);
    return 0;
}
