/*
 * respond.h - a reply as libmicrohttpd takes it.
 */
#ifndef PROF_HTTP_RESPOND_H
#define PROF_HTTP_RESPOND_H

#include <microhttpd.h>

#include "routes.h"

/* Make a response with all headers, which takes the reply's body over; the `last` one of its
 * connection says so. To be destroyed by the caller, who may queue it before. NULL: out of
 * memory. */
struct MHD_Response *prof__respond(struct prof__reply *reply, bool last);

#endif
