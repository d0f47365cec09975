/*
 * mount_demo.c - a program with a libmicrohttpd daemon of its own, and the profiles in it.
 *
 *   mount_demo MODE [TOKEN]
 *
 *   suspend    one internal thread, connections may be suspended
 *   pool       four of them
 *   threads    a thread per connection
 *   plain      one internal thread that cannot wait
 *
 * Profiles are below /debug/pprof/ and /x/y/debug/pprof/; every other path is the program's own and
 * answered "mine". Commands on standard input, an answer a line: "port", "symbol" (of a function
 * here), "completed" (requests libmicrohttpd has called completed), "handler-stop",
 * "handler-start", "stop" (both), "fork" (a child serves by a daemon of its own; its port), "drop"
 * (the capabilities of the main thread; 0). Ends with its input.
 */
#include <errno.h>
#include <fenv.h>
#include <linux/capability.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <prof/http.h>
#include <prof/prof.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_uint completed;
static int own_state; /* what the program puts into *request */

__attribute__((noinline)) extern int known_function(int x);

int known_function(int x)
{
    return x * 3 + 1;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request)
{
    static const char *const prefixes[] = { "/debug/pprof/", "/x/y/debug/pprof/" };

    (void)cls;
    (void)version;
    for (int i = 0; i < 2; i++) {
        int r = prof_http_handler(c, prefixes[i], url, method, upload, upload_size, request);
        if (r != -ENOENT)
            return r > 0 ? MHD_YES : MHD_NO;
    }
    if (!*request) {
        *request = &own_state;
        return MHD_YES;
    }
    if (*upload_size) {
        *upload_size = 0;
        return MHD_YES;
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(4, (void *)"mine", MHD_RESPMEM_PERSISTENT);
    enum MHD_Result r = MHD_queue_response(c, 200, response);
    MHD_destroy_response(response);
    return r;
}

static void on_completed(void *cls, struct MHD_Connection *c, void **request,
                         enum MHD_RequestTerminationCode how)
{
    (void)cls;
    (void)how;
    prof_http_handler_completed(c, request);
    atomic_fetch_add_explicit(&completed, 1, memory_order_relaxed);
}

static struct MHD_Daemon *start(const char *mode, const char *token)
{
    struct prof_http_options opts = PROF_HTTP_OPTIONS_INIT;
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO, threads = 1;

    if (strcmp(mode, "threads") == 0)
        flags |= MHD_USE_THREAD_PER_CONNECTION;
    else if (strcmp(mode, "plain") != 0)
        flags |= MHD_ALLOW_SUSPEND_RESUME;
    if (strcmp(mode, "pool") == 0)
        threads = 4;
    opts.token = token;
    if (prof_http_handler_start(&opts) < 0)
        return NULL;
    return MHD_start_daemon(flags, 0, NULL, NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR, &addr,
                            MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
                            threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, threads,
                            MHD_OPTION_END);
}

int capset(void *header, const void *data); /* libc's, in no header of its own */

static int drop_capabilities(void)
{
    struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct none[2];

    memset(none, 0, sizeof(none));
    return capset(&h, none);
}

static unsigned port_of(struct MHD_Daemon *daemon)
{
    return MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "suspend", *token = argc > 2 ? argv[2] : NULL;
    feenableexcept(FE_ALL_EXCEPT); /* in its threads, too: nothing of ours may trap */
    struct MHD_Daemon *daemon = start(mode, token);
    char line[64];
    pid_t child = 0;

    if (!daemon)
        return 1;
    while (fgets(line, sizeof(line), stdin)) {
        if (strcmp(line, "port\n") == 0) {
            printf("%u\n", port_of(daemon));
        } else if (strcmp(line, "symbol\n") == 0) {
            printf("%#lx\n", (unsigned long)known_function);
        } else if (strcmp(line, "completed\n") == 0) {
            printf("%u\n", atomic_load_explicit(&completed, memory_order_relaxed));
        } else if (strcmp(line, "handler-stop\n") == 0) {
            printf("%d\n", prof_http_handler_stop());
        } else if (strcmp(line, "handler-start\n") == 0) {
            printf("%d\n", prof_http_handler_start(NULL));
        } else if (strcmp(line, "stop\n") == 0) {
            int r = prof_http_handler_stop();
            MHD_stop_daemon(daemon);
            daemon = NULL;
            printf("%d\n", r);
        } else if (strcmp(line, "drop\n") == 0) {
            printf("%d\n", drop_capabilities());
        } else if (strcmp(line, "fork\n") == 0) {
            child = fork();
            if (child == 0) {
                daemon = start(mode, token);
                printf("%u\n", daemon ? port_of(daemon) : 0);
                fflush(stdout);
                pause();
                _exit(1);
            }
            continue; /* the child has answered */
        } else {
            printf("unknown command\n");
        }
        fflush(stdout);
    }
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    if (daemon) {
        prof_http_handler_stop();
        MHD_stop_daemon(daemon);
    }
    return known_function(argc) == 0;
}
