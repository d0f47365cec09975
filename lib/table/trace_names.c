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
    char text[]; /* with its NUL */
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

/* What was found last for a name at such an address. It may be another one by now. */
static _Atomic uint32_t recent[64];

static PROF_APART uint32_t look_up(const char *text)
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
    memcpy(n->text, text, size); /* and the NUL is there: the slab is zeroed */
    return prof__chain_add(&names, want.hash, first, ref, is_wanted, &want);
}

uint32_t prof__trace_name(const char *text)
{
    _Atomic uint32_t *at = &recent[(uintptr_t)text / 4 % ARRAY_LEN(recent)];
    /* Acquire: its text; pairs with the release below. */
    uint32_t name = atomic_load_explicit(at, memory_order_acquire);

    if (PROF_LIKELY(name && strcmp(prof__trace_name_text(name), text) == 0))
        return name;
    name = look_up(text);
    atomic_store_explicit(at, name, memory_order_release);
    return name;
}
