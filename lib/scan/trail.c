/*
 * trail.c - questions, the rounds that answer them, and paths from the answers.
 */
#include "scan/trail.h"

#include <errno.h>
#include <string.h>

#include "scan/areas.h"
#include "scan/roots.h"
#include "scan/wanted.h"
#include "scan/words.h"

enum {
    WINDOW = 64 * 1024, /* a larger block is likely to be sampled */
    /* A block may point into itself, a short std::string 16 bytes up, other small containers 24.
     * What is so near to the place that it points to tells nothing. No more than that: nodes of a
     * list may lie one behind the other, and each is known by the one before it only. */
    NEAR = 24,
    QUESTIONS = 1 << 17,
    LEAST_SIZE = 16,
};

/* Where a word is: in an area, whose `who` it is, or in the target of that number. */
struct where {
    uint64_t slot;
    uint32_t who;
    uint8_t root;
    bool found;
};

struct question {
    uint64_t slot;
    uint64_t floor; /* the block around it begins no lower, */
    uint64_t start; /* but here; 0: nothing points there */
    /* What does, of each the first: a root that is none of the following; a target; memory that may
     * be the heap; a thread, which may be long done with it. */
    struct where by[4];
    uint64_t bytes; /* the block has so many, at least */
    uint32_t same;  /* the first question that is of the same block: that has the answers */
    uint32_t path;  /* of the block, itself included */
};

enum { BY_ROOT, BY_TARGET, BY_HEAP, BY_THREAD, WAYS };

struct round {
    struct prof__trail *trail;
    struct question *q; /* of all rounds, */
    uint32_t n, room;
    uint32_t begin[PROF__TRAIL_ROUNDS + 2]; /* where each round's are, by rising slot; */
    uint32_t rounds;                        /* so many; beyond them is the one to come, unsorted */
    struct prof__ranges ranges;
    struct prof__wanted wanted;
};

/* --- what is known after the pass ------------------------------------------------------------- */

int prof__trail_init(struct prof__trail *t, struct prof__arena *a, size_t n_targets)
{
    t->from = prof__arena_array(a, n_targets + 1, sizeof(*t->from));
    t->slot = prof__arena_array(a, n_targets + 1, sizeof(*t->slot));
    t->own = prof__arena_array(a, n_targets + 1, sizeof(*t->own));
    if (!t->from || !t->slot || !t->own)
        return -ENOMEM;
    for (size_t i = 0; i < n_targets; i++)
        t->from[i] = PROF__NO_RANGE;
    return 0;
}

static struct prof__kind kind_of(const struct prof__trail *t, const struct prof__area *area,
                                 uint64_t slot)
{
    struct prof__kind kind = { .of = PROF__KIND_ROOT };

    t->ways->name_root(t->ways->name_arg, area, slot, &kind);
    return kind;
}

/* What an allocator has in its own variables are blocks, whoever holds them: tables of them, and
 * free ones. */
static bool is_allocators(const struct prof__trail *t, const struct prof__area *area)
{
    return area->root == PROF__ROOT_GLOBAL && t->plan->module[area->who].is_allocator;
}

/* What was noted by a word that may not count after all. */
static void forget(struct prof__trail *t, uint32_t i)
{
    t->path_of[i] = 0;
    t->slot[i] = 0;
    t->from[i] = PROF__NO_RANGE;
}

void prof__trail_note(struct prof__trail *t, uint32_t i, const struct prof__area *area,
                      uint64_t slot)
{
    struct prof__kind kind = is_allocators(t, area) ? prof__root_unknown() : kind_of(t, area, slot);

    forget(t, i);
    if (prof__root_is_unknown(&kind) && !is_allocators(t, area))
        t->slot[i] = slot;
    else
        t->path_of[i] = prof__paths_add(t->ways->paths, 0, &kind);
}

void prof__trail_note_target(struct prof__trail *t, uint32_t i, uint32_t from)
{
    forget(t, i);
    t->path_of[i] = prof__trail_own(t, from);
    t->from[i] = from;
}

uint32_t prof__trail_own(struct prof__trail *t, uint32_t i)
{
    const struct prof__image_block *b = &t->t->target[i].block;
    struct prof__kind kind = { .of = PROF__KIND_SAMPLED, .who = b->row, .detail = b->size };

    if (!t->own[i] && t->path_of[i])
        t->own[i] = prof__paths_add(t->ways->paths, t->path_of[i], &kind);
    return t->own[i];
}

/* --- questions -------------------------------------------------------------------------------- */

/* The first question of [first, n) whose slot is not below. */
static uint32_t search(const struct question *q, uint32_t first, uint32_t n, uint64_t slot)
{
    while (first < n) {
        uint32_t middle = first + (n - first) / 2;

        if (q[middle].slot < slot)
            first = middle + 1;
        else
            n = middle;
    }
    return first;
}

static uint32_t question_of(const struct round *r, uint64_t slot)
{
    for (uint32_t k = 0; k < r->rounds; k++) {
        uint32_t end = r->begin[k + 1];
        uint32_t at = search(r->q, r->begin[k], end, slot);

        if (at < end && r->q[at].slot == slot)
            return at;
    }
    return PROF__NO_RANGE;
}

/* Where the last target ends that begins no higher. */
static uint64_t end_below(const struct prof__targets *t, uint64_t slot)
{
    size_t low = 0, high = t->n;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (t->start[middle] <= slot)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? t->end[low - 1] : 0;
}

static void sift(struct question *q, size_t from, size_t n)
{
    struct question one = q[from];
    size_t child;

    while ((child = from * 2 + 1) < n) {
        if (child + 1 < n && q[child + 1].slot > q[child].slot)
            child++;
        if (q[child].slot <= one.slot)
            break;
        q[from] = q[child];
        from = child;
    }
    q[from] = one;
}

/* Heap sort, as in targets.c. */
static void sort(struct question *q, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(q, i, n);
    for (size_t i = n; i-- > 1;) {
        struct question one = q[0];

        q[0] = q[i];
        q[i] = one;
        sift(q, 0, i);
    }
}

static void ask(struct round *r, uint64_t slot)
{
    if (r->n < r->room && question_of(r, slot) == PROF__NO_RANGE)
        r->q[r->n++] = (struct question) { .slot = slot };
}

/* Where the memory begins that the slot is in: no block goes beyond, though another thread's stack
 * or mapping may lie right below. Slots are asked for by rising address; *at is where the last one
 * was. 0: not known. */
static uint64_t area_start(const struct prof__plan *p, size_t *at, uint64_t slot)
{
    const struct prof__area *a = p->area;

    while (*at < p->n_areas && (a[*at].root != PROF__ROOT_MAPPED || a[*at].end <= slot))
        ++*at;
    return *at < p->n_areas && a[*at].start <= slot ? a[*at].start : 0;
}

/* Each once, by rising slot; and which addresses answer which. */
static int begin_round(struct round *r, struct prof__arena *a)
{
    uint32_t first = r->begin[r->rounds], n = r->n - first;
    uint64_t *start = prof__arena_array(a, (size_t)n + 1, sizeof(*start));
    uint64_t *end = prof__arena_array(a, (size_t)n + 1, sizeof(*end));
    uint64_t last = 0;
    size_t area = 0;

    if (!start || !end)
        return -ENOMEM;
    sort(r->q + first, n);
    r->n = first;
    for (uint32_t i = first; i < first + n; i++) {
        struct question *q = &r->q[r->n];
        uint64_t slot = r->q[i].slot, below = end_below(r->trail->t, slot);

        if (slot == last)
            continue;
        *q = (struct question) { .slot = slot, .same = r->n };
        q->floor = PROF_MAX(below, slot > WINDOW ? slot - WINDOW : 1);
        q->floor = PROF_MAX(q->floor, area_start(r->trail->plan, &area, slot));
        start[r->n - first] = PROF_MAX(q->floor, last + 1);
        end[r->n - first] = slot + 1;
        last = slot;
        r->n++;
    }
    r->begin[++r->rounds] = r->n;
    n = r->n - first;
    int e = prof__ranges_build(&r->ranges, a, start, end, n);
    if (e == 0)
        e = prof__wanted_build(&r->wanted, &r->ranges, a);
    for (uint32_t i = 0; i < n && e == 0; i++)
        prof__wanted_add(&r->wanted, start[i], end[i]);
    return e;
}

/* --- answers ---------------------------------------------------------------------------------- */

/* A word within the block that it points to, as far as that is known. */
static bool points_into_its_own(uint64_t at, uint64_t start, uint64_t slot)
{
    return at + NEAR >= start && at <= slot;
}

static unsigned way_of(enum prof__root root)
{
    switch (root) {
    case PROF__ROOT_MAPPED:
        return BY_HEAP;
    case PROF__ROOT_STACK:
    case PROF__ROOT_REGISTER:
        return BY_THREAD;
    default:
        return BY_ROOT;
    }
}

static void answer(struct round *r, const struct prof__area *area, uint64_t slot, uint64_t address)
{
    const struct prof__targets *t = r->trail->t;
    uint32_t k = prof__ranges_find(&r->ranges, address);

    if (k == PROF__NO_RANGE)
        return;
    struct question *q = &r->q[r->begin[r->rounds - 1] + k];
    if (address < q->start || is_allocators(r->trail, area) ||
        (area->end && points_into_its_own(slot, address, q->slot)))
        return;
    uint32_t i = area->end ? prof__ranges_find(&t->ranges, slot) : PROF__NO_RANGE;
    struct where w = { slot, area->who, (uint8_t)area->root, true };
    struct where *by = &q->by[way_of(area->root)];
    if (i != PROF__NO_RANGE) {
        if (!(t->target[i].state & PROF__TARGET_REACHED))
            return;
        w.who = i;
        by = &q->by[BY_TARGET];
    }
    if (address > q->start) {
        q->start = address;
        memset(q->by, 0, sizeof(q->by));
    }
    if (!by->found)
        *by = w;
}

static void look(void *arg, const struct prof__area *area, uint64_t address, const uint64_t *word,
                 size_t n)
{
    struct round *r = arg;

    PROF__EACH_POINTER(prof__wanted_maybe, &r->wanted, word, n,
                       answer(r, area, address + at * 8, address_));
}

/* What is around one slot may be around the next, too; and what is between them is in it. */
static void share_answers(struct round *r)
{
    uint32_t first = r->begin[r->rounds - 1];

    for (uint32_t i = first; i < r->n; i++) {
        struct question *q = &r->q[i];

        if (!q->start && i > first && q[-1].start && q[-1].start >= q->floor) {
            q->start = q[-1].start;
            q->same = q[-1].same;
        }
        struct question *same = &r->q[q->same];
        for (unsigned k = 0; k < WAYS && q->start; k++)
            if (same->by[k].slot >= q->start && same->by[k].slot <= q->slot)
                same->by[k].found = false;
        if (q->start)
            same->bytes = PROF_MAX(same->bytes, q->slot + 8 - q->start);
    }
}

static struct prof__kind kind_of_where(const struct prof__trail *t, const struct where *w)
{
    /* Not empty, so that it is known for memory. */
    struct prof__area area = { w->slot, w->slot + 8, (enum prof__root)w->root, w->who };

    return kind_of(t, &area, w->slot);
}

/* The heap words that hold what is held by no root are the next questions. */
static void ask_next(struct round *r)
{
    uint32_t first = r->begin[r->rounds - 1], end = r->n;

    for (uint32_t i = first; i < end; i++) {
        const struct question *q = &r->q[i];

        if (q->same != i || q->by[BY_ROOT].found || !q->by[BY_HEAP].found)
            continue;
        struct prof__kind kind = kind_of_where(r->trail, &q->by[BY_HEAP]);
        if (prof__root_is_unknown(&kind))
            ask(r, q->by[BY_HEAP].slot);
    }
}

static int read_everything(struct round *r)
{
    const struct prof__trail *t = r->trail;
    int e = 0;

    for (enum prof__root root = 0; root < PROF__ROOTS && e == 0; root++)
        e = prof__areas_read(t->plan, t->sweep, root, look, r);
    return e == 0 ? prof__areas_read_new(t->plan, t->sweep, look, r) : e;
}

/* --- paths ------------------------------------------------------------------------------------ */

/*
 * Targets and, numbered after them, questions are nodes of a graph: a node's path is that of what
 * holds it and itself. It is walked in depth, by a stack of our own, as lists are long.
 */
struct node {
    uint32_t number;
    uint32_t fallback; /* a path that begins in unknown memory, if there is no better one */
    uint8_t way;       /* the next to be tried */
    bool tried;        /* it has been walked */
};

struct walk {
    struct round *r;
    struct node *stack;
    uint8_t *state; /* of each node */
    size_t n;
};

enum { NEW, UNDERWAY, DONE };

static uint32_t unknown_path(const struct walk *w)
{
    struct prof__kind kind = prof__root_unknown();

    return prof__paths_add(w->r->trail->ways->paths, 0, &kind);
}

static bool is_known(const struct walk *w, uint32_t path)
{
    const struct prof__path *p = w->r->trail->ways->paths->path;

    while (path && p[path].parent)
        path = p[path].parent;
    return path && !prof__root_is_unknown(&p[path].kind);
}

static uint32_t question_node(const struct walk *w, uint64_t slot)
{
    uint32_t i = question_of(w->r, slot);

    return i == PROF__NO_RANGE ? i : (uint32_t)w->r->trail->t->n + w->r->q[i].same;
}

/* What holds the node in that way: a node, or in *ret_path the path of a root, or nothing. */
static uint32_t holder(const struct walk *w, uint32_t number, unsigned way, uint32_t *ret_path)
{
    struct prof__trail *t = w->r->trail;

    *ret_path = 0;
    if (number < t->t->n) {
        if (way > 0)
            return PROF__NO_RANGE;
        *ret_path = t->path_of[number];
        if (*ret_path || t->from[number] != PROF__NO_RANGE)
            return t->from[number];
        return t->slot[number] ? question_node(w, t->slot[number]) : PROF__NO_RANGE;
    }
    const struct where *by = &w->r->q[number - t->t->n].by[way];
    if (!by->found)
        return PROF__NO_RANGE;
    if (way == BY_TARGET)
        return by->who;
    struct prof__kind kind = kind_of_where(t, by);
    if (prof__root_is_unknown(&kind))
        return question_node(w, by->slot);
    *ret_path = prof__paths_add(t->ways->paths, 0, &kind);
    return PROF__NO_RANGE;
}

static uint32_t path_of_node(const struct walk *w, uint32_t number)
{
    const struct prof__trail *t = w->r->trail;

    return number < t->t->n ? t->own[number] : w->r->q[number - t->t->n].path;
}

/* Sizes are told apart by powers of two, as they are only known to be no smaller. */
static uint64_t least_size(uint64_t bytes)
{
    uint64_t size = LEAST_SIZE;

    while (size * 2 <= bytes)
        size *= 2;
    return size;
}

/* Blocks of one such size in a row are taken for alike; others are not, which the depth tells, as
 * their sizes say too little of them. */
static uint32_t add_block(struct prof__paths *p, uint32_t holder, uint64_t bytes)
{
    const struct prof__path *parent = &p->path[holder];
    struct prof__kind kind = { .of = PROF__KIND_UNSAMPLED,
                               .extra = PROF__SIZE_AT_LEAST,
                               .who = parent->depth,
                               .detail = least_size(bytes) };

    if (parent->kind.of == PROF__KIND_UNSAMPLED && parent->kind.detail == kind.detail)
        kind.who = parent->kind.who;
    return prof__paths_add(p, holder, &kind);
}

static void finish_node(struct walk *w, uint32_t number, uint32_t path)
{
    struct prof__trail *t = w->r->trail;

    w->state[number] = DONE;
    if (!path)
        path = unknown_path(w);
    if (number < t->t->n) {
        t->path_of[number] = path;
        prof__trail_own(t, number);
        return;
    }
    struct question *q = &w->r->q[number - t->t->n];
    q->path = q->start ? add_block(t->ways->paths, path, q->bytes) : path;
}

/* One step of the topmost node: a holder of it is walked, or it is finished. */
static void step(struct walk *w)
{
    struct node *node = &w->stack[w->n - 1];

    for (; node->way < WAYS; node->way++, node->tried = false) {
        uint32_t path, next = holder(w, node->number, node->way, &path);

        if (!path && next != PROF__NO_RANGE && w->state[next] == NEW && !node->tried) {
            node->tried = true;
            w->state[next] = UNDERWAY;
            w->stack[w->n++] = (struct node) { .number = next };
            return;
        }
        if (!path && next != PROF__NO_RANGE && w->state[next] == DONE)
            path = path_of_node(w, next);
        if (is_known(w, path)) {
            node->fallback = path;
            break;
        }
        if (!node->fallback)
            node->fallback = path;
    }
    w->n--;
    finish_node(w, node->number, node->fallback);
}

static int make_paths(struct round *r, struct prof__arena *a)
{
    struct prof__trail *t = r->trail;
    size_t n_nodes = t->t->n + r->n;
    struct walk w = { .r = r };

    w.stack = prof__arena_array(a, n_nodes + 1, sizeof(*w.stack));
    w.state = prof__arena_alloc(a, n_nodes + 1);
    if (!w.stack || !w.state)
        return -ENOMEM;
    for (uint32_t i = 0; i < t->t->n; i++) {
        if (t->path_of[i] || (!t->slot[i] && t->from[i] == PROF__NO_RANGE))
            continue;
        w.state[i] = UNDERWAY;
        w.stack[w.n++] = (struct node) { .number = i };
        while (w.n)
            step(&w);
    }
    return 0;
}

int prof__trail_follow(struct prof__trail *t, struct prof__arena *a)
{
    struct round r = { .trail = t };
    size_t n = 0;

    for (size_t i = 0; i < t->t->n; i++)
        n += t->slot[i] != 0;
    if (n == 0)
        return 0;
    r.room = (uint32_t)PROF_MIN((size_t)QUESTIONS, n * PROF__TRAIL_ROUNDS);
    r.q = prof__arena_array(a, r.room, sizeof(*r.q));
    if (!r.q)
        return -ENOMEM;
    for (size_t i = 0; i < t->t->n; i++)
        if (t->slot[i])
            ask(&r, t->slot[i]);
    for (int e = 0; r.rounds < PROF__TRAIL_ROUNDS && r.begin[r.rounds] < r.n;) {
        if ((e = begin_round(&r, a)) < 0 || (e = read_everything(&r)) < 0)
            return e;
        share_answers(&r);
        if (r.rounds < PROF__TRAIL_ROUNDS)
            ask_next(&r);
    }
    return make_paths(&r, a);
}
