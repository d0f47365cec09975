/*
 * plan.c - what is where.
 *
 * Threads' stacks. glibc maps a guard, then the stack, then, at its end, static thread-local data
 * and the control block that the thread pointer points to; a control block is known by two of its
 * words that hold its own address (tcbhead_t: tcb, self) and by the thread id further on (struct
 * pthread: tid). The kernel makes one mapping of neighbours, so a stack ends where its control
 * block does and not where the mapping ends. What has a guard below it, a control block, and an id
 * that no thread has is the stack of one that has ended. Anything less certain is looked at.
 *
 *   guard | not in use | sp .. frames .. | static TLS | control block | (other memory)
 *
 * A module's data is where its program headers say, which are read from the image itself.
 */
#include "scan/plan.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

enum {
    PAGE = PROF__IMAGE_PAGE,
    RED_ZONE = 128,
    RUNNING_ZONE = 16 * 1024, /* below the stack pointer of a thread that runs on meanwhile */
    TLS_SURPLUS = 1664,       /* glibc's static surplus for libraries loaded later */
    CONTROL_BLOCK = 2304,     /* sizeof(struct pthread), about */
    TID_AT = 0x2d0,           /* of struct pthread, in all glibc for x86-64 */
    SEGMENTS_MAX = 64,
};

#define FULL_STACK ((uint64_t)64 << 20) /* a control block is not looked for further up */

/* --- lists ----------------------------------------------------------------------------------- */

static void *grown(struct prof__arena *a, void *old, size_t n, size_t *room, size_t size)
{
    size_t more = *room ? *room * 2 : 256;
    void *p = prof__arena_array(a, more, size);

    if (!p)
        return NULL;
    if (n)
        memcpy(p, old, n * size);
    *room = more;
    return p;
}

int prof__plan_exclude(struct prof__plan *p, uint64_t start, uint64_t end)
{
    if (p->n_excluded == p->room_excluded) {
        void *more =
            grown(p->arena, p->excluded, p->n_excluded, &p->room_excluded, sizeof(*p->excluded));

        if (!more)
            return -ENOMEM;
        p->excluded = more;
    }
    p->excluded[p->n_excluded++] = (struct prof__image_span) { start, end };
    return 0;
}

static int add_area(struct prof__plan *p, uint64_t start, uint64_t end, enum prof__root root,
                    uint32_t who)
{
    start = (start + 7) & ~(uint64_t)7;
    end &= ~(uint64_t)7;
    if (start >= end)
        return 0;
    if (p->n_areas == p->room_areas) {
        void *more = grown(p->arena, p->area, p->n_areas, &p->room_areas, sizeof(*p->area));

        if (!more)
            return -ENOMEM;
        p->area = more;
    }
    p->area[p->n_areas++] = (struct prof__area) { start, end, root, who };
    return 0;
}

/* --- modules --------------------------------------------------------------------------------- */

static bool is_elf(const Elf64_Ehdr *h)
{
    return memcmp(h->e_ident, ELFMAG, SELFMAG) == 0 && h->e_ident[EI_CLASS] == ELFCLASS64 &&
           h->e_phentsize == sizeof(Elf64_Phdr) && h->e_phnum > 0 && h->e_phnum <= SEGMENTS_MAX;
}

/* The program headers of the object whose file begins at `start`. How many; 0: it is none. */
static size_t read_segments(struct prof__image *image, uint64_t start,
                            Elf64_Phdr segment[SEGMENTS_MAX])
{
    Elf64_Ehdr h;

    if (prof__image_read(image, start, &h, sizeof(h)) != sizeof(h) || !is_elf(&h))
        return 0;
    size_t size = h.e_phnum * sizeof(*segment);
    return prof__image_read(image, start + h.e_phoff, segment, size) == size ? h.e_phnum : 0;
}

/* Note the data of one module. */
static int add_module(struct prof__plan *p, const struct prof__image_map *m,
                      struct prof__plan_data *extent, size_t *n_extents, size_t room)
{
    Elf64_Phdr segment[SEGMENTS_MAX];
    size_t n = read_segments(p->image, m->start, segment);
    uint64_t bias = m->start;
    bool any = false;

    for (size_t i = 0; i < n; i++)
        if (segment[i].p_type == PT_LOAD && segment[i].p_offset == 0) {
            bias = m->start - segment[i].p_vaddr;
            break;
        }
    for (size_t i = 0; i < n; i++) {
        const Elf64_Phdr *s = &segment[i];

        if (s->p_type == PT_TLS)
            p->tls_bytes += s->p_memsz + s->p_align;
        if (s->p_type != PT_LOAD || !(s->p_flags & PF_W) || *n_extents == room)
            continue;
        /* To the end of its last page, which is nobody else's. */
        extent[(*n_extents)++] = (struct prof__plan_data) {
            bias + s->p_vaddr,
            (bias + s->p_vaddr + s->p_memsz + PAGE - 1) & ~(uint64_t)(PAGE - 1),
            (uint32_t)p->n_modules,
        };
        any = true;
    }
    if (any)
        p->module[p->n_modules++] =
            (struct prof__plan_module) { m->name, bias,
                                         prof__image_other_allocator(m->name) != NULL };
    return 0;
}

static int take_modules(struct prof__plan *p)
{
    struct prof__image *image = p->image;
    size_t heads = 0, n = 0;

    for (size_t i = 0; i < image->n_maps; i++)
        heads += !image->map[i].anonymous && image->map[i].offset == 0;
    struct prof__plan_data *extent = prof__arena_array(p->arena, heads * 2 + 1, sizeof(*extent));
    p->module = prof__arena_array(p->arena, heads + 1, sizeof(*p->module));
    if (!extent || !p->module)
        return -ENOMEM;
    for (size_t i = 0; i < image->n_maps; i++) {
        const struct prof__image_map *m = &image->map[i];

        if (!m->anonymous && m->offset == 0 && m->readable && !m->untouchable && !m->shared)
            add_module(p, m, extent, &n, heads * 2);
    }
    for (size_t i = 1; i < n; i++) { /* nearly sorted */
        struct prof__plan_data e = extent[i];
        size_t k = i;

        for (; k > 0 && extent[k - 1].start > e.start; k--)
            extent[k] = extent[k - 1];
        extent[k] = e;
    }
    p->data = extent;
    p->n_data = n;
    return 0;
}

/* --- threads --------------------------------------------------------------------------------- */

struct stacks {
    int32_t *tid; /* of the threads there are, sorted */
    size_t n;
    uint64_t offset_in_page; /* of a control block; 0: not known */
};

static bool is_alive(const struct stacks *s, int32_t tid)
{
    size_t low = 0, high = s->n;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (s->tid[middle] < tid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->n && s->tid[low] == tid;
}

struct control {
    uint64_t at; /* 0: none */
    int32_t tid; /* as it says */
};

/* The first control block in [from, end), in pages that are there. */
static struct control find_control(struct prof__image *image, uint64_t from, uint64_t end)
{
    enum { STEP = 64, BATCH = 16 };
    uint64_t page[PAGE / 8];
    uint8_t state[BATCH];
    struct control none = { 0 };

    end = PROF_MIN(end, from + FULL_STACK);
    for (uint64_t at = from & ~(uint64_t)(PAGE - 1); at < end; at += BATCH * PAGE) {
        size_t n = PROF_MIN((size_t)BATCH, (end - at + PAGE - 1) / PAGE);

        image->ops->presence(image, at, n, state);
        for (size_t i = 0; i < n; i++) {
            uint64_t base = at + i * PAGE;

            if (state[i] != PROF__PAGE_PRESENT || prof__image_read(image, base, page, PAGE) != PAGE)
                continue;
            for (size_t k = 0; k < PAGE / 8; k += STEP / 8) {
                struct control c = { base + k * 8, 0 };
                uint32_t tid;

                if (c.at >= from && page[k] == c.at && page[k + 2] == c.at &&
                    prof__image_read(image, c.at + TID_AT, &tid, sizeof(tid)) == sizeof(tid)) {
                    c.tid = (int32_t)tid;
                    return c;
                }
            }
        }
    }
    return none;
}

static uint64_t control_end(uint64_t control, const struct prof__image_map *m)
{
    return PROF_MIN(m->end, (control + CONTROL_BLOCK + PAGE - 1) & ~(uint64_t)(PAGE - 1));
}

static bool has_guard(const struct prof__image *image, const struct prof__image_map *m)
{
    return m > image->map && m[-1].end == m->start && !m[-1].readable && !m[-1].writable;
}

/* Static thread-local data lies right below the control block. */
static int add_thread_data(struct prof__plan *p, uint64_t low, uint64_t control, uint64_t end,
                           uint32_t who, uint64_t *ret_frames_end)
{
    uint64_t data = control - PROF_MIN(control - low, (p->tls_bytes + TLS_SURPLUS + 63) & ~63ull);

    *ret_frames_end = data;
    return add_area(p, data, end, PROF__ROOT_TLS, who);
}

/* All of a stack. What is in use of it has been noted before. */
static int add_stack(struct prof__plan *p, uint64_t start, uint64_t end, bool ended)
{
    if (p->n_stacks == p->room_stacks) {
        void *more = grown(p->arena, p->stack, p->n_stacks, &p->room_stacks, sizeof(*p->stack));

        if (!more)
            return -ENOMEM;
        p->stack = more;
    }
    p->stack[p->n_stacks++] = (struct prof__plan_stack) { start, end, ended };
    return prof__plan_exclude(p, start, end);
}

/* The stack that a thread stands on. */
static int take_stack(struct prof__plan *p, struct stacks *s, uint32_t who)
{
    struct prof__image_thread *t = &p->image->thread[who];
    const struct prof__image_map *m = t->sp ? prof__image_map_of(p->image, t->sp) : NULL;
    int r;

    for (unsigned i = 0; i < t->n_regs; i++)
        if (t->reg[i] == t->sp)
            t->reg[i] = 0;
    if (!m || !m->readable || !m->writable)
        return 0;
    bool first = strcmp(m->name, "[stack]") == 0;
    struct control c = { 0 };
    if (!first)
        c = find_control(p->image, t->sp, m->end);
    if (c.at && c.tid != t->tid)
        c.at = 0; /* some other thread's, further up: we are on a stack of the program's making */
    uint64_t low = m->start, end = m->end, frames_end = m->end;
    if (c.at) {
        t->thread_pointer = c.at;
        s->offset_in_page = c.at & (PAGE - 1);
        end = control_end(c.at, m);
        if ((r = add_thread_data(p, t->sp, c.at, end, who, &frames_end)) < 0)
            return r;
    }
    uint64_t zone = t->running ? RUNNING_ZONE : RED_ZONE;
    uint64_t sp = t->sp - PROF_MIN(t->sp - low, zone);
    if (!t->ours && (r = add_area(p, sp, frames_end, PROF__ROOT_STACK, who)) < 0)
        return r;
    /* What is below is not in use only where it is certain to be this stack's. */
    if (first || (c.at && has_guard(p->image, m)))
        return add_stack(p, low, end, false);
    return prof__plan_exclude(p, sp, end);
}

/* A mapping with a guard that no thread stands on. */
static int take_idle_stack(struct prof__plan *p, struct stacks *s, const struct prof__image_map *m)
{
    struct control c = find_control(p->image, m->start, m->end);
    uint64_t frames_end;
    int r;

    if (!c.at || (s->offset_in_page && (c.at & (PAGE - 1)) != s->offset_in_page))
        return 0;
    uint64_t end = control_end(c.at, m);
    if (c.tid == 0 || !is_alive(s, c.tid)) {
        p->dead_stacks++;
        return add_stack(p, m->start, end, true);
    }
    uint32_t who = 0;
    while (who < p->image->n_threads && p->image->thread[who].tid != c.tid)
        who++;
    if (who == p->image->n_threads)
        return 0;
    /* Its owner is somewhere else just now, or nobody could say where. */
    p->whole_stacks++;
    p->image->thread[who].thread_pointer = c.at;
    if ((r = add_thread_data(p, m->start, c.at, end, who, &frames_end)) < 0 ||
        (r = add_area(p, m->start, frames_end, PROF__ROOT_STACK, who)) < 0)
        return r;
    return add_stack(p, m->start, end, false);
}

static bool is_plain(const struct prof__image_map *m)
{
    return m->anonymous && m->readable && m->writable && !m->shared && !m->untouchable;
}

static int take_threads(struct prof__plan *p)
{
    struct prof__image *image = p->image;
    struct stacks s = { .n = image->n_threads };
    int r = 0;

    s.tid = prof__arena_array(p->arena, s.n + 1, sizeof(*s.tid));
    bool *stood_on = prof__arena_array(p->arena, image->n_maps + 1, sizeof(*stood_on));
    if (!s.tid || !stood_on)
        return -ENOMEM;
    for (size_t i = 0; i < s.n; i++) { /* as the kernel lists them: nearly sorted */
        int32_t tid = image->thread[i].tid;
        size_t k = i;

        for (; k > 0 && s.tid[k - 1] > tid; k--)
            s.tid[k] = s.tid[k - 1];
        s.tid[k] = tid;
    }
    for (uint32_t i = 0; i < image->n_threads && r == 0; i++) {
        const struct prof__image_map *m = prof__image_map_of(image, image->thread[i].sp);

        if (m)
            stood_on[m - image->map] = true;
        r = take_stack(p, &s, i);
    }
    for (size_t i = 0; i < image->n_maps && r == 0; i++)
        if (!stood_on[i] && is_plain(&image->map[i]) && has_guard(image, &image->map[i]))
            r = take_idle_stack(p, &s, &image->map[i]);
    return r;
}

/* --- areas ----------------------------------------------------------------------------------- */

int prof__plan_begin(struct prof__plan *p, struct prof__image *image, struct prof__arena *a)
{
    int r;

    *p = (struct prof__plan) { .image = image, .arena = a };
    for (size_t i = 0; i < image->n_own; i++)
        if ((r = prof__plan_exclude(p, image->own[i].start, image->own[i].end)) < 0)
            return r;
    return 0;
}

static void sort_excluded(struct prof__plan *p)
{
    struct prof__image_span *s = p->excluded;

    /* Shell's method: some thousands at most, partly in order. */
    for (size_t gap = p->n_excluded / 2; gap > 0; gap /= 2)
        for (size_t i = gap; i < p->n_excluded; i++) {
            struct prof__image_span one = s[i];
            size_t k = i;

            for (; k >= gap && s[k - gap].start > one.start; k -= gap)
                s[k] = s[k - gap];
            s[k] = one;
        }
}

static bool is_worth_it(const struct prof__image_map *m)
{
    return m->readable && !m->untouchable && (m->writable || (m->anonymous && !m->shared));
}

/* A stretch with nothing left out of it: modules' data, and what is between. */
static int add_pieces(struct prof__plan *p, uint64_t start, uint64_t end, uint32_t map)
{
    const struct prof__plan_data *e = p->data;
    const struct prof__image_map *m = &p->image->map[map];
    enum prof__root rest = m->shared ? PROF__ROOT_SHARED : PROF__ROOT_MAPPED;
    int r = 0;

    for (size_t i = 0; i < p->n_data && e[i].start < end && r == 0; i++) {
        if (e[i].end <= start)
            continue;
        r = add_area(p, start, PROF_MAX(start, e[i].start), rest, map);
        start = PROF_MAX(start, e[i].start);
        if (r == 0)
            r = add_area(p, start, PROF_MIN(end, e[i].end), PROF__ROOT_GLOBAL, e[i].module);
        start = PROF_MIN(end, e[i].end);
    }
    return r < 0 ? r : add_area(p, start, end, rest, map);
}

int prof__plan_finish(struct prof__plan *p, const struct prof__named_root *named, size_t n_named)
{
    size_t x = 0;
    int r = take_modules(p);

    if (r == 0)
        r = take_threads(p);
    for (size_t i = 0; i < n_named && r == 0; i++)
        r = add_area(p, named[i].start, named[i].end, PROF__ROOT_NAMED, (uint32_t)i);
    sort_excluded(p);
    for (size_t i = 0; i < p->image->n_maps && r == 0; i++) {
        const struct prof__image_map *m = &p->image->map[i];
        uint64_t start = m->start;

        if (!is_worth_it(m))
            continue;
        while (x < p->n_excluded && p->excluded[x].end <= start)
            x++;
        for (size_t k = x; k < p->n_excluded && p->excluded[k].start < m->end && r == 0; k++) {
            r = add_pieces(p, start, PROF_MAX(start, p->excluded[k].start), (uint32_t)i);
            start = PROF_MAX(start, p->excluded[k].end);
        }
        if (r == 0 && start < m->end)
            r = add_pieces(p, start, m->end, (uint32_t)i);
    }
    return r;
}

/* --- what is new ----------------------------------------------------------------------------- */

/* [start, end) of a mapping of the second look, less all that was mapped at the first. */
static int add_new(struct prof__plan *more, const struct prof__image *first, uint64_t start,
                   uint64_t end)
{
    int r = 0;

    for (size_t i = 0; i < first->n_maps && start < end && r == 0; i++) {
        const struct prof__image_map *m = &first->map[i];

        if (m->end <= start)
            continue;
        if (m->start >= end)
            break;
        /* What could not be read or written then may have become a heap's. */
        if (!m->readable)
            continue;
        r = add_area(more, start, PROF_MAX(start, m->start), PROF__ROOT_MAPPED, UINT32_MAX);
        start = m->end;
    }
    return r == 0 && start < end ? add_area(more, start, end, PROF__ROOT_MAPPED, UINT32_MAX) : r;
}

int prof__plan_more(const struct prof__plan *p, struct prof__area **ret, size_t *ret_n)
{
    struct prof__plan more = { 0 };
    struct prof__image now;
    int r = p->image->ops->look_again(p->image, &now);

    if (r == 0)
        r = prof__plan_begin(&more, &now, p->arena);
    for (size_t i = 0; i < p->n_excluded && r == 0; i++)
        r = prof__plan_exclude(&more, p->excluded[i].start, p->excluded[i].end);
    sort_excluded(&more);
    size_t x = 0;
    for (size_t i = 0; i < now.n_maps && r == 0; i++) {
        const struct prof__image_map *m = &now.map[i];
        uint64_t start = m->start;

        if (!is_worth_it(m) || !m->anonymous)
            continue;
        while (x < more.n_excluded && more.excluded[x].end <= start)
            x++;
        for (size_t k = x; k < more.n_excluded && more.excluded[k].start < m->end && r == 0; k++) {
            if (start < more.excluded[k].start)
                r = add_new(&more, p->image, start, PROF_MIN(m->end, more.excluded[k].start));
            start = PROF_MAX(start, more.excluded[k].end);
        }
        if (r == 0 && start < m->end)
            r = add_new(&more, p->image, start, m->end);
    }
    prof__arena_free(&now.arena);
    *ret = more.area;
    *ret_n = r == 0 ? more.n_areas : 0;
    return r;
}
