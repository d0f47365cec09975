/*
 * core_notes.c - what the notes of a core file say: threads with their registers, and which file
 * each mapping was of.
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/user.h>

#include "image/core_parts.h"

enum { THREADS_MAX = 1 << 20 };

static void take_thread(struct prof__core *c, size_t *room, const char *desc, size_t size)
{
    struct elf_prstatus status;
    struct user_regs_struct r;

    static_assert(sizeof(r) == sizeof(status.pr_reg), "the same registers");
    if (size < sizeof(status) || c->n_threads == THREADS_MAX)
        return;
    memcpy(&status, desc, sizeof(status));
    memcpy(&r, status.pr_reg, sizeof(r));
    if (c->n_threads == *room) {
        size_t more = *room ? *room * 2 : 64;
        struct prof__image_thread *t = prof__arena_array(&c->arena, more, sizeof(*t));

        if (!t)
            return;
        if (c->n_threads)
            memcpy(t, c->thread, c->n_threads * sizeof(*t));
        c->thread = t;
        *room = more;
    }
    if (c->n_threads == 0)
        c->about.signal = status.pr_cursig;
    struct prof__image_thread *t = &c->thread[c->n_threads++];
    *t = (struct prof__image_thread) {
        .tid = status.pr_pid,
        .own_tid = status.pr_pid,
        .system_call = (int64_t)r.orig_rax < 0 ? -1 : (int)r.orig_rax,
        .argument = { r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9 },
    };
    prof__image_take_registers(t, &r);
}

static uint64_t word_at(const char *at)
{
    uint64_t w;

    memcpy(&w, at, sizeof(w));
    return w;
}

/* NT_AUXV: pairs of words. */
static void take_auxv(struct prof__core *c, const char *desc, size_t size)
{
    for (size_t i = 0; i + 16 <= size; i += 16) {
        uint64_t key = word_at(desc + i), value = word_at(desc + i + 8);

        if (key == AT_RANDOM)
            c->stack_at = value;
        else if (key == AT_SYSINFO_EHDR)
            c->vdso_at = value;
    }
}

static void take_info(struct prof__core *c, const char *desc, size_t size)
{
    struct elf_prpsinfo info;

    if (size < sizeof(info))
        return;
    memcpy(&info, desc, sizeof(info));
    c->about.pid = info.pr_pid;
    snprintf(c->command, sizeof(c->command), "%.*s", (int)sizeof(info.pr_fname), info.pr_fname);
    snprintf(c->arguments, sizeof(c->arguments), "%.*s", (int)sizeof(info.pr_psargs),
             info.pr_psargs);
}

static uint32_t add_file(struct prof__core *c, const char *path, size_t *room)
{
    if (c->n_files && strcmp(c->file[c->n_files - 1].path, path) == 0)
        return (uint32_t)c->n_files - 1;
    if (c->n_files == *room)
        return PROF__CORE_NO_FILE;
    struct prof__core_file *f = &c->file[c->n_files];
    *f = (struct prof__core_file) { .path = prof__arena_strdup(&c->arena, path), .fd = -1 };
    f->open = c->sysroot[0] ? prof__arena_printf(&c->arena, "%s%s", c->sysroot, path) : f->path;
    if (!f->path || !f->open)
        return PROF__CORE_NO_FILE;
    return (uint32_t)c->n_files++;
}

/* NT_FILE: how many, the size of a page, then start, end, offset in pages of each, then names. */
static int take_files(struct prof__core *c, const char *desc, size_t size)
{
    if (size < 16 || c->n_files)
        return 0;
    uint64_t n = word_at(desc), page = word_at(desc + 8);
    if (n > (size - 16) / 24)
        n = (size - 16) / 24;
    const char *name = desc + 16 + n * 24, *end = desc + size;
    size_t room = (size_t)n;
    c->file = prof__arena_array(&c->arena, n + 1, sizeof(*c->file));
    c->missing = prof__arena_array(&c->arena, n + 1, sizeof(*c->missing));
    c->range = prof__arena_array(&c->arena, n + 1, sizeof(*c->range));
    if (!c->file || !c->missing || !c->range)
        return -ENOMEM;
    for (uint64_t i = 0; i < n && name < end; i++) {
        const char *entry = desc + 16 + i * 24, *stop = memchr(name, '\0', (size_t)(end - name));
        uint64_t start = word_at(entry), limit = word_at(entry + 8), at = word_at(entry + 16);

        if (!stop)
            break;
        uint32_t file = add_file(c, name, &room);
        name = stop + 1;
        if (file == PROF__CORE_NO_FILE || limit <= start)
            continue;
        if (at == 0 && !c->file[file].head)
            c->file[file].head = start;
        c->range[c->n_ranges++] = (struct prof__core_range) { start, limit, at * page, file };
    }
    return 0;
}

int prof__core_take_notes(struct prof__core *c, const char *notes, size_t size, size_t *room)
{
    int r = 0;

    for (size_t at = 0; size - at >= sizeof(Elf64_Nhdr) && r == 0;) {
        Elf64_Nhdr h;

        memcpy(&h, notes + at, sizeof(h));
        at += sizeof(h);
        size_t name = ((size_t)h.n_namesz + 3) & ~(size_t)3;
        size_t desc = ((size_t)h.n_descsz + 3) & ~(size_t)3;
        if (name > size - at || h.n_descsz > size - at - name)
            break;
        const char *d = notes + at + name;
        if (h.n_namesz == 5 && memcmp(notes + at, "CORE", 5) == 0)
            switch (h.n_type) {
            case NT_FILE:
                r = take_files(c, d, h.n_descsz);
                break;
            case NT_PRSTATUS:
                take_thread(c, room, d, h.n_descsz);
                break;
            case NT_AUXV:
                take_auxv(c, d, h.n_descsz);
                break;
            case NT_PRPSINFO:
                take_info(c, d, h.n_descsz);
                break;
            }
        at += name + PROF_MIN(desc, size - at - name);
    }
    return r;
}
