/*
 * symbol.c - names of addresses, for callers that have some.
 */
#include <prof/prof.h>

#include <errno.h>
#include <stdio.h>

#include "base/error.h"
#include "symbol/modules.h"
#include "symbol/symbolize.h"

/* Look n addresses up in what is loaded now, until then; 0: as long as it takes at most. The
 * results live in `a`. 0, 1: time was up, or -ENOMEM. */
static int find_symbols(struct prof__arena *a, const uint64_t *address, size_t n, int64_t until_ns,
                        const struct prof__symbols **ret_symbols)
{
    struct prof__modules modules;
    struct prof__code_address *asked = prof__arena_array(a, n, sizeof(*asked));
    struct prof__symbols *symbols = prof__arena_array(a, n, sizeof(*symbols));
    int r = asked && symbols ? prof__modules_load(a, &modules) : -ENOMEM;

    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        asked[i] = (struct prof__code_address) { prof__modules_find_loaded(&modules, address[i]),
                                                 address[i] };
    r = prof__symbolize_until(a, asked, n, until_ns, symbols, NULL);
    *ret_symbols = symbols;
    return r;
}

int prof_symbols_until(const uint64_t *address, size_t n, int64_t until_ns, prof_symbol_fn *each,
                       void *arg)
{
    struct prof__arena arena = { 0 };
    const struct prof__symbols *symbols = NULL;

    if ((n && !address) || !each)
        return prof_set_last_error(-EINVAL, "no %s given to prof_symbols()",
                                   each ? "addresses" : "function");
    int r = n ? find_symbols(&arena, address, n, until_ns, &symbols) : 0;
    bool late = r > 0;
    if (r < 0)
        prof__error_memory("symbols");
    for (size_t i = 0; i < n && r >= 0; i++) {
        /* The function that was called; those inlined into it have no address of their own. */
        size_t last = symbols[i].n - 1;

        if (symbols[i].n && symbols[i].line[last].function)
            r = each(arg, address[i], symbols[i].line[last].function);
    }
    prof__arena_free(&arena);
    return r < 0 ? r : late;
}

int prof_symbols(const uint64_t *address, size_t n, prof_symbol_fn *each, void *arg)
{
    int r = prof_symbols_until(address, n, 0, each, arg);

    return PROF_MIN(r, 0);
}

int prof_source_file(uint64_t address, unsigned depth, char *buf, size_t size)
{
    struct prof__arena arena = { 0 };
    const struct prof__symbols *symbols = NULL;

    if (size && !buf)
        return prof_set_last_error(-EINVAL, "no buffer given to prof_source_file()");
    int r = find_symbols(&arena, &address, 1, 0, &symbols);
    if (r < 0)
        prof__error_memory("symbols");
    else if (depth >= symbols->n || !symbols->line[depth].file)
        r = prof_set_last_error(-ENOENT, "no source file is known at 0x%llx",
                                (unsigned long long)address);
    else
        r = snprintf(buf, size, "%s", symbols->line[depth].file);
    prof__arena_free(&arena);
    return r;
}

struct name_buffer {
    char *data;
    size_t size;
    int length; /* of the whole name; -ENOENT: none */
};

static int copy_name(void *arg, uint64_t address, const char *name)
{
    struct name_buffer *b = arg;

    (void)address;
    b->length = snprintf(b->data, b->size, "%s", name);
    return 0;
}

int prof_symbol(uint64_t address, char *buf, size_t size)
{
    struct name_buffer name = { buf, size, -ENOENT };

    if (size && !buf)
        return prof_set_last_error(-EINVAL, "no buffer given to prof_symbol()");
    int r = prof_symbols(&address, 1, copy_name, &name);
    if (r < 0)
        return r;
    if (name.length < 0)
        return prof_set_last_error(-ENOENT, "no function is known at 0x%llx",
                                   (unsigned long long)address);
    return name.length;
}
