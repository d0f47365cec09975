/*
 * fault_lib.c - the nth call of one kind that the profiler makes fails, the program's own do not.
 *
 *   FAULT=mmap:3          the third mmap() of the profiler's fails
 *   FAULT=mmap,malloc:3+  of these two kinds together, the third and all after it
 *   FAULT_COUNTS=FILE     at exit, how many calls of each kind there were while faults were armed
 *
 * Stands between the hooks and libc: linked after libprof-hooks, or named after libprof-preload.so
 * in LD_PRELOAD. So what libprof, libmicrohttpd and zlib call binds here, and a call is
 * the profiler's if its thread is inside the profiler or hidden, if the caller's code is one of
 * those libraries, or if the program has said so by fault_mine(). Calls within libc bind to libc
 * itself and are not seen: pthread_create() fails as a whole, not the mmap() that it makes.
 *
 * Which errors: what a kernel short of memory, descriptors, threads or timers would say.
 */
#undef _FILE_OFFSET_BITS /* or mmap() and mmap64() would be one */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/thread.h"

#define PUBLIC __attribute__((visibility("default")))

enum kind {
    MMAP,
    MUNMAP,
    OPEN,
    READ,
    STAT,
    WRITE,
    PIPE,
    PEEK,
    THREAD,
    KEY,
    ATFORK,
    TIMER,
    SOCKET,
    BIND,
    LISTEN,
    SOCKNAME,
    EPOLL,
    EVENTFD,
    ACCEPT,
    RECEIVE,
    SEND,
    UNSHARE,
    MALLOC,
    DLOPEN,
    REALPATH,
    KINDS,
};

static const struct {
    const char *name;
    int error;
    bool hooked; /* libprof-hooks forwards such calls of the program's, from code of its own */
} kinds[KINDS] = {
    [MMAP] = { "mmap", ENOMEM, true },
    [MUNMAP] = { "munmap", ENOMEM, false },
    [OPEN] = { "open", EMFILE, false },
    [READ] = { "read", EIO, false },
    [STAT] = { "stat", ENOMEM, false },
    [WRITE] = { "write", ENOSPC, false },
    [PIPE] = { "pipe", EMFILE, false },
    [PEEK] = { "process_vm_readv", ENOMEM, false },
    [THREAD] = { "pthread_create", EAGAIN, true },
    [KEY] = { "pthread_key", ENOMEM, false },
    [ATFORK] = { "pthread_atfork", ENOMEM, false },
    [TIMER] = { "timer", EAGAIN, false },
    [SOCKET] = { "socket", EMFILE, false },
    [BIND] = { "bind", ENOMEM, false },
    [LISTEN] = { "listen", EADDRINUSE, false },
    [SOCKNAME] = { "getsockname", ENOBUFS, false },
    [EPOLL] = { "epoll", ENOSPC, false },
    [EVENTFD] = { "eventfd", EMFILE, false },
    [ACCEPT] = { "accept", EMFILE, false },
    [RECEIVE] = { "recv", ECONNRESET, false },
    [SEND] = { "send", ECONNRESET, false },
    [UNSHARE] = { "close_range", EMFILE, false },
    [MALLOC] = { "malloc", ENOMEM, true },
    [DLOPEN] = { "dlopen", ENOMEM, false },
    [REALPATH] = { "realpath", ENOMEM, false },
};

/* A bit for each kind. Read from the environment by the first call, which is in a constructor of
 * somebody else's. */
static uint32_t armed = UINT32_MAX;
static uint64_t nth;
static bool all_after;
static _Atomic uint64_t matching, injected, count[KINDS];
static _Thread_local int mine __attribute__((tls_model("initial-exec")));

PUBLIC void fault_mine(int more);
PUBLIC void fault_arm(const char *what);
PUBLIC uint64_t fault_injected(void);

/* --- whose call it is ------------------------------------------------------------------------- */

enum owner { NOBODY, HOOKS, PROFILER };

static enum owner owner_of(const void *code)
{
    static const char *const profilers[] = { "libprof",  "libmicrohttpd", "libz.",
                                             "liblzma.", "libzstd.",      "libprotobuf-c" };
    struct dl_find_object object;

    if (_dl_find_object((void *)code, &object) != 0 || !object.dlfo_link_map->l_name)
        return NOBODY;
    const char *path = object.dlfo_link_map->l_name, *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;

    if (strncmp(name, "libprof-hooks", 13) == 0 || strncmp(name, "libprof-preload", 15) == 0)
        return HOOKS;
    for (size_t i = 0; i < ARRAY_LEN(profilers); i++)
        if (strncmp(name, profilers[i], strlen(profilers[i])) == 0)
            return PROFILER;
    return NOBODY;
}

/* Shall this call fail? */
static bool fails(enum kind kind, const void *caller)
{
    bool ours = mine || prof__self.busy;

    if (armed == UINT32_MAX && environ)
        fault_arm(getenv("FAULT"));
    if (!armed || armed == UINT32_MAX)
        return false;
    enum owner owner = ours ? PROFILER : owner_of(caller);
    if (owner == NOBODY || (owner == HOOKS && kinds[kind].hooked))
        return false;
    atomic_fetch_add(&count[kind], 1);
    if (!(armed >> kind & 1))
        return false;
    uint64_t n = atomic_fetch_add(&matching, 1) + 1;
    if (n != nth && !(all_after && n > nth))
        return false;
    atomic_fetch_add(&injected, 1);
    errno = kinds[kind].error;
    return true;
}

#define FAILS(kind) fails(kind, __builtin_return_address(0))

/* --- for the program -------------------------------------------------------------------------- */

/* The thread's next calls are libprof's (+1), or its own again (-1). */
void fault_mine(int more)
{
    mine += more;
}

/* "mmap:3" and the like; NULL: nothing fails any more, and nothing is counted. */
void fault_arm(const char *what)
{
    uint32_t set = 0;

    armed = 0;
    if (!what) /* of the environment: count all the same */
        return;
    while (*what && *what != ':') {
        size_t size = strcspn(what, ",:");

        for (size_t i = 0; i < KINDS; i++)
            if (strlen(kinds[i].name) == size && memcmp(kinds[i].name, what, size) == 0)
                set |= 1U << i;
        what += size + (what[size] == ',');
    }
    nth = *what ? strtoull(what + 1, NULL, 10) : 0;
    all_after = strchr(what, '+') != NULL;
    armed = set | 1U << 31; /* counting, though there may be no fault */
}

/* Faults so far. */
uint64_t fault_injected(void)
{
    return atomic_load(&injected);
}

__attribute__((destructor)) static void finish(void)
{
    const char *path = getenv("FAULT_COUNTS");
    FILE *file;

    armed = 0;
    if (!path || !(file = fopen(path, "a")))
        return;
    for (size_t i = 0; i < KINDS; i++)
        fprintf(file, "%s %llu\n", kinds[i].name, (unsigned long long)count[i]);
    fclose(file);
}

/* --- libc's functions ------------------------------------------------------------------------- */

/* The next definition, found at the first call. dlsym() may allocate, so not for malloc. */
#define NEXT(name)                                              \
    ({                                                          \
        static void *next;                                      \
        (__typeof__(name) *)(uintptr_t)find_next(&next, #name); \
    })

static void *find_next(void **next, const char *name)
{
    void *f = __atomic_load_n(next, __ATOMIC_RELAXED);

    if (!f)
        __atomic_store_n(next, f = dlsym(RTLD_NEXT, name), __ATOMIC_RELAXED);
    return f;
}

/* A function that returns BAD when it fails. */
#define FORWARD(type, name, kind, bad, parameters, arguments) \
    PUBLIC type name parameters                               \
    {                                                         \
        return FAILS(kind) ? (bad) : NEXT(name) arguments;    \
    }

/* One that returns the error. */
#define FORWARD_ERROR(name, kind, parameters, arguments)               \
    PUBLIC int name parameters                                         \
    {                                                                  \
        return FAILS(kind) ? kinds[kind].error : NEXT(name) arguments; \
    }

/* clang-format off */
FORWARD(void *, mmap, MMAP, MAP_FAILED,
        (void *at, size_t size, int protection, int flags, int fd, off_t offset),
        (at, size, protection, flags, fd, offset))
FORWARD(void *, mmap64, MMAP, MAP_FAILED,
        (void *at, size_t size, int protection, int flags, int fd, off64_t offset),
        (at, size, protection, flags, fd, offset))
FORWARD(int, munmap, MUNMAP, -1, (void *at, size_t size), (at, size))

FORWARD(FILE *, fopen64, OPEN, NULL, (const char *path, const char *mode), (path, mode))
FORWARD(DIR *, opendir, OPEN, NULL, (const char *path), (path))
FORWARD(ssize_t, read, READ, -1, (int fd, void *buf, size_t size), (fd, buf, size))
FORWARD(ssize_t, pread64, READ, -1, (int fd, void *buf, size_t size, off64_t at),
        (fd, buf, size, at))
FORWARD(struct dirent64 *, readdir64, READ, NULL, (DIR *dir), (dir))
FORWARD(int, fstat64, STAT, -1, (int fd, struct stat64 *st), (fd, st))
FORWARD(int, stat64, STAT, -1, (const char *path, struct stat64 *st), (path, st))
FORWARD(int, lstat64, STAT, -1, (const char *path, struct stat64 *st), (path, st))
FORWARD(ssize_t, write, WRITE, -1, (int fd, const void *buf, size_t size), (fd, buf, size))
FORWARD(int, pipe2, PIPE, -1, (int fds[2], int flags), (fds, flags))
FORWARD(ssize_t, process_vm_readv, PEEK, -1,
        (pid_t pid, const struct iovec *local, unsigned long n, const struct iovec *remote,
         unsigned long m, unsigned long flags),
        (pid, local, n, remote, m, flags))
FORWARD(char *, realpath, REALPATH, NULL, (const char *path, char *resolved), (path, resolved))
FORWARD(void *, dlopen, DLOPEN, NULL, (const char *path, int mode), (path, mode))

FORWARD_ERROR(pthread_create, THREAD,
              (pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg),
              (thread, attr, run, arg))
FORWARD_ERROR(pthread_key_create, KEY, (pthread_key_t *key, void (*end)(void *)), (key, end))
FORWARD_ERROR(pthread_setspecific, KEY, (pthread_key_t key, const void *value), (key, value))
int __register_atfork(void (*before)(void), void (*parent)(void), void (*child)(void), void *dso);
FORWARD_ERROR(__register_atfork, ATFORK,
              (void (*before)(void), void (*parent)(void), void (*child)(void), void *dso),
              (before, parent, child, dso))

FORWARD(int, socket, SOCKET, -1, (int domain, int type, int protocol), (domain, type, protocol))
FORWARD(int, bind, BIND, -1, (int fd, const struct sockaddr *at, socklen_t size), (fd, at, size))
FORWARD(int, listen, LISTEN, -1, (int fd, int n), (fd, n))
FORWARD(int, getsockname, SOCKNAME, -1, (int fd, struct sockaddr *at, socklen_t *size),
        (fd, at, size))
FORWARD(int, epoll_create1, EPOLL, -1, (int flags), (flags))
FORWARD(int, eventfd, EVENTFD, -1, (unsigned value, int flags), (value, flags))
FORWARD(int, accept4, ACCEPT, -1, (int fd, struct sockaddr *at, socklen_t *size, int flags),
        (fd, at, size, flags))
FORWARD(ssize_t, recv, RECEIVE, -1, (int fd, void *buf, size_t size, int flags),
        (fd, buf, size, flags))
FORWARD(ssize_t, send, SEND, -1, (int fd, const void *buf, size_t size, int flags),
        (fd, buf, size, flags))
FORWARD(ssize_t, sendmsg, SEND, -1, (int fd, const struct msghdr *message, int flags),
        (fd, message, flags))
FORWARD(ssize_t, writev, SEND, -1, (int fd, const struct iovec *pieces, int n), (fd, pieces, n))
/* clang-format on */

PUBLIC int open64(const char *path, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    unsigned mode = va_arg(args, unsigned);
    va_end(args);
    return FAILS(OPEN) ? -1 : NEXT(open64)(path, flags, mode);
}

/* Only what adds something can find no room for it. */
PUBLIC int epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
    return what == EPOLL_CTL_ADD && FAILS(EPOLL) ? -1 : NEXT(epoll_ctl)(epoll, what, fd, event);
}

static enum kind kind_of_system_call(long number)
{
    switch (number) {
    case SYS_openat:
        return OPEN;
    case SYS_read:
    case SYS_pread64:
    case SYS_getdents64:
        return READ;
    case SYS_timer_create:
    case SYS_timer_settime:
        return TIMER;
    case SYS_mmap: /* libprof's own pages, past the hooks */
        return MMAP;
    case SYS_process_vm_readv:
        return PEEK;
    case SYS_close_range:
        return UNSHARE;
    default:
        return KINDS;
    }
}

/* Also from signal handlers. */
PUBLIC long syscall(long number, ...)
{
    enum kind kind = kind_of_system_call(number);
    va_list args;
    long a[6], result;

    va_start(args, number);
    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        a[i] = va_arg(args, long);
    va_end(args);
    if (kind != KINDS && FAILS(kind))
        return -1;
    register long r10 __asm__("r10") = a[3];
    register long r8 __asm__("r8") = a[4];
    register long r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

/* --- malloc ----------------------------------------------------------------------------------- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

PUBLIC void *malloc(size_t size)
{
    return FAILS(MALLOC) ? NULL : __libc_malloc(size);
}

PUBLIC void *calloc(size_t n, size_t size)
{
    return FAILS(MALLOC) ? NULL : __libc_calloc(n, size);
}

PUBLIC void *realloc(void *p, size_t size)
{
    return FAILS(MALLOC) ? NULL : __libc_realloc(p, size);
}
