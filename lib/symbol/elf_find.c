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
 *
 * Only absolute paths are tried: the working directory may belong to anybody. Nothing is ever
 * fetched from a network.
 */
#include "symbol/elf_find.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define DEBUG_ROOT "/usr/lib/debug"

enum { PATH_BYTES = 4096, CRC_CHUNK = 1 << 16, CRC_FILE_MAX = 1 << 30, LINK_MAX = 4096 };

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

static int open_by_build_id(const uint8_t *id, size_t size, struct prof__arena *a,
                            struct prof__elf *ret_elf)
{
    char path[sizeof(DEBUG_ROOT "/.build-id/") + 2 * PROF__BUILD_ID_MAX + sizeof("/.debug")];
    struct prof__elf e;

    if (size < 2)
        return -ENOENT;
    int n = snprintf(path, sizeof(path), DEBUG_ROOT "/.build-id/%02x/", id[0]);
    for (size_t i = 1; i < size; i++)
        n += snprintf(path + n, sizeof(path) - (size_t)n, "%02x", id[i]);
    snprintf(path + n, sizeof(path) - (size_t)n, ".debug");

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

static int open_by_debuglink(const char *file, const struct prof__elf *e, struct prof__arena *a,
                             struct prof__elf *ret_debug)
{
    static const char *const format[] = { "%.*s/%s", "%.*s/.debug/%s", DEBUG_ROOT "%.*s/%s" };
    const char *slash = strrchr(file, '/');
    char path[PATH_BYTES];
    uint32_t crc;
    size_t size;
    const char *name = read_link(e, a, ".gnu_debuglink", &size);

    if (!name || !*name || file[0] != '/' || strchr(name, '/'))
        return -ENOENT;
    size_t at = (strlen(name) + 1 + 3) & ~(size_t)3;
    if (at + sizeof(crc) > size)
        return -ENOENT;
    memcpy(&crc, name + at, sizeof(crc));
    for (size_t i = 0; i < ARRAY_LEN(format); i++) {
        int n = snprintf(path, sizeof(path), format[i], (int)(slash - file), file, name);
        int r = -ENOENT;

        if (n > 0 && (size_t)n < sizeof(path))
            r = open_linked(e, a, path, crc, ret_debug);
        if (r != -ENOENT)
            return r;
    }
    return -ENOENT;
}

int prof__elf_find_debug(const struct prof__module *m, const struct prof__elf *e,
                         struct prof__arena *a, struct prof__elf *ret_debug)
{
    int r = open_by_build_id(m->build_id, m->build_id_size, a, ret_debug);

    if (r == -ENOENT && e)
        r = open_by_debuglink(m->file, e, a, ret_debug);
    return r;
}

int prof__elf_find_alternate(const struct prof__module *m, const struct prof__elf *e,
                             struct prof__arena *a, struct prof__elf *ret_alternate)
{
    char path[PATH_BYTES];
    size_t size;
    const char *name = read_link(e, a, ".gnu_debugaltlink", &size);

    if (!name)
        return -ENOENT;
    size_t length = strlen(name);
    if (length == 0 || length + 2 > size)
        return -ENOENT;
    const uint8_t *id = (const uint8_t *)name + length + 1;
    size_t id_size = size - length - 1;

    int r = open_by_build_id(id, id_size, a, ret_alternate);
    if (r != -ENOENT)
        return r;
    const char *slash = strrchr(m->file, '/');
    int n = name[0] == '/' || m->file[0] != '/'
                ? snprintf(path, sizeof(path), "%s", name)
                : snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - m->file), m->file, name);
    if (n < 0 || (size_t)n >= sizeof(path) || path[0] != '/')
        return -ENOENT;
    struct prof__elf other;
    r = prof__elf_open(&other, a, path);
    if (r == 0 && same_build_id(&other, id, id_size)) {
        *ret_alternate = other;
        return 0;
    }
    prof__elf_close(&other);
    return r == -ENOMEM ? r : -ENOENT;
}
