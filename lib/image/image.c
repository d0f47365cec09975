/*
 * image.c - what is the same for every backend.
 */
#include "image/image.h"

#include <errno.h>
#include <limits.h>
#include <prof/prof.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "symbol/maps.h"

const struct prof__image_map *prof__image_map_of(const struct prof__image *image, uint64_t address)
{
    size_t low = 0, high = image->n_maps;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (image->map[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < image->n_maps && image->map[low].start <= address ? &image->map[low] : NULL;
}

bool prof__image_is_libc(const char *path)
{
    const char *name = prof__base_name(path);

    return strncmp(name, "libc.so", 7) == 0 || strncmp(name, "libc-", 5) == 0;
}

const char *prof__image_other_allocator(const char *path)
{
    static const struct {
        const char *part, *name;
    } known[] = {
        { "libjemalloc", "jemalloc" },     { "libtcmalloc", "tcmalloc" },
        { "libmimalloc", "mimalloc" },     { "libsnmalloc", "snmalloc" },
        { "libhoard", "Hoard" },           { "librpmalloc", "rpmalloc" },
        { "libasan", "AddressSanitizer" }, { "libtsan", "ThreadSanitizer" },
        { "ld-musl-", "musl's malloc" },   { "libc.musl-", "musl's malloc" },
        { "libscudo", "scudo" },
    };
    const char *name = prof__base_name(path);

    for (size_t i = 0; path[0] == '/' && i < ARRAY_LEN(known); i++)
        if (strncmp(name, known[i].part, strlen(known[i].part)) == 0)
            return known[i].name;
    return NULL;
}

unsigned prof__image_hidden_regs(const struct prof__image *image)
{
    unsigned n = 0;

    for (size_t i = 0; i < image->n_threads; i++)
        n += image->thread[i].hidden_regs;
    return n;
}

const char *prof__image_name(const struct prof__image *image, const char *path)
{
    char root[PATH_MAX];
    ssize_t n =
        strncmp(image->root, "/proc/", 6) == 0 ? readlink(image->root, root, sizeof(root)) : 0;

    return n > 1 && n < PATH_MAX && strncmp(path, root, (size_t)n) == 0 && path[n] == '/' ? path + n
                                                                                          : path;
}

const char *prof__image_path(const struct prof__image *image, struct prof__arena *a,
                             const char *path)
{
    if (image->program && strcmp(path, image->program) == 0)
        return image->program_file;
    return prof__arena_printf(a, "%s%s", image->root, prof__image_name(image, path));
}

/* --- mappings -------------------------------------------------------------------------------- */

static bool is_untouchable(const struct prof__map *m)
{
    if (strncmp(m->path, "/dev/", 5) == 0)
        return strncmp(m->path, "/dev/shm/", 9) != 0 && strncmp(m->path, "/dev/zero", 9) != 0;
    return strncmp(m->path, "[v", 2) == 0 || strncmp(m->path, "anon_inode:", 11) == 0;
}

struct prof__image_map prof__image_map_from(const struct prof__map *m)
{
    return (struct prof__image_map) {
        .start = m->start,
        .end = m->limit,
        .offset = m->offset,
        .inode = m->inode,
        .readable = m->readable,
        .writable = m->writable,
        .executable = m->executable,
        .shared = m->shared,
        .anonymous = m->inode == 0 && m->path[0] != '/',
        .untouchable = is_untouchable(m),
        .name = m->path,
    };
}

int prof__image_take_maps(struct prof__image *image, const char *file)
{
    struct prof__map *map;
    size_t n;
    int r = prof__maps_read_file(file, &image->arena, &map, &n);

    if (r < 0)
        return r == -ENOMEM ? r
                            : prof_set_last_error(r, "the memory map cannot be read: %s: %s", file,
                                                  strerror(-r));
    struct prof__image_map *out = prof__arena_array(&image->arena, n + 1, sizeof(*out));
    if (!out)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        out[i] = prof__image_map_from(&map[i]);
    image->map = out;
    image->n_maps = n;
    return 0;
}

void prof__image_close(struct prof__image *image)
{
    if (image->ops)
        image->ops->close(image);
    prof__arena_free(&image->arena);
    *image = (struct prof__image) { 0 };
}
