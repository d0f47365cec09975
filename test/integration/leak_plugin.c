/* leak_plugin.c - a library loaded at run time, whose data holds blocks. */
#include <stdlib.h>
#include <string.h>

struct item {
    struct item *next;
};

static struct item *items;

__attribute__((noinline)) struct item *plugin_held(size_t size)
{
    struct item *i = malloc(size);

    if (!i)
        abort();
    memset(i, 0, size);
    __asm__ volatile("" : : "g"(i) : "memory");
    return i;
}

void plugin_fill(size_t blocks, size_t size)
{
    for (size_t n = 0; n < blocks; n++) {
        struct item *i = plugin_held(size);

        i->next = items;
        items = i;
    }
}
