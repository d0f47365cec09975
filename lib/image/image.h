/*
 * image.h - the memory of a process as data.
 *
 * Whoever looks for references wants to know what is mapped, what the words there are, and what
 * only the kernel or the processor holds. Where that comes from is the backend's business: the
 * process itself (self.c), another one, or a core file. So nothing above this file may follow a
 * pointer, ask for a thread of its own, or know that it is inside of what it looks at.
 *
 *   refresh()    takes a new view: mappings, threads, kernel-held pointers. All of it lives in the
 *                view and is given up at the next refresh()
 *   read()       bytes of the process, as they are now: a process that runs goes on meanwhile
 *   presence()   which pages have anything to read, without touching the others
 *   blocks()     the sampled blocks in use
 *
 * An image is used by one thread at a time. Context of all of it: normal; nothing here allocates
 * with malloc.
 */
#ifndef PROF_IMAGE_IMAGE_H
#define PROF_IMAGE_IMAGE_H

#include <sys/types.h>

#include "arch/registers.h"
#include "base/arena.h"
#include "base/compiler.h"

enum { PROF__IMAGE_PAGE = 4096 };

/* One line of the memory map. */
struct prof__image_map {
    uint64_t start, end, offset, inode;
    bool readable, writable, executable, shared;
    bool anonymous;   /* no file behind it */
    bool untouchable; /* a device's, or the kernel's: reading it may have effects */
    const char *name; /* as /proc/PID/maps has it: a path, "[heap]", or "" */
};

/* The same of a line that has been read. The name is the line's. */
struct prof__map;
struct prof__image_map prof__image_map_from(const struct prof__map *m);

/* A function activation of a thread, innermost first. */
struct prof__image_frame {
    uint64_t pc;    /* of an instruction, for looking up; or a pseudo frame of stack.h */
    uint64_t cfa;   /* the frame's words are below this; 0: not known */
    uint32_t known; /* registers of the caller that are, by the processor's numbers */
};

/* Of a thread that was asked where it is, all that the kernel had put away. */
enum { PROF__IMAGE_REGISTERS = PROF_MAX(24, (int)PROF__CONTEXT_WORDS) };

struct prof__image_thread {
    pid_t tid;
    char name[32];
    bool running;
    bool ours;   /* does the looking, and has nothing of the program's on its stack */
    uint64_t sp; /* 0: not known */
    uint64_t pc;
    uint64_t thread_pointer; /* 0: not known */
    uint64_t reg[PROF__IMAGE_REGISTERS];
    unsigned n_regs;
    bool has_kept;
    uint64_t kept[6];     /* those a function must restore, if has_kept: rbx, rbp, r12 to r15 */
    unsigned hidden_regs; /* registers that may hold a pointer and could not be read */
    const struct prof__image_frame *frame;
    size_t n_frames;
    /* Of another process only: */
    pid_t own_tid;     /* what it calls itself, in its namespace; 0: not known */
    char state;        /* R, S, D, T, ... as ps shows it; 0: not known */
    char waits_in[32]; /* where in the kernel; "" if not told */
    int system_call;   /* -1: none, or not known */
    uint64_t argument[6];
    void *stack; /* its stack as it was when it was stopped; NULL: it was not */
    uint64_t stack_from;
    size_t stack_n;
};

/* A pointer that the program gave to the kernel and may have kept nowhere else. */
struct prof__image_held {
    uint64_t value;
    enum { PROF__HELD_EPOLL, PROF__HELD_TIMER } by;
    int number; /* of the descriptor, or of the timer */
};

/* A stretch of memory. */
struct prof__image_span {
    uint64_t start, end;
};

/* A sampled block in use. */
struct prof__image_block {
    uint64_t address, size;
    bool fed; /* by prof_heap_alloc(): no block of malloc's, though it may lie in one */
    uint32_t row;
    uint32_t birth_s;       /* by the clock of now_s() */
    int64_t objects, bytes; /* its weight, as in the row */
};

enum prof__page_state {
    PROF__PAGE_ABSENT,  /* never written, or given back: nothing to read */
    PROF__PAGE_PRESENT, /* in memory */
    PROF__PAGE_SWAPPED, /* reading brings it back in */
};

struct prof__image {
    const struct prof__image_ops *ops;
    void *backend;
    const char *root; /* before paths of its files, to open them here: "" or "/proc/PID/root" */
    const char *program, *program_file; /* but this one is opened by that; NULL: by its path */

    /* The view. */
    struct prof__arena arena;
    const struct prof__image_map *map; /* by rising address */
    size_t n_maps;
    struct prof__image_thread *thread;
    size_t n_threads;
    const struct prof__image_held *held;
    size_t n_held;
    const struct prof__image_span *own; /* the profiler's memory, by rising address */
    size_t n_own;
    uint64_t own_unlisted;                 /* bytes of it that are not in there */
    const struct prof__image_block *given; /* of another's image: blocks(), as told by who looks */
    size_t n_given;
    /* What could not be had, for the reader: */
    unsigned threads_unreadable, threads_silent, descriptors_unreadable;
    bool presence_unknown; /* presence() guesses */
    uint64_t absent_bytes; /* of a core file that has been cut short: what it should have had */
    bool swapped;          /* some pages are swapped out, or may be */
};

struct prof__image_ops {
    /* 0, or a negative errno with its sentence set. */
    int (*refresh)(struct prof__image *image);
    /* How many of n bytes at `from` could be read, from the first on; 0 if not even that. */
    size_t (*read)(struct prof__image *image, uint64_t from, void *to, size_t n);
    /* Of n pages from a page boundary on: enum prof__page_state of each. */
    void (*presence)(struct prof__image *image, uint64_t from, size_t n, uint8_t *ret_state);
    /* The mappings, and the profiler's own memory, as they are at this moment: into ret->map and
     * ret->own, in ret->arena. 0 or a negative errno. */
    int (*look_again)(struct prof__image *image, struct prof__image *ret);
    int (*blocks)(struct prof__image *image,
                  int (*each)(const struct prof__image_block *block, void *arg), void *arg);
    uint32_t (*now_s)(struct prof__image *image);
    /* The function at an address of code, in `a`; NULL: not known. */
    const char *(*function)(struct prof__image *image, struct prof__arena *a, uint64_t pc);
    /* Bytes that who looks may take; UINT64_MAX: as many as there are. */
    uint64_t (*headroom)(struct prof__image *image);
    void (*close)(struct prof__image *image);
};

static inline int prof__image_refresh(struct prof__image *image)
{
    return image->ops->refresh(image);
}

static inline size_t prof__image_read(struct prof__image *image, uint64_t from, void *to, size_t n)
{
    return image->ops->read(image, from, to, n);
}

/* One word; false: not readable. */
static inline bool prof__image_word(struct prof__image *image, uint64_t from, uint64_t *ret)
{
    return image->ops->read(image, from, ret, sizeof(*ret)) == sizeof(*ret);
}

/* Is a file of that name libc? */
bool prof__image_is_libc(const char *path);

/* The name of an allocator, if the file is the library of one that is not libc's; NULL. */
const char *prof__image_other_allocator(const char *path);

/* Registers of all threads that may hold a pointer and could not be read. */
unsigned prof__image_hidden_regs(const struct prof__image *image);

/* The mapping that covers `address`, or NULL. */
const struct prof__image_map *prof__image_map_of(const struct prof__image *image, uint64_t address);

/* The name that a file has below the image's root, within `path`. Of a process that has changed its
 * root by chroot(2) the kernel tells paths as they are outside; of one in a mount namespace of its
 * own, as they are in there. */
const char *prof__image_name(const struct prof__image *image, const char *path);

/* The path that a file of the image is opened by here, in `a`. NULL: out of memory. */
const char *prof__image_path(const struct prof__image *image, struct prof__arena *a,
                             const char *path);

/* What a file of the kernel's says is mapped, "/proc/PID/maps", into the view. 0 or a negative
 * errno, the sentence set unless it is -ENOMEM. */
int prof__image_take_maps(struct prof__image *image, const char *file);

/* Give everything back; the image may be zeroed memory. */
void prof__image_close(struct prof__image *image);

/*
 * The process itself, through the kernel: process_vm_readv(2), /proc/self. Nothing is stopped, no
 * thread that waits is disturbed, and no page is brought into memory. The calling thread's own
 * stack is part of the image from `entry`, a frame address, upwards; below lies the work itself.
 * 0 or -ENOMEM.
 */
int prof__image_self(struct prof__image *ret, uintptr_t entry);

/* Its blocks(): those of the live table. */
int prof__image_live_blocks(struct prof__image *image,
                            int (*each)(const struct prof__image_block *block, void *arg),
                            void *arg);

#endif
