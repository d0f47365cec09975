/*
 * profctl_live.c - what goes on in a process, as it goes on.
 *
 *   top    the table of functions of one profile, drawn again and again; keys choose
 *   watch  a line of numbers each time
 *
 * The terminal is given back as it was, whatever ends it.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "encode/encode_order.h"
#include "tool/client.h"
#include "tool/ctl.h"
#include "tool/numbers.h"
#include "tool/profile_of.h"
#include "tool/show.h"
#include "tool/term.h"

static volatile sig_atomic_t is_ended, is_resized;

static void on_end(int unused)
{
    (void)unused;
    is_ended = 1;
}

static void on_resize(int unused)
{
    (void)unused;
    is_resized = 1;
}

static void catch_signals(void)
{
    struct sigaction end = { .sa_handler = on_end }, resize = { .sa_handler = on_resize };

    sigaction(SIGINT, &end, NULL);
    sigaction(SIGTERM, &end, NULL);
    sigaction(SIGHUP, &end, NULL);
    sigaction(SIGWINCH, &resize, NULL);
}

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Only of a process can be told what follows; an address will do as well. */
static int find_live(const char *text, const char *command, struct target *ret)
{
    int r = target_find(text, ret);

    if (r == CTL_OK && (ret->kind == TARGET_CORE || ret->kind == TARGET_FILE))
        r = ctl_say(CTL_USAGE, "profctl %s is of a running process; %s is a file.", command, text);
    return r;
}

/* --- top ---------------------------------------------------------------------------------------
 */

static const struct view {
    char key;
    const char *title, *profile;
    bool is_window; /* it has no state, only what happens in a while */
} views[] = {
    { 'h', "heap", "heap", false },   { 'a', "allocs", "allocs", false },
    { 'c', "cpu", "profile", true },  { 'b', "block", "block", false },
    { 'm', "mutex", "mutex", false },
};

/* A profile at one moment. */
struct look {
    struct prof__arena a;
    struct prof__report report;
    bool is_there;
};

struct top {
    struct target target;
    struct ctl_options o;
    const struct view *view;
    struct look first, last;
    bool since_start, is_paused, quits, changes;
    double every_s;
};

static void forget(struct look *l)
{
    prof__arena_free(&l->a);
    *l = (struct look) { .is_there = false };
}

/* The next view's looks are others. */
static void choose(struct top *t, const struct view *v)
{
    t->view = v;
    forget(&t->first);
    forget(&t->last);
    t->changes = true;
}

static void take_key(struct top *t, char key)
{
    for (size_t i = 0; i < ARRAY_LEN(views); i++)
        if (views[i].key == key && t->view != &views[i])
            choose(t, &views[i]);
    switch (key) {
    case 'q':
    case 3:
        t->quits = true;
        break;
    case 's':
        t->o.by_cum = !t->o.by_cum;
        break;
    case 'd':
        t->since_start = !t->since_start;
        break;
    case 'r': /* from here on */
        forget(&t->first);
        t->since_start = t->changes = true;
        break;
    case 'o':
        t->o.all_code = !t->o.all_code;
        break;
    case ' ':
        t->is_paused = !t->is_paused;
        break;
    default:
        break;
    }
}

/* Keys that are there. */
static bool take_keys(struct top *t, int wait_ms)
{
    struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
    char keys[16];

    if (poll(&p, 1, wait_ms) <= 0)
        return false;
    ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));
    if (n <= 0)
        t->quits = true;
    for (ssize_t i = 0; i < n; i++) {
        if (keys[i] == '\033')
            break; /* an arrow, or the like */
        take_key(t, keys[i]);
    }
    return true;
}

static bool has_had_enough(void *top)
{
    struct top *t = top;

    take_keys(t, 0);
    return t->quits || t->changes || is_ended;
}

/* In the time that `every_s` says where it is a window. */
static int look(struct top *t)
{
    char path[64];
    struct reply reply;
    struct look l = { .is_there = true };
    int n = snprintf(path, sizeof(path), "%s?names=%s", t->view->profile,
                     t->o.names ? t->o.names : "short");

    if (t->view->is_window)
        snprintf(path + n, sizeof(path) - (size_t)n, "&seconds=%.0f",
                 t->every_s < 1 ? 1 : t->every_s);
    struct ask ask = { .path = path,
                       .token = t->o.token,
                       .seconds = t->view->is_window ? t->every_s : 0,
                       .quiet = true,
                       .is_over = has_had_enough,
                       .arg = t };
    int r = client_ask(&t->target, &ask, &reply);
    if (r != CTL_OK)
        return r;
    struct ctl_options plain = t->o;
    plain.type = NULL; /* that of one profile is none of the next */
    r = profile_parse(reply.body, reply.size, t->target.text, &plain, &l.a, &l.report);
    free(reply.body);
    if (r != CTL_OK) {
        prof__arena_free(&l.a);
        return r;
    }
    profile_choose(&l.report, t->o.type);
    if (!t->first.is_there) {
        t->first = l;
        return CTL_OK;
    }
    forget(&t->last);
    t->last = l;
    return CTL_OK;
}

static void draw_head(const struct top *t, const struct prof__report *r, unsigned width, FILE *out)
{
    char number[TERM_NUMBER], rss[TERM_NUMBER], up[TERM_NUMBER], line[1024], fit[1024];
    size_t v = prof__report_default_value(r);
    double sum = 0;
    struct proc p = t->target.proc;

    for (size_t i = 0; i < r->n_samples; i++)
        sum += (double)r->sample[i].value[v];
    bool is_process = t->target.kind == TARGET_PROCESS && proc_read(p.pid, &p) == 0;
    snprintf(line, sizeof(line), "%s of %s: %s %s%s", t->view->title,
             is_process ? p.name : t->target.text, show_number(number, sum, r->value_type[v].unit),
             r->value_type[v].type,
             t->since_start && !t->view->is_window ? " since the start of this"
             : t->view->is_window                  ? " in the last moments"
                                                   : "");
    fprintf(out, "%s%s%s\n", term_on(TERM_BOLD), term_fit(fit, sizeof(fit), line, width),
            term_off());
    if (is_process)
        fprintf(out, "pid %d, up %s, RSS %s, %u threads%s\n", (int)p.pid,
                term_span(up, p.up_seconds), term_bytes(rss, (double)p.rss_bytes), p.threads,
                t->is_paused ? ", PAUSED" : "");
    else
        fprintf(out, "%s\n", t->is_paused ? "PAUSED" : "");
}

static void draw_body(struct top *t, unsigned width, unsigned height, FILE *out)
{
    struct look *l = t->last.is_there ? &t->last : &t->first;
    struct prof__report difference, *r = &l->report;
    struct prof__arena a = { 0 };

    if (!l->is_there) {
        fprintf(out, "%s: looking ...\n", t->view->title);
        return;
    }
    if (t->since_start && !t->view->is_window &&
        profile_subtract(&l->report, &t->first.report, &a, &difference) == 0) {
        difference.default_type = l->report.default_type;
        r = &difference;
    }
    r->has_own_lines = !t->o.all_code;
    draw_head(t, r, width, out);
    if (r->n_samples == 0)
        fprintf(out, "\n%snothing%s%s%s\n", term_on(TERM_DIM), r->n_comments ? ": " : "",
                r->n_comments ? r->comment[0] : "", term_off());
    else
        show_table(r, &t->o, height > 7 ? height - 6 : 1, width, out);
    prof__arena_free(&a);
}

/* Line by line over what was there, so that nothing flickers. */
static void draw(struct top *t)
{
    unsigned width = term_width(), height = term_height(), n = 1;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return;
    draw_body(t, width, height, out);
    fclose(out);
    fputs("\033[H", stdout);
    for (char *line = text, *end; *line && n + 1 < height; line = end + 1, n++) {
        end = strchr(line, '\n');
        if (!end)
            break;
        printf("%.*s\033[K\r\n", (int)(end - line), line);
    }
    printf("\033[J\033[%u;1H%s%-*.*s%s", height, term_on(TERM_REVERSE), (int)width, (int)width,
           " h a c b m: heap allocs cpu block mutex  s sort  d diff  r reset  o own  q quit",
           term_off());
    fflush(stdout);
    free(text);
}

static int run_loop(struct top *t)
{
    double next = 0;
    int r = CTL_OK;

    draw(t);
    while (!t->quits && !is_ended) {
        if (now_s() >= next && !t->is_paused) {
            t->changes = false;
            r = look(t);
            if (t->changes || t->quits || is_ended) {
                r = CTL_OK;
                continue;
            }
            if (r != CTL_OK)
                return r;
            next = now_s() + (t->view->is_window ? 0.05 : t->every_s);
        }
        draw(t);
        is_resized = 0;
        double left = t->is_paused ? 1 : next - now_s();
        take_keys(t, left > 0 ? (int)(1000 * left) + 1 : 0);
        if (t->changes)
            next = 0;
    }
    return CTL_OK;
}

static int run_top(const struct ctl_command *self, const struct ctl_options *o, char **argv,
                   int argc)
{
    struct termios was, raw;
    struct top t = { .o = *o, .view = &views[0], .every_s = o->seconds > 0 ? o->seconds : 2 };
    int r = find_live(argv[0], self->name, &t.target);

    (void)argc;
    if (r != CTL_OK)
        return r;
    if (!term_is_terminal() || tcgetattr(STDIN_FILENO, &was) < 0)
        return ctl_say(CTL_USAGE,
                       "profctl top wants a terminal; \"profctl heap %s\" shows a table "
                       "once, \"profctl watch %s\" a line each time.",
                       argv[0], argv[0]);
    int fd = target_connect(&t.target, false); /* what is wrong is told before the screen is ours */
    if (fd < 0)
        return -fd;
    close(fd);
    catch_signals();
    raw = was;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    fputs("\033[?1049h\033[?25l\033[2J", stdout);
    r = run_loop(&t);
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &was);
    forget(&t.first);
    forget(&t.last);
    if (r != CTL_OK) {
        fd = target_connect(&t.target, false); /* which says that it has ended, if so */
        if (fd < 0)
            return -fd;
        close(fd);
        return ctl_say(r, "%s did not answer \"%s\".", argv[0], t.view->profile);
    }
    return CTL_OK;
}

/* --- watch -------------------------------------------------------------------------------------
 */

struct numbers {
    double at, rss, heap, allocated, threads, cpu, waited, lost;
};

static int read_numbers(const struct target *t, const struct ctl_options *o, struct numbers *ret)
{
    struct ask ask = { .path = "metrics", .token = o->token, .what = "watch" };
    struct reply reply;
    double mutex;
    int r = client_ask(t, &ask, &reply);

    if (r != CTL_OK)
        return r;
    struct numbers n = { .at = now_s() };
    numbers_metric(reply.body, "process_resident_memory_bytes", &n.rss);
    numbers_metric(reply.body, "libprof_heap_inuse_bytes", &n.heap);
    numbers_metric(reply.body, "libprof_heap_allocated_bytes_total", &n.allocated);
    numbers_metric(reply.body, "process_threads", &n.threads);
    numbers_metric(reply.body, "process_cpu_seconds_total", &n.cpu);
    numbers_metric(reply.body, "libprof_block_wait_seconds_total", &n.waited);
    numbers_metric(reply.body, "libprof_mutex_wait_seconds_total", &mutex);
    numbers_metric(reply.body, "libprof_samples_lost_total", &n.lost);
    n.waited += mutex;
    free(reply.body);
    *ret = n;
    return CTL_OK;
}

static void print_line(const struct numbers *n, const struct numbers *before, bool json)
{
    char rss[TERM_NUMBER], heap[TERM_NUMBER], grown[TERM_NUMBER], rate[TERM_NUMBER],
        waited[TERM_NUMBER], clock[16];
    double s = n->at - before->at > 0 ? n->at - before->at : 1;
    time_t t = time(NULL);

    strftime(clock, sizeof(clock), "%H:%M:%S", localtime(&t));
    if (json) {
        printf("{\"time_s\":%lld,\"rss_bytes\":%.0f,\"heap_bytes\":%.0f,\"heap_grown_bytes\":%.0f,"
               "\"allocated_bytes_per_s\":%.0f,\"threads\":%.0f,\"cpu_percent\":%.1f,"
               "\"waited_s_per_s\":%.6f,\"lost\":%.0f}\n",
               (long long)t, n->rss, n->heap, n->heap - before->heap,
               (n->allocated - before->allocated) / s, n->threads, 100 * (n->cpu - before->cpu) / s,
               (n->waited - before->waited) / s, n->lost);
    } else {
        printf("%8s  %6s  %6s  %7s  %8s  %5.0f  %5.1f  %7s  %4.0f\n", clock,
               term_bytes(rss, n->rss), term_bytes(heap, n->heap),
               term_bytes(grown, n->heap - before->heap),
               term_bytes(rate, (n->allocated - before->allocated) / s), n->threads,
               100 * (n->cpu - before->cpu) / s,
               term_time(waited, (n->waited - before->waited) / s * 1e9), n->lost);
    }
    fflush(stdout);
}

static int run_watch(const struct ctl_command *self, const struct ctl_options *o, char **argv,
                     int argc)
{
    struct target t;
    struct numbers before, n;
    double every_s = o->seconds > 0 ? o->seconds : 1;
    int r = find_live(argv[0], self->name, &t);

    (void)argc;
    if (r == CTL_OK)
        r = read_numbers(&t, o, &before);
    if (r != CTL_OK)
        return r;
    catch_signals();
    for (unsigned row = 0; !is_ended && (!o->rows || row < o->rows); row++) {
        struct timespec rest = { (time_t)every_s,
                                 (long)((every_s - (double)(time_t)every_s) * 1e9) };

        if (row % 20 == 0 && o->form != CTL_JSON)
            printf("%s%8s  %6s  %6s  %7s  %8s  %5s  %5s  %7s  %4s%s\n", term_on(TERM_BOLD), "TIME",
                   "RSS", "HEAP", "GROWN", "ALLOC/s", "THR", "CPU%", "WAIT/s", "LOST", term_off());
        fflush(stdout);
        nanosleep(&rest, NULL);
        if (is_ended)
            break;
        r = read_numbers(&t, o, &n);
        if (r != CTL_OK)
            return r;
        print_line(&n, &before, o->form == CTL_JSON);
        if (ferror(stdout))
            break; /* the reader has seen enough */
        before = n;
    }
    return CTL_OK;
}

const struct ctl_command ctl_live_commands[] = {
    { "top", "PID", CTL_TAKES_SECONDS | CTL_TAKES_TABLE, 1, 1, run_top, "a live table of functions",
      "  --seconds N  between two looks; 2\n"
      "\n"
      "  h a c b m  heap, allocs, cpu, block, mutex\n"
      "  s          sort by FLAT or by CUM\n"
      "  d          what has come since the start of this; r: since now\n"
      "  o          own code, or allocators and libraries by themselves\n"
      "  space      pause\n"
      "  q          quit\n" },
    { "watch", "PID", CTL_TAKES_SECONDS | CTL_TAKES_JSON | CTL_TAKES_ROWS, 1, 1, run_watch,
      "a line of numbers each second",
      "  --seconds N  between two lines; 1\n"
      "  --rows N     end after so many\n" },
    { NULL, NULL, 0, 0, 0, NULL, NULL, NULL },
};
