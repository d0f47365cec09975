/*
 * objects.c - addresses to objects: the dynamic linker's own index, or a list that stands in; and
 * telling objects apart.
 *
 * Libraries loaded one after the other lie at the same address as a rule, and their records in the
 * dynamic linker too. What tells them apart is their build id, a hash of the contents. Where it is
 * in an object is looked up once and remembered; that it is still there is seen from the head of
 * the note, whenever it is read. An object without one has to do with a generation, counted up by
 * whoever hears of a dlclose().
 *
 * The list can be a moment late, when a library has gone and another come in its place while a
 * second thread was refreshing. So there the build id is read at each lookup too, and pages are
 * probed before.
 *
 * The list has two copies. A refresh writes the one that nobody reads and then counts `version`
 * up, whose lowest bit says which copy is current; a reader that finds the version changed when it
 * is done has perhaps read a copy being rewritten, and starts again. So neither side waits, and a
 * handler that interrupts a refresh reads the old list.
 */
#include "unwind/objects.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/random.h"
#include "unwind/bounds.h"

static _Atomic uint64_t generation;

void prof__objects_renew(void)
{
    /* Relaxed: whoever walks at this moment may use the rules of before, as it might have done
     * an instant earlier. */
    atomic_fetch_add_explicit(&generation, 1, memory_order_relaxed);
}

/* --- build ids -------------------------------------------------------------------------------- */

/* The second half of a note's head: type NT_GNU_BUILD_ID, name "GNU". What it says follows. */
#define BUILD_ID_NOTE ((uint64_t)0x00554e4700000003)

/* In memory that a program header calls a note. 0: no build id there. */
PROF_NO_SANITIZE static uintptr_t find_in_notes(uintptr_t at, size_t size)
{
    const size_t head = sizeof(ElfW(Nhdr));
    uintptr_t end = at + size;

    for (uintptr_t page = at & ~(uintptr_t)4095; page < end; page += 4096)
        if (!prof__page_readable(page))
            return 0;
    while (at % 4 == 0 && end - at >= head + 12) {
        const ElfW(Nhdr) *note = (const void *)at;
        uint64_t name_size = (note->n_namesz + (uint64_t)3) & ~(uint64_t)3;
        uint64_t step = head + name_size + ((note->n_descsz + (uint64_t)3) & ~(uint64_t)3);

        if (name_size == 4 && note->n_type == NT_GNU_BUILD_ID && note->n_descsz >= 8)
            return at + head + name_size;
        if (step > end - at)
            return 0;
        at += step;
    }
    return 0;
}

/* Where the build id is of an object whose ELF header lies at its start; 0: nowhere. */
PROF_NO_SANITIZE static uintptr_t find_build_id(uintptr_t start, uintptr_t end)
{
    const ElfW(Ehdr) *header = (const void *)start;
    uintptr_t bias = start, found = 0;

    if (start % 4096 != 0 || end - start < 4096 || !prof__page_readable(start) ||
        header->e_ident[0] != 0x7f || header->e_ident[1] != 'E' || header->e_ident[2] != 'L' ||
        header->e_phoff > 4096 || header->e_phentsize != sizeof(ElfW(Phdr)) ||
        header->e_phoff + header->e_phnum * sizeof(ElfW(Phdr)) > 4096)
        return 0;
    const ElfW(Phdr) *p = (const void *)(start + header->e_phoff);
    for (unsigned i = 0; i < header->e_phnum; i++) {
        if (p[i].p_type == PT_LOAD) { /* the first one is the lowest */
            bias = start - (p[i].p_vaddr & ~(uintptr_t)4095);
            break;
        }
    }
    for (unsigned i = 0; i < header->e_phnum && !found; i++) {
        uintptr_t at = bias + p[i].p_vaddr;

        if (p[i].p_type == PT_NOTE && at >= start && at < end && p[i].p_memsz <= end - at)
            found = find_in_notes(at, p[i].p_memsz);
    }
    return found;
}

/* The dynamic linker only names objects that are there. */
static bool is_there(uintptr_t at)
{
#ifdef PROF__NO_FIND_OBJECT
    return prof__page_readable(at);
#else
    return true;
#endif
}

/* Found places of build ids. Half of a record and half of another do not match the check. */
static struct {
    _Atomic uint64_t check, place;
} places[256];

/* The first bytes of the object's build id, mixed; 0: it has none. */
PROF_NO_SANITIZE static uint64_t build_id(uintptr_t record, uintptr_t start, uintptr_t end)
{
    typedef uint64_t word __attribute__((may_alias, aligned(1)));
    uint64_t key = (record ^ start << 8) + end * 0x9e3779b97f4a7c15u;
    size_t slot = (start >> 12 ^ start >> 20) % ARRAY_LEN(places);
    uint64_t check = atomic_load_explicit(&places[slot].check, memory_order_relaxed);
    uint64_t place = atomic_load_explicit(&places[slot].place, memory_order_relaxed);

    if (PROF_UNLIKELY((check ^ prof__mix64(place)) != key) ||
        PROF_UNLIKELY(place != 0 && (!is_there(place) || !is_there(place - 8) ||
                                     *(const word *)(place - 8) != BUILD_ID_NOTE))) {
        place = find_build_id(start, end);
        atomic_store_explicit(&places[slot].place, place, memory_order_relaxed);
        atomic_store_explicit(&places[slot].check, key ^ prof__mix64(place), memory_order_relaxed);
    }
    return place != 0 ? *(const word *)place : 0;
}

static uint64_t identity_of(uintptr_t record, uintptr_t start, uintptr_t end, uint64_t id)
{
    if (PROF_UNLIKELY(id == 0))
        id = record + (atomic_load_explicit(&generation, memory_order_relaxed) << 48);
    /* The address too: the same library can be there twice. */
    return (id ^ start * 0x9e3779b97f4a7c15u ^ end << 24) | 1;
}

/* --- the dynamic linker's index ----------------------------------------------------------------
 */

#ifndef PROF__NO_FIND_OBJECT

static bool find(uintptr_t pc, struct prof__object *ret)
{
    struct dl_find_object found;

    if (_dl_find_object((void *)pc, &found) != 0)
        return false;
    ret->start = (uintptr_t)found.dlfo_map_start;
    ret->size = (uintptr_t)found.dlfo_map_end - ret->start;
    ret->eh_frame_hdr = (uintptr_t)found.dlfo_eh_frame;
    uintptr_t record = (uintptr_t)found.dlfo_link_map, end = ret->start + ret->size;

    ret->identity = identity_of(record, ret->start, end, build_id(record, ret->start, end));
    return true;
}

void prof__objects_refresh(void)
{
}

void prof__objects_look(void)
{
}

#else

/* --- the list --------------------------------------------------------------------------------- */

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

/* The table's place is part of it: that of a late list may be the former object's. */
static void identify(const struct prof__object *found, uintptr_t name, struct prof__object *ret)
{
    uintptr_t end = found->start + found->size;

    *ret = *found;
    ret->identity = identity_of(name, found->start, end, build_id(name, found->start, end)) ^
                    found->eh_frame_hdr << 8;
}

static bool find(uintptr_t pc, struct prof__object *ret)
{
    for (int tries = 0; tries < 4; tries++) {
        /* Acquire: pairs with the release in publish(), so the list is whole... */
        uint32_t v = atomic_load_explicit(&version, memory_order_acquire);
        struct prof__object o;
        uintptr_t name;
        bool found = find_in(&lists[v & 1], pc, &o, &name);

        /* ...and was not being rewritten while we read it. */
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&version, memory_order_relaxed) == v) {
            if (found)
                identify(&o, name, ret);
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

#endif

/* --- both ------------------------------------------------------------------------------------- */

static struct prof__object permanent[3];
static _Atomic unsigned n_permanent;

void prof__objects_init(void)
{
    const uintptr_t addresses[] = { (uintptr_t)getauxval(AT_ENTRY), (uintptr_t)getauxval,
                                    (uintptr_t)prof__objects_init };
    unsigned n = 0;

    if (atomic_load_explicit(&n_permanent, memory_order_relaxed) > 0)
        return;
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        struct prof__object o;
        unsigned same = 0;

        if (!find(addresses[i], &o))
            continue;
        while (same < n && permanent[same].start != o.start)
            same++;
        if (same == n)
            permanent[n++] = o;
    }
    /* Release: pairs with the load below. */
    atomic_store_explicit(&n_permanent, n, memory_order_release);
}

bool prof__object_find(uintptr_t pc, struct prof__object *ret)
{
    unsigned n = atomic_load_explicit(&n_permanent, memory_order_acquire);

    for (unsigned i = 0; i < n; i++) {
        if (pc - permanent[i].start < permanent[i].size) {
            *ret = permanent[i];
            return true;
        }
    }
    return find(pc, ret);
}
