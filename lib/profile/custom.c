/*
 * custom.c - the program's own profiles: sets of keys, each with the stack that added it.
 *
 *   profile -> open addressing: key -> row      rows: added, removed; the difference is in the set
 *
 * Used for what should be given back and may not be: open connections, transactions, file handles.
 * One lock for all of them, held for a hash lookup: a program adds to them thousands, not millions
 * of times a second, and every add walks a stack first, outside the lock. A set of n keys takes 32
 * bytes a key at worst, from the kernel; profiles are never freed.
 */
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/fork.h"
#include "base/hash.h"
#include "profile/registry.h"
#include "table/root.h"
#include "table/rows.h"
#include "unwind/stack.h"

struct entry {
    const void *key; /* NULL: empty */
    uint32_t row;
};

struct custom {
    struct prof_profile profile; /* first: a handle is a pointer to it */
    struct entry *entry;
    size_t slots; /* a power of two, or 0 */
    size_t n;
    char name[];
};

enum { FIRST_SLOTS = 128, NAME_MAX_BYTES = 200, RESERVED_MAX = 64 };

static struct prof__lock lock = PROF__LOCK_INIT(PROF__RANK_CUSTOM);
static struct prof__arena arena; /* the profiles themselves */
static unsigned n_customs;
static const char *reserved[RESERVED_MAX];
static size_t n_reserved;

static void finish(const struct prof__values *raw, int64_t ret_value[PROF__VALUES_MAX])
{
    ret_value[0] = (int64_t)(raw->value[0] - raw->value[1]);
}

static int64_t count(const struct prof_profile *p)
{
    uint64_t mask = prof__lock_masked(&lock);
    size_t n = ((const struct custom *)p)->n;
    prof__unlock_masked(&lock, mask);
    return (int64_t)n;
}

static struct custom *custom_of(struct prof_profile *p)
{
    return p && p->finish == finish ? (struct custom *)p : NULL;
}

/* --- names ------------------------------------------------------------------------------------ */

static bool is_reserved(const char *name, const char *by)
{
    size_t size = strlen(by);

    return size && by[size - 1] == '/' ? strncmp(name, by, size) == 0 : strcmp(name, by) == 0;
}

int prof_profile_reserve(const char *name)
{
    if (!name || !*name)
        return prof_set_last_error(-EINVAL, "no name given to prof_profile_reserve()");
    uint64_t mask = prof__lock_masked(&lock);
    bool has_room = n_reserved < ARRAY_LEN(reserved);
    if (has_room)
        reserved[n_reserved++] = name;
    prof__unlock_masked(&lock, mask);
    return has_room ? 0 : prof_set_last_error(-ENOSPC, "no room for another reserved name");
}

static bool is_taken(const char *name)
{
    /* What Go's package has beside its profiles. */
    static const char *const go[] = { "cmdline", "goroutine", "profile", "symbol", "trace" };
    bool taken = false;

    for (size_t i = 0; i < ARRAY_LEN(go); i++)
        taken |= strcmp(name, go[i]) == 0;
    uint64_t mask = prof__lock_masked(&lock);
    for (size_t i = 0; i < n_reserved; i++)
        taken |= is_reserved(name, reserved[i]);
    prof__unlock_masked(&lock, mask);
    return taken;
}

/* "." and ".." between slashes: clients take them out of a URL before they ask. */
static bool has_dots(const char *name)
{
    for (;;) {
        size_t size = strcspn(name, "/");

        if ((size == 1 || size == 2) && strncmp(name, "..", size) == 0)
            return true;
        if (!name[size])
            return false;
        name += size + 1;
    }
}

/* --- making one ------------------------------------------------------------------------------- */

static int check_name(const char *name)
{
    if (!name || !*name)
        return prof_set_last_error(-EINVAL, "a profile needs a name");
    if (strlen(name) > NAME_MAX_BYTES)
        return prof_set_last_error(-EINVAL, "a profile's name has at most %d bytes",
                                   NAME_MAX_BYTES);
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f || *c == '"')
            return prof_set_last_error(-EINVAL, "a profile's name has no blanks, control "
                                                "characters or quotation marks");
    if (has_dots(name))
        return prof_set_last_error(-EINVAL, "a profile's name has no part \".\" or \"..\", which "
                                            "no URL keeps");
    if (is_taken(name))
        return prof_set_last_error(-EEXIST, "\"%s\" is taken by an endpoint of that name", name);
    return 0;
}

static struct custom *make(const char *name)
{
    size_t size = strlen(name) + 1;
    struct custom *c = NULL;

    uint64_t mask = prof__lock_masked(&lock);
    if (n_customs < PROF__TABLES - PROF__TABLE_CUSTOM)
        c = prof__arena_alloc(&arena, sizeof(*c) + size);
    if (c) {
        memcpy(c->name, name, size);
        c->profile = (struct prof_profile) {
            .name = c->name,
            .description = "",
            .table = PROF__TABLE_CUSTOM + n_customs,
            .text = PROF__TEXT_COUNT,
            .n_values = 1,
            .value_type = { { c->name, "count" } },
            .period_type = { c->name, "count" },
            .no_window = true,
            .finish = finish,
            .count = count,
        };
        prof__custom_names[n_customs++] = c->name; /* for who finds them in a core file */
    }
    prof__unlock_masked(&lock, mask);
    return c;
}

int prof_profile_new(const char *name, struct prof_profile **ret_profile)
{
    int r = check_name(name);

    if (r < 0)
        return r;
    /* Asked first so that trying again and again costs no memory. */
    if (prof_lookup(name))
        return prof_set_last_error(-EEXIST, "there is a profile \"%.60s\" already", name);
    struct custom *c = make(name);
    if (!c)
        return prof_set_last_error(-ENOMEM, "no memory for another profile, or %d of them",
                                   PROF__TABLES - PROF__TABLE_CUSTOM);
    r = prof__registry_add(&c->profile);
    if (r < 0)
        return prof_set_last_error(r, "there is a profile \"%.60s\" already", name);
    if (ret_profile)
        *ret_profile = &c->profile;
    return 0;
}

/* --- the set --------------------------------------------------------------------------------- */

static size_t home(const struct custom *c, const void *key)
{
    return prof__hash((uintptr_t)key) & (c->slots - 1);
}

/* The slot that holds the key, or the empty one where it would go. */
static size_t find(const struct custom *c, const void *key)
{
    size_t at = home(c, key);

    while (c->entry[at].key && c->entry[at].key != key)
        at = (at + 1) & (c->slots - 1);
    return at;
}

static int make_room(struct custom *c)
{
    struct custom old = *c;

    if (c->n * 2 < c->slots)
        return 0;
    size_t slots = old.slots ? old.slots * 2 : FIRST_SLOTS;
    struct entry *entry = prof__pages_map(slots * sizeof(*entry));
    if (!entry)
        return -ENOMEM;
    c->entry = entry;
    c->slots = slots;
    for (size_t i = 0; i < old.slots; i++)
        if (old.entry[i].key)
            c->entry[find(c, old.entry[i].key)] = old.entry[i];
    prof__pages_unmap(old.entry, old.slots * sizeof(*entry));
    return 0;
}

/* Close the gap at `at`, so that no search ends too early. */
static void close_gap(struct custom *c, size_t at)
{
    size_t mask = c->slots - 1;

    for (size_t next = (at + 1) & mask; c->entry[next].key; next = (next + 1) & mask) {
        if (((next - home(c, c->entry[next].key)) & mask) < ((next - at) & mask))
            continue; /* it would land before its home */
        c->entry[at] = c->entry[next];
        at = next;
    }
    c->entry[at] = (struct entry) { 0 };
}

static int set_add(struct custom *c, const void *key, uint32_t row)
{
    int r = make_room(c);

    if (r < 0)
        return r;
    struct entry *e = &c->entry[find(c, key)];
    if (e->key)
        return -EEXIST;
    *e = (struct entry) { key, row };
    c->n++;
    return 0;
}

/* The row, or 0: it was not there. */
static uint32_t set_remove(struct custom *c, const void *key)
{
    size_t at = c->slots ? find(c, key) : 0;
    uint32_t row = c->slots && c->entry[at].key ? c->entry[at].row : 0;

    if (row) {
        close_gap(c, at);
        c->n--;
    }
    return row;
}

int prof_profile_add(struct prof_profile *p, const void *key, int skip)
{
    struct custom *c = custom_of(p);
    uintptr_t pcs[PROF__STACK_MAX];

    if (!p || !key)
        return prof_set_last_error(-EINVAL, "no %s given to prof_profile_add()",
                                   p ? "key" : "profile");
    if (!c)
        return prof_set_last_error(-EPERM, "profile \"%.60s\" is libprof's own", p->name);

    size_t n = prof__stack_here(__builtin_return_address(0), pcs, PROF__STACK_MAX);
    size_t from = skip > 0 ? (size_t)skip : 0;
    if (from >= n) { /* still counted, as in Go */
        from = 0;
        n = 1;
        pcs[0] = PROF__PC_SKIPPED;
    }
    uint32_t row = prof__rows_get(
        p->table, prof__stack_table_add(PROF__STORE_KEPT, pcs + from, n - from), 0, 0);

    uint64_t mask = prof__lock_masked(&lock);
    int r = set_add(c, key, row);
    prof__unlock_masked(&lock, mask);
    if (r == -EEXIST)
        return prof_set_last_error(r, "key %p is in profile \"%.60s\" already", key, p->name);
    if (r < 0)
        return prof__error_memory("a profile's set of keys");
    prof__row_add(prof__rows_at(row), 0, 1);
    return 0;
}

int prof_profile_remove(struct prof_profile *p, const void *key)
{
    struct custom *c = custom_of(p);

    if (!p)
        return prof_set_last_error(-EINVAL, "no profile given to prof_profile_remove()");
    if (!c || !key)
        return 0;
    uint64_t mask = prof__lock_masked(&lock);
    uint32_t row = set_remove(c, key);
    prof__unlock_masked(&lock, mask);
    if (row)
        prof__row_add(prof__rows_at(row), 1, 1);
    return 0;
}

static void fork_prepare(void)
{
    prof__lock(&lock);
}

static void fork_done(void)
{
    prof__unlock(&lock);
}

PROF__AT_FORK(PROF__RANK_CUSTOM, fork_prepare, fork_done, fork_done)
