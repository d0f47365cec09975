/*
 * threads.c - threads and its alias goroutine, and threadcreate.
 *
 * The first two have no rows of their own to fill: a snapshot is what thread_stacks.h sees now,
 * counted by stack and labels under the numbers of rows, so that two snapshots can be subtracted.
 */
#include "profile/builtin.h"
#include "profile/deadlocks.h"
#include "profile/snapshot.h"
#include "profile/thread_stacks.h"
#include "profile/threads_text.h"
#include "record/presence.h"
#include "table/labels.h"
#include "table/rows.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"

/* What running threads have for an answer, as a rule. */
#define LONG_NS ((int64_t)150 * 1000 * 1000)

/* Index of the sample with that row, or where it belongs. */
static size_t position(const struct prof__snapshot *s, uint32_t row)
{
    size_t low = 0, high = s->n;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (s->sample[middle].row < row)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void count_thread(struct prof__snapshot *s, const struct prof__thread_stack *t)
{
    uint32_t row = prof__rows_get(PROF__TABLE_THREADS, t->stack, t->labels, 0);
    size_t at = position(s, row);

    if (at == s->n || s->sample[at].row != row) {
        memmove(&s->sample[at + 1], &s->sample[at], (s->n - at) * sizeof(*s->sample));
        s->sample[at] = (struct prof__sample) {
            .row = row,
            .stack = row ? prof__rows_at(row)->stack : t->stack,
            .labels = row ? prof__rows_at(row)->labels : t->labels,
        };
        s->n++;
    }
    s->sample[at].raw.value[0]++;
}

static int take(const struct prof_write_options *w, struct prof__snapshot *ret)
{
    struct prof__thread_stack *thread;
    size_t n;

    (void)w;
    *ret = (struct prof__snapshot) { .arena = ret->arena };
    ret->wall_ns = prof__wall_ns();
    ret->monotonic_ns = prof__monotonic_ns();
    int r = prof__threads_take(&ret->arena, &thread, &n);
    if (r < 0)
        return r;
    ret->sample = prof__arena_array(&ret->arena, n + 1, sizeof(*ret->sample));
    if (!ret->sample)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        count_thread(ret, &thread[i]);
    return 0;
}

static int64_t count(const struct prof_profile *p)
{
    return prof__threads_count();
}

static int status(char *buf, size_t size)
{
    struct prof__threads_missing missing;
    int length = 0;

    prof__append_deadlocks(buf, size, &length);
    prof__threads_missing(&missing);
    if (missing.no_answer && missing.ask_error)
        prof__append(buf, size, &length,
                     "%u running threads did not answer and are under [no answer]: they cannot be "
                     "asked: %s%s\n",
                     missing.no_answer, strerror(-missing.ask_error),
                     missing.ask_error == -EAGAIN ? " (RLIMIT_SIGPENDING is used up)" : "");
    else if (missing.no_answer)
        prof__append(buf, size, &length,
                     "%u running threads did not answer and are under [no answer]; they block "
                     "signals, or did not get a processor\n",
                     missing.no_answer);
    if (missing.waited_ns > LONG_NS)
        prof__append(buf, size, &length,
                     "it took %d ms until the running threads had answered: there are more of them "
                     "than processors\n",
                     (int)(missing.waited_ns / 1000000));
    if (missing.unreadable)
        prof__append(buf, size, &length,
                     "the stacks of %u waiting threads cannot be read: /proc/self/task/*/syscall: "
                     "%s%s\n",
                     missing.unreadable, strerror(-missing.error),
                     missing.error == -EACCES
                         ? "; a process that has given up root may not look at itself: "
                           "\"profctl threads PID\" as root can"
                         : "");
    prof__append_losses(buf, size, &length);
    return length;
}

/* clang-format off */
#define THREADS(NAME)                                                                              \
    .name = NAME, .table = PROF__TABLE_THREADS, .text = PROF__TEXT_COUNT, .n_values = 1,           \
    .value_type = { { NAME, "count" } }, .period_type = { NAME, "count" },                         \
    .take = take, .count = count, .status = status, .write_detail = prof__threads_write_text
/* clang-format on */

struct prof_profile prof__profile_threads = {
    THREADS("threads"),
    .description = "Stacks of all threads now, waiting or running. debug=2: one by one.",
};

struct prof_profile prof__profile_goroutine = {
    THREADS("goroutine"),
    .description = "The same as threads, by the name under which Go's tools look for it.",
};

static int threadcreate_status(char *buf, size_t size)
{
    int length = 0;

    if (prof__hooks_how() == PROF__HOOKS_NONE)
        prof__append(buf, size, &length,
                     "thread creation is not watched: link libprof-hooks, or run under profrun\n");
    prof__append_losses(buf, size, &length);
    return length;
}

struct prof_profile prof__profile_threadcreate = {
    .name = "threadcreate",
    .description = "Stacks that created threads, since the start.",
    .table = PROF__TABLE_THREADCREATE,
    .text = PROF__TEXT_COUNT,
    .n_values = 1,
    .value_type = { { "threadcreate", "count" } },
    .period_type = { "threadcreate", "count" },
    .status = threadcreate_status,
};
