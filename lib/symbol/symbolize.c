/*
 * symbolize.c - what is known of an address is kept, so that files are read once.
 *
 *   address -> object (by build id) -> cache of its addresses -> lines, copied out
 *                                        | the missing ones, sorted
 *                                        v
 *                 symbol_files -> elf_symbols, dwarf_answer -> names -> into the cache
 *             code made at run time -> jit_names -> lines
 *
 * A profile asks for the same addresses again and again, scrape after scrape: the second time no
 * file is opened. Results are all that is kept; files and what was read of them go at the end
 * of each request, but for what had to be unpacked (dwarf_kept.c). Objects are forgotten, longest
 * unused first, when together they pass CACHE_MAX; and one without debug information as soon as a
 * file of that comes, so the places where it would be are looked at in each request. Answers found
 * without the object's file, or while files or memory could not be had, are not kept: it may go
 * better next time. Nor are those cut short by the deadline, unless it leaves no time for any: so a
 * huge program's names come over some requests, and no request takes long.
 *
 * One thread works at a time. It may be the program's own: its allocations are hidden from the
 * profile meanwhile, and it cannot be cancelled half-way.
 */
#include "symbol/symbolize.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/fork.h"
#include "base/hash.h"
#include "base/thread.h"
#include "base/utf8.h"
#include "symbol/deadline.h"
#include "symbol/dwarf_kept.h"
#include "symbol/elf_symbols.h"
#include "symbol/jit_names.h"
#include "symbol/names.h"
#include "symbol/symbol_files.h"

#define CACHE_MAX ((size_t)32 << 20) /* bytes */
#define DWARF_NS  4000000000  /* for debug information in one request; then symbol tables only */
#define RETRY_NS  60000000000 /* until it is tried again when nothing came of it */

/* A string stored once for each object, and where the request at work has its copy. */
struct text {
    struct text *next;  /* in its hash chain */
    struct text *shown; /* of a function: its short name; NULL: not made yet */
    uint64_t request;
    const char *copy;
    char bytes[];
};

struct cached_line {
    struct text *function, *file, *home; /* NULL: unknown */
    uint32_t line, start_line;
};

/* What is known of one address; n_lines 0: that nothing is. */
struct answer {
    uint64_t address; /* in the file; 0: a free slot */
    struct cached_line *line;
    uint32_t n_lines;
    bool is_provisional; /* time ran out: to be asked again */
};

enum { TEXT_HEADS = 1024, ANSWERS_FIRST = 256 };

/* All that is kept of one file. */
struct object {
    struct object *next; /* most recently used first */
    struct prof__arena arena;
    size_t bytes;
    uint8_t build_id[PROF__BUILD_ID_MAX];
    uint8_t build_id_size;
    uint64_t inode; /* with the path, where there is no build id */
    const char *path;
    uint64_t request;  /* the last one that used it, */
    uint64_t place;    /* and where it first met it there: the program comes before libraries */
    int64_t retry_ns;  /* answers that lack something are not asked for again before that */
    bool forget;       /* at the end of this request */
    bool is_noted;     /* while notes are taken */
    bool is_described; /* what follows is known */
    const char *unread;
    const char *wanted[PROF__DEBUG_PATHS]; /* where its debug information would be: no file of it
                                              was there */
    size_t n_wanted;
    uint64_t stamp; /* of what was there instead */
    struct answer *answer;
    size_t n_answers, n_slots; /* slots: a power of two */
    struct text *head[TEXT_HEADS];
};

/* An address whose answer is not in the cache. */
struct missing {
    struct object *object;
    uint64_t address; /* in the file */
    uint32_t index;   /* in asked[] */
};

/* One call. */
struct request {
    struct prof__arena *out;
    uint64_t number;
    int64_t until_ns;
    bool is_late; /* some answers are not as good as they can be */
    const struct prof__code_address *asked;
    struct prof__symbols *symbols;
    const struct prof__module *last_module;
    struct object *last_object;
    struct prof__symbol_notes *notes; /* NULL: not asked for */
};

struct prof__deadline prof__deadline; /* guarded by lock, too */

static struct prof__lock lock = PROF__LOCK_INIT(PROF__RANK_SYMBOLIZE);
static struct object *objects; /* guarded by lock, as is all they hold */
static uint64_t requests;
static _Atomic size_t cached_bytes;

/* --- objects --------------------------------------------------------------------------------- */

static void *object_alloc(struct object *o, size_t size)
{
    void *p = prof__arena_alloc(&o->arena, size);

    if (p) {
        o->bytes += size;
        atomic_fetch_add_explicit(&cached_bytes, size, memory_order_relaxed);
    }
    return p;
}

static void object_free(struct object *o)
{
    struct prof__arena arena = o->arena; /* it holds the object itself */

    atomic_fetch_sub_explicit(&cached_bytes, o->bytes, memory_order_relaxed);
    prof__arena_free(&arena);
}

static bool is_object_of(const struct object *o, const struct prof__module *m)
{
    if (o->build_id_size != m->build_id_size ||
        memcmp(o->build_id, m->build_id, m->build_id_size) != 0)
        return false;
    return m->build_id_size || (o->inode == m->inode && strcmp(o->path, m->file) == 0);
}

static struct object *object_new(const struct prof__module *m)
{
    struct prof__arena arena = { 0 };
    struct object *o = prof__arena_alloc(&arena, sizeof(*o));

    if (!o)
        return NULL;
    o->arena = arena;
    o->build_id_size = m->build_id_size;
    memcpy(o->build_id, m->build_id, m->build_id_size);
    o->inode = m->inode;
    o->n_slots = ANSWERS_FIRST;
    o->answer = object_alloc(o, o->n_slots * sizeof(*o->answer));
    char *path = object_alloc(o, strlen(m->file) + 1);
    if (!o->answer || !path) {
        object_free(o);
        return NULL;
    }
    o->path = strcpy(path, m->file);
    o->bytes += sizeof(*o);
    atomic_fetch_add_explicit(&cached_bytes, sizeof(*o), memory_order_relaxed);
    return o;
}

/* Has a file come to where debug information was missed? */
static bool is_outdated(const struct object *o)
{
    return o->n_wanted && prof__elf_debug_stamp(o->wanted, o->n_wanted) != o->stamp;
}

/* The object of a module, moved to the front. */
static struct object *object_get(struct request *rq, const struct prof__module *m)
{
    struct object **at, *o;

    if (m == rq->last_module)
        return rq->last_object;
    for (at = &objects; (o = *at) != NULL; at = &o->next)
        if (is_object_of(o, m))
            break;
    if (o)
        *at = o->next;
    if (o && o->request != rq->number && is_outdated(o)) {
        object_free(o);
        o = NULL;
    }
    if (!o)
        o = object_new(m);
    if (!o)
        return NULL;
    o->next = objects;
    objects = o;
    if (o->request != rq->number)
        o->place = m->start;
    o->request = rq->number;
    rq->last_module = m;
    rq->last_object = o;
    return o;
}

/* Forget what must be forgotten, and the longest unused beyond the bound. */
static void objects_trim(void)
{
    size_t total = 0;

    for (struct object **at = &objects, *o; (o = *at) != NULL;) {
        total += o->bytes;
        if (o->forget || total > CACHE_MAX) {
            total -= o->bytes;
            *at = o->next;
            object_free(o);
        } else {
            at = &o->next;
        }
    }
}

/* --- answers --------------------------------------------------------------------------------- */

static struct answer *answer_slot(struct answer *table, size_t n_slots, uint64_t address)
{
    size_t i = prof__hash(address) & (n_slots - 1);

    while (table[i].address && table[i].address != address)
        i = (i + 1) & (n_slots - 1);
    return &table[i];
}

static bool answers_grow(struct object *o)
{
    size_t n_slots = o->n_slots * 2;
    struct answer *table = object_alloc(o, n_slots * sizeof(*table));

    if (!table)
        return false;
    for (size_t i = 0; i < o->n_slots; i++)
        if (o->answer[i].address)
            *answer_slot(table, n_slots, o->answer[i].address) = o->answer[i];
    o->answer = table;
    o->n_slots = n_slots;
    return true;
}

/* NULL for no text: *ret stays NULL. False: out of memory. */
static bool intern(struct object *o, struct prof__arena *a, const char *text, struct text **ret)
{
    const char *clean = text ? prof__utf8_clean(a, text) : NULL;

    if (!text)
        return true;
    if (!clean)
        return false;
    size_t size = strlen(clean) + 1;
    struct text **head = &o->head[prof__hash_bytes(clean, size) % TEXT_HEADS];
    for (struct text *t = *head; t; t = t->next)
        if (strcmp(t->bytes, clean) == 0) {
            *ret = t;
            return true;
        }
    struct text *t = object_alloc(o, sizeof(*t) + size);
    if (!t)
        return false;
    memcpy(t->bytes, clean, size);
    t->next = *head;
    *head = t;
    *ret = t;
    return true;
}

/* A function's name with the one that it is shown by. */
static bool intern_function(struct object *o, struct prof__arena *a, struct prof__namer *namer,
                            const char *function, struct text **ret)
{
    if (!intern(o, a, function, ret))
        return false;
    struct text *t = *ret;
    if (!t || t->shown)
        return true;
    const char *shown = prof__namer_show(namer, t->bytes, PROF__NAMES_SHORT);
    if (shown == t->bytes)
        t->shown = t;
    return shown == t->bytes || intern(o, a, shown, &t->shown);
}

/* Keep what was found for one address. */
static int answer_keep(struct object *o, struct prof__arena *a, struct prof__namer *namer,
                       const struct prof__query *q)
{
    struct prof__line by_symbol = { .function = q->symbol };
    const struct prof__line *line = q->n_lines ? q->line : &by_symbol;
    size_t n = q->n_lines ? q->n_lines : q->symbol != NULL;

    if (o->n_answers * 2 >= o->n_slots && !answers_grow(o))
        return -ENOMEM;
    struct answer *answer = answer_slot(o->answer, o->n_slots, q->address);
    struct cached_line *kept = n ? object_alloc(o, n * sizeof(*kept)) : NULL;
    if (n && !kept)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const char *function = line[i].function;

        if (i + 1 == n && q->symbol &&
            (q->prefer_symbol || !function || prof__symbol_is_plainer(q->symbol, function)))
            function = q->symbol;
        if (!intern_function(o, a, namer, function, &kept[i].function) ||
            !intern(o, a, line[i].file, &kept[i].file) ||
            !intern(o, a, line[i].home, &kept[i].home))
            return -ENOMEM;
        kept[i].line = line[i].line;
        kept[i].start_line = line[i].start_line;
    }
    o->n_answers += answer->address == 0;
    *answer = (struct answer) {
        .address = q->address,
        .line = kept,
        .n_lines = (uint32_t)n,
        .is_provisional = q->unfinished,
    };
    return 0;
}

static int copy_text(struct request *rq, struct text *t, const char **ret_text)
{
    *ret_text = NULL;
    if (!t)
        return 0;
    if (t->request != rq->number) {
        t->copy = prof__arena_strdup(rq->out, t->bytes);
        if (!t->copy)
            return -ENOMEM;
        t->request = rq->number;
    }
    *ret_text = t->copy;
    return 0;
}

/* Copy an answer to where the caller will look for it. */
static int answer_copy(struct request *rq, const struct answer *answer, size_t index)
{
    rq->is_late |= answer->is_provisional;
    struct prof__line *line = prof__arena_array(rq->out, answer->n_lines, sizeof(*line));

    if (!line)
        return -ENOMEM;
    for (size_t i = 0; i < answer->n_lines; i++) {
        struct text *function = answer->line[i].function;

        if (copy_text(rq, function, &line[i].function) < 0 ||
            copy_text(rq, function ? function->shown : NULL, &line[i].name) < 0 ||
            copy_text(rq, answer->line[i].file, &line[i].file) < 0 ||
            copy_text(rq, answer->line[i].home, &line[i].home) < 0)
            return -ENOMEM;
        line[i].line = answer->line[i].line;
        line[i].start_line = answer->line[i].start_line;
    }
    rq->symbols[index].line = line;
    rq->symbols[index].n = answer->n_lines;
    return 0;
}

/* --- one object's missing addresses ---------------------------------------------------------- */

static const char *keep_string(struct object *o, const char *text)
{
    char *copy = text ? object_alloc(o, strlen(text) + 1) : NULL;

    return copy ? strcpy(copy, text) : NULL;
}

/* What is to be told of the files, and where a better one would be. */
static void keep_notes(struct object *o, const struct prof__symbol_files *f)
{
    if (o->is_described)
        return;
    o->is_described = true;
    o->unread = keep_string(o, f->unread);
    for (size_t i = 0; i < f->paths.n && !f->dwarf; i++) {
        o->wanted[i] = keep_string(o, f->paths.path[i]);
        if (!o->wanted[i])
            return; /* then it is not noticed */
        o->n_wanted = i + 1;
    }
    o->stamp = prof__elf_debug_stamp(o->wanted, o->n_wanted);
}

static int64_t thread_cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* missing[0..n): of one object, sorted by address. */
static int resolve(struct request *rq, const struct missing *missing, size_t n)
{
    const struct prof__module *m = rq->asked[missing[0].index].module;
    struct object *o = missing[0].object;
    struct prof__arena a = { 0 };
    struct prof__symbol_files f = { .module = m, .arena = &a };
    struct prof__query *q = prof__arena_array(&a, n, sizeof(*q));
    struct prof__namer *namer = prof__namer_new(&a);
    size_t n_queries = 0, n_unfinished = 0;
    bool found = false;
    int r = q && namer ? 0 : -ENOMEM;

    if (r < 0)
        goto out;
    for (size_t i = 0; i < n; i++)
        if (n_queries == 0 || q[n_queries - 1].address != missing[i].address)
            q[n_queries++].address = missing[i].address;
    int64_t start_ns = prof__monotonic_ns(), start_cpu_ns = thread_cpu_ns();
    r = prof__symbol_files_read(&f, rq->until_ns, q, n_queries, &found);
    if (!found)
        o->forget = true;
    for (size_t i = 0; i < n_queries; i++)
        n_unfinished += q[i].unfinished;
    if (n_unfinished == 0)
        keep_notes(o, &f);
    /* It has had most of the time, and nothing came of it. If it worked all the while it will not
     * go better next time; if the machine was too busy for us it may, but not at once. */
    int64_t end_ns = prof__monotonic_ns();
    bool is_vain = n_unfinished == n_queries && end_ns - start_ns > DWARF_NS / 2;
    bool is_hopeless = is_vain && thread_cpu_ns() - start_cpu_ns > DWARF_NS / 2;
    o->retry_ns = is_vain ? end_ns + RETRY_NS : 0;
    for (size_t i = 0; i < n_queries && is_hopeless; i++)
        q[i].unfinished = false;
    for (size_t i = 0, j = 0; i < n_queries && r == 0; i++) {
        r = answer_keep(o, &a, namer, &q[i]);
        const struct answer *answer = answer_slot(o->answer, o->n_slots, q[i].address);
        for (; j < n && missing[j].address == q[i].address && r == 0; j++)
            r = answer_copy(rq, answer, missing[j].index);
    }
    prof__symbol_files_close(&f);
out:
    prof__arena_free(&a);
    return r;
}

static int missing_order(const void *a, const void *b)
{
    const struct missing *x = a, *y = b;

    if (x->object != y->object)
        return x->object->place < y->object->place ? -1 : 1;
    return (x->address > y->address) - (x->address < y->address);
}

/* What is cached is copied at once; the rest is collected. */
static int answer_all(struct request *rq, size_t n)
{
    struct prof__arena a = { 0 };
    struct missing *missing = prof__arena_array(&a, n, sizeof(*missing));
    int64_t now_ns = prof__monotonic_ns();
    size_t n_missing = 0;
    int r = missing ? 0 : -ENOMEM;

    for (size_t i = 0; i < n && r == 0; i++) {
        const struct prof__module *m = rq->asked[i].module;

        if (!m || !m->is_elf || rq->asked[i].address == m->bias)
            continue;
        struct object *o = object_get(rq, m);
        uint64_t address = rq->asked[i].address - m->bias;
        const struct answer *answer = o ? answer_slot(o->answer, o->n_slots, address) : NULL;

        if (!o)
            r = -ENOMEM;
        else if (!answer->address || (answer->is_provisional && o->retry_ns <= now_ns))
            missing[n_missing++] =
                (struct missing) { .object = o, .address = address, .index = (uint32_t)i };
        else
            r = answer_copy(rq, answer, i);
    }
    if (r == 0)
        qsort(missing, n_missing, sizeof(*missing), missing_order);
    for (size_t i = 0, end; i < n_missing && r == 0; i = end) {
        for (end = i + 1; end < n_missing && missing[end].object == missing[i].object; end++)
            ;
        r = resolve(rq, &missing[i], end - i);
    }
    prof__arena_free(&a);
    return r;
}

/* --- notes ----------------------------------------------------------------------------------- */

static int copy_string(struct prof__arena *a, const char *text, const char **ret_copy)
{
    *ret_copy = text ? prof__arena_strdup(a, text) : NULL;
    return text && !*ret_copy ? -ENOMEM : 0;
}

/* Of each object that was used now. */
static int note_all(struct request *rq, size_t n)
{
    const struct prof__module *last = NULL;
    size_t n_objects = 0;

    for (const struct object *o = objects; o; o = o->next)
        n_objects += o->request == rq->number;
    rq->notes->n = 0;
    rq->notes->note = prof__arena_array(rq->out, n_objects, sizeof(*rq->notes->note));
    if (!rq->notes->note)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct prof__module *m = rq->asked[i].module;
        struct object *o = m && m != last && m->is_elf ? object_get(rq, m) : NULL;

        last = m;
        if (!o || o->is_noted || (!o->unread && !o->n_wanted))
            continue;
        struct prof__symbol_note *note = &rq->notes->note[rq->notes->n];
        const char *wanted = NULL;
        for (size_t k = 0; k < o->n_wanted && !wanted; k++)
            wanted = *o->wanted[k] ? o->wanted[k] : NULL;
        if (copy_string(rq->out, o->unread, &note->unread) < 0 ||
            copy_string(rq->out, wanted, &note->wanted) < 0)
            return -ENOMEM;
        note->module = m;
        o->is_noted = true;
        rq->notes->n++;
    }
    for (struct object *o = objects; o; o = o->next)
        o->is_noted = false;
    return 0;
}

/* --- entry ----------------------------------------------------------------------------------- */

int prof__symbolize_until(struct prof__arena *a, const struct prof__code_address *asked, size_t n,
                          int64_t until_ns, struct prof__symbols *ret_symbols,
                          struct prof__symbol_notes *ret_notes)
{
    struct request rq = { .out = a, .asked = asked, .symbols = ret_symbols, .notes = ret_notes };
    bool entered;
    int cancel, r;

    if (ret_notes)
        ret_notes->n = 0;
    if (n == 0)
        return 0;
    entered = prof__enter(&prof__self); /* not when it was in the profiler already */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    memset(ret_symbols, 0, n * sizeof(*ret_symbols));
    rq.until_ns = until_ns ? until_ns : prof__monotonic_ns() + DWARF_NS + PROF__SYMBOLS_NS;
    if (prof__lock_until(&lock, rq.until_ns)) {
        rq.number = ++requests;
        r = answer_all(&rq, n);
        prof__deadline_set(rq.until_ns);
        if (r == 0)
            r = prof__jit_names_answer(a, asked, n, ret_symbols);
        rq.is_late |= prof__late_now();
        if (r == 0 && rq.notes)
            r = note_all(&rq, n);
        objects_trim();
        prof__dwarf_kept_trim(prof__monotonic_ns());
        prof__unlock(&lock);
    } else { /* another thread's look-up took all the time */
        rq.is_late = true;
        r = 0;
    }
    pthread_setcancelstate(cancel, NULL);
    if (entered)
        prof__leave(&prof__self);
    return r == 0 ? rq.is_late : r;
}

int prof__symbolize(struct prof__arena *a, const struct prof__code_address *asked, size_t n,
                    struct prof__symbols *ret_symbols)
{
    int r = prof__symbolize_until(a, asked, n, 0, ret_symbols, NULL);

    return PROF_MIN(r, 0);
}

size_t prof__symbolize_cached(void)
{
    return atomic_load_explicit(&cached_bytes, memory_order_relaxed);
}

/* Who works at that moment sees to it at its end. */
void prof__symbolize_tend(bool goes_on)
{
    int64_t now_ns = prof__monotonic_ns();

    prof__dwarf_kept_tended(goes_on ? now_ns : 0);
    if (!prof__dwarf_kept_any() || !prof__trylock(&lock))
        return;
    prof__dwarf_kept_trim(now_ns);
    prof__unlock(&lock);
}

/* The objects cannot be walked to give them back: the list may be half-changed. */
void prof__symbolize_fork_child(void)
{
    prof__lock_reset(&lock);
    objects = NULL;
    prof__dwarf_kept_in_child();
    atomic_store_explicit(&cached_bytes, 0, memory_order_relaxed);
}

PROF__AT_FORK(PROF__RANK_SYMBOLIZE, NULL, NULL, prof__symbolize_fork_child)
