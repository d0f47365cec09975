/*
 * labels.c - interned label sets, and each thread's pile of them.
 *
 *   "worker" "A"          strings, interned
 *   {worker: A, db: 3}    a set: pairs of references to strings, by key, interned
 *   thread                the current set, and before each push the one to go back to (slot.h)
 *
 * Strings and sets lie in the chains of one slab (base/chain.h). They are never freed, since rows
 * name them; so labels are for what there are hundreds of, not for the number of a request. At the
 * memory cap a new value becomes "[other]": totals stay right, and the key still tells what kind of
 * thing it was. A part of the cap is kept for that.
 *
 * A push that cannot be kept still is a level, and its pop takes back nothing else.
 */
#include "table/labels.h"

#include <prof/prof.h>
#include <string.h>

#include "base/chain.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/slot.h"
#include "base/thread.h"
#include "table/trace_ring.h"

enum { HEADS = 1 << 12 };

#define LIMIT   ((size_t)4 << 20)
#define RESERVE ((size_t)256 << 10) /* for sets with "[other]" */
#define OTHER   "[other]"

struct blob {
    uint32_t next; /* in its hash chain */
    uint32_t hash;
    uint32_t size;
    uint32_t is_set;
    char bytes[]; /* a string with its NUL, or pairs */
};

struct pair {
    uint32_t key, value; /* references of strings */
};

static _Atomic uint32_t head[HEADS];
struct prof__chains prof__label_store = { head, HEADS, { .limit = LIMIT } };
static _Atomic uint64_t lost;

static struct blob *blob_at(uint32_t ref)
{
    return prof__slab_at(&prof__label_store.slab, ref);
}

struct wanted {
    uint32_t hash, size, is_set;
    const void *bytes;
};

static bool is_wanted(const void *entry, const void *arg)
{
    const struct blob *b = entry;
    const struct wanted *w = arg;

    return b->hash == w->hash && b->size == w->size && b->is_set == w->is_set &&
           memcmp(b->bytes, w->bytes, w->size) == 0;
}

/* Reference of those bytes, added if need be; 0 when `limit` is reached. */
static uint32_t intern(const void *bytes, size_t size, bool is_set, size_t limit)
{
    uint32_t hash = (uint32_t)prof__hash_more(prof__hash_bytes(bytes, size), is_set), first;
    struct wanted want = { hash, (uint32_t)size, is_set, bytes };
    uint32_t ref = prof__chain_find(&prof__label_store, hash, is_wanted, &want, &first);

    if (ref)
        return ref;
    if (atomic_load_explicit(&prof__label_store.slab.used, memory_order_relaxed) +
                sizeof(struct blob) + size >
            limit ||
        !(ref = prof__slab_alloc(&prof__label_store.slab, sizeof(struct blob) + size)))
        return 0;
    struct blob *b = blob_at(ref);
    *b = (struct blob) { .hash = hash, .size = want.size, .is_set = want.is_set };
    memcpy(b->bytes, bytes, size);
    return prof__chain_add(&prof__label_store, hash, first, ref, is_wanted, &want);
}

/* At most `max` bytes of a string, cut where a character of UTF-8 begins. */
static uint32_t intern_string(const char *s, size_t max, size_t limit)
{
    char copy[PROF__LABEL_VALUE_MAX + 1];
    size_t n = strnlen(s, max + 1);

    if (n > max)
        for (n = max; n > max - 4 && ((unsigned char)s[n] & 0xc0) == 0x80;)
            n--;
    memcpy(copy, s, n);
    copy[n] = '\0';
    return intern(copy, n + 1, false, limit);
}

static size_t pairs_of(uint32_t set, const struct pair **ret)
{
    if (!set)
        return 0;
    *ret = (const struct pair *)(const void *)blob_at(set)->bytes;
    return blob_at(set)->size / sizeof(struct pair);
}

/* `set` with one label added or replaced; 0 when there is no room. */
static uint32_t set_with(uint32_t set, const char *key, const char *value, size_t limit)
{
    struct pair to[PROF__LABELS_MAX];
    struct pair new = { intern_string(key, PROF__LABEL_KEY_MAX, limit),
                        intern_string(value, PROF__LABEL_VALUE_MAX, limit) };
    const struct pair *from = NULL;
    size_t n = pairs_of(set, &from), made = 0, i = 0;

    if (!new.key || !new.value)
        return 0;
    const char *name = blob_at(new.key)->bytes;
    while (i < n && strcmp(blob_at(from[i].key)->bytes, name) < 0)
        to[made++] = from[i++];
    if (i < n && from[i].key == new.key)
        i++;
    else if (n == PROF__LABELS_MAX)
        return 0;
    to[made++] = new;
    while (i < n)
        to[made++] = from[i++];
    return intern(to, made * sizeof(*to), true, limit);
}

size_t prof__labels_get(uint32_t set, struct prof__label_pair *ret, size_t max)
{
    const struct pair *from = NULL;
    size_t n = PROF_MIN(pairs_of(set, &from), max);

    for (size_t i = 0; i < n; i++)
        ret[i] = (struct prof__label_pair) { blob_at(from[i].key)->bytes,
                                             blob_at(from[i].value)->bytes };
    return n;
}

static bool is_blob(uint32_t ref, bool is_set)
{
    uint64_t at = (uint64_t)ref * 8,
             used = atomic_load_explicit(&prof__label_store.slab.used, memory_order_relaxed);

    if (!ref || at + sizeof(struct blob) > used ||
        at % PROF__SLAB_CHUNK + sizeof(struct blob) > PROF__SLAB_CHUNK)
        return false;
    const struct blob *b = blob_at(ref);
    uint64_t end = sizeof(struct blob) + (uint64_t)b->size;
    return b->is_set == is_set && b->size > 0 && at + end <= used &&
           at % PROF__SLAB_CHUNK + end <= PROF__SLAB_CHUNK &&
           (is_set ? b->size <= PROF__LABELS_MAX * sizeof(struct pair)
                   : b->bytes[b->size - 1] == '\0');
}

bool prof__labels_are_sane(uint32_t set)
{
    const struct pair *pair = NULL;

    if (set && !is_blob(set, true))
        return false;
    size_t n = pairs_of(set, &pair);
    for (size_t i = 0; i < n; i++)
        if (!is_blob(pair[i].key, false) || !is_blob(pair[i].value, false))
            return false;
    return true;
}

uint64_t prof__labels_lost(void)
{
    return atomic_load_explicit(&lost, memory_order_relaxed);
}

/* --- the thread's ---------------------------------------------------------------------------- */

static void set_current(struct prof__slot *s, uint32_t set)
{
    prof__self.labels = set; /* one store: our handlers see the old set or the new one */
    /* Release: the set is seen whole by a thread that reads it from here. */
    atomic_store_explicit(&s->labels, set, memory_order_release);
    if (prof__tracing())
        prof__trace_write_now(PROF__TRACE_LABELS, 0, set, 0);
}

int prof_labels_push(const char *key, const char *value)
{
    struct prof__slot *s = prof__slot_mine();
    uint32_t now = prof__self.labels;

    if (!s)
        return prof_set_last_error(-ENOSPC, "no room for this thread's labels: too many "
                                            "threads have some, or the program has all keys of "
                                            "thread-specific data");
    if (s->skipped || s->depth == PROF__SLOT_LEVELS) {
        s->skipped++;
        return prof_set_last_error(-E2BIG, "labels are pushed more than %d deep",
                                   PROF__SLOT_LEVELS);
    }
    s->level[s->depth++] = now;
    if (!key || !value || !*key)
        return prof_set_last_error(-EINVAL, "a label needs a key and a value");
    if (strncmp(key, "pprof::", 7) == 0)
        return prof_set_last_error(-EINVAL, "label keys that begin with pprof:: are reserved");
    uint32_t set = set_with(now, key, value, LIMIT - RESERVE);
    if (set) {
        set_current(s, set);
        return 0;
    }
    atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
    set = set_with(now, key, OTHER, LIMIT);
    if (set)
        set_current(s, set);
    return prof_set_last_error(-ENOSPC, "no room for another label: too many distinct values");
}

int prof_labels_pop(void)
{
    struct prof__slot *s = prof__slot_mine_if_any();

    if (!s || (!s->skipped && !s->depth))
        return prof_set_last_error(-EINVAL, "prof_labels_pop() without prof_labels_push() in this "
                                            "thread");
    if (s->skipped)
        s->skipped--;
    else
        set_current(s, s->level[--s->depth]);
    return 0;
}

void prof__labels_inherit(uint32_t set)
{
    struct prof__slot *s = set ? prof__slot_mine() : NULL;

    if (s)
        set_current(s, set);
}
