/*
 * plan.h - an image cut into what is worth looking at, by what it is.
 *
 *   image -> modules' data, stacks in use, thread-local storage, other mappings -> areas
 *
 * Left out are the profiler's own memory, what lies below stack pointers, and the stacks of ended
 * threads, which glibc keeps for the next: they hold addresses that nobody will use.
 */
#ifndef PROF_SCAN_PLAN_H
#define PROF_SCAN_PLAN_H

#include "image/image.h"
#include "table/root.h"

/* What holds a block in the end, in the order in which one is named when there are several. */
enum prof__root {
    PROF__ROOT_GLOBAL, /* data of the program or of a library: who is the module */
    PROF__ROOT_NAMED,  /* told by prof_heap_root(): who is its number */
    PROF__ROOT_TLS,    /* thread-local storage, and pthread keys: who is the thread */
    PROF__ROOT_KERNEL, /* epoll data, timers: who is the index in image->held */
    PROF__ROOT_SHARED, /* a shared mapping: who is the mapping, as for the next */
    PROF__ROOT_MAPPED, /* memory that is none of all this */
    PROF__ROOT_STACK,  /* who is the thread */
    PROF__ROOT_REGISTER,
    PROF__ROOTS,
};

struct prof__area {
    uint64_t start, end; /* multiples of 8 */
    enum prof__root root;
    uint32_t who;
};

/* An object whose data is in the image. */
struct prof__plan_module {
    const char *path;
    uint64_t bias;     /* address in the image - address in the file */
    bool is_allocator; /* another than libc's */
};

/* Where the data of one is, to the end of its last page. */
struct prof__plan_data {
    uint64_t start, end;
    uint32_t module;
};

/* What a thread's stack takes, in use or not, with its thread-local storage at the end. */
struct prof__plan_stack {
    uint64_t start, end;
    bool ended; /* glibc keeps it for a thread to come */
};

struct prof__plan {
    struct prof__image *image;
    struct prof__arena *arena;
    struct prof__plan_module *module;
    size_t n_modules;
    struct prof__plan_data *data; /* by rising address */
    size_t n_data;
    struct prof__plan_stack *stack; /* those that are certain; in no order */
    size_t n_stacks, room_stacks;
    uint64_t tls_bytes; /* of static thread-local storage, at most */
    struct prof__image_span *excluded;
    size_t n_excluded, room_excluded;
    struct prof__area *area; /* in no order but those of one root by rising address */
    size_t n_areas, room_areas;
    const uint64_t *ignored; /* addresses of blocks that are in use because the program says so */
    size_t n_ignored;
    unsigned dead_stacks, whole_stacks; /* left out; and taken whole for want of a stack pointer */
};

/* The first half: modules, threads, what is left out. All memory is from `a`. 0 or -ENOMEM. */
int prof__plan_begin(struct prof__plan *p, struct prof__image *image, struct prof__arena *a);

/* Leave this out too. 0 or -ENOMEM. */
int prof__plan_exclude(struct prof__plan *p, uint64_t start, uint64_t end);

/* The second half: all the areas. 0 or -ENOMEM. */
int prof__plan_finish(struct prof__plan *p, const struct prof__named_root *named, size_t n);

/*
 * Areas that have been mapped since the image was taken: what is there now and was not then, less
 * what is left out. *ret_n of them, in the plan's arena. A list whose newest comes first may begin
 * there, in every pass. 0, -ENOMEM or another negative errno.
 */
int prof__plan_more(const struct prof__plan *p, struct prof__area **ret, size_t *ret_n);

#endif
