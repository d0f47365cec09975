/*
 * arena.h - libprof's own memory: mmapped, never malloc, so that it neither disturbs nor shows in
 * the heap that is being profiled.
 *
 * Two kinds. A slab is shared, append-only and bounded: the tables live in it for ever, and it is
 * filled from hooks and signal handlers. An arena belongs to one thread and one request, and is
 * given back to the kernel whole.
 */
#ifndef PROF_BASE_ARENA_H
#define PROF_BASE_ARENA_H

#include "base/compiler.h"
#include "base/reserve.h"

/* Anonymous zeroed pages, or NULL; errno is kept. Context: signal. */
void *prof__pages_map(size_t size);
void prof__pages_unmap(void *p, size_t size);

/* Bytes held through prof__pages_map() now. Context: signal. */
size_t prof__pages_total(void);

/* Call `each` for what is mapped through prof__pages_map() now, in no order: memory that is not the
 * program's, and that names its blocks without using them. What comes or goes meanwhile may be
 * missed. Returns the bytes that there was no room to list. Context: signal. */
size_t prof__pages_each(void (*each)(uintptr_t start, size_t size, void *arg), void *arg);

/* That list itself, for who has only the memory (table/root.h). */
enum { PROF__OWN_PAGES = 1024 }; /* mappings listed; a process has some fifty */
struct prof__own_pages {
    _Atomic uintptr_t start; /* 0: free; 1: being filled or emptied */
    _Atomic size_t size;
};
extern struct prof__own_pages prof__own_pages[PROF__OWN_PAGES];

/* --- slab ----------------------------------------------------------------------------------- */

#define PROF__SLAB_CHUNK  ((size_t)1 << 20)
#define PROF__SLAB_CHUNKS 256

/*
 * Memory addressed by 32-bit references in units of 8 bytes. Zero is a valid empty slab; set
 * `limit` to bound it. Reference 0 means none.
 */
struct prof__slab {
    _Atomic(char *) chunk[PROF__SLAB_CHUNKS];
    _Atomic uint64_t used; /* bytes handed out, gaps at chunk ends included */
    _Atomic size_t limit;  /* bytes; 0: PROF__SLAB_CHUNKS chunks */
};

/* Reference to `size` zeroed bytes (at most a chunk), 8-aligned; 0 when the limit is reached or
 * the kernel has no memory. Takes no lock. Context: signal. */
uint32_t prof__slab_alloc(struct prof__slab *s, size_t size);

/* Take all of it back, for the next to fill. Nobody has a reference, or is in here. Addresses stay
 * mapped, and read as zeros. Context: normal. */
void prof__slab_empty(struct prof__slab *s);

/* Context: signal. */
static inline void *prof__slab_at(struct prof__slab *s, uint32_t ref)
{
    uint64_t at = (uint64_t)ref * 8;

    /* Relaxed: whoever has the reference got it from somebody who saw the chunk published. */
    return atomic_load_explicit(&s->chunk[at / PROF__SLAB_CHUNK], memory_order_relaxed) +
           at % PROF__SLAB_CHUNK;
}

/* --- arena ---------------------------------------------------------------------------------- */

struct prof__arena_block;

/* Zero is a valid empty arena. */
struct prof__arena {
    struct prof__arena_block *block; /* newest first */
    size_t used;                     /* in the newest */
    struct prof__claim *claim;       /* on the reserve, when the kernel refuses; NULL: none */
};

/* `size` zeroed bytes, 16-aligned, or NULL. */
void *prof__arena_alloc(struct prof__arena *a, size_t size);

/* n items of `size` bytes, overflow checked. */
void *prof__arena_array(struct prof__arena *a, size_t n, size_t size);

/* Copies of strings; NULL when out of memory. */
char *prof__arena_strdup(struct prof__arena *a, const char *s);
char *prof__arena_strndup(struct prof__arena *a, const char *s, size_t n);
char *prof__arena_printf(struct prof__arena *a, const char *format, ...) PROF_PRINTF(2, 3);

/* The n texts behind each other; NULL also if one of them is NULL, as an allocation that failed. */
char *prof__arena_join(struct prof__arena *a, const char *const *text, size_t n);

/* Give everything back, but for the claim; the arena is empty again. What is in the reserve stays
 * there until the claim ends. */
void prof__arena_free(struct prof__arena *a);

#endif
