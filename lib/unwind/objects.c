/*
 * objects.c - addresses to objects, and telling objects apart.
 *
 * Libraries loaded one after the other lie at the same address as a rule, and their records in the
 * dynamic linker too. What tells them apart is their build id, a hash of the contents. Where it is
 * in an object is looked up once and remembered; that it is still there is seen from the head of
 * the note, whenever it is read. An object without one has to do with a generation, counted up by
 * whoever hears of a dlclose().
 *
 * The list that stands in for the dynamic linker can be a moment late, so there nothing counts as
 * held.
 */
#include "unwind/objects.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/memory.h"
#include "base/random.h"
#include "unwind/reader.h"

#define PAGE ((uintptr_t)4096)

static _Atomic uint64_t generation;

void prof__objects_renew(void)
{
    /* Relaxed: whoever walks at this moment may use the rules of before, as it might have done
     * an instant earlier. */
    atomic_fetch_add_explicit(&generation, 1, memory_order_relaxed);
}

/* --- program headers -------------------------------------------------------------------------- */

/* Those of an object whose ELF header lies at its start. */
struct headers {
    struct prof__reader *reader;
    uintptr_t at, bias;
    unsigned n;
};

static bool read_bytes(struct prof__reader *r, uintptr_t at, void *to, size_t n)
{
    return prof__read_bytes(r, at, to, n) == n;
}

/* All of header number i if it is of this type; of another, as most are, its type only. */
static bool read_header(const struct headers *h, unsigned i, uint32_t type, ElfW(Phdr) * ret)
{
    uintptr_t at = h->at + i * sizeof(*ret);
    uint64_t is;

    if (!prof__read_number(h->reader, at + offsetof(ElfW(Phdr), p_type), 4, &is))
        return false;
    ret->p_type = (uint32_t)is;
    return is != type || read_bytes(h->reader, at, ret, sizeof(*ret));
}

static bool find_headers(struct prof__reader *r, struct headers *ret)
{
    uintptr_t start = r->object->start;
    ElfW(Ehdr) header;
    ElfW(Phdr) p;

    if (start % PAGE != 0 || r->object->size < PAGE ||
        !read_bytes(r, start, &header, sizeof(header)) ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_phentsize != sizeof(p) ||
        header.e_phoff > PAGE || header.e_phoff + header.e_phnum * sizeof(p) > PAGE)
        return false;
    *ret = (struct headers) { r, start + header.e_phoff, start, header.e_phnum };
    for (unsigned i = 0; i < ret->n; i++) {
        if (!read_header(ret, i, PT_LOAD, &p))
            return false;
        if (p.p_type == PT_LOAD) { /* the first one is the lowest */
            ret->bias = start - (p.p_vaddr & ~(PAGE - 1));
            return true;
        }
    }
    return false;
}

/* --- what stays readable of one that is held -------------------------------------------------- */

/* Ends of what has been found. Part of a record and part of another do not match the check. */
static struct {
    _Atomic uint64_t check, low, high;
} ranges[64]; /* 1 << 64 - 58 */

/* The segments that follow each other without a gap, readable and not writable all of them, one of
 * which holds the table. */
static void find_range(const struct prof__object *o, uintptr_t *ret_low, uintptr_t *ret_high)
{
    uintptr_t low = 0, high = 0, end = (o->start + o->size + PAGE - 1) & ~(PAGE - 1);
    /* Its range is what is asked for, so the reader must not ask for it. */
    struct prof__object other = *o;
    struct prof__reader r;
    struct headers h;
    ElfW(Phdr) p;

    *ret_low = *ret_high = 0;
    other.permanent = false;
    prof__reader_start(&r, &other, PROF__READ_FOREIGN);
    r.how = PROF__READ_HELD;
    if (!find_headers(&r, &h))
        return;
    for (unsigned i = 0; i < h.n && read_header(&h, i, PT_LOAD, &p); i++) { /* by address */
        if (p.p_type != PT_LOAD)
            continue;
        uintptr_t from = h.bias + (p.p_vaddr & ~(PAGE - 1));
        uintptr_t to = h.bias + ((p.p_vaddr + p.p_filesz + PAGE - 1) & ~(PAGE - 1));

        if ((p.p_flags & (PF_R | PF_W)) != PF_R || from < o->start || from >= to || to > end)
            from = to = 0;
        if (from != high) {
            if (o->eh_frame_hdr >= low && o->eh_frame_hdr < high)
                break;
            low = from;
        }
        high = to;
    }
    if (o->eh_frame_hdr >= low && o->eh_frame_hdr < high) {
        *ret_low = low;
        *ret_high = high;
    }
}

static uint64_t check_of(uint64_t key, uint64_t a, uint64_t b)
{
    return key ^ (a + 0x9e3779b97f4a7c15u * b); /* no other a alone fits, and no other b */
}

void prof__object_held(const struct prof__object *o, uintptr_t *ret_low, uintptr_t *ret_high)
{
#ifdef PROF__NO_FIND_OBJECT
    if (!o->permanent) {
        *ret_low = *ret_high = 0;
        return;
    }
#endif
    size_t slot = o->identity * 0x9e3779b97f4a7c15u >> 58;
    uint64_t key = o->identity ^ o->eh_frame_hdr << 1;
    uint64_t check = atomic_load_explicit(&ranges[slot].check, memory_order_relaxed);

    *ret_low = atomic_load_explicit(&ranges[slot].low, memory_order_relaxed);
    *ret_high = atomic_load_explicit(&ranges[slot].high, memory_order_relaxed);
    if (PROF_LIKELY(check_of(key, *ret_low, *ret_high) == check))
        return;
    find_range(o, ret_low, ret_high);
    atomic_store_explicit(&ranges[slot].low, *ret_low, memory_order_relaxed);
    atomic_store_explicit(&ranges[slot].high, *ret_high, memory_order_relaxed);
    atomic_store_explicit(&ranges[slot].check, check_of(key, *ret_low, *ret_high),
                          memory_order_relaxed);
}

/* --- build ids -------------------------------------------------------------------------------- */

/* The second half of a note's head: type NT_GNU_BUILD_ID, name "GNU". What it says follows. */
#define BUILD_ID_NOTE ((uint64_t)0x00554e4700000003)

/* In memory that a program header calls a note. 0: no build id there. */
static uintptr_t find_in_notes(struct prof__reader *r, uintptr_t at, size_t size)
{
    uintptr_t end = at + size;
    ElfW(Nhdr) note;

    while (at % 4 == 0 && end - at >= sizeof(note) + 12 && read_bytes(r, at, &note, sizeof(note))) {
        uint64_t name_size = (note.n_namesz + (uint64_t)3) & ~(uint64_t)3;
        uint64_t step = sizeof(note) + name_size + ((note.n_descsz + (uint64_t)3) & ~(uint64_t)3);

        if (name_size == 4 && note.n_type == NT_GNU_BUILD_ID && note.n_descsz >= 8)
            return at + sizeof(note) + name_size;
        if (step > end - at)
            return 0;
        at += step;
    }
    return 0;
}

/* Where the build id is; 0: nowhere. */
static uintptr_t find_build_id(const struct prof__object *o, bool held)
{
    uintptr_t end = o->start + o->size, found = 0;
    struct prof__reader r;
    struct headers h;
    ElfW(Phdr) p;

    prof__reader_start(&r, o, PROF__READ_FOREIGN);
    r.how = held ? PROF__READ_HELD : PROF__READ_FOREIGN;
    if (!find_headers(&r, &h))
        return 0;
    for (unsigned i = 0; i < h.n && !found && read_header(&h, i, PT_NOTE, &p); i++) {
        if (p.p_type != PT_NOTE)
            continue;
        uintptr_t at = h.bias + p.p_vaddr;
        if (at >= o->start && at < end && p.p_memsz <= end - at)
            found = find_in_notes(&r, at, p.p_memsz);
    }
    return found;
}

/* The word at `place`, and the one before it, which must be the head of a note. Another object may
 * be in its place by now, whose first page, which is the head, is there as well; of the rest who
 * knows. */
PROF_NO_SANITIZE static bool read_build_id(const struct prof__object *o, uintptr_t place, bool held,
                                           uint64_t *ret)
{
    typedef uint64_t word __attribute__((may_alias, aligned(1)));
    const word *at = (const word *)(place - sizeof(*at));
    uint64_t copy[2];

    if (PROF_UNLIKELY(!held) || PROF_UNLIKELY(place - o->start > PAGE - sizeof(*at))) {
        if (prof__memory_get((uintptr_t)at, copy, sizeof(copy)) != 0)
            return false;
        at = copy;
    }
    *ret = at[1];
    return at[0] == BUILD_ID_NOTE;
}

/* Found places of build ids. Half of a record and half of another do not match the check. */
static struct {
    _Atomic uint64_t check, place;
} places[256];

/* The first bytes of the object's build id; 0: it has none. */
static uint64_t build_id(uintptr_t record, const struct prof__object *o, bool held)
{
    uintptr_t end = o->start + o->size;
    uint64_t key = (record ^ o->start << 8) + end * 0x9e3779b97f4a7c15u;
    size_t slot = (o->start >> 12 ^ o->start >> 20) % ARRAY_LEN(places);
    uint64_t check = atomic_load_explicit(&places[slot].check, memory_order_relaxed);
    uint64_t place = atomic_load_explicit(&places[slot].place, memory_order_relaxed);
    uint64_t id = 0;

    if (PROF_UNLIKELY((check ^ prof__mix64(place)) != key) ||
        PROF_UNLIKELY(place != 0 && !read_build_id(o, place, held, &id))) {
        place = find_build_id(o, held);
        if (place != 0 && !read_build_id(o, place, held, &id))
            place = 0;
        atomic_store_explicit(&places[slot].place, place, memory_order_relaxed);
        atomic_store_explicit(&places[slot].check, key ^ prof__mix64(place), memory_order_relaxed);
    }
    return place != 0 ? id : 0;
}

static void identify(struct prof__object *o, uintptr_t record, bool held)
{
    uint64_t id = build_id(record, o, held);

    if (PROF_UNLIKELY(id == 0))
        id = record + (atomic_load_explicit(&generation, memory_order_relaxed) << 48);
    /* The address too: the same library can be there twice. And the table's place, which in a late
     * list may be the former object's. */
    o->identity =
        (id ^ o->start * 0x9e3779b97f4a7c15u ^ (o->start + o->size) << 24 ^ o->eh_frame_hdr << 8) |
        1;
}

/* --- who covers an address -------------------------------------------------------------------- */

static struct prof__object permanent[3];
static _Atomic unsigned n_permanent;

static const struct prof__object *find_permanent(uintptr_t pc)
{
    /* Acquire: pairs with the release below. */
    unsigned n = atomic_load_explicit(&n_permanent, memory_order_acquire);

    for (unsigned i = 0; i < n; i++)
        if (pc - permanent[i].start < permanent[i].size)
            return &permanent[i];
    return NULL;
}

#ifndef PROF__NO_FIND_OBJECT

static bool find(uintptr_t pc, struct prof__object *ret, uintptr_t *ret_record)
{
    struct dl_find_object found;

    if (_dl_find_object((void *)pc, &found) != 0)
        return false;
    ret->start = (uintptr_t)found.dlfo_map_start;
    ret->size = (uintptr_t)found.dlfo_map_end - ret->start;
    ret->eh_frame_hdr = (uintptr_t)found.dlfo_eh_frame;
    ret->permanent = false;
    *ret_record = (uintptr_t)found.dlfo_link_map;
    return true;
}

void prof__objects_refresh(void)
{
}

void prof__objects_look(void)
{
}

#else

static bool find(uintptr_t pc, struct prof__object *ret, uintptr_t *ret_record)
{
    return prof__objects_list_find(pc, ret, ret_record);
}

#endif

bool prof__object_find(uintptr_t pc, bool held, struct prof__object *ret)
{
    const struct prof__object *known = find_permanent(pc);
    uintptr_t record;

    if (known) {
        *ret = *known;
        return true;
    }
    if (!find(pc, ret, &record))
        return false;
#ifdef PROF__NO_FIND_OBJECT
    held = false;
#endif
    identify(ret, record, held);
    return true;
}

bool prof__object_covers(uintptr_t pc)
{
    struct prof__object unused;
    uintptr_t record;

    return find_permanent(pc) || find(pc, &unused, &record);
}

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

        if (!prof__object_find(addresses[i], true, &o))
            continue;
        while (same < n && permanent[same].start != o.start)
            same++;
        o.permanent = true;
        if (same == n)
            permanent[n++] = o;
    }
    atomic_store_explicit(&n_permanent, n, memory_order_release);
}
