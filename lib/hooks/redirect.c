/*
 * redirect.c - objects that do not call the hooks, and have them put into their way.
 *
 * Most calls find the hooks by the order of libraries. Those of an object loaded with RTLD_DEEPBIND
 * find what the object brings along first, which is libc; and an allocator's own doors have other
 * names. A block that comes by one way and goes by the other makes the profile wrong. So after a
 * dlopen() the words through which new objects call are looked at, and where one leads to the very
 * function that a hook calls, it is made to lead to the hook. Nothing else changes for the object:
 * it gets there all the same. What leads anywhere else is left alone, since a block must go back to
 * the malloc that it came from; and the object is named as one that goes by.
 *
 * A word that is not bound yet, as the function has not been called, is the hook's if no object but
 * that of the hooks and that of the real function has a function of the name: one of the two it
 * would become.
 *
 * When: at the start only where the allocator is not libc's, whose doors these are; after dlopen()
 * and dlclose(), where the program has just been in the linker itself. A reader does not look, as
 * it would wait for whoever is in there. Allocations of a library's own constructors come before.
 * Only one copy of the hooks does this, that which the process calls. Context: normal.
 */
#include "hooks/redirect.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hooks/hook_alone.h"
#include "hooks/objects.h"
#include "hooks/own_doors.h"
#include "hooks/real.h"
#include "hooks/real_io.h"
#include "hooks/real_pthread.h"
#include "record/presence.h"

void *memalign(size_t alignment, size_t size);
void *pvalloc(size_t size);
void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t alignment, size_t size);

/* The hooks that only lead to others, by libc's names. */
#define FORWARDED(DOOR)      \
    DOOR(reallocarray)       \
    DOOR(free_sized)         \
    DOOR(free_aligned_sized) \
    DOOR(bsd_signal)         \
    DOOR(ssignal)            \
    DOOR(sysv_signal)

/* A function with a hook, by libc's names. */
struct door {
    const char *name;
    void *hook;
    void *real;
    bool is_heap; /* a call that goes by it makes the heap profile wrong */
};

/* clang-format off */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* sigset() and sigignore() are */
#define DOOR(name)                                  { #name, (void *)(uintptr_t)name, NULL, false },
#define DOOR_IO(result, name, ...)                  DOOR(name)
#define DOOR_PTHREAD(name, parameters, arguments)   DOOR(name)
static struct door doors[] = {
    PROF__REAL_DOORS(DOOR)
    PROF__IO_DOORS(DOOR_IO)
    PROF__PTHREAD_HOOKED(DOOR_PTHREAD)
    FORWARDED(DOOR)
    PROF__ALONE_HOOKED(DOOR_PTHREAD)
};
#pragma GCC diagnostic pop
/* clang-format on */

static bool active;
static pid_t home;                          /* the process that looks */
static bool own_doors;                      /* the allocator has some */
static bool own_first[PROF__OWN_DOORS_MAX]; /* it is what the program finds under the name */

/* What the linker had loaded when all was looked at. */
static uint64_t looked_at;
static atomic_bool again;          /* something was left for later */
static _Atomic unsigned deep;      /* objects on their way by RTLD_DEEPBIND, or left for later */
static _Atomic unsigned bypassing; /* objects that were found to */

/* By one thread at a time; here is its process, as a child of fork() has no other thread. */
static _Atomic pid_t at_work;

struct look {
    uint64_t adds, subs; /* the linker's counts */
    size_t n, skip;      /* objects, and those in front that have been looked at */
    struct prof__object object;
    const struct dl_phdr_info *info;
    bool is_named; /* this object has been counted in `bypassing` */
};

/* --- who defines what ------------------------------------------------------------------------- */

struct question {
    const char *name;
    uintptr_t hook, real;
    bool others;     /* somebody else has a function of the name */
    uintptr_t value; /* which of them leads elsewhere: a program's own stub for it */
    bool is_stub;
};

static int ask_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct question *q = arg;
    struct prof__object o;
    bool elsewhere = false;

    if (!prof__object_read(info, &o))
        return 0;
    uintptr_t exported = prof__object_exports(&o, q->name, &elsewhere);
    if (!exported)
        return 0;
    if (elsewhere)
        q->is_stub = q->is_stub || exported == q->value;
    else if (!prof__object_has(info, q->hook) && !prof__object_has(info, q->real))
        q->others = true;
    return 0;
}

/* --- one object ------------------------------------------------------------------------------- */

/* Most names are none of ours; by their first two letters. */
static bool maybe_ours[256];

static unsigned char beginning(const char *name)
{
    return (unsigned char)(name[0] * 31 + (name[0] ? name[1] : 0));
}

static const struct door *find_door(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(doors); i++)
        if (strcmp(doors[i].name, name) == 0)
            return doors[i].hook ? &doors[i] : NULL;
    return NULL;
}

static const struct prof__own_door *find_own(const char *name)
{
    for (size_t i = 0; own_doors && i < prof__n_own_doors; i++)
        if (*prof__own_doors[i].real && strcmp(prof__own_doors[i].name, name) == 0)
            return &prof__own_doors[i];
    return NULL;
}

static void goes_by(struct look *l, const char *function)
{
    if (l->is_named)
        return;
    l->is_named = true;
    prof__heap_bypassed(atomic_fetch_add(&bypassing, 1) + 1, l->object.path, function);
}

static struct question ask(const struct prof__object_slot *slot, void *hook, void *real)
{
    struct question q = {
        .name = slot->name,
        .hook = (uintptr_t)hook,
        .real = (uintptr_t)real,
        .value = (uintptr_t)slot->value,
    };

    dl_iterate_phdr(ask_object, &q);
    return q;
}

/* Will a word that is not bound yet lead to the hook, or to what the hook calls? */
static bool will_be_ours(const struct prof__object_slot *slot, const struct door *door,
                         const struct prof__own_door *own)
{
    if (own && !deep && own_first[own - prof__own_doors])
        return true;
    return own ? !ask(slot, own->hook, *own->real).others
               : deep && !ask(slot, door->hook, door->real).others;
}

static void look_at_slot(const struct prof__object_slot *slot, void *arg)
{
    if (PROF_LIKELY(!maybe_ours[beginning(slot->name)]))
        return;
    struct look *l = arg;
    const struct door *door = find_door(slot->name);
    const struct prof__own_door *own = door ? NULL : find_own(slot->name);

    if (!door && !own)
        return;
    void *hook = door ? door->hook : own->hook, *real = door ? door->real : *own->real;
    bool is_heap = own || door->is_heap;

    if (slot->value == hook || prof__object_has(l->info, (uintptr_t)real))
        return; /* of the allocator's own calls the hooks see what they see */
    if (slot->unbound ? !will_be_ours(slot, door, own) : slot->value != real) {
        /* An operator of another library ends in malloc(). A program's own stub is looked at where
         * the program is. */
        if (!slot->unbound && door && is_heap && !ask(slot, hook, real).is_stub)
            goes_by(l, slot->name);
        return;
    }
    int r = prof__object_slot_set(&l->object, slot, hook);
    if (r == -EAGAIN)
        again = true;
    else if (r < 0 && is_heap)
        goes_by(l, slot->name);
}

/* A pool of its own, which the program may have been told to do without. */
static const struct {
    const char *function, *variable, *off;
    enum prof__pool pool;
} pools[] = {
    { "PyObject_Malloc", "PYTHONMALLOC", "malloc", PROF__POOL_PYTHON },
    { "_emalloc", "USE_ZEND_ALLOC", "0", PROF__POOL_PHP },
    { "ruby_xmalloc", NULL, NULL, PROF__POOL_RUBY },
};
static bool is_off[ARRAY_LEN(pools)];

/* At the start: later another thread may be changing the environment. */
static void ask_environment(void)
{
    for (size_t i = 0; i < ARRAY_LEN(pools); i++) {
        const char *value = pools[i].variable ? getenv(pools[i].variable) : NULL;

        is_off[i] = value && strncmp(value, pools[i].off, strlen(pools[i].off)) == 0;
    }
}

static void look_for_pools(const struct prof__object *o)
{
    for (size_t i = 0; i < ARRAY_LEN(pools); i++) {
        if (!prof__object_exports(o, pools[i].function, NULL))
            continue;
        if (!is_off[i])
            prof__heap_pools(pools[i].pool);
    }
}

static bool is_ours(const struct dl_phdr_info *info)
{
    for (size_t i = 0; i < ARRAY_LEN(prof__hooks_copies); i++)
        if (prof__hooks_copies[i] &&
            prof__object_has(info, (uintptr_t)prof__hooks_copies[i]->malloc))
            return true;
    return false;
}

static int look_at_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct look *l = arg;

    /* Counted before, without the linker's lock in between: what is gone since was in front, maybe.
     */
    if (info->dlpi_adds != l->adds || info->dlpi_subs != l->subs)
        l->skip = 0;
    l->adds = info->dlpi_adds;
    l->subs = info->dlpi_subs;
    if (l->n++ < l->skip || is_ours(info) || !prof__object_read(info, &l->object))
        return 0;
    l->info = info;
    l->is_named = false;
    look_for_pools(&l->object);
    prof__object_slots(&l->object, info, look_at_slot, l);
    return 0;
}

static int count_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct look *l = arg;

    l->adds = info->dlpi_adds;
    l->subs = info->dlpi_subs;
    l->n++;
    return 0;
}

static int look_at_pools(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct prof__object o;

    if (prof__object_read(info, &o))
        look_for_pools(&o);
    return 0;
}

/* --- all of them ------------------------------------------------------------------------------ */

/* New ones stand behind those that were there; or `all`. */
static void look_round(bool all)
{
    pid_t none = 0, self = getpid();

    if (!atomic_compare_exchange_strong(&at_work, &none, self) &&
        (none == self || !atomic_compare_exchange_strong(&at_work, &none, self))) {
        again = true; /* whoever is at it may have passed by; the next one looks at all */
        return;
    }
    struct look l = { 0 };
    all = atomic_exchange(&again, false) || all;
    dl_iterate_phdr(count_object, &l);
    if (all) {
        bypassing = 0;
        prof__heap_bypassed(0, "", "");
    }
    if (all || l.adds != looked_at) {
        uint64_t added = l.adds - looked_at;

        l.skip = all || added > l.n ? 0 : l.n - (size_t)added;
        l.n = 0;
        dl_iterate_phdr(look_at_object, &l);
        looked_at = l.adds;
    }
    atomic_store(&at_work, 0);
}

/* Not in a forked child: the lock of the list of objects, which libc does not make new there, may
 * be one that a thread of the parent's had. */
static bool may_look(void)
{
    return active && getpid() == home;
}

void prof__redirect_after_load(void)
{
    int saved = errno;

    if (may_look())
        look_round(false);
    errno = saved;
}

void prof__redirect_deep_begin(void)
{
    atomic_fetch_add(&deep, 1);
}

void prof__redirect_deep_end(void)
{
    if (!again)
        atomic_fetch_sub(&deep, 1);
}

void prof__redirect_after_unload(void)
{
    int saved = errno;

    if (may_look() && (bypassing || again))
        look_round(true);
    errno = saved;
}

/* --- may we look at once? --------------------------------------------------------------------- */

struct caller {
    uintptr_t address;
    size_t n;
    bool is_program, is_known, others_have_rpath;
};

static int look_for_caller(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct caller *c = arg;
    struct prof__object o;
    bool is_program = c->n++ == 0;

    if (prof__object_has(info, c->address)) {
        c->is_known = true;
        c->is_program = is_program;
    }
    if (!is_program && prof__object_read(info, &o) && o.has_rpath)
        c->others_have_rpath = true;
    return 0;
}

/*
 * glibc searches for a name without a slash, and replaces $ORIGIN, by the object that the caller is
 * in; it has its namespace; and what the new object needs is searched for in the DT_RPATH of all
 * that led to it. Nothing else depends on the caller.
 */
bool prof__redirect_may_call(const char *file, const void *caller)
{
    struct caller c = { .address = (uintptr_t)caller };

    if (!may_look() || !strchr(file, '/') || strchr(file, '$'))
        return false;
    dl_iterate_phdr(look_for_caller, &c);
    return c.is_known && (c.is_program || !c.others_have_rpath);
}

/* --- start ------------------------------------------------------------------------------------ */

/* The object of the real malloc(): which doors has it? */
static int look_at_allocator(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct prof__object o;

    if (!prof__object_has(info, (uintptr_t)prof__real.malloc))
        return 0;
    if (prof__object_has(info, (uintptr_t)prof__real.sigaction) || !prof__object_read(info, &o))
        return 1;
    for (size_t i = 0; i < prof__n_own_doors; i++) {
        const struct prof__own_door *d = &prof__own_doors[i];
        uintptr_t real = prof__object_exports(&o, d->name, NULL);

        if (real) {
            *d->real = (void *)real;
            own_doors = true;
        }
    }
    return 1;
}

static int keep_own_hooks(struct dl_phdr_info *info, size_t size, void *arg)
{
    if (!prof__object_has(info, (uintptr_t)prof__hooks_malloc))
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(doors); i++)
        if (!prof__object_has(info, (uintptr_t)doors[i].hook))
            doors[i].hook = NULL; /* somebody else's comes first */
    return 1;
}

void prof__redirect_start(void)
{
    struct look l = { 0 };

    /* clang-format off */
#define REAL(name)                                  (void *)(uintptr_t)prof__real.name,
#define REAL_IO(result, name, ...)                  prof__io_real_of(#name),
#define REAL_PTHREAD(name, parameters, arguments)   prof__pthread_real_of(#name),
#define NEXT(name)                                  prof__hooks_next(#name),
#define NEXT_ALONE(name, parameters, arguments)     NEXT(name)
    void *const real[] = {
        PROF__REAL_DOORS(REAL)
        PROF__IO_DOORS(REAL_IO)
        PROF__PTHREAD_HOOKED(REAL_PTHREAD)
        FORWARDED(NEXT)
        PROF__ALONE_HOOKED(NEXT_ALONE)
    };
    /* clang-format on */

    dlerror(); /* the program must not be told of our failures */
    ask_environment();

    for (size_t i = 0; i < ARRAY_LEN(doors); i++) {
        doors[i].real = real[i];
        if (!real[i])
            doors[i].hook = NULL;
        doors[i].is_heap =
            strstr("malloc free calloc realloc posix_memalign aligned_alloc "
                   "memalign valloc pvalloc reallocarray free_sized free_aligned_sized",
                   doors[i].name) != NULL;
    }
    if (prof__hooks_process_malloc() != (const void *)(uintptr_t)prof__hooks_malloc)
        return; /* the other copy does it */
    dl_iterate_phdr(keep_own_hooks, NULL);
    dl_iterate_phdr(look_at_allocator, NULL);
    for (size_t i = 0; i < ARRAY_LEN(doors); i++)
        maybe_ours[beginning(doors[i].name)] = true;
    for (size_t i = 0; own_doors && i < prof__n_own_doors; i++)
        if (*prof__own_doors[i].real) { /* so it will be found, and leave no error behind */
            maybe_ours[beginning(prof__own_doors[i].name)] = true;
            own_first[i] = dlsym(RTLD_DEFAULT, prof__own_doors[i].name) == *prof__own_doors[i].real;
        }
    dl_iterate_phdr(count_object, &l);
    looked_at = l.adds;
    home = getpid();
    active = true;
    if (own_doors)
        look_round(true);
    else
        dl_iterate_phdr(look_at_pools, NULL);
}

struct named {
    const void *function;
    char *buf;
    size_t size;
};

static int name_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct named *n = arg;

    if (!prof__object_has(info, (uintptr_t)n->function))
        return 0;
    snprintf(n->buf, n->size, "%s",
             info->dlpi_name && *info->dlpi_name ? info->dlpi_name : "the program itself");
    return 1;
}

const char *prof__redirect_name_of(const void *function, char *buf, size_t size)
{
    snprintf(buf, size, "%s", "an object that is not known");
    dl_iterate_phdr(name_object, &(struct named) { function, buf, size });
    return buf;
}
