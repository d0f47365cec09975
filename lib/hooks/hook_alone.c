/*
 * hook_alone.c - calls that a process of one thread may make, and one of two may not, or gets
 * something else by them. With a server in it, or any thread of libprof's, each process has two.
 *
 *   setuid() and its kin: libc repeats the call in each thread, and ends the process if it fails in
 *     one and not in another, as it does where their credentials differ
 *   capset() before that, which changes the calling thread alone: others keep what it gives up
 *   unshare(), setns() into a user, mount or time namespace: refused
 *
 * So our threads leave before, and come back after, made by the calling thread and with what it
 * then is and may. They do only if it matters: when credentials differ; when the kernel has refused
 * the call, which changes nothing; and when the one thread of a program has confined itself.
 *
 * What the program makes by syscall(2), and what it does without these hooks, is not seen.
 * Context: signal, when our threads need not leave.
 */
#include "hooks/hook_alone.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>

#include "base/withdraw.h"
#include "hooks/real.h"

enum { TRIES = 1000 }; /* of a call, as the kernel forgets a thread in several steps */

/* clang-format off */
#define POINTER(name, parameters, arguments) int (*name) parameters;
#define FIRST(name, parameters, arguments)                                                         \
    static int first_##name parameters                                                             \
    {                                                                                              \
        look_up();                                                                                 \
        if (real.name != first_##name)                                                             \
            return real.name arguments;                                                            \
        errno = ENOSYS;                                                                            \
        return -1;                                                                                 \
    }
#define DECLARE_FIRST(name, parameters, arguments) static int first_##name parameters;
#define ENTRY(name, parameters, arguments) .name = first_##name,
#define PLACE(name, parameters, arguments) { #name, offsetof(struct real, name) },

PROF__ALONE_HOOKED(DECLARE_FIRST)
static struct real { PROF__ALONE_HOOKED(POINTER) } real = { PROF__ALONE_HOOKED(ENTRY) };
static const struct {
    const char *name;
    size_t at;
} doors[] = { PROF__ALONE_HOOKED(PLACE) };
/* clang-format on */

static void look_up(void)
{
    bool missing = false;

    for (size_t i = 0; i < ARRAY_LEN(doors); i++) {
        void *f = prof__hooks_next(doors[i].name);

        if (f)
            __atomic_store_n((void **)((char *)&real + doors[i].at), f, __ATOMIC_RELAXED);
        else
            missing = true;
    }
    if (missing)
        dlerror(); /* the program must not be told of our failures */
}

/* At the start: who calls one of these in a forked child must not wait for the loader. */
__attribute__((constructor(101))) static void start(void)
{
    look_up();
}

PROF__ALONE_HOOKED(FIRST)

/* --- credentials ------------------------------------------------------------------------------ */

static bool withdraw_if_they_differ(void)
{
    if (!prof__helpers_present() || !prof__helpers_differ())
        return false;
    prof__helpers_withdraw();
    return true;
}

/* clang-format off */
#define HOOK(name, parameters, arguments)            \
    PROF_SHARED int name parameters                  \
    {                                                \
        bool away = withdraw_if_they_differ();       \
        int r = real.name arguments;                 \
                                                     \
        if (away)                                    \
            prof__helpers_return();                  \
        return r;                                    \
    }
/* clang-format on */
PROF__ALONE_IDS(HOOK)

PROF_SHARED int capset(void *header, const void *data)
{
    int r = real.capset(header, data);

    if (r == 0 && withdraw_if_they_differ())
        prof__helpers_return(); /* with what is left */
    return r;
}

/* --- namespaces ------------------------------------------------------------------------------- */

/* What the kernel says to a process with threads. */
static bool is_refusal(int error)
{
    return error == EINVAL || error == EUSERS;
}

/* May it be that our threads are why? */
static bool is_because_of_us(int error)
{
    return is_refusal(error) && prof__helpers_present() && prof__helpers_only();
}

/* The program's only thread is now in other namespaces than ours, or has a root of its own: go
 * there, too. Not where it can make no thread any more. */
static void follow(int flags)
{
    if (!(flags & (CLONE_NEWNS | CLONE_NEWUSER | CLONE_FS)) || flags & CLONE_NEWPID ||
        !prof__helpers_present() || !prof__helpers_only())
        return;
    prof__helpers_withdraw();
    prof__helpers_return();
}

/* What setns() has entered: any namespace may be meant by 0, and the kernel knows of which kind the
 * file is. Kinds that our threads do not follow to are 0 again. */
static int entered(int fd, int type)
{
    int saved = errno;

    if (type == 0)
        type = ioctl(fd, NS_GET_NSTYPE);
    errno = saved;
    return PROF_MAX(type, 0);
}

/* clang-format off */
#define ENTER(name, parameters, arguments, flags)                                              \
    PROF_SHARED int name parameters                                                            \
    {                                                                                          \
        int saved = errno, r = real.name arguments;                                            \
                                                                                               \
        if (r == 0)                                                                            \
            follow(flags);                                                                     \
        if (r == 0 || !is_because_of_us(errno))                                                \
            return r;                                                                          \
        prof__helpers_withdraw();                                                              \
        for (int i = 0; i < TRIES && (r = real.name arguments) < 0 && is_refusal(errno); i++)  \
            sched_yield();                                                                     \
        errno = r < 0 ? errno : saved;                                                         \
        prof__helpers_return();                                                                \
        return r;                                                                              \
    }
/* clang-format on */
ENTER(unshare, (int flags), (flags), flags)
ENTER(setns, (int fd, int type), (fd, type), entered(fd, type))
