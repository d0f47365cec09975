/*
 * mount.c - the endpoints in the program's own libmicrohttpd daemon.
 *
 * The daemon, its threads and its limits are the program's; what is asked and how it is answered is
 * the same as in the server of our own: routes.c. All that is added is how to wait: mount_wait.c.
 *
 * No call of libmicrohttpd is made under the lock, since it may call us under locks of its own.
 */
#include <errno.h>
#include <fenv.h>
#include <microhttpd.h>
#include <prof/capture.h>
#include <prof/http.h>
#include <prof/prof.h>
#include <prof/vars.h>
#include <stdlib.h>
#include <string.h>

#include "guard.h"
#include "hosts.h"
#include "mhd.h"
#include "mount_parts.h"
#include "mount_target.h"
#include "options.h"
#include "peer.h"

/* Guarded by guard.h's lock. */
static struct {
    struct prof__site site;
    char *token, *hosts; /* the site's */
    bool started;
    bool ending; /* prof_http_handler_stop() is at work */
    bool notes;  /* prof_vars_start() wants its stop */
} mounted = { .site.stopping = &prof__mount_stopping };

static void forked(void)
{
    mounted.started = mounted.ending = mounted.notes = false;
}

__attribute__((constructor)) static void set_up(void)
{
    prof__guard_in_child(forked);
}

/* --- requests --------------------------------------------------------------------------------- */

/* Takes it off the list and frees it. */
static void forget(struct prof__mounted *q)
{
    struct prof__shield shield;

    prof__guard_enter(&shield);
    prof__mount_take_out(q);
    prof__guard_leave(&shield);
    prof__request_close(&q->request);
    free(q);
}

/* `request` if it is one of ours, on this connection. The program's are never looked into. */
static struct prof__mounted *find(const struct MHD_Connection *mhd, const void *request)
{
    struct prof__shield shield;
    struct prof__mounted *q;

    prof__guard_enter(&shield);
    q = prof__mount_find(mhd, request);
    prof__guard_leave(&shield);
    return q;
}

static int send_reply(struct prof__mounted *q, void **request)
{
    int r = prof__request_send(&q->request) == MHD_YES;

    forget(q);
    *request = NULL;
    return r;
}

/* Started, and for whoever asks. */
static void admit(struct prof__mounted *q)
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
static struct prof__mounted *begin(struct MHD_Connection *mhd, const char *below,
                                   const char *method)
{
    struct prof__mounted *q = calloc(1, sizeof(*q));
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
    prof__mount_put_in(q);
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

    struct prof__mounted *q = *request ? find(connection, *request) : NULL;
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
    if (q->phase == RECEIVING && prof__request_run(&q->request) && prof__mount_wait(q))
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
    struct prof__mounted *q = request && *request ? find(connection, *request) : NULL;

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
            .stopping = &prof__mount_stopping,
        };
        token = old_token;
        hosts = old_hosts;
        mounted.started = true;
        mounted.notes = notes;
        notes = false;
        prof__mount_begin_waits();
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
    bool notes = mounted.notes;
    mounted.started = mounted.notes = false;
    mounted.ending = true;
    prof__mount_end_waits();
    prof__guard_unlock();
    if (notes)
        prof_vars_stop();
    prof__guard_lock();
    mounted.ending = false;
    prof__guard_leave(&shield);
    return 0;
}
