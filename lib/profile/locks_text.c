/*
 * locks_text.c - locks in words:
 *
 *   # deadlock: 2 threads wait for each other, and none can go on
 *   #   thread 4711 (writer) waits for mutex 0x55d0c0de1040, held by thread 4712 (reader)
 *   #   thread 4712 (reader) waits for mutex 0x55d0c0de1080, held by thread 4711 (writer)
 *
 * Context: normal.
 */
#include "profile/locks_text.h"

#include "base/task.h"

static void put_thread(struct prof__textout *out, pid_t tid)
{
    struct prof__task_state state;

    prof__textout_printf(out, "thread %d", (int)tid);
    if (prof__task_state(tid, &state) < 0)
        return; /* of another process, or gone */
    prof__textout_printf(out, " (");
    prof__textout_string(out, state.name, sizeof(state.name));
    prof__textout_printf(out, ")");
}

static void put_since(struct prof__textout *out, int64_t since_ns, int64_t now_ns)
{
    if (since_ns && now_ns) /* it may have begun after `now` was read */
        prof__textout_printf(out, " for %.3f s", (double)PROF_MAX(now_ns - since_ns, 0) / 1e9);
}

static void put_lock(struct prof__textout *out, const struct prof__waiting *w, int64_t now_ns)
{
    if (w->kind == PROF__WAIT_JOIN && w->holder) {
        prof__textout_printf(out, "waits for the end of ");
        put_thread(out, w->holder);
        put_since(out, w->since_ns, now_ns);
        return;
    }
    prof__textout_printf(out, "waits for %s 0x%lx", prof__wait_kind_name(w->kind),
                         (unsigned long)w->object);
    put_since(out, w->since_ns, now_ns);
    if (!w->holder)
        return;
    prof__textout_printf(out, ", held by ");
    if (w->holder == w->tid) {
        prof__textout_printf(out, "the thread itself");
    } else {
        put_thread(out, w->holder);
        put_since(out, w->held_since_ns, now_ns);
    }
}

static void put_head(struct prof__textout *out, const struct prof__waiting *w, size_t n, unsigned c)
{
    unsigned members = 0;

    for (size_t i = 0; i < n; i++)
        members += w[i].cycle == c;
    if (members == 1)
        prof__textout_printf(out, "deadlock: a thread waits for itself");
    else
        prof__textout_printf(out, "deadlock: %u threads wait for each other, and none can go on",
                             members);
}

void prof__locks_text_deadlocks(struct prof__textout *out, const char *prefix,
                                const struct prof__waiting *w, size_t n, unsigned cycles)
{
    for (unsigned c = 1; c <= cycles; c++) {
        prof__textout_word(out, prefix);
        put_head(out, w, n, c);
        prof__textout_printf(out, "\n");
        for (size_t i = 0; i < n; i++) {
            if (w[i].cycle != c)
                continue;
            prof__textout_word(out, prefix);
            prof__textout_printf(out, "  ");
            put_thread(out, w[i].tid);
            prof__textout_printf(out, " ");
            put_lock(out, &w[i], 0);
            prof__textout_printf(out, "\n");
        }
    }
}

void prof__locks_text_deadlocks_brief(struct prof__textout *out, const struct prof__waiting *w,
                                      size_t n, unsigned cycles)
{
    for (unsigned c = 1; c <= cycles; c++) {
        const char *separator = ": ";

        put_head(out, w, n, c);
        for (size_t i = 0; i < n; i++) {
            if (w[i].cycle != c)
                continue;
            prof__textout_word(out, separator);
            put_thread(out, w[i].tid);
            separator = ", ";
        }
        prof__textout_printf(out, "\n");
    }
}

void prof__locks_text_waiting(struct prof__textout *out, const struct prof__waiting *w,
                              int64_t now_ns)
{
    if (!w->object)
        return;
    prof__textout_printf(out, "# ");
    put_lock(out, w, now_ns);
    prof__textout_printf(out, w->cycle ? "; part of a deadlock\n" : "\n");
}
