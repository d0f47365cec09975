/*
 * trace_names.c - chains as base/chain.h has them, of strings; 512 KiB of them, some ten thousand.
 *
 * By their text and not by their address: a name may be on a stack, or in a library that goes.
 */
#include "table/trace_names.h"

#include <string.h>

#include "base/chain.h"
#include "base/hash.h"

enum { HEADS = 1 << 10 };

struct name {
    uint32_t next; /* in its hash chain */
    uint32_t hash;
    uint32_t size;
    uint32_t self; /* its number */
    char text[];   /* with its NUL */
};

static _Atomic uint32_t head[HEADS];
static struct prof__chains names = { head, HEADS, { .limit = (size_t)512 << 10 } };

struct wanted {
    const char *text;
    uint32_t hash, size;
};

static bool is_wanted(const void *entry, const void *arg)
{
    const struct name *n = entry;
    const struct wanted *w = arg;

    return n->hash == w->hash && n->size == w->size && memcmp(n->text, w->text, w->size) == 0;
}

const char *prof__trace_name_text(uint32_t name)
{
    return name ? ((const struct name *)prof__slab_at(&names.slab, name))->text : "[other]";
}

static uint32_t find_or_add(const char *text)
{
    size_t size = strnlen(text, PROF__TRACE_NAME_MAX + 1);
    uint32_t first;

    if (size > PROF__TRACE_NAME_MAX)
        for (size = PROF__TRACE_NAME_MAX;
             ((unsigned char)text[size] & 0xc0) == 0x80 && size > PROF__TRACE_NAME_MAX - 4;)
            size--;
    struct wanted want = { text, (uint32_t)prof__hash_bytes(text, size), (uint32_t)size };
    uint32_t ref = prof__chain_find(&names, want.hash, is_wanted, &want, &first);

    if (PROF_LIKELY(ref != 0))
        return ref;
    ref = prof__slab_alloc(&names.slab, sizeof(struct name) + size + 1);
    if (!ref)
        return PROF__TRACE_NAME_OTHER;
    struct name *n = prof__slab_at(&names.slab, ref);
    n->hash = want.hash;
    n->size = want.size;
    n->self = ref;
    memcpy(n->text, text, size); /* and the NUL is there: the slab is zeroed */
    return prof__chain_add(&names, want.hash, first, ref, is_wanted, &want);
}

/* What was found last for a name at such an address. It may be another one by now. */
static _Atomic(const struct name *) *recent(const char *text)
{
    static _Atomic(const struct name *) found[64];

    return &found[(uintptr_t)text / 4 % ARRAY_LEN(found)];
}

static PROF_APART uint32_t look_up(const char *text)
{
    uint32_t name = find_or_add(text);

    /* Release: its text; pairs with the acquire below. */
    if (name != PROF__TRACE_NAME_OTHER)
        atomic_store_explicit(recent(text), prof__slab_at(&names.slab, name), memory_order_release);
    return name;
}

uint32_t prof__trace_name(const char *text)
{
    const struct name *n = atomic_load_explicit(recent(text), memory_order_acquire);

    return PROF_LIKELY(n && strcmp(n->text, text) == 0) ? n->self : look_up(text);
}
