/*
 * lockstate.c - who waits for whom.
 *
 *   /proc/self/task/TID/syscall -> futex -> lock -> its owner -> the owner's own futex -> ...
 *
 * A thread that waits for a lock sleeps on a futex inside it, and the kernel tells its address for
 * any thread that sleeps. If the hooks saw the wait begin they know what the lock is; else it is
 * guessed from what lies there, and only believed when everything about it fits. glibc notes the
 * owner of a mutex, and the writer that holds a read/write lock; readers are not known. A thread
 * that joins another waits for that one.
 *
 * Locks may be freed while we look, so their memory is read through the kernel. Everything is
 * looked at from outside, without stopping a thread.
 */
#include "profile/lockstate.h"

#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/memory.h"
#include "base/task.h"
#include "table/lock_ledger.h"

const char *prof__wait_kind_name(enum prof__wait_kind kind)
{
    static const char *const name[] = {
        [PROF__WAIT_UNKNOWN] = "futex",
        [PROF__WAIT_MUTEX] = "mutex",
        [PROF__WAIT_READ] = "read lock",
        [PROF__WAIT_WRITE] = "write lock",
        [PROF__WAIT_CONDITION] = "condition variable",
        [PROF__WAIT_SEMAPHORE] = "semaphore",
        [PROF__WAIT_BARRIER] = "barrier",
        [PROF__WAIT_JOIN] = "end of a thread",
    };

    return (size_t)kind < ARRAY_LEN(name) ? name[kind] : "lock";
}

/* --- the kernel's view ------------------------------------------------------------------------ */

struct futex {
    uintptr_t address; /* 0: the thread sleeps on none */
    unsigned command;  /* FUTEX_WAIT, .. */
    uint32_t expected; /* value at which it went to sleep */
    bool shared, timed;
};

/* "202 0xADDRESS 0xOPERATION 0xVALUE 0xTIMEOUT ..." False: it could not be read. */
static bool futex_of(pid_t tid, struct futex *ret)
{
    char line[256], *s = line;
    unsigned long arg[4];

    *ret = (struct futex) { 0 };
    if (prof__task_read(tid, "syscall", line, sizeof(line)) <= 0)
        return false;
    if (strtol(line, &s, 10) != SYS_futex || s == line)
        return true;
    for (unsigned i = 0; i < ARRAY_LEN(arg); i++)
        arg[i] = strtoul(s, &s, 16);
    ret->command = (unsigned)arg[1] & FUTEX_CMD_MASK;
    switch (ret->command) {
    case FUTEX_WAIT:
    case FUTEX_WAIT_BITSET:
    case FUTEX_LOCK_PI:
#ifdef FUTEX_LOCK_PI2
    case FUTEX_LOCK_PI2:
#endif
        ret->address = arg[0];
        ret->expected = (uint32_t)arg[2];
        ret->shared = !(arg[1] & FUTEX_PRIVATE_FLAG);
        ret->timed = arg[3] != 0;
    }
    return true;
}

static bool is_thread(pid_t id, const pid_t *tid, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (tid[i] == id)
            return true;
    return false;
}

/* --- locks ------------------------------------------------------------------------------------ */

static bool read_all(uintptr_t from, void *to, size_t size)
{
    return from && prof__memory_read(from, to, size) == (ssize_t)size;
}

#ifdef __GLIBC__
/* Bits of a mutex's kind, as glibc's nptl/pthreadP.h has them. */
enum {
    KIND_TYPE = 3,
    KIND_ROBUST = 16,
    KIND_INHERIT = 32,
    KIND_PROTECT = 64,
    KIND_SHARED = 128,
    KIND_ELISION = 256 | 512,
    KIND_KNOWN = KIND_TYPE | KIND_ROBUST | KIND_INHERIT | KIND_PROTECT | KIND_SHARED | KIND_ELISION,
};

static pid_t mutex_owner(const pthread_mutex_t *m)
{
    /* In these the kernel must know the owner, so the lock word names it. */
    if (m->__data.__kind & (KIND_ROBUST | KIND_INHERIT))
        return m->__data.__lock & FUTEX_TID_MASK;
    return m->__data.__owner;
}

/* Does what lies at a futex look like a mutex that is held and waited for? */
static bool looks_like_mutex(const struct futex *f, const pthread_mutex_t *m)
{
    if (m->__data.__kind & ~KIND_KNOWN || m->__data.__nusers == 0)
        return false;
    if (m->__data.__kind & KIND_INHERIT)
        return f->command != FUTEX_WAIT && f->command != FUTEX_WAIT_BITSET;
    if (m->__data.__kind & KIND_ROBUST)
        return (unsigned)m->__data.__lock == f->expected && f->expected & FUTEX_WAITERS;
    if (m->__data.__kind & KIND_PROTECT) /* the word holds the ceiling too */
        return (m->__data.__lock & 3) == 2;
    return m->__data.__lock == 2 && f->expected == 2;
}

static bool looks_like_rwlock(const pthread_rwlock_t *l)
{
    return (l->__data.__readers & 2) && /* taken by a writer */
           l->__data.__pad3 == 0 && l->__data.__pad4 == 0 && l->__data.__pad2 == 0 &&
           l->__data.__shared >> 1 == 0 && l->__data.__flags <= 2;
}

/* How far the futex may be inside an object of that kind. */
static size_t size_of(enum prof__wait_kind kind)
{
    switch (kind) {
    case PROF__WAIT_MUTEX:
        return 1; /* its first word */
    case PROF__WAIT_READ:
    case PROF__WAIT_WRITE:
        return sizeof(pthread_rwlock_t);
    case PROF__WAIT_CONDITION:
        return sizeof(pthread_cond_t);
    case PROF__WAIT_SEMAPHORE:
        return sizeof(sem_t);
    case PROF__WAIT_BARRIER:
        return sizeof(pthread_barrier_t);
    case PROF__WAIT_JOIN:
        return 4096; /* somewhere in glibc's struct pthread */
    default:
        return 0;
    }
}

/* Who holds the lock that w->object names, of a kind that is known. */
static pid_t holder_of(const struct prof__waiting *w)
{
    pthread_mutex_t mutex;
    pthread_rwlock_t rwlock;
    uint32_t word;

    switch (w->kind) {
    case PROF__WAIT_MUTEX:
        return read_all(w->object, &mutex, sizeof(mutex)) ? mutex_owner(&mutex) : 0;
    case PROF__WAIT_READ:
    case PROF__WAIT_WRITE:
        return read_all(w->object, &rwlock, sizeof(rwlock)) ? rwlock.__data.__cur_writer : 0;
    case PROF__WAIT_JOIN: /* the kernel clears the thread id there when the thread ends */
        return read_all(w->futex, &word, sizeof(word)) ? (pid_t)word : 0;
    default:
        return 0;
    }
}

/* A mutex whose waiters may sleep elsewhere: glibc lets a thread that would wait for itself do so
 * on its own stack. */
static bool sleeps_elsewhere(const struct prof__wait_entry *e)
{
    pthread_mutex_t mutex;

    return e->kind == PROF__WAIT_MUTEX && read_all(e->object, &mutex, sizeof(mutex)) &&
           mutex.__data.__kind & KIND_INHERIT;
}

/* What the futex is part of, as far as it shows. */
static void guess(const struct futex *f, const pid_t *tid, size_t n, struct prof__waiting *w)
{
    pthread_mutex_t mutex;
    pthread_rwlock_t rwlock;
    uint32_t word;

    w->object = f->address;
    w->timed = f->timed;
    if (read_all(f->address, &mutex, sizeof(mutex)) && looks_like_mutex(f, &mutex) &&
        is_thread(mutex_owner(&mutex), tid, n)) {
        w->kind = PROF__WAIT_MUTEX;
        return;
    }
    for (size_t at = 8; at <= 12; at += 4) /* __wrphase_futex, __writers_futex */
        if (read_all(f->address - at, &rwlock, sizeof(rwlock)) && looks_like_rwlock(&rwlock) &&
            is_thread(rwlock.__data.__cur_writer, tid, n)) {
            w->kind = PROF__WAIT_WRITE;
            w->object = f->address - at;
            return;
        }
    /* The kernel wakes who joins, and knows nothing of private futexes. */
    if (f->shared && read_all(f->address, &word, sizeof(word)) && word == f->expected &&
        is_thread((pid_t)word, tid, n))
        w->kind = PROF__WAIT_JOIN;
}
#else
static size_t size_of(enum prof__wait_kind kind)
{
    return kind == PROF__WAIT_JOIN ? 4096 : 64;
}

static pid_t holder_of(const struct prof__waiting *w)
{
    (void)w;
    return 0;
}

static bool sleeps_elsewhere(const struct prof__wait_entry *e)
{
    (void)e;
    return false;
}

static void guess(const struct futex *f, const pid_t *tid, size_t n, struct prof__waiting *w)
{
    (void)tid, (void)n;
    w->object = f->address;
    w->timed = f->timed;
}
#endif

/* --- all threads ------------------------------------------------------------------------------ */

/* `switches`: whether the thread has run between two looks is to be told. */
static void look(pid_t id, const pid_t *tid, size_t n, bool switches, struct prof__waiting *ret)
{
    struct prof__wait_entry e;
    struct futex f;

    *ret = (struct prof__waiting) { .tid = id, .switches = switches ? prof__task_switches(id) : 0 };
    bool seen = futex_of(id, &f), known = prof__wait_table_find((uint32_t)id, &e);

    if (seen && !f.address)
        return; /* it runs, or sleeps for something else: a wait that has just ended or not begun */
    if (known && seen && f.address - e.object >= size_of(e.kind) && !sleeps_elsewhere(&e))
        known = false; /* of a wait that has been left without a return */
    if (!known && !seen)
        return;

    ret->futex = f.address;
    if (known) {
        ret->kind = e.kind;
        ret->object = e.object;
        ret->timed = e.timed;
        ret->since_ns = e.since_ns;
    } else {
        guess(&f, tid, n, ret);
    }
    ret->holder = holder_of(ret);
    if (ret->holder)
        ret->held_since_ns =
            prof__ledger_held_since((const void *)ret->object, (uint32_t)ret->holder);
}

/* Where the thread that w waits for is; n: nowhere. */
static size_t next(const struct prof__waiting *w, size_t n, size_t i)
{
    size_t k = n;

    if (w[i].object && !w[i].timed && w[i].holder)
        for (k = 0; k < n && w[k].tid != w[i].holder; k++)
            ;
    return k;
}

unsigned prof__lockstate_cycles(struct prof__waiting *w, size_t n)
{
    unsigned cycles = 0;

    for (size_t i = 0; i < n; i++)
        w[i].cycle = w[i].mark = 0;
    for (size_t i = 0; i < n; i++) {
        size_t k = i;

        /* Follow the holders until none, or until one that has been met. */
        for (; k < n && !w[k].mark; k = next(w, n, k))
            w[k].mark = (unsigned)i + 1;
        if (k == n || w[k].mark != i + 1 || w[k].cycle)
            continue;
        cycles++;
        for (; !w[k].cycle; k = next(w, n, k))
            w[k].cycle = cycles;
    }
    return cycles;
}

static bool same(const struct prof__waiting *a, const struct prof__waiting *b)
{
    return a->object == b->object && a->holder == b->holder && a->futex == b->futex &&
           a->since_ns == b->since_ns && a->switches == b->switches && a->switches && a->futex &&
           !b->timed;
}

/* A cycle put together from looks at different moments need never have existed. So its threads are
 * looked at twice more, all of them before any for the second time. */
static bool is_sure(const pid_t *tid, size_t n, struct prof__waiting *w, unsigned cycle)
{
    struct prof__waiting again;

    for (size_t i = 0; i < n; i++) {
        if (w[i].cycle != cycle)
            continue;
        look(tid[i], tid, n, true, &again);
        if (again.object != w[i].object || again.holder != w[i].holder)
            return false;
        again.cycle = cycle;
        w[i] = again;
    }
    for (size_t i = 0; i < n; i++) {
        if (w[i].cycle != cycle)
            continue;
        look(tid[i], tid, n, true, &again);
        if (!same(&w[i], &again))
            return false;
    }
    return true;
}

unsigned prof__lockstate_read(const pid_t *tid, size_t n, struct prof__waiting *ret)
{
    unsigned confirmed = 0;

    for (size_t i = 0; i < n; i++)
        look(tid[i], tid, n, false, &ret[i]);
    unsigned cycles = prof__lockstate_cycles(ret, n);

    for (unsigned c = 1; c <= cycles; c++) {
        bool sure = is_sure(tid, n, ret, c);

        confirmed += sure;
        for (size_t i = 0; i < n; i++)
            if (ret[i].cycle == c)
                ret[i].cycle = sure ? confirmed : 0;
    }
    return confirmed;
}
