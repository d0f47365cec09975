/*
 * preload.c - start from the environment, in a program that knows nothing of libprof.
 *
 *   LIBPROF_HTTP      serve there; libprof-http is opened only then, as it brings many libraries,
 *                     or when somebody asks over the control socket (parked.c)
 *   LIBPROF_DUMP      write a heap profile there at exit
 *   LIBPROF_CPU_DUMP  so many seconds of CPU profile instead (cpu_dump.c)
 *   LIBPROF_CAPTURE   have captures taken by these rules (prof/capture.h)
 *   LIBPROF_CHILDREN  under profrun: children that exec write files of their own, too
 *
 * profrun sets these, and LIBPROF_PROFRUN to the process id that the program will have. Only that
 * process may use stderr, for one line: where it serves, or why it cannot; and one on rules of
 * captures that cannot be read. Every other process,
 * the children it starts included, says what went wrong in the log and goes on.
 *
 * A forked child serves when it cannot be in its parent's way: when the address has %p in it, so
 * that each process has its own, or when the child becomes a daemon (daemon.c).
 */
#include "preload/preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <prof/capture.h>
#include <prof/http.h>
#include <prof/prof.h>

#include "base/pattern.h"
#include "base/rawlog.h"
#include "base/thread.h"
#include "preload/cpu_dump.h"
#include "preload/later.h"
#include "preload/leave.h"
#include "preload/parked.h"
#include "record/before_end.h"

#define NEVER_NS (INT64_MAX / 4)

static const char *address;  /* LIBPROF_HTTP, or NULL */
static const char *dump;     /* LIBPROF_DUMP, or NULL */
static const char *dump_at;  /* the directory that a relative one starts from, and a slash; or "" */
static bool dump_cpu;        /* it is a CPU profile */
static bool dump_each;       /* each process writes its own: it has %p */
static const char *captures; /* LIBPROF_CAPTURE where it is for this process, or NULL */
static pid_t dump_owner;     /* else the process that writes it; 0: none here */
static pid_t announcer;      /* the process that tells who ran profrun; 0: nobody, or it has */

static int (*http_start)(const char *addr, const struct prof_http_options *opts);
static int (*http_address)(char *buf, size_t size);
static int (*http_control)(int listening, int accepted);

/* The value of a variable, or NULL when it is unset or empty. For the constructor. */
static const char *setting(const char *name)
{
    const char *value = secure_getenv(name);

    return value && *value ? value : NULL;
}

/* Is this the process that profrun was asked to start, whichever program it runs by now? */
static bool is_profruns(void)
{
    const char *pid = setting("LIBPROF_PROFRUN");

    return pid && strtol(pid, NULL, 10) == getpid();
}

/* Tell who ran profrun, once. */
static void announce(const char *format, ...) PROF_PRINTF(1, 2);

/* What is wrong with what profrun was given, besides. */
static void complain(const char *format, ...) PROF_PRINTF(1, 2);

static void write_to_stderr(const char *format, va_list args)
{
    char line[512] = "profrun: ";
    size_t n = strlen(line);

    vsnprintf(line + n, sizeof(line) - n - 1, format, args);
    n = strlen(line);
    line[n++] = '\n';
    prof__stderr_line(line, n);
}

static void announce(const char *format, ...)
{
    va_list args;

    if (announcer != getpid())
        return;
    announcer = 0;
    va_start(args, format);
    write_to_stderr(format, args);
    va_end(args);
}

static void complain(const char *format, ...)
{
    va_list args;

    if (announcer != getpid())
        return;
    va_start(args, format);
    write_to_stderr(format, args);
    va_end(args);
}

/* --- serving ---------------------------------------------------------------------------------- */

/* 0, or -ENOENT with a sentence in why[size]. */
static int http_load(char *why, size_t size)
{
    /* What the libraries that it brings allocate is not the program's. */
    bool entered = prof__enter(&prof__self);
    /* Found by our own RUNPATH. It is bound at once in any case; lazy is what it brings along. */
    void *http = dlopen("libprof-http.so.0", RTLD_LAZY | RTLD_LOCAL);

    if (entered)
        prof__leave(&prof__self);
    if (http) {
        http_control = (__typeof__(http_control))(uintptr_t)dlsym(http, "prof_http_control");
        http_start = (__typeof__(http_start))(uintptr_t)dlsym(http, "prof_http_start_options");
        http_address = (__typeof__(http_address))(uintptr_t)dlsym(http, "prof_http_address");
    }
    if (http_start && http_address && http_control)
        return 0;
    const char *said = dlerror();
    snprintf(why, size, "cannot serve: %s", said ? said : "libprof-http lacks a function");
    prof__log("%s", why);
    return -ENOENT;
}

int prof__preload_control(int listening, int accepted, char *why, size_t size)
{
    int r = http_control ? 0 : http_load(why, size);

    if (r < 0)
        return r;
    bool entered = prof__enter(&prof__self); /* as in http_load() */
    r = http_control(listening, accepted);
    if (entered)
        prof__leave(&prof__self);
    if (r < 0)
        snprintf(why, size, "cannot serve: %s", prof_last_error());
    return r;
}

static int start_server(const char *where)
{
    struct prof_http_options options = PROF_HTTP_OPTIONS_INIT;
    bool entered = prof__enter(&prof__self); /* as in http_load() */
    int r = http_start(where, &options);

    if (entered)
        prof__leave(&prof__self);
    return r;
}

int prof__preload_serve(bool last_try)
{
    char at[256], own[64] = "";

    prof__parked_end();
    int r = start_server(address);
    if (r < 0) {
        char why[192];

        snprintf(why, sizeof(why), "%s", prof_last_error());
        /* Of all processes that have the same address, one gets it; the others are found by pid. */
        if (r == -EADDRINUSE && last_try && strncmp(address, "unix:", 5) != 0) {
            snprintf(own, sizeof(own), "unix:@libprof-%d", (int)getpid());
            if (start_server(own) < 0)
                own[0] = '\0';
        }
        prof__log("cannot serve on %s: %s%s%s", address, why, own[0] ? "; serving on " : "", own);
        announce("cannot serve on %s: %s%s%s", address, why, own[0] ? "; serving on " : "", own);
        return own[0] ? 0 : r;
    }
    if (http_address(at, sizeof(at)) < 0)
        snprintf(at, sizeof(at), "%s", address);
    prof__log("serving on %s", at);
    if (strncmp(at, "unix:/", 6) == 0 && prof__pattern_has_pid(address))
        prof__leave_remove(at + 5);
    if (strncmp(at, "unix:", 5) == 0)
        announce("http://localhost/debug/pprof/ on %s pid %d", at, (int)getpid());
    else
        announce("http://%s/debug/pprof/ pid %d", at, (int)getpid());
    return 0;
}

/* --- dumping ---------------------------------------------------------------------------------- */

/*
 * At exit(), after everything else, so that what atexit() functions and the destructors of the
 * program and its libraries free does not look like a leak. At _exit() and where a signal ends the
 * process, before it does (leave.c).
 *
 * Without %p in the path there is one file, and it belongs to one process: under profrun the one
 * that was asked for, else the one that exits last of those that were started by exec(). With %p
 * each process has one; under profrun only if told so, as a script starts dozens.
 */
static void write_dump(void)
{
    char path[4096];

    if (dump_cpu)
        prof__cpu_dump_finish();
    else if (prof__preload_dump_path(path, sizeof(path)) < 0)
        return;
    else if (prof_write_heap(path) < 0)
        prof__log("no heap profile in %.300s: %s", path, prof_last_error());
    else
        prof__log("heap profile written to %.400s", path);
}

static bool write_soon(void);
static struct prof__before_end before_end = { .ask = write_soon };

/* A thread of ours, when a signal or _exit() is about to end the process. */
static int64_t write_at_end(void)
{
    write_dump();
    prof__before_end_done(&before_end);
    return -1;
}

static struct prof__later at_end = { .name = "prof-end", .run = write_at_end };

static bool write_soon(void)
{
    return prof__later_now(&at_end);
}

/* Have a thread stand by for that. */
static void stand_by(void)
{
    if (prof__later(&at_end, NEVER_NS) < 0)
        prof__log("no profile at SIGTERM, SIGINT or _exit(): %s", prof_last_error());
    else
        prof__before_end_add(&before_end);
}

static void finish(void *unused)
{
    sigset_t held, before;

    (void)unused;
    if (dump_owner != getpid() && !dump_each)
        return;
    /* The thread that writes must not wait for itself. */
    sigemptyset(&held);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGINT);
    pthread_sigmask(SIG_BLOCK, &held, &before);
    if (prof__before_end_take(&before_end)) {
        write_dump();
        prof__before_end_done(&before_end);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int prof__preload_dump_path(char *buf, size_t size)
{
    size_t n = (size_t)snprintf(buf, size, "%s", dump_at);
    int r = n < size ? prof__pattern_expand(dump, buf + n, size - n) : -ENAMETOOLONG;

    if (r < 0)
        prof__log("LIBPROF_DUMP=%.200s is not a path with %%p, %%n and %%%% in it", dump);
    return r;
}

void prof__preload_take_over(void)
{
    if (captures)
        prof_capture_start(captures); /* the process that began has left */
    if (!dump_owner || dump_owner == getpid())
        return;
    dump_owner = getpid();
    if (dump_cpu)
        prof__cpu_dump_restart();
    stand_by();
}

/* A child with a file of its own has a CPU profile of its own. */
static void fork_child(void)
{
    if (dump_cpu && dump_each)
        prof__cpu_dump_restart();
}

/* --- start ------------------------------------------------------------------------------------ */

/* Who ran profrun, if this process leaves in such a way. */
static void tell_if_unwritten(void)
{
    char path[4096];

    if (announcer == getpid() && prof__preload_dump_path(path, sizeof(path)) == 0)
        prof__leave_tell(path);
}

/* The environment and the working directory are the program's to change: keep copies. */
static void remember_dump(const char *pattern)
{
    char *cwd = *pattern == '/' ? NULL : getcwd(NULL, 0), *slashed = NULL;

    dump_at = cwd && asprintf(&slashed, "%s/", cwd) >= 0 ? slashed : "";
    free(cwd);
    dump = strdup(pattern);
    dump_owner = setting("LIBPROF_PROFRUN") && !is_profruns() ? 0 : getpid();
    dump_each =
        prof__pattern_has_pid(dump) && (!setting("LIBPROF_PROFRUN") || setting("LIBPROF_CHILDREN"));
    if (prof__leave_at_exit(finish) != 0)
        prof__log("no memory for a profile at exit");
    tell_if_unwritten();
}

/* As a profile at exit: of the program that was asked for, or of each that is started by exec(). */
static void start_captures(void)
{
    if (setting("LIBPROF_PROFRUN") && !is_profruns() && !setting("LIBPROF_CHILDREN"))
        return;
    captures = strdup(setting("LIBPROF_CAPTURE"));
    int r = prof_capture_start(NULL);
    if (r < 0)
        complain("no captures: %s", prof_last_error());
    if (r == -EINVAL)
        captures = NULL;
}

__attribute__((constructor)) static void start(void)
{
    int saved = errno;
    char why[256];
    bool entered = prof__enter(&prof__self); /* what the server's libraries take is ours */

    if (is_profruns() && setting("LIBPROF_ANNOUNCE"))
        announcer = getpid();
    if (setting("LIBPROF_DUMP"))
        remember_dump(setting("LIBPROF_DUMP"));
    if (setting("LIBPROF_CAPTURE"))
        start_captures();
    address = setting("LIBPROF_HTTP") ? strdup(setting("LIBPROF_HTTP")) : NULL;
    bool serves = address && http_load(why, sizeof(why)) == 0;
    if (address && !serves)
        announce("%s", why);
    bool has_server = serves && prof__preload_serve(true) == 0;
    if (address && is_profruns()) /* it has been told, and what the program execs stays silent */
        unsetenv("LIBPROF_ANNOUNCE");
    prof__parked_begin(!has_server);
    prof__daemon_watch(serves, serves && prof__pattern_has_pid(address));
    dump_cpu = dump && setting("LIBPROF_CPU_DUMP");
    if (dump_cpu && (dump_owner || dump_each)) {
        prof__cpu_dump_start(setting("LIBPROF_CPU_DUMP"));
        pthread_atfork(NULL, NULL, fork_child);
    }
    if (dump && (dump_owner || dump_each))
        stand_by();
    if (entered)
        prof__leave(&prof__self);
    errno = saved;
}
