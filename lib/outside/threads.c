/*
 * threads.c - stacks by libdwfl, names by symbolize.h, locks by the words that threads wait on.
 */
#include "outside/threads.h"

#include <elfutils/libdwfl.h>
#include <errno.h>
#include <prof/prof.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "symbol/elf_find.h"
#include "symbol/symbolize.h"

enum {
    FRAMES_MAX = 256,
    GUESSES_MAX = 16,
    GUESS_WORDS = 4096,
    SYS_FUTEX = 202,
    MUTEX_OWNER = 8, /* in pthread_mutex_t: lock, count, owner */
    TID_AT = 0x2d0,  /* in struct pthread */
    DWARF_RBX = 3,
    DWARF_RBP = 6,
    DWARF_RSP = 7,
    DWARF_R12 = 12,
    DWARF_PC = 16,
};

/* --- walking ---------------------------------------------------------------------------------- */

struct walk {
    struct prof__image *image;
    const struct prof__image_thread *thread;
    uint64_t frame_pointer;                  /* a guess; 0: none */
    uint64_t pc[FRAMES_MAX], sp[FRAMES_MAX]; /* sp 0: not known */
    size_t n;
};

static pid_t no_thread(Dwfl *dwfl, void *arg, void **thread_arg)
{
    (void)dwfl, (void)arg, (void)thread_arg;
    return 0;
}

static bool get_thread(Dwfl *dwfl, pid_t tid, void *arg, void **thread_arg)
{
    (void)dwfl, (void)tid;
    *thread_arg = arg;
    return true;
}

/* From the copy that was made while it stood still, if there is one. */
static bool read_memory(Dwfl *dwfl, Dwarf_Addr at, Dwarf_Word *ret, void *arg)
{
    struct walk *w = arg;
    const struct prof__image_thread *t = w->thread;
    uint64_t word;

    (void)dwfl;
    if (t && t->stack && at >= t->stack_from && at - t->stack_from + 8 <= t->stack_n)
        memcpy(&word, (const char *)t->stack + (at - t->stack_from), sizeof(word));
    else if (!prof__image_word(w->image, at, &word))
        return false;
    *ret = word;
    return true;
}

static bool set_registers(Dwfl_Thread *thread, void *arg)
{
    struct walk *w = arg;
    const struct prof__image_thread *t = w->thread;
    Dwarf_Word sp = t->sp, pc = t->pc, bp = t->has_kept ? t->kept[1] : w->frame_pointer;

    if (t->has_kept) {
        Dwarf_Word bx = t->kept[0];
        Dwarf_Word rest[4] = { t->kept[2], t->kept[3], t->kept[4], t->kept[5] };

        if (!dwfl_thread_state_registers(thread, DWARF_RBX, 1, &bx) ||
            !dwfl_thread_state_registers(thread, DWARF_R12, 4, rest))
            return false;
    }
    if (bp && !dwfl_thread_state_registers(thread, DWARF_RBP, 1, &bp))
        return false;
    return dwfl_thread_state_registers(thread, DWARF_RSP, 1, &sp) &&
           dwfl_thread_state_registers(thread, DWARF_PC, 1, &pc);
}

static int take_frame(Dwfl_Frame *frame, void *arg)
{
    struct walk *w = arg;
    Dwarf_Addr pc;
    bool is_activation;

    if (w->n == FRAMES_MAX || !dwfl_frame_pc(frame, &pc, &is_activation) || pc == 0)
        return DWARF_CB_ABORT;
    Dwarf_Word sp = 0;
    if (dwfl_frame_reg(frame, DWARF_RSP, &sp) != 0)
        sp = 0;
    w->sp[w->n] = sp;
    /* A return address may be that of the next function. */
    w->pc[w->n++] = is_activation ? pc : pc - 1;
    return DWARF_CB_OK;
}

static int no_debug_file(Dwfl_Module *m, void **user, const char *name, Dwarf_Addr base,
                         const char *file, const char *link, GElf_Word crc, char **ret)
{
    (void)m, (void)user, (void)name, (void)base, (void)file, (void)link, (void)crc, (void)ret;
    return -1;
}

static int no_elf(Dwfl_Module *m, void **user, const char *name, Dwarf_Addr base, char **file,
                  Elf **elf)
{
    (void)m, (void)user, (void)name, (void)base, (void)file, (void)elf;
    return -1;
}

static const Dwfl_Callbacks callbacks = {
    .find_elf = no_elf,
    .find_debuginfo = no_debug_file,
    .section_address = dwfl_offline_section_address,
};

static const Dwfl_Thread_Callbacks thread_callbacks = {
    .next_thread = no_thread,
    .get_thread = get_thread,
    .memory_read = read_memory,
    .set_initial_registers = set_registers,
};

/* Each object once, from a file that has its build id. */
static void report_modules(Dwfl *dwfl, const struct prof__modules *modules)
{
    struct prof__arena work = { 0 };

    dwfl_report_begin(dwfl);
    for (size_t i = 0; i < modules->n; i++) {
        const struct prof__module *m = &modules->module[i];
        struct prof__elf e;

        if (!m->is_elf ||
            (i > 0 && m[-1].is_elf && m[-1].bias == m->bias && strcmp(m[-1].path, m->path) == 0))
            continue;
        if (prof__elf_find(m, &work, &e) == 0) {
            dwfl_report_elf(dwfl, m->path, e.path, -1, m->bias, true);
            prof__elf_close(&e);
        }
        prof__arena_free(&work);
    }
    dwfl_report_end(dwfl, NULL, NULL);
}

/* Did the walk come to the end? */
static bool walk_once(Dwfl *dwfl, struct walk *w)
{
    w->n = 0;
    return dwfl_getthread_frames(dwfl, w->thread->tid, take_frame, w) == 0;
}

static bool is_code(struct prof__image *image, uint64_t address)
{
    const struct prof__image_map *m = prof__image_map_of(image, address);

    return m && m->executable;
}

/* A frame pointer on the stack: it points to a saved one further up, with a return address beside.
 */
static bool walk_guessing(Dwfl *dwfl, struct walk *w)
{
    struct walk best = *w;
    uint64_t at = w->thread->sp, limit = at + (uint64_t)GUESS_WORDS * 8;
    const struct prof__image_map *m = prof__image_map_of(w->image, at);

    if (!m)
        return false;
    limit = PROF_MIN(limit, m->end);
    for (int guesses = 0; at + 16 <= limit && guesses < GUESSES_MAX; at += 8) {
        Dwarf_Word saved, back;

        if (!read_memory(NULL, at, &saved, w) || !read_memory(NULL, at + 8, &back, w))
            break;
        if (!((saved > at && saved < m->end && saved % 8 == 0) || saved <= 1) ||
            !is_code(w->image, back))
            continue;
        guesses++;
        w->frame_pointer = at;
        if (walk_once(dwfl, w))
            return true;
        if (w->n > best.n)
            best = *w;
    }
    *w = best;
    return false;
}

static int walk_thread(Dwfl *dwfl, struct walk *w, struct prof__arena *a,
                       struct prof__outside_thread *ret)
{
    const struct prof__image_thread *t = w->thread;

    if (t->sp == 0) {
        ret->why = t->running ? "runs: --stop shows where" : "where it is could not be read";
        return 0;
    }
    w->frame_pointer = 0;
    ret->complete = walk_once(dwfl, w);
    if (!ret->complete && !t->has_kept) {
        size_t without = w->n;

        ret->complete = walk_guessing(dwfl, w);
        ret->guessed = w->n > without || ret->complete;
    }
    if (w->n == 0)
        w->pc[w->n++] = t->pc;
    ret->pc = prof__arena_array(a, w->n, sizeof(*ret->pc));
    ret->symbols = prof__arena_array(a, w->n, sizeof(*ret->symbols));
    if (!ret->pc || !ret->symbols)
        return -ENOMEM;
    memcpy(ret->pc, w->pc, w->n * sizeof(*ret->pc));
    ret->n = w->n;
    return 0;
}

/* Ready to walk; NULL, the sentence set. */
static Dwfl *begin_walks(const struct prof__modules *modules, struct walk *w)
{
    Dwfl *dwfl = dwfl_begin(&callbacks);

    if (!dwfl)
        return NULL;
    report_modules(dwfl, modules);
    /* The number says nothing: no process is asked. */
    if (dwfl_attach_state(dwfl, NULL, 1, &thread_callbacks, w))
        return dwfl;
    prof_set_last_error(-ENOTSUP,
                        "no stack can be walked: none of the program's files could be opened (%s)",
                        dwfl_errmsg(-1));
    dwfl_end(dwfl);
    return NULL;
}

static int walk_all(struct prof__image *image, struct prof__arena *a,
                    struct prof__outside_threads *ret)
{
    static struct walk w;
    int r = 0;

    w = (struct walk) { .image = image };
    Dwfl *dwfl = begin_walks(&ret->modules, &w);
    if (!dwfl)
        return -ENOTSUP;
    for (size_t i = 0; i < ret->n && r == 0; i++) {
        w.thread = ret->thread[i].thread;
        r = walk_thread(dwfl, &w, a, &ret->thread[i]);
    }
    dwfl_end(dwfl);
    return r;
}

void prof__outside_frames(struct prof__image *image, struct prof__arena *a)
{
    static struct walk w;
    struct prof__modules modules = { 0 };

    w = (struct walk) { .image = image };
    Dwfl *dwfl = prof__image_modules(image, a, &modules) == 0 ? begin_walks(&modules, &w) : NULL;
    for (size_t i = 0; i < image->n_threads && dwfl; i++) {
        struct prof__outside_thread one = { .thread = &image->thread[i] };

        w.thread = &image->thread[i];
        w.n = 0;
        if (walk_thread(dwfl, &w, a, &one) < 0 || one.n == 0)
            continue;
        struct prof__image_frame *frame = prof__arena_array(&image->arena, w.n, sizeof(*frame));
        for (size_t f = 0; frame && f < w.n; f++)
            frame[f] =
                (struct prof__image_frame) { .pc = w.pc[f], .cfa = f + 1 < w.n ? w.sp[f + 1] : 0 };
        image->thread[i].frame = frame;
        image->thread[i].n_frames = frame ? w.n : 0;
    }
    if (dwfl)
        dwfl_end(dwfl);
}

/* --- names ------------------------------------------------------------------------------------ */

static int name_all(struct prof__arena *a, struct prof__outside_threads *t)
{
    size_t n = 0, k = 0;

    for (size_t i = 0; i < t->n; i++)
        n += t->thread[i].n;
    struct prof__code_address *address = prof__arena_array(a, n + 1, sizeof(*address));
    struct prof__symbols *symbols = prof__arena_array(a, n + 1, sizeof(*symbols));
    if (!address || !symbols)
        return -ENOMEM;
    for (size_t i = 0; i < t->n; i++)
        for (size_t f = 0; f < t->thread[i].n; f++) {
            t->thread[i].symbols[f] = &symbols[k];
            address[k].address = t->thread[i].pc[f];
            address[k++].module = prof__modules_find_loaded(&t->modules, t->thread[i].pc[f]);
        }
    return prof__symbolize(a, address, n, symbols);
}

static bool is_in(const struct prof__outside_thread *t, const char *function)
{
    for (size_t f = 0; f < PROF_MIN(t->n, (size_t)6); f++)
        for (size_t l = 0; l < t->symbols[f]->n; l++)
            if (t->symbols[f]->line[l].function &&
                strstr(t->symbols[f]->line[l].function, function))
                return true;
    return false;
}

/* --- locks ------------------------------------------------------------------------------------ */

static struct prof__outside_thread *thread_of(struct prof__outside_threads *t, pid_t own_tid)
{
    for (size_t i = 0; own_tid && i < t->n; i++)
        if (t->thread[i].thread->own_tid == own_tid)
            return &t->thread[i];
    return NULL;
}

/* What does it wait on in futex(2)? */
static void find_owner(struct prof__image *image, struct prof__outside_threads *t,
                       struct prof__outside_thread *one)
{
    uint64_t at = one->thread->argument[0];
    uint32_t word, owner = 0;

    if (one->thread->system_call != SYS_FUTEX || at % 4 != 0 ||
        prof__image_read(image, at, &word, sizeof(word)) != sizeof(word))
        return;
    struct prof__outside_thread *ended = thread_of(t, (pid_t)word);
    if (ended && ended != one && (is_in(one, "pthread_join") || is_in(one, "_clockjoin")) &&
        at % 64 == (TID_AT & 63)) {
        one->waits = PROF__WAITS_JOIN;
        one->owner = ended->thread->tid;
        return;
    }
    if (!(is_in(one, "mutex") || is_in(one, "lll_lock")) || is_in(one, "cond_"))
        return;
    prof__image_read(image, at + MUTEX_OWNER, &owner, sizeof(owner));
    struct prof__outside_thread *holder = thread_of(t, (pid_t)owner);
    one->waits = PROF__WAITS_MUTEX;
    one->lock = at;
    one->owner = holder ? holder->thread->tid : 0;
}

/* From each to whom it waits for: a way that comes back to where it began is a deadlock. */
static void find_cycles(struct prof__outside_threads *t)
{
    for (size_t i = 0; i < t->n; i++) {
        struct prof__outside_thread *at = &t->thread[i];
        size_t steps = 0;

        if (at->cycle)
            continue;
        do {
            struct prof__outside_thread *next = NULL;

            for (size_t k = 0; at->owner && k < t->n; k++)
                if (t->thread[k].thread->tid == at->owner)
                    next = &t->thread[k];
            at = next;
        } while (at && at != &t->thread[i] && !at->cycle && ++steps <= t->n);
        if (at != &t->thread[i])
            continue;
        t->cycles++;
        do {
            at->cycle = t->cycles;
            for (size_t k = 0; k < t->n; k++)
                if (t->thread[k].thread->tid == at->owner) {
                    at = &t->thread[k];
                    break;
                }
        } while (!at->cycle);
    }
}

/* --- all -------------------------------------------------------------------------------------- */

static bool is_same(const struct prof__outside_thread *x, const struct prof__outside_thread *y)
{
    return x->n == y->n && x->why == y->why && x->waits == y->waits && x->owner == y->owner &&
           x->lock == y->lock && x->cycle == y->cycle &&
           (x->n == 0 || memcmp(x->pc, y->pc, x->n * sizeof(*x->pc)) == 0);
}

static void group_all(struct prof__outside_threads *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        uint32_t k = 0;

        while (k < i && !(t->thread[k].group == k && is_same(&t->thread[k], &t->thread[i])))
            k++;
        t->thread[i].group = k;
    }
}

int prof__outside_threads(struct prof__image *image, struct prof__arena *a,
                          struct prof__outside_threads *ret)
{
    int r = 0;

    *ret = (struct prof__outside_threads) { .n = image->n_threads };
    ret->thread = prof__arena_array(a, ret->n + 1, sizeof(*ret->thread));
    if (!ret->thread || prof__image_modules(image, a, &ret->modules) < 0)
        r = -ENOMEM;
    for (size_t i = 0; i < ret->n && r == 0; i++)
        ret->thread[i].thread = &image->thread[i];
    if (r == 0)
        r = walk_all(image, a, ret);
    if (r == 0)
        r = name_all(a, ret);
    for (size_t i = 0; i < ret->n && r == 0; i++)
        find_owner(image, ret, &ret->thread[i]);
    if (r == 0) {
        find_cycles(ret);
        group_all(ret);
    }
    return r == -ENOMEM ? prof_set_last_error(r, "out of memory") : r;
}
