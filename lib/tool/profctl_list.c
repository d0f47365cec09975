/*
 * profctl_list.c - which processes have libprof in them, and how they are.
 *
 * Known by what is mapped into them, or by the name of the socket that they open. One that sleeps
 * (its server is not loaded until somebody asks it) is not woken for this: what /proc tells of it
 * is all there is.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool/client.h"
#include "tool/ctl.h"
#include "tool/numbers.h"
#include "tool/term.h"

struct row {
    struct proc proc;
    const char *state;         /* "", "asleep", "silent", "not yours" */
    double heap_bytes, growth; /* a minute; < 0 with no_heap */
    double lost;
    bool has_heap, has_growth, deadlock, captures;
};

/* --- numbers -----------------------------------------------------------------------------------
 */

static void ask_numbers(struct row *row, const char *token)
{
    struct target t = { .kind = TARGET_PROCESS, .text = "", .prefix = "/debug/pprof/" };
    struct ask ask = { .path = "metrics", .token = token, .quiet = true };
    struct reply reply;
    double v;

    t.proc = row->proc;
    if (client_ask(&t, &ask, &reply) != CTL_OK) {
        row->state = "silent";
        return;
    }
    row->has_heap = numbers_metric(reply.body, "libprof_heap_inuse_bytes", &row->heap_bytes);
    numbers_metric(reply.body, "libprof_samples_lost_total", &row->lost);
    row->deadlock = numbers_metric(reply.body, "libprof_deadlocked_threads", &v) && v > 0;
    row->captures = numbers_metric(reply.body, "libprof_captures_total", &v) && v > 0;
    free(reply.body);
    ask.path = "vars?format=json";
    if (client_ask(&t, &ask, &reply) == CTL_OK) {
        row->has_growth = numbers_growth(reply.body, &row->growth);
        free(reply.body);
    }
}

/* --- which -------------------------------------------------------------------------------------
 */

static size_t find_rows(struct row **ret, const struct ctl_options *o, size_t *ret_hidden)
{
    struct proc *all;
    size_t n = proc_all(&all), rows = 0;
    struct row *row = calloc(n + 1, sizeof(*row));

    *ret_hidden = 0;
    for (size_t i = 0; row && i < n; i++) {
        const struct proc *p = &all[i];
        bool ours = geteuid() == 0 || p->uid == geteuid();

        if (p->pid == getpid() || p->state == 'Z' || p->rss_bytes == 0) /* or the kernel's own */
            continue;
        int prepared = ours ? proc_has_libprof(p->pid) : -EACCES;
        /* Anybody may read a thread's name; one with a server or a waiting door shows by that. */
        if (prepared <= 0 &&
            (proc_thread_named(p->pid, "prof-http") || proc_thread_named(p->pid, "prof-control")))
            prepared = 1;
        if (prepared <= 0)
            continue;
        if (!ours && !o->all) {
            ++*ret_hidden;
            continue;
        }
        row[rows].proc = *p;
        row[rows].state = "";
        if (!ours)
            row[rows].state = "not yours";
        else if (proc_thread_named(p->pid, "prof-control"))
            row[rows].state = "asleep";
        else
            ask_numbers(&row[rows], o->token);
        rows++;
    }
    free(all);
    *ret = row;
    return row ? rows : 0;
}

/* --- showing it --------------------------------------------------------------------------------
 */

static void add_row(struct term_table *t, const struct row *r, bool with_user)
{
    char buf[TERM_NUMBER], user[64];

    term_table_printf(t, "%d", (int)r->proc.pid);
    if (with_user)
        term_table_add(t, proc_user(r->proc.uid, user, sizeof(user)));
    term_table_add(t, term_span(buf, r->proc.up_seconds));
    term_table_add(t, term_bytes(buf, (double)r->proc.rss_bytes));
    term_table_add(t, r->has_heap ? term_bytes(buf, r->heap_bytes) : "-");
    term_table_add(t, r->has_growth ? term_bytes(buf, r->growth) : "-");
    term_table_printf(t, "%u", r->proc.threads);
    term_table_add(t, r->has_heap ? term_count(buf, r->lost) : "-");
    term_table_printf(t, "%s%s%s%s%s%s", r->proc.name, r->deadlock || r->captures ? " *" : "",
                      r->deadlock ? " deadlock" : "", r->captures ? " captures" : "",
                      *r->state ? "  " : "", r->state);
}

static void show_rows(const struct row *row, size_t n, bool with_user)
{
    struct term_table with = { .head = { "PID", "USER", "UP", "RSS", "HEAP", "GROWTH/m", "THR",
                                         "LOST", "NAME" },
                               .is_right = { true, false, true, true, true, true, true, true },
                               .n_columns = 9 };
    struct term_table without = { .head = { "PID", "UP", "RSS", "HEAP", "GROWTH/m", "THR", "LOST",
                                            "NAME" },
                                  .is_right = { true, true, true, true, true, true, true },
                                  .n_columns = 8 };
    struct term_table *t = with_user ? &with : &without;

    for (size_t i = 0; i < n; i++)
        add_row(t, &row[i], with_user);
    term_table_print(t, stdout, term_width());
}

static void show_json(const struct row *row, size_t n)
{
    fputs("[", stdout);
    for (size_t i = 0; i < n; i++) {
        const struct row *r = &row[i];

        printf("%s{\"pid\":%d,\"uid\":%u,\"name\":", i ? ",\n" : "\n", (int)r->proc.pid,
               (unsigned)r->proc.uid);
        term_json_string(stdout, r->proc.name);
        printf(",\"up_s\":%.1f,\"rss_bytes\":%llu,\"threads\":%u,\"state\":\"%s\"",
               r->proc.up_seconds, (unsigned long long)r->proc.rss_bytes, r->proc.threads,
               *r->state ? r->state : "serving");
        if (r->has_heap)
            printf(",\"heap_bytes\":%.0f,\"lost\":%.0f,\"deadlock\":%s,\"captures\":%s",
                   r->heap_bytes, r->lost, r->deadlock ? "true" : "false",
                   r->captures ? "true" : "false");
        if (r->has_growth)
            printf(",\"heap_growth_bytes_per_minute\":%.0f", r->growth);
        fputs("}", stdout);
    }
    fputs("\n]\n", stdout);
}

static int run_list(const struct ctl_command *self, const struct ctl_options *o, char **argv,
                    int argc)
{
    struct row *row;
    size_t hidden, n = find_rows(&row, o, &hidden);
    bool with_user = o->all || geteuid() == 0;

    (void)self;
    (void)argv;
    (void)argc;
    if (!row)
        return ctl_no_memory();
    if (o->form == CTL_JSON)
        show_json(row, n);
    else if (n == 0)
        puts("No process of yours has libprof in it. \"profrun -- PROGRAM\" starts one.");
    else
        show_rows(row, n, with_user);
    if (hidden && o->form != CTL_JSON)
        printf("%s%zu of other users (--all)%s\n", term_on(TERM_DIM), hidden, term_off());
    free(row);
    return CTL_OK;
}

const struct ctl_command ctl_list_commands[] = {
    { "list", "", CTL_TAKES_JSON | CTL_TAKES_ALL, 0, 0, run_list,
      "the processes with libprof in them",
      "  GROWTH/m  of the heap, bytes a minute, over the last ten minutes\n"
      "  LOST      samples that are missing, or lack their stack\n"
      "  *         a deadlock was found, or captures were taken\n"
      "  asleep    its server is not loaded until it is asked something\n" },
    { NULL, NULL, 0, 0, 0, NULL, NULL, NULL },
};
