/**
 * http.h - serve the profiles over HTTP, as Go's net/http/pprof does.
 *
 *     prof_http_start(":6060");
 *
 * and then `curl -s localhost:6060/debug/pprof/heap > heap.out`. One thread serves; it blocks all
 * signals, and is itself left out of every profile. Rules for errors, threads and signals are
 * those of prof.h.
 */
#ifndef PROF_HTTP_H
#define PROF_HTTP_H

#include <stddef.h>

#include <prof/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Start from PROF_HTTP_OPTIONS_INIT; zero is the default everywhere. */
struct prof_http_options {
    size_t size;              /* sizeof(struct prof_http_options) */
    const char *token;        /* NULL: LIBPROF_HTTP_TOKEN, or no authentication. Else clients must
                                 send it as bearer token or as the password of basic auth */
    unsigned max_connections; /* 0: 64 */
};
#define PROF_HTTP_OPTIONS_INIT                    \
    {                                             \
        sizeof(struct prof_http_options), NULL, 0 \
    }

/**
 * Serve on `addr`:
 *   ":6060"            all interfaces, IPv4 and IPv6, as in Go
 *   "127.0.0.1:6060"   that address; "localhost:6060", "[::1]:6060", "host:6060" likewise
 *   "127.0.0.1:0"      any free port: prof_http_address() tells which
 *   "unix:/path"       a Unix socket, mode 0600; %p in the path stands for the process id
 *   "unix:@name"       one in the abstract name space
 *   "fd:3"             a listening socket the program was handed
 *   NULL               "127.0.0.1:6060"
 *
 * Returns: 0, -EINVAL for an address that cannot be read, -EALREADY when already serving,
 *          -EADDRINUSE, -EACCES and the like as the socket calls give them.
 */
PROF_API int prof_http_start(const char *addr);
PROF_API int prof_http_start_options(const char *addr, const struct prof_http_options *opts);

/** Stop serving; requests under way are answered 503. Returns 0, or -EALREADY when not serving. */
PROF_API int prof_http_stop(void);

/**
 * Where it listens: "127.0.0.1:6060", "[::]:6060", "unix:/path". Copies at most size - 1 bytes and
 * a NUL; returns the whole length, or -ENOTCONN when not serving.
 */
PROF_API int prof_http_address(char *buf, size_t size);

#ifdef __cplusplus
}
#endif

#endif
