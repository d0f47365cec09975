/*
 * root.c - the descriptor, and what ties it to the structs that it leads to.
 */
#include "table/root.h"

#include <prof/prof.h>

/* When one of these no longer holds, PROF__TABLES_ROOT_LAYOUT is to be counted up, and so is this
 * line. */
static_assert(PROF__TABLES_ROOT_LAYOUT == 2 && sizeof(struct prof__tables_root) == 216,
              "the descriptor itself");
static_assert(sizeof(struct prof__slab) == 8 * PROF__SLAB_CHUNKS + 16 &&
                  offsetof(struct prof__slab, used) == 8 * PROF__SLAB_CHUNKS,
              "layout 2: chunks by address, then the bytes handed out");
static_assert(sizeof(struct prof__row) == 56 && offsetof(struct prof__row, table) == 4 &&
                  offsetof(struct prof__row, stack) == 8 &&
                  offsetof(struct prof__row, labels) == 12 &&
                  offsetof(struct prof__row, size) == 16 && offsetof(struct prof__row, value) == 24,
              "layout 2: rows");
static_assert(offsetof(struct prof__stack, n) == 8 && offsetof(struct prof__stack, pcs) == 16,
              "layout 2: stacks");
static_assert(PROF__STORES == 3 && PROF__TABLES == 256 && PROF__STORE_SHIFT == 28,
              "layout 2: stores and ids");

static_assert(sizeof(struct prof__live) == 24 && offsetof(struct prof__live, birth_s) == 4 &&
                  offsetof(struct prof__live, objects) == 8 &&
                  offsetof(struct prof__live, bytes) == 16 && PROF__LIVE_SEGMENTS == 12 &&
                  PROF__LIVE_FED == (uintptr_t)1 << 62,
              "layout 2: sampled blocks; live_table.c says more");
static_assert(sizeof(struct prof__told) == 24 + 16 * PROF__TOLD_ROOTS && PROF__TOLD_ROOTS == 256 &&
                  PROF__TABLES_ROOT_CUSTOMS == 240,
              "layout 2: what the program has told");

const char *prof__custom_names[PROF__TABLES_ROOT_CUSTOMS];
struct prof__told prof__told;

/* It begins with a byte that no text has, and has line ends that a conversion would change. */
#define STRING(x)  STRING_(x)
#define STRING_(x) #x
#define VERSION \
    STRING(PROF_VERSION_MAJOR) "." STRING(PROF_VERSION_MINOR) "." STRING(PROF_VERSION_PATCH)

struct prof__tables_root prof__tables_root __attribute__((used, aligned(16))) = {
    .magic = "\x8flibprof\r\n\x1a\n\x00ro",
    .layout = PROF__TABLES_ROOT_LAYOUT,
    .size = sizeof(struct prof__tables_root),
    .version = VERSION,
    .slab = { &prof__row_stores[0].slab, &prof__row_stores[1].slab, &prof__row_stores[2].slab,
              &prof__stack_stores[0].slab, &prof__stack_stores[1].slab, &prof__stack_stores[2].slab,
              &prof__label_store.slab },
    .plain = { { prof__lost_rows, sizeof(prof__lost_rows) },
               { prof__row_counts, sizeof(prof__row_counts) } },
    .own = prof__own_pages,
    .n_own = PROF__OWN_PAGES,
    .live = prof__live_segments,
    .custom = prof__custom_names,
    .told = &prof__told,
};

void prof__tables_root_magic(char ret[PROF__TABLES_ROOT_MAGIC])
{
    for (int i = 0; i < PROF__TABLES_ROOT_MAGIC; i++)
        ret[i] = prof__tables_root.magic[i];
}

/* What the program has told us: names, roots, blocks to be left alone. */
static void each_told(void (*each)(const void *start, size_t size, void *arg), void *arg)
{
    each(prof__custom_names, sizeof(prof__custom_names), arg);
    for (size_t i = 0; i < PROF__TABLES_ROOT_CUSTOMS && prof__custom_names[i]; i++) {
        size_t n = 0;

        while (prof__custom_names[i][n])
            n++;
        each(prof__custom_names[i], n + 1, arg);
    }
    each(&prof__told, sizeof(prof__told), arg);
    if (prof__told.ignored)
        each(prof__told.ignored, PROF__TOLD_IGNORED * sizeof(*prof__told.ignored), arg);
}

void prof__tables_root_each(void (*each)(const void *start, size_t size, void *arg), void *arg)
{
    each(&prof__tables_root, sizeof(prof__tables_root), arg);
    each(prof__own_pages, sizeof(prof__own_pages), arg);
    for (int i = 0; i < PROF__TABLES_ROOT_PLAIN; i++)
        each(prof__tables_root.plain[i].at, prof__tables_root.plain[i].size, arg);
    if (prof__tables_root.heap_rate)
        each((const void *)(uintptr_t)prof__tables_root.heap_rate,
             sizeof(*prof__tables_root.heap_rate), arg);
    each_told(each, arg);
    prof__live_memory(each, arg);
    for (int i = 0; i < PROF__TABLES_ROOT_SLABS; i++) {
        struct prof__slab *s = prof__tables_root.slab[i];
        uint64_t used = atomic_load_explicit(&s->used, memory_order_relaxed);

        each(s, sizeof(*s), arg);
        for (size_t c = 0; c < PROF__SLAB_CHUNKS && c * PROF__SLAB_CHUNK < used; c++) {
            /* Acquire: as who reads the chunk. */
            char *chunk = atomic_load_explicit(&s->chunk[c], memory_order_acquire);
            uint64_t here = used - c * PROF__SLAB_CHUNK;

            if (chunk)
                each(chunk, (size_t)PROF_MIN(here, (uint64_t)PROF__SLAB_CHUNK), arg);
        }
    }
}
