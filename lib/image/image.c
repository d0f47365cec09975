/*
 * image.c - what is the same for every backend.
 */
#include "image/image.h"

#include <string.h>

#include "base/path.h"

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

unsigned prof__image_hidden_regs(const struct prof__image *image)
{
    unsigned n = 0;

    for (size_t i = 0; i < image->n_threads; i++)
        n += image->thread[i].hidden_regs;
    return n;
}

void prof__image_close(struct prof__image *image)
{
    if (image->ops)
        image->ops->close(image);
    prof__arena_free(&image->arena);
    *image = (struct prof__image) { 0 };
}
