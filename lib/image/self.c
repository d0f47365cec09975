/*
 * self.c - the image of the process that we are in.
 *
 *   read      process_vm_readv(2): the kernel copies, so what is unmapped meanwhile is missing and
 *             nothing worse; where that is refused, /proc/self/mem
 *   presence  /proc/self/pagemap: a page that was never written would be mapped by reading it, and
 *             a swapped one brought in. Opened for each stretch, since a descriptor of ours that is
 *             open for long may be closed by the program, and its number given to a file of its own
 *   threads   thread_stacks.h: place and registers, without disturbing those that wait
 *   blocks    the live table
 */
#include <errno.h>
#include <fcntl.h>
#include <prof/prof.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/registers.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/path.h"
#include "base/sampler.h"
#include "base/slot.h"
#include "base/task.h"
#include "image/headroom.h"
#include "image/held.h"
#include "image/image.h"
#include "image/pagemap.h"
#include "profile/thread_stacks.h"
#include "record/collect_heap.h"
#include "symbol/symbolize.h"
#include "table/live_table.h"
#include "unwind/stack.h"

#define MAPS "/proc/self/maps"

struct self {
    uintptr_t entry; /* of the calling thread's stack */
    struct prof__pagemap pagemap;
};

/* --- the profiler's own memory --------------------------------------------------------------- */

struct own_list {
    struct prof__image_span *span;
    size_t n, room;
};

static void add_own(uintptr_t start, size_t size, void *arg)
{
    struct own_list *l = arg;

    if (l->n < l->room)
        l->span[l->n++] = (struct prof__image_span) { start, start + size };
}

static void count_own(uintptr_t start, size_t size, void *arg)
{
    (void)start, (void)size;
    ++*(size_t *)arg;
}

static void sort_spans(struct prof__image_span *s, size_t n)
{
    for (size_t i = 1; i < n; i++) { /* a few dozen, nearly in order */
        struct prof__image_span one = s[i];
        size_t k = i;

        for (; k > 0 && s[k - 1].start > one.start; k--)
            s[k] = s[k - 1];
        s[k] = one;
    }
}

static int take_own_spans(struct prof__image *image)
{
    struct own_list list = { 0 };

    prof__pages_each(count_own, &list.room);
    list.room += list.room / 4 + 32;
    list.span = prof__arena_array(&image->arena, list.room, sizeof(*list.span));
    if (!list.span)
        return -ENOMEM;
    image->own_unlisted = prof__pages_each(add_own, &list);
    sort_spans(list.span, list.n);
    image->own = list.span;
    image->n_own = list.n;
    return 0;
}

/* --- threads --------------------------------------------------------------------------------- */

static int take_frames(struct prof__image *image, struct prof__image_thread *t,
                       const struct prof__thread_place *p)
{
    struct prof__image_frame *frame =
        prof__arena_array(&image->arena, p->n_frames + 1, sizeof(*frame));

    if (!frame)
        return -ENOMEM;
    for (size_t i = 0; i < p->n_frames; i++)
        frame[i] =
            (struct prof__image_frame) { p->frame_pc[i], p->frame[i].cfa, p->frame[i].known };
    t->frame = frame;
    t->n_frames = p->n_frames;
    return 0;
}

static bool is_libcs(const struct prof__image *image, uint64_t pc)
{
    const struct prof__image_map *m = prof__image_map_of(image, pc);
    const char *name = m ? prof__base_name(m->name) : "";

    return prof__image_is_libc(name) || strncmp(name, "ld-linux", 8) == 0 ||
           strncmp(name, "libpthread", 10) == 0;
}

/*
 * Of a thread that waits, the registers that a function must restore are in the kernel. One that
 * no frame has saved is used by none. Else what is in it is of the innermost frame that saved it,
 * to use it: if that is libc's own, in which the thread waits, it is nothing of the program's.
 */
static unsigned count_hidden(const struct prof__image *image, const struct prof__image_thread *t)
{
    unsigned hidden = 0;

    if (t->sp == 0)
        return PROF__REGISTERS;
    if (t->n_regs >= PROF__CONTEXT_WORDS)
        return 0;
    for (unsigned k = 0; k < PROF__REGISTERS; k++) {
        size_t i = 0;

        if (k == PROF__REG_SP || !(PROF__KEPT >> k & 1))
            continue;
        while (i < t->n_frames && !(t->frame[i].known >> k & 1))
            i++;
        if (i < t->n_frames)
            hidden += !is_libcs(image, t->frame[i].pc);
        else if (t->n_frames == 0 || t->frame[t->n_frames - 1].pc < PROF__PC_PSEUDO_END)
            hidden++; /* the walk did not come to the end */
    }
    return hidden;
}

static int take_threads(struct prof__image *image)
{
    struct self *self = image->backend;
    struct prof__threads_missing missing;
    struct prof__thread_stack *stack;
    pid_t here = prof__gettid();
    size_t n;
    int r = prof__threads_take_places(&image->arena, &stack, &n);

    if (r < 0)
        return r;
    image->thread = prof__arena_array(&image->arena, n + 1, sizeof(*image->thread));
    if (!image->thread)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct prof__image_thread *t = &image->thread[i];
        const struct prof__thread_place *p = stack[i].place;
        struct prof__task_state state;

        t->tid = stack[i].tid;
        if (prof__task_state(t->tid, &state) == 0)
            memcpy(t->name, state.name, sizeof(t->name));
        t->running = stack[i].asked;
        t->sp = t->tid == here ? self->entry : p->sp;
        t->ours = t->tid == here && prof__slot_helper(prof__slot_of(here));
        t->pc = p->pc;
        if (take_frames(image, t, p) < 0)
            return -ENOMEM;
        t->n_regs = PROF_MIN(p->n_words, (unsigned)PROF__IMAGE_REGISTERS);
        for (unsigned k = 0; k < t->n_regs; k++)
            t->reg[k] = p->word[k];
    }
    image->n_threads = n;
    prof__threads_missing(&missing);
    image->threads_silent = missing.no_answer;
    image->threads_unreadable = missing.unreadable;
    return 0;
}

/* Are any pages swapped out? As proc(5) has it: "VmSwap:     0 kB". */
static bool has_swapped(void)
{
    char text[4096];
    int r = prof__task_read(getpid(), "status", text, sizeof(text));
    const char *line = r > 0 ? strstr(text, "\nVmSwap:") : NULL;

    return !line || strspn(line + 8, " \t0") < strcspn(line + 8, "k");
}

/* --- operations ------------------------------------------------------------------------------ */

static int refresh(struct prof__image *image)
{
    struct self *self = image->backend;
    struct prof__image_held *held;
    int r;

    prof__arena_free(&image->arena);
    image->map = NULL;
    image->thread = NULL;
    image->n_maps = image->n_threads = image->n_held = image->n_own = 0;
    self->pagemap.n = 0;
    if ((r = prof__held_read("/proc/self", &image->arena, &held, &image->n_held,
                             &image->descriptors_unreadable)) < 0 ||
        (r = take_threads(image)) < 0 || (r = prof__image_take_maps(image, MAPS)) < 0 ||
        (r = take_own_spans(image)) < 0)
        return r;
    image->held = held;
    pid_t here = prof__gettid();
    for (size_t i = 0; i < image->n_threads; i++) {
        struct prof__image_thread *t = &image->thread[i];

        /* Threads of our own, and this one, have nothing of the program's there. */
        if (t->tid != here && !prof__slot_helper(prof__slot_of(t->tid)))
            t->hidden_regs = count_hidden(image, t);
    }
    image->swapped = has_swapped();
    return 0;
}

static int look_again(struct prof__image *image, struct prof__image *ret)
{
    int r;

    *ret = (struct prof__image) { .backend = image->backend, .root = "" };
    r = prof__image_take_maps(ret, MAPS);
    return r < 0 ? r : take_own_spans(ret);
}

static size_t self_read(struct prof__image *image, uint64_t from, void *to, size_t n)
{
    ssize_t r = prof__memory_read((uintptr_t)from, to, n);

    (void)image;
    return r > 0 ? (size_t)r : 0;
}

/* Where pagemap may not be read: mincore(2) tells the same of pages that were never swapped. */
static void guess_presence(uint64_t from, size_t n, uint8_t *ret_state)
{
    int saved = errno;
    uint64_t size = prof__page_size(), start = from & ~(size - 1);
    uint64_t end = (from + n * PROF__IMAGE_PAGE + size - 1) & ~(size - 1);

    /* A byte for each of the kernel's pages. From the last on: they are as many as ours, or less.
     */
    bool told = n > 0 && syscall(SYS_mincore, (uintptr_t)start, end - start, ret_state) == 0;
    for (size_t i = n; i-- > 0;)
        ret_state[i] = told && ret_state[(from - start + i * PROF__IMAGE_PAGE) / size] & 1
                           ? PROF__PAGE_PRESENT
                           : PROF__PAGE_ABSENT;
    errno = saved;
}

static void presence(struct prof__image *image, uint64_t from, size_t n, uint8_t *ret_state)
{
    struct self *self = image->backend;
    size_t told = prof__pagemap_read(&self->pagemap, "/proc/self/pagemap", from, n, ret_state);

    if (told < n) {
        image->presence_unknown = true;
        guess_presence(from + told * PROF__IMAGE_PAGE, n - told, ret_state + told);
    }
}

struct each_block {
    int (*each)(const struct prof__image_block *block, void *arg);
    void *arg;
};

/* The size of a block is not kept, but what it was weighed with, which tells it; but for a large
 * one that was sampled at another rate than now only to some hundred bytes, and then the most. */
static uint64_t size_of(const struct prof__live *live)
{
    enum { SHIFT = PROF__OBJECT_SHIFT - PROF__BYTE_SHIFT };

    if (live->objects <= 0 || live->bytes <= 0)
        return 0;
    if (live->objects == (int64_t)1 << PROF__OBJECT_SHIFT)
        return (uint64_t)live->bytes >> PROF__BYTE_SHIFT;
    uint64_t exact = prof__sampler_size(live->objects, live->bytes, prof__heap_rate());
    if (exact)
        return exact;
    double size = (double)live->bytes * (1 << SHIFT) / (double)live->objects;
    return (uint64_t)(size + size / (double)live->objects + 0.5);
}

static int give_block(uintptr_t key, const struct prof__live *live, void *arg)
{
    const struct each_block *e = arg;
    struct prof__image_block block = {
        .address = key & ~PROF__LIVE_FED,
        .size = size_of(live),
        .fed = (key & PROF__LIVE_FED) != 0,
        .row = live->row,
        .birth_s = live->birth_s,
        .objects = live->objects,
        .bytes = live->bytes,
    };

    return e->each(&block, e->arg);
}

int prof__image_live_blocks(struct prof__image *image,
                            int (*each)(const struct prof__image_block *block, void *arg),
                            void *arg)
{
    (void)image;
    return prof__live_each(give_block, &(struct each_block) { each, arg });
}

static uint32_t now_s(struct prof__image *image)
{
    (void)image;
    return (uint32_t)(prof__clock_ns(CLOCK_MONOTONIC_COARSE) / 1000000000);
}

static const char *function(struct prof__image *image, struct prof__arena *a, uint64_t pc)
{
    struct prof__modules modules;
    struct prof__symbols symbols;
    struct prof__code_address address = { NULL, pc };

    (void)image;
    if (prof__modules_load(a, &modules) < 0)
        return NULL;
    address.module = prof__modules_find_loaded(&modules, pc);
    if (prof__symbolize(a, &address, 1, &symbols) < 0 || symbols.n == 0)
        return NULL;
    return symbols.line[symbols.n - 1].name;
}

static uint64_t headroom(struct prof__image *image)
{
    (void)image;
    return prof__memory_headroom();
}

static void self_close(struct prof__image *image)
{
    prof__pages_unmap(image->backend, sizeof(struct self));
}

static const struct prof__image_ops ops = {
    .refresh = refresh,
    .read = self_read,
    .presence = presence,
    .look_again = look_again,
    .blocks = prof__image_live_blocks,
    .now_s = now_s,
    .function = function,
    .headroom = headroom,
    .close = self_close,
};

int prof__image_self(struct prof__image *ret, uintptr_t entry)
{
    struct self *self = prof__pages_map(sizeof(*self));

    *ret = (struct prof__image) { 0 };
    if (!self)
        return -ENOMEM;
    self->entry = entry;
    ret->ops = &ops;
    ret->root = "";
    ret->backend = self;
    return 0;
}
