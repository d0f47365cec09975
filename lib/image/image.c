/*
 * image.c - what is the same for every backend.
 */
#include "image/image.h"

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

void prof__image_close(struct prof__image *image)
{
    if (image->ops)
        image->ops->close(image);
    prof__arena_free(&image->arena);
    *image = (struct prof__image) { 0 };
}
