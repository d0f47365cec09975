/*
 * roots.h - what a root is called.
 */
#ifndef PROF_SCAN_ROOTS_H
#define PROF_SCAN_ROOTS_H

#include "scan/flood.h"
#include "symbol/data_symbols.h"
#include "symbol/names.h"

/* Variables of the modules, loaded when they are first asked for. */
struct prof__roots {
    struct prof__arena *arena;
    const struct prof__plan *plan; /* of the pass under way */
    struct prof__roots_module {
        const char *path, *file; /* as the image has it, and to open it by; in the arena */
        uint64_t bias;
        bool loaded;
        struct prof__data_symbol *symbol;
        size_t n;
    } * module;
    size_t n_modules, room;
    const struct prof__heap *heap; /* that could be walked, or else is among what is mapped */
    struct prof__namer *namer;     /* NULL: not needed yet */
};

/* A root's kind, the same in every pass: prof__root_fn, with a struct prof__roots. */
void prof__root_kind(void *roots, const struct prof__area *area, uint64_t slot,
                     struct prof__kind *ret);

/* What is not told apart: memory that may be the heap, where that could not be walked. */
static inline struct prof__kind prof__root_unknown(void)
{
    return (struct prof__kind) { .of = PROF__KIND_ROOT, .extra = PROF__ROOT_MAPPED, .who = 1 };
}

static inline bool prof__root_is_unknown(const struct prof__kind *kind)
{
    return kind->of == PROF__KIND_ROOT && kind->extra == PROF__ROOT_MAPPED && kind->detail == 0;
}

/* Its name, in `a`: "global g_server+0x8 (svc)", "thread worker in handle", "epoll fd 7". NULL: out
 * of memory. */
const char *prof__root_name(struct prof__roots *roots, struct prof__arena *a,
                            const struct prof__kind *kind);

#endif
