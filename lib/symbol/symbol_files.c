/*
 * symbol_files.c - which files are asked, and for what.
 *
 *   symbols           the debug file's .symtab, else the object's; its .dynsym with what
 *                     .gnu_debugdata adds; the loaded object's where its file is gone; stubs
 *   functions, lines  debug information of the object, else of its debug file
 *
 * What is there and cannot be read is told, so that nobody wonders.
 */
#include "symbol/symbol_files.h"

#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "symbol/deadline.h"
#include "symbol/dwarf_answer.h"
#include "symbol/elf_symbols.h"

/* Does `e` have debug information, and of a kind that can be read? */
static bool has_dwarf(struct prof__symbol_files *f, const struct prof__elf *e, const char *path)
{
    const Elf64_Shdr *s = prof__elf_section(e, ".debug_info");
    enum prof__packing packing;
    uint64_t size;

    if (!s)
        return false;
    int r = prof__elf_section_size(e, s, &size, &packing);
    if (r == -ENOTSUP)
        f->unread = prof__arena_printf(
            f->arena, "debug information of %s is %s and not read: this libprof is built without",
            prof__base_name(path), packing == PROF__ZSTD ? "zstd" : "compressed in an unknown way");
    return r == 0;
}

static int files_open(struct prof__symbol_files *f)
{
    const struct prof__module *m = f->module;
    int r = prof__elf_find(m, f->arena, &f->own);

    f->has_own = r == 0;
    if (r == -ENOMEM)
        return r;
    if (f->has_own && has_dwarf(f, &f->own, m->path))
        f->dwarf = &f->own;
    r = prof__elf_debug_paths(m, f->has_own ? &f->own : NULL, f->arena, &f->paths);
    if (r == 0 && !f->dwarf)
        r = prof__elf_find_debug(m, f->has_own ? &f->own : NULL, &f->paths, f->arena, &f->debug);
    if (r == -ENOMEM)
        return r;
    f->has_debug = r == 0 && !f->dwarf;
    if (f->has_debug && has_dwarf(f, &f->debug, f->debug.path))
        f->dwarf = &f->debug;
    if (f->has_own && !f->has_debug && !prof__elf_section(&f->own, ".symtab")) {
        r = prof__elf_open_embedded(&f->embedded, f->arena, &f->own);
        f->has_embedded = r == 0;
        if (r == -ENOTSUP && !f->unread)
            f->unread = prof__arena_printf(
                f->arena,
                "symbols of %s are in .gnu_debugdata (xz) and not read: this libprof is "
                "built without liblzma",
                prof__base_name(m->path));
    }
    return r == -ENOMEM ? r : 0;
}

void prof__symbol_files_close(struct prof__symbol_files *f)
{
    prof__elf_close(&f->own);
    prof__elf_close(&f->debug);
    prof__elf_close(&f->alternate);
}

static int find_symbols(struct prof__symbol_files *f, struct prof__query *q, size_t n)
{
    const struct prof__module *m = f->module;
    int r = -ENOENT;

    if (f->has_debug && prof__elf_section(&f->debug, ".symtab"))
        r = prof__elf_symbols(&f->debug, f->arena, q, n);
    if (r == -ENOENT && f->has_own)
        r = prof__elf_symbols(&f->own, f->arena, q, n);
    if (r == -ENOENT && !f->has_own && !m->gone)
        r = prof__loaded_symbols(m->bias, f->arena, q, n);
    if (r != -ENOMEM && f->has_embedded)
        r = prof__elf_more_symbols(&f->embedded, f->arena, q, n);
    if (r != -ENOMEM && f->has_own)
        r = prof__elf_plt_symbols(&f->own, f->arena, q, n);
    return r == -ENOMEM ? r : 0;
}

static void set_unfinished(struct prof__query *q, size_t n)
{
    for (size_t i = 0; i < n; i++)
        q[i].unfinished = true;
}

/* What of the debug information could not be read. */
static void note_dwarf(struct prof__symbol_files *f, const struct prof__dwarf_source *source,
                       int error)
{
    const char *name = prof__base_name(f->module->path);

    if (error == -EFBIG)
        f->unread = prof__arena_printf(
            f->arena, "debug information of %s is not read: it is too large", name);
    else if (source->n_missing)
        f->unread = prof__arena_printf(
            f->arena,
            "lines of %s are missing: its debug information is split, and %s is not there "
            "or another's, nor is there %s.dwp",
            name, source->missing, name);
}

int prof__symbol_files_read(struct prof__symbol_files *f, int64_t until_ns, struct prof__query *q,
                            size_t n, bool *ret_found)
{
    f->own.fd = f->debug.fd = f->alternate.fd = f->embedded.fd = -1;
    prof__deadline_set(until_ns);
    if (prof__late_now()) {
        set_unfinished(q, n);
        *ret_found = true;
        return 0;
    }
    uint64_t troubles = atomic_load_explicit(&prof__elf_troubles, memory_order_relaxed);
    int r = files_open(f), s = 0;

    if (r == 0)
        r = find_symbols(f, q, n);
    if (prof__late())
        set_unfinished(q, n);
    if (r == 0 && f->dwarf) {
        bool has_alternate =
            prof__elf_find_alternate(f->module, f->dwarf, f->arena, &f->alternate) == 0;
        /* Too little memory for the debug information leaves the names of symbols. */
        struct prof__dwarf_source source = {
            .elf = f->dwarf,
            .alternate = has_alternate ? &f->alternate : NULL,
            .file = f->module->file,
        };
        s = prof__dwarf_answer(&source, f->arena, until_ns - PROF__SYMBOLS_NS, q, n);
        note_dwarf(f, &source, s);
    }
    *ret_found = (f->has_own || f->has_debug || strcmp(f->module->path, "[vdso]") == 0) && r == 0 &&
                 s != -ENOMEM &&
                 atomic_load_explicit(&prof__elf_troubles, memory_order_relaxed) == troubles;
    return r;
}
