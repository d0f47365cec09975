/*
 * trace_names.c - chains as base/chain.h has them, of strings; 512 KiB of them, some ten thousand.
 *
 * By their text and not by their address: a name may be on a stack, or in a library that goes. But
 * what lies in memory of the main program that it may not write to, as its string literals do,
 * never goes and never changes. Of such the address tells, once it has been looked up.
 */
#include "table/trace_names.h"

#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

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

/* --- texts that never change ------------------------------------------------------------------ */

struct prof__trace_literal prof__trace_literal[PROF__TRACE_LITERALS];

static struct {
    _Atomic uintptr_t low, high;
} constant[4]; /* the main program's segments, some of them */

void prof__trace_names_begin(void)
{
    const ElfW(Phdr) *ph = (const void *)getauxval(AT_PHDR);
    size_t n = ph ? getauxval(AT_PHNUM) : 0, found = 0;
    uintptr_t base = 0;
    bool placed = false;

    for (size_t i = 0; i < n && !placed; i++)
        if (ph[i].p_type == PT_PHDR) { /* where they are, and where they were to be */
            base = (uintptr_t)ph - ph[i].p_vaddr;
            placed = true;
        }
    for (size_t i = 0; placed && i < n && found < ARRAY_LEN(constant); i++)
        if (ph[i].p_type == PT_LOAD && !(ph[i].p_flags & PF_W)) {
            uintptr_t low = base + ph[i].p_vaddr;

            /* Only what is of the file: others may share the last page. */
            atomic_store_explicit(&constant[found].low, low, memory_order_relaxed);
            atomic_store_explicit(&constant[found++].high, low + ph[i].p_filesz,
                                  memory_order_relaxed);
        }
}

static bool never_changes(const char *text)
{
    for (size_t i = 0; i < ARRAY_LEN(constant); i++)
        if ((uintptr_t)text >= atomic_load_explicit(&constant[i].low, memory_order_relaxed) &&
            (uintptr_t)text < atomic_load_explicit(&constant[i].high, memory_order_relaxed))
            return true;
    return false;
}

/* The first one to come has the place; others are compared each time. */
static void keep_literal(const char *text, uint32_t name)
{
    struct prof__trace_literal *l = prof__trace_literal_of(text);
    uint32_t none = 0;

    if (never_changes(text) && atomic_compare_exchange_strong(&l->name, &none, name))
        atomic_store_explicit(&l->text, text, memory_order_release);
}

static PROF_APART uint32_t look_up(const char *text)
{
    uint32_t name = find_or_add(text);

    if (name == PROF__TRACE_NAME_OTHER)
        return name;
    keep_literal(text, name);
    /* Release: its text; pairs with the acquire below. */
    atomic_store_explicit(recent(text), prof__slab_at(&names.slab, name), memory_order_release);
    return name;
}

uint32_t prof__trace_name_look_up(const char *text)
{
    const struct name *n = atomic_load_explicit(recent(text), memory_order_acquire);

    return PROF_LIKELY(n && strcmp(n->text, text) == 0) ? n->self : look_up(text);
}
