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

/** How to serve. Start from PROF_HTTP_OPTIONS_INIT; zero is the default everywhere. */
struct prof_http_options {
    size_t size;              /* sizeof(struct prof_http_options) */
    const char *token;        /* NULL: LIBPROF_HTTP_TOKEN, or no authentication. Else clients must
                                 send it as bearer token or as the password of basic auth.
                                 Copied; must not be empty */
    unsigned max_connections; /* 0: 64; at most 16384. When all are taken, the one that has been
                                 silent longest gives way to a newcomer */
    int source;               /* 1: the viewer may show source files that the program's own debug
                                 information names; -1: not; 0: as LIBPROF_UI_SOURCE=1 says, or not */
    const char *hosts; /* NULL: LIBPROF_HTTP_HOSTS, or none. Names that a Host header may have
                          where no token is asked for, beside IP addresses, localhost and the
                          machine's own names: with commas between them, without ports,
                          "*.example.com" for all below it, "*" for any. Copied */
    int control;       /* 0: open the control socket as well, unless LIBPROF_CONTROL=0 forbids it;
                          1: whatever that says; -1: do not */
};
#define PROF_HTTP_OPTIONS_INIT                                \
    {                                                         \
        sizeof(struct prof_http_options), NULL, 0, 0, NULL, 0 \
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
 * The control socket: "unix:@libprof-PID", in the abstract name space, PID being the process's id
 * as it sees itself (where another pid namespace in the same network has that name, "-" and the
 * inode of /proc/self/ns/pid follow). It shows the same pages, and is where profctl looks. Only the
 * process's own user and root are let in, whom the kernel names (SO_PEERCRED), and no token is
 * asked for; and only there can the rates be changed, by POST to /debug/pprof/rates.
 *
 * prof_http_start() opens it besides what it serves on. This call opens it alone; a later
 * prof_http_start() adds its address. prof_http_stop() closes both.
 *
 * @param listening  a socket that has the name already and listens, or -1: one is opened
 * @param accepted   a connection of it to begin with, or -1; its number then is listening + 1.
 *                   Both stay the caller's, and are copied
 *
 * Returns: as prof_http_start(); -EALREADY also while that serves; -ECANCELED: LIBPROF_CONTROL=0.
 */
PROF_API int prof_http_control(int listening, int accepted);

struct MHD_Connection; /* of libmicrohttpd */

/**
 * The endpoints in a libmicrohttpd daemon of the program's own, instead of or beside the server
 * above. To be called from its MHD_AccessHandlerCallback, in every call, with what that was given:
 *
 *     static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url,
 *                                       const char *method, const char *version,
 *                                       const char *upload, size_t *upload_size, void **request)
 *     {
 *         int r = prof_http_handler(c, "/debug/pprof/", url, method, upload, upload_size, request);
 *
 *         if (r != -ENOENT)
 *             return r > 0 ? MHD_YES : MHD_NO;
 *         ...                            // the program's own; *request is NULL, or what it made it
 *     }
 *
 *     static void on_completed(void *cls, struct MHD_Connection *c, void **request,
 *                              enum MHD_RequestTerminationCode how) // MHD_OPTION_NOTIFY_COMPLETED
 *     {
 *         prof_http_handler_completed(c, request);
 *     }
 *
 *     prof_http_handler_start(NULL);     // before MHD_start_daemon()
 *     prof_http_handler_stop();          // before MHD_stop_daemon(), which else aborts the process
 *                                        // if a request waits
 *
 * @param prefix   where: a path that ends in "/debug/pprof/", since that is what clients look for
 * @param request  NULL at first. While a request is ours it points to its state
 *
 * Returns: 1: go on (MHD_YES), 0: close the connection (MHD_NO), -ENOENT: not below the prefix, and
 *          nothing was done; -EINVAL: a wrong prefix or a missing argument.
 * Threads: any number at once.
 * Waits:   requests with seconds=, and profile, want MHD_ALLOW_SUSPEND_RESUME: then they are
 *          suspended, and one thread of ours, hidden as that of the server, writes their profiles.
 *          With MHD_USE_THREAD_PER_CONNECTION the connection's thread waits. Else they are
 *          answered 501. All others are answered at once in the daemon's thread.
 * Access:  as the server's, by the token, Sec-Fetch-Site and Host; see SECURITY.md. Limits on
 *          connections and time are the daemon's.
 * Metrics: at "metrics" below the prefix.
 */
PROF_API int prof_http_handler(struct MHD_Connection *connection, const char *prefix,
                               const char *url, const char *method, const char *upload,
                               size_t *upload_size, void **request);

/** A request is over, however it ended. Another's, or none, is left alone. Without this call what
 * clients leave behind that go away early is never freed. */
PROF_API void prof_http_handler_completed(struct MHD_Connection *connection, void **request);

/**
 * Let prof_http_handler() serve; until then, and after the stop, it answers 503. Of the options
 * max_connections has no meaning here. Returns: 0, -EALREADY, -EINVAL, -E2BIG, -ENOMEM. A forked
 * child starts anew.
 */
PROF_API int prof_http_handler_start(const struct prof_http_options *opts);

/**
 * Answer the requests that wait 503 and let none wait from now on. When it returns none is
 * suspended any more. Not to be called from a handler.
 * Returns: 0 or -EALREADY. Blocks: while a profile that was begun is looked up, some seconds at
 * most.
 */
PROF_API int prof_http_handler_stop(void);

/**
 * Writes the program's own metrics in Prometheus' text form, 0.0.4: whole lines, each family with
 * its HELP and TYPE, under names that do not begin with libprof_ or process_. Called in the
 * server's thread, or that of a mounted handler, one call at a time; what it takes, the other
 * clients wait, and a scrape that finds another's call under way for a second is answered 503. A
 * negative return, its own or that of the sink, ends it, and the scrape is answered 500.
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
