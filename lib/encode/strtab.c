/*
 * strtab.c - strings interned by a hash table that lives in an arena.
 *
 * Growing leaves the old arrays behind in the arena, which is freed whole when the request is
 * over; doubling keeps that below what the last arrays take.
 */
#include "encode/strtab.h"

#include <errno.h>
#include <string.h>

#include "base/hash.h"
#include "base/utf8.h"

static void place(struct prof__strtab *t, uint32_t index)
{
    uint32_t i = t->hash[index] & (t->slots - 1);

    while (t->slot[i])
        i = (i + 1) & (t->slots - 1);
    t->slot[i] = index + 1;
}

/* Room for twice as many; slots are kept at most half full. */
static int grow(struct prof__strtab *t)
{
    uint32_t capacity = t->capacity ? t->capacity * 2 : 256;

    if (capacity > UINT32_MAX / 4)
        return -ENOMEM;
    const char **string = prof__arena_array(t->arena, capacity, sizeof(*string));
    uint32_t *hash = prof__arena_array(t->arena, capacity, sizeof(*hash));
    uint32_t *slot = prof__arena_array(t->arena, (size_t)capacity * 2, sizeof(*slot));
    if (!string || !hash || !slot)
        return -ENOMEM;
    if (t->n) {
        memcpy(string, t->string, t->n * sizeof(*string));
        memcpy(hash, t->hash, t->n * sizeof(*hash));
    }
    t->string = string;
    t->hash = hash;
    t->slot = slot;
    t->capacity = capacity;
    t->slots = capacity * 2;
    for (uint32_t i = 0; i < t->n; i++)
        place(t, i);
    return 0;
}

int prof__strtab_init(struct prof__strtab *t, struct prof__arena *a)
{
    *t = (struct prof__strtab) { .arena = a };
    prof__strtab_add(t, "");
    return t->error;
}

uint32_t prof__strtab_add(struct prof__strtab *t, const char *s)
{
    if (t->error)
        return 0;
    s = prof__utf8_clean(t->arena, s ? s : "");
    if (!s || (t->n == t->capacity && grow(t) < 0)) {
        t->error = -ENOMEM;
        return 0;
    }
    uint32_t hash = (uint32_t)prof__hash_bytes(s, strlen(s));
    for (uint32_t i = hash & (t->slots - 1); t->slot[i]; i = (i + 1) & (t->slots - 1)) {
        uint32_t index = t->slot[i] - 1;

        if (t->hash[index] == hash && strcmp(t->string[index], s) == 0)
            return index;
    }
    t->string[t->n] = s;
    t->hash[t->n] = hash;
    place(t, t->n);
    return t->n++;
}
