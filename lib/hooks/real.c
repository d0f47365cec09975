/*
 * real.c - libc's own functions, found once.
 *
 * Entries of the table first point at functions that look everything up and then forward, so no
 * hook ever tests for "ready", and a call works however early it comes: from an IFUNC resolver,
 * from a constructor that runs before ours, from the dynamic loader. "Real" is whatever comes after
 * us in the lookup order: another allocator, another interposer, libc. Should that be another copy
 * of these hooks, as when a program linked with libprof-hooks is also preloaded, then its targets
 * are used instead of it, so that nothing is counted twice.
 *
 * Looking up takes no lock, since another thread may hold the loader's while it waits for us. Any
 * number of threads may do it at once; they find the same. Only one is let into dlsym() while it
 * could allocate; calls that come meanwhile, most likely from that very dlsym(), are served from
 * boot.c.
 */
#include "hooks/real.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hooks/boot.h"
#include "hooks/real_io.h"
#include "hooks/real_pthread.h"
#include "record/presence.h"

bool prof__hooks_aside;

/* clang-format off */
#define PLACE(name) { #name, offsetof(struct prof__real, name) },
static const struct {
    const char *name;
    size_t at;
} doors[] = { PROF__REAL_DOORS(PLACE) };
/* clang-format on */

static void **entry(size_t i)
{
    return (void **)((char *)&prof__real + doors[i].at);
}

const struct prof__hooks_copy *prof__hooks_next_copy(void)
{
    void *next = prof__hooks_next("malloc");

    for (size_t i = 0; i < ARRAY_LEN(prof__hooks_copies); i++) {
        const struct prof__hooks_copy *c = prof__hooks_copies[i];

        if (c && (void *)(uintptr_t)c->malloc == next)
            return c;
    }
    return NULL;
}

/*
 * Fill the table; what is not found stays as it is. All is found in glibc, and that matters: a
 * dlsym() that fails leaves a message behind, and the next call frees it, through a free() of the
 * program's that may itself be on its way to dlsym(). It goes by its caller's address, too, so it
 * must not be called by a jump.
 */
static void look_up(void)
{
    const struct prof__hooks_copy *other = prof__hooks_next_copy();
    bool missing = false;

    for (size_t i = 0; i < ARRAY_LEN(doors); i++) {
        void *f = other ? other->real(doors[i].name) : prof__hooks_next(doors[i].name);

        if (f)
            __atomic_store_n(entry(i), f, __ATOMIC_RELAXED);
        else
            missing = true;
    }
    if (missing)
        dlerror(); /* the program must not be told of our failures */
}

static _Atomic bool looking_up;

/* False: a look-up is under way, maybe below us in this very thread. */
static bool ready(void)
{
    /* Relaxed: it orders nothing; who loses does without the table. */
    if (atomic_exchange_explicit(&looking_up, true, memory_order_relaxed))
        return false;
    look_up();
    atomic_store_explicit(&looking_up, false, memory_order_relaxed);
    return true;
}

/* --- the entries before anything is known ----------------------------------------------------- */

static const struct prof__real first;

/* Can the table's entry be used? Else there is no such function, or no time to find it. */
#define FOUND(door) (ready() && prof__real.door != first.door)

static bool power_of_two(size_t n)
{
    return n && !(n & (n - 1));
}

static void *boot_aligned(size_t alignment, size_t size)
{
    if (!power_of_two(alignment)) {
        errno = EINVAL;
        return NULL;
    }
    return prof__boot_alloc(PROF_MAX(alignment, 16), size);
}

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static void *first_malloc(size_t size)
{
    return FOUND(malloc) ? prof__real.malloc(size) : prof__boot_alloc(16, size);
}

static void *first_calloc(size_t n, size_t size)
{
    size_t total;

    if (FOUND(calloc))
        return prof__real.calloc(n, size);
    if (__builtin_mul_overflow(n, size, &total))
        total = SIZE_MAX; /* which is refused */
    return prof__boot_alloc(16, total);
}

/* Blocks of boot.c never get here. So this one has been allocated where we do not see it, and the
 * look-up that may be under way is not waiting below us. */
static void first_free(void *p)
{
    look_up();
    if (prof__real.free != first.free)
        prof__real.free(p);
}

static void *first_realloc(void *p, size_t size)
{
    if (!p)
        return first_malloc(size);
    look_up();
    if (prof__real.realloc != first.realloc)
        return prof__real.realloc(p, size);
    errno = ENOMEM;
    return NULL;
}

static int first_posix_memalign(void **ret, size_t alignment, size_t size)
{
    if (FOUND(posix_memalign))
        return prof__real.posix_memalign(ret, alignment, size);
    if (!power_of_two(alignment) || alignment < sizeof(void *))
        return EINVAL;

    int saved = errno;
    void *p = boot_aligned(alignment, size);
    errno = saved;
    if (!p)
        return ENOMEM;
    *ret = p;
    return 0;
}

static void *first_aligned_alloc(size_t alignment, size_t size)
{
    return FOUND(aligned_alloc) ? prof__real.aligned_alloc(alignment, size)
                                : boot_aligned(alignment, size);
}

static void *first_memalign(size_t alignment, size_t size)
{
    return FOUND(memalign) ? prof__real.memalign(alignment, size) : boot_aligned(alignment, size);
}

static void *first_valloc(size_t size)
{
    return FOUND(valloc) ? prof__real.valloc(size) : boot_aligned(page_size(), size);
}

static void *first_pvalloc(size_t size)
{
    size_t page = page_size(), total;

    if (FOUND(pvalloc))
        return prof__real.pvalloc(size);
    if (__builtin_add_overflow(size, page - 1, &total))
        total = SIZE_MAX;
    return boot_aligned(page, total & ~(page - 1));
}

/* Before libc's are known these are what they make of them: an allocator may map while we look. */
static void *first_mmap64(void *at, size_t length, int protection, int flags, int fd,
                          off64_t offset)
{
    if (FOUND(mmap64))
        return prof__real.mmap64(at, length, protection, flags, fd, offset);
    return (void *)syscall(SYS_mmap, at, length, protection, flags, fd, offset);
}

static void *first_mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    return first_mmap64(at, length, protection, flags, fd, offset);
}

static int first_munmap(void *p, size_t length)
{
    return FOUND(munmap) ? prof__real.munmap(p, length) : (int)syscall(SYS_munmap, p, length);
}

static void *first_mremap(void *old, size_t old_length, size_t length, int flags, ...)
{
    va_list arguments;

    va_start(arguments, flags);
    void *to = va_arg(arguments, void *); /* the hook always gives one */
    va_end(arguments);
    if (FOUND(mremap))
        return prof__real.mremap(old, old_length, length, flags, to);
    return (void *)syscall(SYS_mremap, old, old_length, length, flags, to);
}

/* clang-format off */
#define FIRST_CALL(result, door, parameters, arguments, failed)                        \
    static result first_##door parameters                                              \
    {                                                                                  \
        look_up();                                                                     \
        return prof__real.door != first.door ? prof__real.door arguments : (failed);   \
    }
#define REFUSED (errno = ENOSYS, -1)
/* clang-format on */

typedef void handler_fn(int signal);

FIRST_CALL(void *, sbrk, (intptr_t increment), (increment), (errno = ENOMEM, (void *)-1))
FIRST_CALL(int, brk, (void *end), (end), (errno = ENOMEM, -1))
FIRST_CALL(int, dlclose, (void *handle), (handle), -1)
FIRST_CALL(void *, dlopen, (const char *file, int mode), (file, mode), NULL)
FIRST_CALL(int, pthread_create,
           (pthread_t * thread, const pthread_attr_t *attr, void *(*start)(void *arg), void *arg),
           (thread, attr, start, arg), ENOSYS)
FIRST_CALL(int, thrd_create, (thrd_t * thread, thrd_start_t start, void *arg), (thread, start, arg),
           thrd_error)
FIRST_CALL(int, __register_atfork,
           (void (*prepare)(void), void (*parent)(void), void (*child)(void), void *object),
           (prepare, parent, child, object), ENOMEM)
FIRST_CALL(int, sigaction, (int signal, const struct sigaction *action, struct sigaction *old),
           (signal, action, old), REFUSED)
FIRST_CALL(handler_fn *, signal, (int number, handler_fn *handler), (number, handler),
           (errno = ENOSYS, SIG_ERR))
FIRST_CALL(handler_fn *, __sysv_signal, (int number, handler_fn *handler), (number, handler),
           (errno = ENOSYS, SIG_ERR))
FIRST_CALL(handler_fn *, sigset, (int number, handler_fn *handler), (number, handler),
           (errno = ENOSYS, SIG_ERR))
FIRST_CALL(int, sigignore, (int number), (number), REFUSED)
FIRST_CALL(int, sigwait, (const sigset_t *set, int *ret_number), (set, ret_number), ENOSYS)
FIRST_CALL(int, sigtimedwait,
           (const sigset_t *set, siginfo_t *info, const struct timespec *timeout),
           (set, info, timeout), REFUSED)

static int first_sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
    return first_sigtimedwait(set, info, NULL);
}

FIRST_CALL(int, sigsuspend, (const sigset_t *mask), (mask), REFUSED)
#define FIRST                                                                                     \
    {                                                                                             \
        .malloc = first_malloc, .free = first_free, .calloc = first_calloc,                       \
        .realloc = first_realloc, .posix_memalign = first_posix_memalign,                         \
        .aligned_alloc = first_aligned_alloc, .memalign = first_memalign, .valloc = first_valloc, \
        .pvalloc = first_pvalloc, .dlclose = first_dlclose, .dlopen = first_dlopen,               \
        .mmap = first_mmap, .mmap64 = first_mmap64, .munmap = first_munmap,                       \
        .mremap = first_mremap, .sbrk = first_sbrk, .brk = first_brk,                             \
        .pthread_create = first_pthread_create, .thrd_create = first_thrd_create,                 \
        .__register_atfork = first___register_atfork, .sigaction = first_sigaction,               \
        .signal = first_signal, .__sysv_signal = first___sysv_signal, .sigset = first_sigset,     \
        .sigignore = first_sigignore, .sigwait = first_sigwait, .sigwaitinfo = first_sigwaitinfo, \
        .sigtimedwait = first_sigtimedwait, .sigsuspend = first_sigsuspend,                       \
    }

struct prof__real prof__real = FIRST;
static const struct prof__real first = FIRST;

static void *real(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(doors); i++)
        if (strcmp(doors[i].name, name) == 0) {
            if (*entry(i) == *(void *const *)((const char *)&first + doors[i].at))
                look_up();
            return *entry(i);
        }
    void *f = prof__pthread_real_of(name);
    return f ? f : prof__io_real_of(name);
}

const struct prof__hooks_copy PROF__HOOKS_SELF = { prof__hooks_malloc, real };
