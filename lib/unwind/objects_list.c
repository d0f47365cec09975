/*
 * objects_list.c - a list of the loaded objects, where the dynamic linker answers no questions.
 *
 * For a glibc before 2.35, which has no _dl_find_object().
 *
 * The list has two copies. A refresh writes the one that nobody reads and then counts `version`
 * up, whose lowest bit says which copy is current; a reader that finds the version changed when it
 * is done has perhaps read a copy being rewritten, and starts again. So neither side waits, and a
 * handler that interrupts a refresh reads the old list. What it says may be a moment late, so
 * nothing that it names counts as held (objects.h).
 */
#include "unwind/objects.h"

#include <link.h>
#include <unistd.h>

enum { OBJECTS_MAX = 1024 }; /* more are left out: their frames have no unwind info */

struct record {
    _Atomic uintptr_t start, end, eh_frame_hdr, name;
};

struct list {
    _Atomic size_t n;
    struct record record[OBJECTS_MAX]; /* by address */
};

static struct list lists[2];
static _Atomic uint32_t version;
static _Atomic uint64_t seen_changes; /* the loader's count of them, when last refreshed */
static _Atomic pid_t refresher;       /* the process that has refreshed first; others are forked */

static uintptr_t get(const _Atomic uintptr_t *p)
{
    return atomic_load_explicit(p, memory_order_relaxed);
}

static void set(_Atomic uintptr_t *p, uintptr_t value)
{
    atomic_store_explicit(p, value, memory_order_relaxed);
}

static bool find_in(const struct list *l, uintptr_t pc, struct prof__object *ret,
                    uintptr_t *ret_name)
{
    size_t low = 0, high = atomic_load_explicit(&l->n, memory_order_relaxed);

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (get(&l->record[mid].end) <= pc)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == atomic_load_explicit(&l->n, memory_order_relaxed))
        return false;

    const struct record *r = &l->record[low];
    uintptr_t end = get(&r->end);

    ret->start = get(&r->start);
    ret->size = end - ret->start;
    ret->eh_frame_hdr = get(&r->eh_frame_hdr);
    *ret_name = get(&r->name);
    return pc - ret->start < ret->size;
}

bool prof__objects_list_find(uintptr_t pc, struct prof__object *ret, uintptr_t *ret_record)
{
    for (int tries = 0; tries < 4; tries++) {
        /* Acquire: pairs with the release in publish(), so the list is whole... */
        uint32_t v = atomic_load_explicit(&version, memory_order_acquire);
        struct prof__object o = { 0 };
        uintptr_t name;
        bool found = find_in(&lists[v & 1], pc, &o, &name);

        /* ...and was not being rewritten while we read it. */
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&version, memory_order_relaxed) == v) {
            if (found) {
                *ret = o;
                *ret_record = name;
            }
            return found;
        }
    }
    return false;
}

static uint64_t changes(const struct dl_phdr_info *info)
{
    return info->dlpi_adds + info->dlpi_subs;
}

static int count_changes(struct dl_phdr_info *info, size_t size, void *arg)
{
    *(uint64_t *)arg = changes(info);
    return 1;
}

static int add_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct list *l = arg;
    size_t n = atomic_load_explicit(&l->n, memory_order_relaxed);
    uintptr_t start = UINTPTR_MAX, end = 0, hdr = 0;

    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t at = info->dlpi_addr + p->p_vaddr;

        if (p->p_type == PT_LOAD) {
            start = PROF_MIN(start, at & ~(uintptr_t)4095);
            end = PROF_MAX(end, at + p->p_memsz);
        } else if (p->p_type == PT_GNU_EH_FRAME) {
            hdr = at;
        }
    }
    if (n == 0)
        atomic_store_explicit(&seen_changes, changes(info), memory_order_relaxed);
    if (start >= end || n == OBJECTS_MAX)
        return 0;
    size_t i = n;
    for (; i > 0 && get(&l->record[i - 1].start) > start; i--) {
        set(&l->record[i].start, get(&l->record[i - 1].start));
        set(&l->record[i].end, get(&l->record[i - 1].end));
        set(&l->record[i].eh_frame_hdr, get(&l->record[i - 1].eh_frame_hdr));
        set(&l->record[i].name, get(&l->record[i - 1].name));
    }
    set(&l->record[i].start, start);
    set(&l->record[i].end, end);
    set(&l->record[i].eh_frame_hdr, hdr);
    set(&l->record[i].name, (uintptr_t)info->dlpi_name);
    atomic_store_explicit(&l->n, n + 1, memory_order_relaxed);
    return 0;
}

static void publish(void)
{
    uint32_t v = atomic_load_explicit(&version, memory_order_relaxed);
    struct list *l = &lists[(v + 1) & 1];

    /* Release fence: a reader that sees any of what follows also sees, when it looks again, that
     * its version is not the current one. */
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&l->n, 0, memory_order_relaxed);
    dl_iterate_phdr(add_object, l);
    atomic_store_explicit(&version, v + 1, memory_order_release);
}

void prof__objects_refresh(void)
{
    /* Who is refreshing (a process id, since a forked child may find it set by a thread it does
     * not have) and how many have asked meanwhile. Not a lock: dl_iterate_phdr() takes the
     * loader's, which a caller of ours may hold while it waits for us. */
    static _Atomic uint64_t state;
    uint64_t mine = (uint64_t)getpid() << 32;
    uint64_t seen = atomic_load_explicit(&state, memory_order_relaxed);
    uint64_t next;

    do {
        next = seen >> 32 == mine >> 32 ? seen + 1 : mine + 1;
    } while (!atomic_compare_exchange_weak_explicit(&state, &seen, next, memory_order_acquire,
                                                    memory_order_relaxed));
    if (seen >> 32 == mine >> 32)
        return;
    do {
        seen = next;
        publish();
        next = atomic_load_explicit(&state, memory_order_relaxed);
    } while (next != seen || !atomic_compare_exchange_strong_explicit(
                                 &state, &next, 0, memory_order_release, memory_order_relaxed));
    pid_t nobody = 0;
    atomic_compare_exchange_strong_explicit(&refresher, &nobody, getpid(), memory_order_relaxed,
                                            memory_order_relaxed);
}

void prof__objects_look(void)
{
    uint64_t now = 0;

    if (atomic_load_explicit(&refresher, memory_order_relaxed) != getpid())
        return;
    dl_iterate_phdr(count_changes, &now);
    if (now != atomic_load_explicit(&seen_changes, memory_order_relaxed))
        prof__objects_refresh();
}
