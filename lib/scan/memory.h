/*
 * memory.h - where the memory of a process is: its RSS, cut into what each part is for.
 *
 *   smaps -> mappings -> pieces by what has a claim on them -> parts
 *
 * Claims, the first that holds: libprof's own pages, heaps of glibc's malloc, stacks of threads,
 * data of modules, who has mapped it. What nobody claims is what the mapping says it is. Sums are
 * the kernel's: of each mapping all that is resident goes to some part.
 */
#ifndef PROF_SCAN_MEMORY_H
#define PROF_SCAN_MEMORY_H

#include "image/resident.h"
#include "scan/scan.h"

enum prof__memory_kind {
    PROF__MEMORY_HEAP,      /* in use, and told by the heap profile */
    PROF__MEMORY_UNTOLD,    /* in use by malloc's books, and not told by it */
    PROF__MEMORY_FREE,      /* whole pages that malloc could give back */
    PROF__MEMORY_HOLES,     /* free, in pages that also have blocks in use */
    PROF__MEMORY_ALLOCATOR, /* an allocator's that is not known from inside, beyond the heap profile
                             */
    PROF__MEMORY_ANONYMOUS, /* mapped by somebody else */
    PROF__MEMORY_STACKS,
    PROF__MEMORY_ENDED, /* stacks kept for threads to come */
    PROF__MEMORY_DATA,
    PROF__MEMORY_CODE,
    PROF__MEMORY_FILES,
    PROF__MEMORY_SHARED,
    PROF__MEMORY_HUGETLB, /* not in RSS */
    PROF__MEMORY_KERNEL,  /* vdso and the like */
    PROF__MEMORY_OWN,
    PROF__MEMORY_KINDS,
};

enum {
    PROF__MEMORY_PARTS = 50000,  /* and what is more is "[others]" of its kind */
    PROF__MEMORY_OWN_MAX = 1024, /* mappings of our own */
};

struct prof__memory_part {
    enum prof__memory_kind kind;
    const char *name; /* valid UTF-8; "": it has none */
    uint32_t row;     /* who has mapped it; 0: not known */
    uint64_t resident, swapped;
    uint64_t huge;   /* of those resident, about, in transparent huge pages */
    uint64_t mapped; /* addresses taken */
};

struct prof__memory {
    struct prof__arena *arena;
    struct prof__memory_part *part; /* in no order */
    size_t n, room;
    uint32_t *slot; /* open addressing: index + 1 */
    size_t n_slots;

    bool walked;            /* glibc's heap was */
    const char *why_not;    /* else; NULL: there is none */
    const char *allocator;  /* the other one's name; "": not known */
    uint64_t garbled_bytes; /* of the heap, that could not be walked and count as in use */
    uint64_t page_tables;
    uint64_t look_bytes; /* resident for this look, and given back after it: in no part */
    unsigned arena_heaps, threads;
    bool counted;          /* page by page, for want of smaps */
    bool presence_unknown; /* pagemap cannot be read: parts of a mapping are estimates */
};

/* What libprof has mapped before the scan begins: what it maps for the scan is told apart. */
struct prof__memory_own {
    uintptr_t start[PROF__MEMORY_OWN_MAX];
    size_t n;
};
void prof__memory_begin(struct prof__memory_own *ret);

/* The scan has begun. Memory from `a`. 0 or a negative errno. */
int prof__memory_take(struct prof__scan *s, const struct prof__memory_own *before,
                      struct prof__arena *a, struct prof__memory *ret);

#endif
