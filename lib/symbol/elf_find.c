/*
 * elf_find.c - a path is not proof: between mapping and reading, a file may have been replaced.
 *
 * What is opened must have the build id that was in memory, or, where the linker wrote none, be
 * the very inode that was mapped. Candidates, in order:
 *
 *   the program    /proc/self/exe, which outlives its name; then its path
 *   a library      its path; /proc/self/map_files, which needs privileges
 *   debug files    /usr/lib/debug/.build-id; then .gnu_debuglink beside the file, in .debug/ below
 *                  it, and under /usr/lib/debug
 *   what dwz       by its build id; then .gnu_debugaltlink, which is relative to the file that has
 *   shares         it, and where links lead: a debug file is often one into a package's folder
 *
 * Of another process all this is looked for below its root folder too, as of a container's, and
 * what is beside a file only there.
 *
 * Only absolute paths are tried: the working directory may belong to anybody. Nothing is ever
 * fetched from a network.
 */
#include "symbol/elf_find.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/random.h"

#define DEBUG_ROOT "/usr/lib/debug"

enum { CRC_CHUNK = 1 << 16, CRC_FILE_MAX = 1 << 30, LINK_MAX = 4096 };

static bool same_build_id(const struct prof__elf *e, const uint8_t *id, size_t size)
{
    return e->build_id_size == size && memcmp(e->build_id, id, size) == 0;
}

/* The file that module `m` had mapped. Devices are not compared: what stat() and the maps say of
 * them differs on some file systems. */
static bool is_file_of(const struct prof__elf *e, const struct prof__module *m)
{
    if (m->build_id_size || e->build_id_size)
        return same_build_id(e, m->build_id, m->build_id_size);
    return m->inode && e->inode == m->inode;
}

static int open_file_of(const struct prof__module *m, struct prof__arena *a, const char *path,
                        struct prof__elf *ret_elf)
{
    struct prof__elf e;
    int r = prof__elf_open(&e, a, path);

    if (r == 0 && is_file_of(&e, m)) {
        *ret_elf = e;
        return 0;
    }
    prof__elf_close(&e);
    return r == -ENOMEM ? r : -ENOENT;
}

int prof__elf_find(const struct prof__module *m, struct prof__arena *a, struct prof__elf *ret_elf)
{
    char path[64];
    int r = -ENOENT;

    if (m->is_main)
        r = open_file_of(m, a, "/proc/self/exe", ret_elf);
    if (r == -ENOENT && m->file[0] == '/')
        r = open_file_of(m, a, m->file, ret_elf);
    if (r == -ENOENT && m->inode) {
        snprintf(path, sizeof(path), "/proc/self/map_files/%llx-%llx", (unsigned long long)m->start,
                 (unsigned long long)m->limit);
        r = open_file_of(m, a, path, ret_elf);
    }
    return r;
}

/* --- debug files ----------------------------------------------------------------------------- */

/* Below `root`; NULL: "/". */
static const char *build_id_path(struct prof__arena *a, const char *root, const uint8_t *id,
                                 size_t size)
{
    char path[sizeof(DEBUG_ROOT "/.build-id/") + 2 * PROF__BUILD_ID_MAX + sizeof("/.debug")];
    int n = snprintf(path, sizeof(path), DEBUG_ROOT "/.build-id/%02x/", id[0]);

    for (size_t i = 1; i < size; i++)
        n += snprintf(path + n, sizeof(path) - (size_t)n, "%02x", id[i]);
    snprintf(path + n, sizeof(path) - (size_t)n, ".debug");
    return prof__arena_printf(a, "%s%s", root ? root : "", path);
}

static int open_with_build_id(struct prof__arena *a, const char *path, const uint8_t *id,
                              size_t size, struct prof__elf *ret_elf)
{
    struct prof__elf e;
    int r = prof__elf_open(&e, a, path);

    if (r == 0 && same_build_id(&e, id, size)) {
        *ret_elf = e;
        return 0;
    }
    prof__elf_close(&e);
    return r == -ENOMEM ? r : -ENOENT;
}

static bool has_crc(const struct prof__elf *e, struct prof__arena *a, uint32_t want)
{
    unsigned char *chunk = prof__arena_alloc(a, CRC_CHUNK);
    uLong crc = crc32(0, NULL, 0);

    if (!chunk || e->size > CRC_FILE_MAX)
        return false;
    for (uint64_t at = 0; at < e->size;) {
        size_t n = PROF_MIN((uint64_t)CRC_CHUNK, e->size - at);

        if (!prof__elf_read(e, at, chunk, n))
            return false;
        crc = crc32(crc, chunk, (uInt)n);
        at += n;
    }
    return crc == want;
}

/* A build id says more than the checksum, and costs no reading of the whole file. */
static int open_linked(const struct prof__elf *of, struct prof__arena *a, const char *path,
                       uint32_t crc, struct prof__elf *ret_elf)
{
    struct prof__elf e;
    int r = prof__elf_open(&e, a, path);

    if (r == 0 && (e.device != of->device || e.inode != of->inode) &&
        (of->build_id_size && e.build_id_size ? same_build_id(&e, of->build_id, of->build_id_size)
                                              : has_crc(&e, a, crc))) {
        *ret_elf = e;
        return 0;
    }
    prof__elf_close(&e);
    return r == -ENOMEM ? r : -ENOENT;
}

/* A section that starts with a file name. Its text, NUL-terminated, and its bytes. */
static const char *read_link(const struct prof__elf *e, struct prof__arena *a, const char *section,
                             size_t *ret_size)
{
    const Elf64_Shdr *s = prof__elf_section(e, section);

    if (!s || s->sh_size > LINK_MAX || s->sh_flags & SHF_COMPRESSED)
        return NULL;
    char *text = prof__arena_alloc(a, s->sh_size + 1);
    if (!text || !prof__elf_read(e, s->sh_offset, text, s->sh_size))
        return NULL;
    *ret_size = s->sh_size;
    return text;
}

int prof__elf_debug_paths(const struct prof__module *m, const struct prof__elf *e,
                          struct prof__arena *a, struct prof__debug_paths *ret_paths)
{
    static const char *const format[] = { "%s%.*s/%s", "%s%.*s/.debug/%s",
                                          "%s" DEBUG_ROOT "%.*s/%s" };
    const char *root = m->root ? m->root : "", *file = m->root ? m->name : m->file;
    const char *name = NULL, *slash = strrchr(file, '/');
    size_t size;

    /* By no build id is a path too, so that the others keep their places. */
    *ret_paths = (struct prof__debug_paths) { .path = { "", "" }, .n = m->root ? 2 : 1 };
    ret_paths->n_by_id = ret_paths->n;
    for (size_t i = 0; i < ret_paths->n_by_id && m->build_id_size >= 2; i++) {
        ret_paths->path[i] = build_id_path(a, i ? m->root : NULL, m->build_id, m->build_id_size);
        if (!ret_paths->path[i])
            return -ENOMEM;
    }
    if (e)
        name = read_link(e, a, ".gnu_debuglink", &size);
    if (!name || !*name || file[0] != '/' || strchr(name, '/'))
        return 0;
    size_t at = (strlen(name) + 1 + 3) & ~(size_t)3;
    if (at + sizeof(ret_paths->crc) > size)
        return 0;
    memcpy(&ret_paths->crc, name + at, sizeof(ret_paths->crc));
    for (size_t i = 0; i < ARRAY_LEN(format); i++) {
        const char *path = prof__arena_printf(a, format[i], root, (int)(slash - file), file, name);

        if (!path)
            return -ENOMEM;
        ret_paths->path[ret_paths->n++] = path;
    }
    return 0;
}

uint64_t prof__elf_debug_stamp(const char *const *path, size_t n)
{
    uint64_t stamp = 0;

    for (size_t i = 0; i < n; i++) {
        struct stat st;
        uint64_t file = 0;

        if (*path[i] && stat(path[i], &st) == 0)
            file = st.st_ino ^ prof__mix64((uint64_t)st.st_mtim.tv_sec) ^
                   (uint64_t)st.st_mtim.tv_nsec << 20 ^ (uint64_t)st.st_size << 32;
        stamp = prof__mix64(stamp ^ file) + i;
    }
    return stamp;
}

int prof__elf_find_debug(const struct prof__module *m, const struct prof__elf *e,
                         const struct prof__debug_paths *paths, struct prof__arena *a,
                         struct prof__elf *ret_debug)
{
    int r = -ENOENT;

    for (size_t i = 0; i < paths->n_by_id && r == -ENOENT; i++)
        if (*paths->path[i])
            r = open_with_build_id(a, paths->path[i], m->build_id, m->build_id_size, ret_debug);
    for (size_t i = paths->n_by_id; i < paths->n && r == -ENOENT; i++)
        r = open_linked(e, a, paths->path[i], paths->crc, ret_debug);
    return r;
}

/* `name` as seen from the folder of `file`; NULL: nowhere, or it does not fit. */
static const char *beside(struct prof__arena *a, const char *file, const char *name)
{
    const char *slash = strrchr(file, '/');

    if (name[0] == '/')
        return name;
    return file[0] == '/' ? prof__arena_printf(a, "%.*s/%s", (int)(slash - file), file, name)
                          : NULL;
}

int prof__elf_find_alternate(const struct prof__module *m, const struct prof__elf *e,
                             struct prof__arena *a, struct prof__elf *ret_alternate)
{
    char real[PATH_MAX];
    size_t size;
    const char *name = read_link(e, a, ".gnu_debugaltlink", &size);

    if (!name)
        return -ENOENT;
    size_t length = strlen(name);
    if (length == 0 || length + 2 > size)
        return -ENOENT;
    const uint8_t *id = (const uint8_t *)name + length + 1;
    size_t id_size = size - length - 1;
    if (id_size < 2 || id_size > PROF__BUILD_ID_MAX)
        return -ENOENT;

    const char *file = strncmp(e->path, "/proc/self/", 11) == 0 ? m->file : e->path;
    const char *path[4] = { build_id_path(a, NULL, id, id_size) };
    path[1] = m->root ? build_id_path(a, m->root, id, id_size) : NULL;
    path[2] = beside(a, realpath(file, real) ? real : file, name);
    path[3] = beside(a, file, name);
    int r = -ENOENT;
    for (size_t i = 0; i < ARRAY_LEN(path) && r == -ENOENT; i++)
        if (path[i])
            r = open_with_build_id(a, path[i], id, id_size, ret_alternate);
    return r;
}
