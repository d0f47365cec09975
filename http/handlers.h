/*
 * handlers.h - what routes.c and the handlers that have files of their own share.
 *
 * A handler fills in the reply, or returns a negative errno for prof__exchange_fail(), or
 * PROF__WAIT. Context: the thread that serves.
 */
#ifndef PROF_HTTP_HANDLERS_H
#define PROF_HTTP_HANDLERS_H

#include <errno.h>

#include "routes.h"

#define TYPE_TEXT "text/plain; charset=utf-8"

/* `return refused(x, -EINVAL, "why")`. */
static inline int refused(struct prof__exchange *x, int error, const char *message)
{
    x->message = message;
    return error;
}

/* Of what libprof answers: that the system lacks something, or refuses it to this process, is no
 * matter of who asked or of the path. */
static inline int have_or_lack(int r)
{
    return r == -ENOENT || r == -EPERM || r == -EACCES ? -ENOSYS : r;
}

static inline int text_reply(struct prof__exchange *x)
{
    x->reply.status = 200;
    x->reply.type = TYPE_TEXT;
    return 0;
}

/* symbol.c: the names of addresses. */
int prof__serve_symbol(struct prof__exchange *x);

/* rates.c: how often samples are taken. */
int prof__serve_rates(struct prof__exchange *x);

/* vars.c: numbers over time. */
int prof__serve_vars(struct prof__exchange *x);

/* trace.c: a timeline. */
int prof__serve_trace(struct prof__exchange *x);

/* captures.c: the list of captures, and one of them; a POST takes one. */
int prof__serve_captures(struct prof__exchange *x);
int prof__serve_capture(struct prof__exchange *x);

/* scan.c: a profile that reads all memory, which takes its time; the reply has its headers. */
bool prof__is_scan(const char *name);
int prof__serve_scan(struct prof__exchange *x, struct prof_profile *p);

#endif
