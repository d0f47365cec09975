/**
 * http.h - serve the profiles over HTTP, as Go's net/http/pprof does.
 *
 *     prof_http_start(":6060");
 *
 * and then `curl -s localhost:6060/debug/pprof/heap > heap.out`. What may be asked, by whom, and
 * what others learn from it is in SECURITY.md.
 *
 * One thread serves. It blocks all signals, is left out of every profile, and has a descriptor
 * table of its own: the program sees no descriptor of the server, may close all it has, and its
 * children inherit nothing. There is one server in a process; a forked child has none, and may
 * start its own. Rules for errors, threads and signals are those of prof.h.
 */
#ifndef PROF_HTTP_H
#define PROF_HTTP_H

#include <stddef.h>

#include <prof/export.h>
#include <prof/prof.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Start from PROF_HTTP_OPTIONS_INIT; zero is the default everywhere. */
struct prof_http_options {
    size_t size;              /* sizeof(struct prof_http_options) */
    const char *token;        /* NULL: LIBPROF_HTTP_TOKEN, or no authentication. Else clients must
                                 send it as bearer token or as the password of basic auth.
                                 Copied; must not be empty */
    unsigned max_connections; /* 0: 64; at most 16384. When all are taken, the one that has been
                                 silent longest gives way to a newcomer */
    int source;               /* 1: the viewer may show source files that the program's own debug
                                 information names; -1: not; 0: as LIBPROF_UI_SOURCE=1 says, or not */
};
#define PROF_HTTP_OPTIONS_INIT                       \
    {                                                \
        sizeof(struct prof_http_options), NULL, 0, 0 \
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
 * A Unix socket left behind by a dead process is replaced; it is removed by prof_http_stop(), and
 * when the program returns from main(). The socket of "fd:" becomes non-blocking, and stays open.
 *
 * Returns: 0, -EINVAL for an address that cannot be read, -ENAMETOOLONG, -EALREADY when already
 *          serving, -E2BIG for options of a newer library, -EADDRINUSE, -EACCES and the like as the
 *          socket calls give them, -EADDRNOTAVAIL also for a host that cannot be found.
 * Blocks:  while a host name is looked up; "localhost" and numbers are not.
 */
PROF_API int prof_http_start(const char *addr);
PROF_API int prof_http_start_options(const char *addr, const struct prof_http_options *opts);

/**
 * Stop serving. Requests that wait are answered 503; when it returns, nothing listens any more.
 *
 * Returns: 0, -EALREADY when not serving, or -EINPROGRESS: within two seconds the thread did not
 *          get out of the profile it was writing. It stops by itself then, and another server can
 *          be started meanwhile, but the address may stay taken until then.
 */
PROF_API int prof_http_stop(void);

/**
 * Where it listens: "127.0.0.1:6060", "[::]:6060", "unix:/path". Copies at most size - 1 bytes and
 * a NUL; returns the whole length, or -ENOTCONN when not serving.
 */
PROF_API int prof_http_address(char *buf, size_t size);

/**
 * Writes the program's own metrics in Prometheus' text form, 0.0.4: whole lines, each family with
 * its HELP and TYPE, under names that do not begin with libprof_ or process_. Called in the
 * server's thread, one call at a time; what it takes, the other clients wait. A negative return,
 * its own or that of the sink, ends it, and the scrape is answered 500.
 */
typedef int prof_metrics_fn(void *arg, prof_sink_fn *sink, void *sink_arg);

/**
 * Have `write` append to what /metrics answers, from now on, for good.
 * Returns: 0, -EINVAL, or -ENOSPC when there are 16 already.
 */
PROF_API int prof_metrics_add(prof_metrics_fn *write, void *arg);

#ifdef __cplusplus
}
#endif

#endif
