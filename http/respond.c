/*
 * respond.c - status, headers and body of a reply, as libmicrohttpd wants them.
 */
#include "respond.h"

#include <stdio.h>

static ssize_t no_content(void *cls, uint64_t pos, char *buf, size_t max)
{
    return MHD_CONTENT_READER_END_OF_STREAM;
}

static void add_headers(struct MHD_Response *response, const struct prof__reply *reply)
{
    char disposition[sizeof(reply->attachment) + 32];

    MHD_add_response_header(response, "Content-Type", reply->type);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Cache-Control", reply->etag ? "no-cache" : "no-store");
    if (reply->error)
        MHD_add_response_header(response, "X-Go-Pprof", "1");
    if (*reply->attachment) {
        snprintf(disposition, sizeof(disposition), "attachment; filename=\"%s\"",
                 reply->attachment);
        MHD_add_response_header(response, "Content-Disposition", disposition);
    }
    if (reply->allow)
        MHD_add_response_header(response, "Allow", reply->allow);
    if (reply->location)
        MHD_add_response_header(response, "Location", reply->location);
    if (reply->policy)
        MHD_add_response_header(response, "Content-Security-Policy", reply->policy);
    if (reply->policy)
        MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    if (reply->etag) {
        MHD_add_response_header(response, "ETag", reply->etag);
        MHD_add_response_header(response, "Vary", "Accept-Encoding");
    }
    if (reply->encoding)
        MHD_add_response_header(response, "Content-Encoding", reply->encoding);
    if (reply->status == 401) {
        MHD_add_response_header(response, "WWW-Authenticate",
                                "Basic realm=\"libprof\", charset=\"UTF-8\"");
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"libprof\"");
    }
    /* Or libmicrohttpd would send an empty last chunk, even to HEAD. */
    if (reply->size_unknown)
        MHD_set_response_options(response, MHD_RF_HTTP_VERSION_1_0_ONLY, MHD_RO_END);
}

struct MHD_Response *prof__respond(struct prof__reply *reply, bool last)
{
    size_t size = reply->body.size;
    struct MHD_Response *response;

    if (reply->size_unknown)
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 512, no_content, NULL, NULL);
    else if (size == 0)
        response = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    else
        response = MHD_create_response_from_buffer_with_free_callback(size, reply->body.data,
                                                                      prof__buffer_release);
    if (!response)
        return NULL;
    if (!reply->size_unknown && size)
        prof__buffer_take(&reply->body); /* theirs now */
    add_headers(response, reply);
    if (last || reply->status == 503)
        MHD_add_response_header(response, "Connection", "close");
    return response;
}
