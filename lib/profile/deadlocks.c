/*
 * deadlocks.c - prof_deadlocks(): whether threads wait for each other for ever, without a stack
 * walked.
 *
 * Cheap enough for a monitor: one small file of /proc is read for each thread, and more only for
 * those that seem to be part of a deadlock. Context: normal.
 */
#include "profile/deadlocks.h"

#include <errno.h>
#include <prof/prof.h>
#include <string.h>

#include "arch/arithmetic.h"
#include "base/arena.h"
#include "base/error.h"
#include "base/slot.h"
#include "base/task.h"
#include "encode/textout.h"
#include "profile/builtin.h"
#include "profile/locks_text.h"
#include "profile/lockstate.h"

struct threads {
    pid_t *tid; /* NULL: they are only counted */
    size_t n, room;
};

static int add_one(pid_t tid, void *arg)
{
    struct threads *t = arg;

    if (prof__slot_hidden(prof__slot_of(tid)))
        return 0;
    if (t->tid && t->n == t->room)
        return 0;
    if (t->tid)
        t->tid[t->n] = tid;
    t->n++;
    return 0;
}

static int list_threads(struct threads *t, struct prof__arena *a)
{
    int r = prof__tasks_each(add_one, t);

    if (r < 0)
        return prof_set_last_error(r, "the threads cannot be listed: %s", strerror(-r));
    t->room = t->n + t->n / 8 + 64; /* those that come meanwhile */
    t->tid = prof__arena_array(a, t->room, sizeof(*t->tid));
    t->n = 0;
    if (!t->tid)
        return -ENOMEM;
    r = prof__tasks_each(add_one, t);
    return r < 0 ? r : 0;
}

struct text {
    char *buf;
    size_t size, used;
    bool brief; /* a line for each deadlock */
};

static int copy(void *arg, const void *data, size_t size)
{
    struct text *t = arg;

    if (t->used < t->size) {
        size_t n = PROF_MIN(size, t->size - 1 - t->used);

        memcpy(t->buf + t->used, data, n);
        t->used += n;
        t->buf[t->used] = '\0';
    }
    return 0;
}

/* How many threads are in deadlocks, or a negative errno; tells of each in `t`. */
static int look(struct prof__arena *a, struct text *t)
{
    struct threads threads = { 0 };
    int r = list_threads(&threads, a), members = 0;
    struct prof__waiting *w = r < 0 ? NULL : prof__arena_array(a, threads.n + 1, sizeof(*w));
    struct prof__textout *out = r < 0 ? NULL : prof__arena_alloc(a, sizeof(*out));

    if (r < 0)
        return r;
    if (!w || !out)
        return -ENOMEM;
    unsigned cycles = prof__lockstate_read(threads.tid, threads.n, w);
    for (size_t i = 0; i < threads.n; i++)
        members += w[i].cycle != 0;
    if (t->size) {
        out->sink = copy;
        out->arg = t;
        if (t->brief)
            prof__locks_text_deadlocks_brief(out, w, threads.n, cycles);
        else
            prof__locks_text_deadlocks(out, "", w, threads.n, cycles);
        prof__textout_flush(out);
    }
    return members;
}

static int write_text(struct text *t)
{
    struct prof__arena arena = { 0 };

    if (t->size)
        t->buf[0] = '\0';
    int r = look(&arena, t);
    prof__arena_free(&arena);
    return r;
}

int prof_deadlocks(char *buf, size_t size)
{
    if (size && !buf)
        return prof_set_last_error(-EINVAL,
                                   "prof_deadlocks() takes a buffer of that size, or none");
    uint64_t program = prof__arithmetic_begin();
    int r = write_text(&(struct text) { buf, size, 0, false });

    prof__arithmetic_end(program);
    return r == -ENOMEM ? prof__error_memory("a look at all threads") : r;
}

void prof__append_deadlocks(char *buf, size_t size, int *length)
{
    char text[512];

    if (write_text(&(struct text) { text, sizeof(text), 0, true }) <= 0)
        return;
    size_t used = strlen(text);
    if (text[used - 1] != '\n') /* many of them: the last one is cut */
        text[used - 1] = '\n';
    prof__append(buf, size, length, "%s", text);
}
