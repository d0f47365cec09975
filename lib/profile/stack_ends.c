/*
 * stack_ends.c - objects that were built without unwind tables, where stacks end for it.
 *
 * A compiler that is told -fno-asynchronous-unwind-tables writes the tables for debuggers only,
 * into .debug_frame, which is not in memory: a stack cannot be walked by them when a sample is
 * taken.
 */
#include "profile/stack_ends.h"

#include "base/path.h"
#include "symbol/elf_file.h"
#include "unwind/stack.h"

void prof__stack_ends_note(const struct prof__places *p, const uint32_t *place, uint32_t n,
                           bool *ends)
{
    if (n < 2 || p->place[place[n - 1]].pc != PROF__PC_NO_INFO)
        return;
    const struct prof__module *m = p->place[place[n - 2]].module;
    if (m && m->is_elf && !m->gone)
        ends[m - p->modules.module] = true;
}

static bool has_debuggers_tables(const char *path, uint64_t inode)
{
    struct prof__arena a = { 0 };
    struct prof__elf e = { .fd = -1 };
    bool has = prof__elf_open(&e, &a, path) == 0 && e.inode == inode &&
               prof__elf_section(&e, ".debug_frame");

    prof__elf_close(&e);
    prof__arena_free(&a);
    return has;
}

void prof__stack_ends_comment(const struct prof__places *p, const bool *ends,
                              struct prof__comments *comments)
{
    for (size_t i = 0; i < p->modules.n; i++) {
        const struct prof__module *m = &p->modules.module[i];

        if (ends[i] && has_debuggers_tables(m->path, m->inode))
            prof__comment(comments, prof__arena_printf(
                                        p->arena,
                                        "stacks end in %s: it was built with "
                                        "-fno-asynchronous-unwind-tables, and its .debug_frame "
                                        "cannot be read while it runs; build it without that, "
                                        "or with -fno-omit-frame-pointer",
                                        prof__base_name(m->path)));
    }
}
