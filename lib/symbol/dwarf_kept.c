/*
 * dwarf_kept.c - debug information that had to be unpacked, kept for a short while.
 *
 * A collector asks every ten or fifteen seconds, and a profile of processor time has some addresses
 * each time that nobody had asked for. Where debug information is compressed each such request
 * unpacked all of a file's anew, for five addresses of libc 40 million instructions.
 *
 *   unpacked once          its file is remembered, the image is not: who asks once pays none
 *   again within KEEP_NS   the image stays, until KEEP_NS pass in which nobody needs it
 *
 * Bounded by IMAGES, and by KEPT_MAX bytes together. It is given back by whoever looks after it
 * each second (the thread that notes numbers, capture/vars.c); where nobody does, nothing is kept.
 * A file that was changed or replaced meanwhile is another one. A forked child gets zeros in its
 * place (MADV_WIPEONFORK), which no unit starts with, so that they are not taken for an image even
 * where our handler for fork() was passed by.
 *
 * Guarded by the lock of symbolize.c, but for what is atomic. Context: normal.
 */
#include "symbol/dwarf_kept.h"

#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/memory.h"

#define KEPT_MAX  ((size_t)16 << 20)
#define KEEP_NS   ((int64_t)40 * 1000000000) /* two requests of who asks every 15 s, and some */
#define TENDED_NS ((int64_t)10 * 1000000000) /* older: who looked after it is gone or stopped */

enum { IMAGES = 16 };

static struct kept {
    uint64_t device, inode, file_size;
    int64_t changed_ns;
    bool split;
    int64_t used_ns; /* of prof__monotonic_ns(), when it was last unpacked or needed; 0: free */
    char *image;     /* NULL: only that it was unpacked then is known */
    size_t size;
} files[IMAGES];
static size_t kept_bytes;
static _Atomic int64_t tended_ns; /* when somebody last looked after it; 0: nobody does */
static _Atomic bool is_any;

static bool is_tended(int64_t now_ns)
{
    int64_t last = atomic_load_explicit(&tended_ns, memory_order_relaxed);

    return last && now_ns - last < TENDED_NS;
}

static void let_go(struct kept *k)
{
    prof__pages_unmap(k->image, k->size);
    kept_bytes -= k->image ? k->size : 0;
    k->image = NULL;
}

static struct kept *find(const struct prof__elf *e, bool split)
{
    for (size_t i = 0; i < IMAGES; i++) {
        struct kept *k = &files[i];

        if (k->used_ns && k->inode == e->inode && k->device == e->device &&
            k->file_size == e->size && k->changed_ns == e->changed_ns && k->split == split)
            return k;
    }
    return NULL;
}

/* Of all but `but`, those that have an image only or all. */
static struct kept *longest_unused(bool with_image, const struct kept *but)
{
    struct kept *oldest = NULL;

    for (size_t i = 0; i < IMAGES; i++)
        if (&files[i] != but && (files[i].image || !with_image) &&
            (!oldest || files[i].used_ns < oldest->used_ns))
            oldest = &files[i];
    return oldest;
}

char *prof__dwarf_kept_take(const struct prof__elf *e, bool split, size_t size)
{
    struct kept *k = find(e, split);
    char *image = k ? k->image : NULL;
    uint32_t first = 0;

    if (!image)
        return NULL;
    if (k->size == size)
        memcpy(&first, image, sizeof(first)); /* its .debug_info: how long the first unit is */
    if (!first) {
        let_go(k);
        return NULL;
    }
    k->image = NULL;
    kept_bytes -= size;
    return image;
}

bool prof__dwarf_kept_give(const struct prof__elf *e, bool split, char *image, size_t size)
{
    int64_t now_ns = prof__monotonic_ns();
    struct kept *k = find(e, split), *other;
    bool is_again = k && now_ns - k->used_ns < KEEP_NS;

    if (!e->inode || size > KEPT_MAX || !is_tended(now_ns))
        return false;
    if (!k)
        k = longest_unused(false, NULL);
    let_go(k); /* two images of one file may have been open at once */
    *k = (struct kept) {
        .device = e->device,
        .inode = e->inode,
        .file_size = e->size,
        .changed_ns = e->changed_ns,
        .split = split,
        .used_ns = now_ns,
    };
    if (!is_again)
        return false;
    while (kept_bytes + size > KEPT_MAX && (other = longest_unused(true, k)) != NULL)
        let_go(other);
    madvise(image, size, MADV_WIPEONFORK); /* refused before Linux 4.14: the child has a copy */
    k->size = size;
    k->image = image;
    kept_bytes += size;
    atomic_store_explicit(&is_any, true, memory_order_relaxed);
    return true;
}

void prof__dwarf_kept_trim(int64_t now_ns)
{
    bool all = !is_tended(now_ns);

    for (size_t i = 0; i < IMAGES; i++)
        if (files[i].image && (all || now_ns - files[i].used_ns >= KEEP_NS))
            let_go(&files[i]);
    atomic_store_explicit(&is_any, kept_bytes != 0, memory_order_relaxed);
}

void prof__dwarf_kept_tended(int64_t now_ns)
{
    atomic_store_explicit(&tended_ns, now_ns, memory_order_relaxed);
}

bool prof__dwarf_kept_any(void)
{
    return atomic_load_explicit(&is_any, memory_order_relaxed);
}

/* The images may be half-way into the table or out of it: they are abandoned, without pages. */
void prof__dwarf_kept_in_child(void)
{
    memset(files, 0, sizeof(files));
    kept_bytes = 0;
    prof__dwarf_kept_tended(0);
    atomic_store_explicit(&is_any, false, memory_order_relaxed);
}
