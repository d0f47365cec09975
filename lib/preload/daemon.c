/*
 * daemon.c - which forked children serve.
 *
 * The server's thread does not survive fork(), and a child that took its parent's address would be
 * in its way. So a child stays silent, with two exceptions:
 *   - the address has %p in it: every child serves, each at its own;
 *   - the child becomes a daemon, which shows in setsid() or daemon(): its parent is about to exit
 *     and give the address up. So these two are hooked, in libprof-preload only.
 *
 * Neither can be done at once. A child that is about to exec() should not pay for a server, and
 * the parent of a daemon still holds the address. A short-lived thread waits and tries again.
 * A vfork() child runs no fork handlers, shares our memory, and is recognised by its process id.
 */
#include "preload/preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <prof/prof.h>

#include "base/rawlog.h"
#include "preload/later.h"
#include "preload/parked.h"

/* Most children have called exec() by then, most parents exit(). */
#define WAIT_NS INT64_C(100000000)
#define TRIES   100

static bool serves, each_child;
static pid_t forked_pid;    /* this process, if fork() made it; else 0 or its parent */
static _Atomic bool wanted; /* this process is to serve and does not yet */

static pid_t (*real_setsid)(void);
static int (*real_daemon)(int nochdir, int noclose);

static int64_t serve_soon(void)
{
    static int tries;
    int r = prof__preload_serve(++tries >= TRIES);

    if (r == -EADDRINUSE && tries < TRIES)
        return WAIT_NS;
    tries = 0;
    atomic_store_explicit(&wanted, false, memory_order_relaxed);
    return -1;
}

static void want(void)
{
    static struct prof__later later = { .name = "prof-serve", .run = serve_soon };
    int saved = errno;

    if (atomic_exchange_explicit(&wanted, true, memory_order_relaxed))
        return;
    if (prof__later(&later, WAIT_NS) < 0)
        prof__log("process %d cannot serve: %s", (int)getpid(), prof_last_error());
    errno = saved;
}

static void fork_child(void)
{
    /* A daemon may fork twice, and the process between them never got to serve. */
    bool inherited = atomic_exchange_explicit(&wanted, false, memory_order_relaxed);

    forked_pid = getpid();
    if (inherited)
        prof__preload_take_over();
    if (inherited || each_child)
        want();
}

static void became_daemon(void)
{
    if (forked_pid != getpid())
        return; /* not forked, or made by vfork() */
    prof__preload_take_over();
    if (serves && !each_child)
        want();
    else if (!serves)
        prof__parked_again();
}

PROF_SHARED pid_t setsid(void)
{
    pid_t r = real_setsid ? real_setsid() : (pid_t)syscall(SYS_setsid);

    if (r >= 0)
        became_daemon();
    return r;
}

PROF_SHARED int daemon(int nochdir, int noclose)
{
    if (!real_daemon) {
        errno = ENOSYS;
        return -1;
    }
    int r = real_daemon(nochdir, noclose);
    if (r == 0)
        became_daemon();
    return r;
}

/* Before anything else of ours, as the program's threads and children come later. */
__attribute__((constructor(101))) static void find(void)
{
    real_setsid = (__typeof__(real_setsid))(uintptr_t)dlsym(RTLD_NEXT, "setsid");
    real_daemon = (__typeof__(real_daemon))(uintptr_t)dlsym(RTLD_NEXT, "daemon");
}

void prof__daemon_watch(bool serve, bool each)
{
    serves = serve;
    each_child = each;
    pthread_atfork(NULL, NULL, fork_child);
}
