/*
 * guest.c - a linked server is in no profile of the program's.
 *
 * Guards: what libprof does in the program's own threads, and in threads that it makes, is left out
 * by one mechanism everywhere: starting and stopping, failing to, being asked, forking.
 *
 * Everything is recorded, from before the server's first start. Then each frame of each row must be
 * in the program or in libc: nobody else has been called by the program.
 */
#include <dlfcn.h>
#include <prof/http.h>
#include <prof/prof.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { STARTS = 8 };

static char address[64];

/* --- a client --------------------------------------------------------------------------------- */

/* Ask for a page and read it to its end. */
static void ask(const char *page)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char buffer[4096];
    ssize_t n, total = 0;

    memcpy(to.sun_path + 1, address + 6, strlen(address + 6)); /* "unix:@NAME" */
    CHECK_INT(connect(fd, (struct sockaddr *)&to,
                      (socklen_t)(sizeof(to.sun_family) + 1 + strlen(address + 6))),
              0, page);
    dprintf(fd, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", page);
    while ((n = read(fd, buffer, sizeof(buffer))) > 0)
        total += n;
    CHECK(total > 0, "%s is answered", page);
    close(fd);
}

static void ask_for_everything(void)
{
    static const char *const pages[] = { "/debug/pprof/",
                                         "/debug/pprof/heap?seconds=1",
                                         "/debug/pprof/profile?seconds=1",
                                         "/debug/pprof/threads?debug=2",
                                         "/debug/pprof/leaks",
                                         "/debug/pprof/mutex?debug=1",
                                         "/debug/pprof/ui/",
                                         "/metrics",
                                         "/nothing" };

    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
        ask(pages[i]);
}

/* --- what is recorded ------------------------------------------------------------------------- */

static struct {
    char text[4 << 20];
    size_t n;
} written;

static int sink(void *arg, const void *data, size_t size)
{
    (void)arg;
    if (size > sizeof(written.text) - 1 - written.n)
        return -1;
    memcpy(written.text + written.n, data, size);
    written.n += size;
    written.text[written.n] = '\0';
    return 0;
}

/* The library of a frame that is neither the program's nor libc's; NULL: none. */
static const char *stranger(const char *row, const char *end)
{
    for (const char *at = row; (at = strstr(at, " 0x")) != NULL && at < end; at++) {
        Dl_info info;

        if (!dladdr((void *)(uintptr_t)(strtoull(at, NULL, 16) - 1), &info) || !info.dli_fname)
            continue;
        const char *name = strrchr(info.dli_fname, '/');
        name = name ? name + 1 : info.dli_fname;
        if (!strstr(name, "guest") && strncmp(name, "libc.so", 7) != 0 &&
            strncmp(name, "ld-linux", 8) != 0 && strncmp(name, "ld.so", 5) != 0)
            return name;
    }
    return NULL;
}

/* Returns the number of rows. */
static int check_profile(const char *name)
{
    struct prof_write_options options = PROF_WRITE_OPTIONS_INIT;
    struct prof_profile *profile = prof_lookup(name);
    int rows = 0;

    options.debug = 1;
    written.n = 0;
    CHECK_INT(prof_profile_write(profile, &options, sink, NULL), 0, name);
    for (char *line = written.text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        char *at = memchr(line, '@', (size_t)(end - line));
        const char *who = at && at[1] == ' ' && at[2] == '0' ? stranger(at, end) : NULL;

        rows += at && at[1] == ' ' && at[2] == '0';
        CHECK(!who, "%s has a row of %s's: %.*s", name, who, (int)(end - line), line);
    }
    return rows;
}

/* --- the program ------------------------------------------------------------------------------ */

static void *start_and_stop(void *unused)
{
    (void)unused;
    for (int i = 0; i < STARTS; i++) {
        prof_http_start("unix:@guest-too");
        prof_http_stop();
    }
    return NULL;
}

static int metrics(void *arg, prof_sink_fn *to, void *to_arg)
{
    (void)arg;
    return to(to_arg, "mine 1\n", 7);
}

static void fork_and_serve(void)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        snprintf(address, sizeof(address), "unix:@guest-%d", (int)getpid());
        CHECK_INT(prof_http_start(address), 0, prof_last_error());
        ask("/debug/pprof/heap");
        CHECK(check_profile("allocs") > 0, "the child's own");
        check_profile("block");
        check_profile("mutex");
        check_profile("threadcreate");
        fflush(stdout);
        _exit(check_failed > 0);
    }
    waitpid(pid, &status, 0);
    CHECK_INT(status, 0, "a child that serves");
}

int main(void)
{
    struct prof_http_options options = PROF_HTTP_OPTIONS_INIT;
    pthread_t thread;
    char where[64];
    void *volatile block;

    prof_set_heap_rate(1);
    prof_set_block_rate(1);
    prof_set_mutex_fraction(1);
    CHECK_INT(prof_metrics_add(metrics, NULL), 0, "metrics");
    snprintf(address, sizeof(address), "unix:@guest-%d", (int)getpid());
    options.token = "secret";
    options.hosts = "a.example, b.example";
    CHECK_INT(prof_http_start_options(address, &options), 0, prof_last_error());
    CHECK_INT(prof_http_stop(), 0, "stop");
    CHECK(prof_http_start("nowhere:1:2") < 0, "an address that is none");
    CHECK(prof_http_start("unix:/no/such/place") < 0, "one that cannot be had");
    pthread_create(&thread, NULL, start_and_stop, NULL);
    start_and_stop(NULL);
    pthread_join(thread, NULL);
    CHECK_INT(prof_http_start(address), 0, prof_last_error());
    CHECK(prof_http_start(address) < 0, "only once");
    prof_http_address(where, sizeof(where));
    ask_for_everything();
    fork_and_serve();
    block = malloc(100);
    CHECK(check_profile("allocs") > 0, "what the program does is there");
    CHECK_INT(check_profile("threadcreate"), 1, "and so is its thread");
    check_profile("heap");
    check_profile("block");
    check_profile("mutex");
    free(block);
    CHECK_INT(prof_http_stop(), 0, "stop");
    return check_report();
}
