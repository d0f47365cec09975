/*
 * outside.c - commands on what cannot be asked: a process without libprof, or with one that does
 * not listen, and a core file.
 *
 *   target -> image -> census -> report -> show.c
 *                   -> threads -> text, report
 *                   -> prepared -> report
 *
 * Nothing is put into the process, and it goes on meanwhile.
 */
#include "tool/outside.h"

#include <errno.h>
#include <prof/prof.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "image/foreign.h"
#include "outside/census.h"
#include "outside/prepared.h"
#include "outside/report.h"
#include "outside/threads.h"
#include "tool/output.h"
#include "tool/read_profile.h"
#include "tool/show.h"
#include "tool/term.h"

enum { DEPTH = 16, LIVE_PASSES = 3, WAYS_SHOWN = 20, ARENAS_SHOWN = 12 };

struct job {
    const struct ctl_options *o;
    const struct target *target;
    struct prof__image image;
    bool is_core;
    char title[512];
};

static int failed(int error)
{
    int status = error == -ESRCH || error == -ENOENT      ? CTL_NOT_FOUND
                 : error == -EPERM || error == -EACCES    ? CTL_NOT_ALLOWED
                 : error == -ENOTSUP || error == -ENOEXEC ? CTL_NO_LIBPROF
                                                          : CTL_FAILED;
    const char *why = prof_last_error();
    size_t n = strlen(why);

    if (error == -ENOMEM)
        return ctl_no_memory();
    return ctl_say(status, "%c%s%s", why[0] >= 'a' && why[0] <= 'z' ? why[0] - 'a' + 'A' : why[0],
                   why + (n > 0), n && why[n - 1] == '.' ? "" : ".");
}

static int open_image(struct job *j)
{
    const struct target *t = j->target;

    j->is_core = t->kind == TARGET_CORE;
    int r = j->is_core ? prof__image_core(&j->image, t->text, j->o->exe,
                                          j->o->sysroot ? j->o->sysroot : "")
                       : prof__image_process(&j->image, t->proc.pid);
    if (r == 0 && !j->is_core && j->o->stop)
        prof__image_process_stop(&j->image, true);
    return r;
}

/* --- the heap --------------------------------------------------------------------------------- */

static void print_arena(struct term_table *t, const char *name, const struct prof__glibc_arena *a)
{
    char buf[TERM_NUMBER];
    uint64_t kept = a->cached_bytes + a->fast_bytes, unused = kept + a->free_bytes + a->top_bytes;
    uint64_t all = a->used_bytes + unused;

    term_table_add(t, name);
    term_table_add(t, term_bytes(buf, (double)all));
    term_table_add(t, term_bytes(buf, (double)a->used_bytes));
    term_table_add(t, term_count(buf, (double)a->used_blocks));
    term_table_add(t, term_bytes(buf, (double)kept));
    term_table_add(t, term_bytes(buf, (double)a->free_bytes));
    term_table_add(t, term_bytes(buf, (double)a->top_bytes));
    term_table_printf(t, "%.0f%%", all ? 100.0 * (double)unused / (double)all : 0);
    term_table_add(t, term_bytes(buf, (double)a->trim_bytes));
}

static int by_size(const void *a, const void *b)
{
    const struct prof__glibc_arena *x = *(const struct prof__glibc_arena *const *)a;
    const struct prof__glibc_arena *y = *(const struct prof__glibc_arena *const *)b;

    return x->used_bytes < y->used_bytes ? 1 : x->used_bytes > y->used_bytes ? -1 : 0;
}

/* How malloc has what it has: fragmentation, and what malloc_trim(3) would give back. */
static void print_arenas(const struct prof__glibc *g, FILE *out)
{
    struct term_table t = { .head = { "arena", "bytes", "in use", "blocks", "kept", "free", "top",
                                      "unused", "trim" },
                            .is_right = { false, true, true, true, true, true, true, true, true },
                            .n_columns = 9 };
    const struct prof__glibc_arena **arena = calloc(g->n_arenas + 1, sizeof(*arena));
    struct prof__glibc_arena rest = { 0 };
    char name[48];

    if (!arena)
        return;
    for (size_t i = 0; i < g->n_arenas; i++)
        arena[i] = &g->arena[i];
    qsort(arena, g->n_arenas, sizeof(*arena), by_size);
    for (size_t i = 0; i < g->n_arenas; i++) {
        const struct prof__glibc_arena *a = arena[i];

        if (i < ARENAS_SHOWN || g->n_arenas == ARENAS_SHOWN + 1) {
            snprintf(name, sizeof(name), a == g->arena ? "main" : "%zu", (size_t)(a - g->arena));
            print_arena(&t, name, a);
            continue;
        }
        rest.used_bytes += a->used_bytes;
        rest.used_blocks += a->used_blocks;
        rest.cached_bytes += a->cached_bytes + a->fast_bytes;
        rest.free_bytes += a->free_bytes;
        rest.top_bytes += a->top_bytes;
        rest.trim_bytes += a->trim_bytes;
    }
    if (g->n_arenas > ARENAS_SHOWN + 1) {
        snprintf(name, sizeof(name), "%zu others", g->n_arenas - ARENAS_SHOWN);
        print_arena(&t, name, &rest);
    }
    if (g->mapped_blocks)
        print_arena(&t, "mmapped",
                    &(struct prof__glibc_arena) { .used_bytes = g->mapped_bytes,
                                                  .used_blocks = g->mapped_blocks });
    term_table_print(&t, out, term_width());
    fputc('\n', out);
    free(arena);
}

/* --- ways ------------------------------------------------------------------------------------- */

/* Samples of one stack and kind together, whatever their sizes. */
struct way {
    const struct prof__report_sample *sample;
    const char *kind;
    int64_t blocks, bytes;
};

static const char *kind_of(const struct prof__report_sample *s)
{
    for (uint32_t i = 0; i < s->n_labels; i++)
        if (s->label[i].value && strcmp(s->label[i].key, "kind") == 0)
            return s->label[i].value;
    return "";
}

static int compare_ways(const struct way *x, const struct way *y)
{
    size_t n = PROF_MIN(x->sample->n_locations, y->sample->n_locations);
    int order = memcmp(x->sample->location, y->sample->location, n * sizeof(uint32_t));

    if (order == 0 && x->sample->n_locations != y->sample->n_locations)
        order = x->sample->n_locations < y->sample->n_locations ? -1 : 1;
    return order ? order : strcmp(x->kind, y->kind);
}

static int by_way(const void *a, const void *b)
{
    return compare_ways(a, b);
}

static int by_bytes(const void *a, const void *b)
{
    const struct way *x = a, *y = b;

    return x->bytes < y->bytes ? 1 : x->bytes > y->bytes ? -1 : compare_ways(x, y);
}

/* Each way on its own: what it is, and below it what holds it. */
static int print_ways(const struct prof__report *r, const char *title, unsigned rows, FILE *out)
{
    struct way *way = calloc(r->n_samples + 1, sizeof(*way));
    char buf[TERM_NUMBER];
    size_t n = 0;
    int64_t bytes = 0;

    if (!way)
        return ctl_no_memory();
    for (size_t i = 0; i < r->n_samples; i++) {
        const struct prof__report_sample *s = &r->sample[i];

        way[i] = (struct way) { s, kind_of(s), s->value[0], s->value[1] };
        bytes += s->value[1];
    }
    qsort(way, r->n_samples, sizeof(*way), by_way);
    for (size_t i = 0; i < r->n_samples; i++)
        if (n > 0 && compare_ways(&way[n - 1], &way[i]) == 0) {
            way[n - 1].blocks += way[i].blocks;
            way[n - 1].bytes += way[i].bytes;
        } else {
            way[n++] = way[i];
        }
    qsort(way, n, sizeof(*way), by_bytes);
    fprintf(out, "%s%s: %s%s\n", term_on(TERM_BOLD), title, term_bytes(buf, (double)bytes),
            term_off());
    for (size_t i = 0; i < r->n_comments; i++)
        fprintf(out, "%s# %s%s\n", term_on(TERM_DIM), r->comment[i], term_off());
    for (size_t i = 0; i < n && i < rows; i++) {
        const struct prof__report_sample *s = way[i].sample;

        fprintf(out, "%6s %8lld block%s ", term_bytes(buf, (double)way[i].bytes),
                (long long)way[i].blocks, way[i].blocks == 1 ? " " : "s");
        fprintf(out, "%s%s%s\n", r->location[s->location[0]].line->name, way[i].kind[0] ? ", " : "",
                way[i].kind);
        for (uint32_t k = 1; k < s->n_locations; k++)
            fprintf(out, "                         held by %s\n",
                    r->location[s->location[k]].line->name);
    }
    if (n > rows)
        fprintf(out, "... and %zu more (--rows %zu)\n", n - rows, n);
    free(way);
    return CTL_OK;
}

static int run_heap(struct job *j, struct prof__census *c, struct prof__census *before)
{
    int r = prof__census_walk(c);

    if (r == 0)
        r = prof__census_types(c);
    if (r < 0 || j->o->diff <= 0)
        return r;
    if (j->is_core)
        return prof_set_last_error(-ENOTSUP, "a core file is of one moment: compare two by profctl "
                                             "heap CORE -o FILE and profctl diff");
    /* The rows of the first look; its types go on being used. */
    *before = *c;
    c->row = NULL;
    c->slot = NULL;
    c->n_rows = c->room_rows = c->n_slots = 0;
    for (double done = 0; done < j->o->diff; done += 0.1) {
        struct timespec moment = { 0, 100 * 1000 * 1000 };

        term_progress("waiting", done, j->o->diff);
        nanosleep(&moment, NULL);
    }
    term_progress_end();
    r = prof__census_walk(c);
    if (r == 0)
        r = prof__census_types(c);
    return r == 0 ? prof__census_subtract(c, before) : r;
}

static int show_census(struct job *j, const char *command, struct prof__census *c)
{
    const struct ctl_options *o = j->o;
    bool as_pprof = o->form == CTL_PPROF || (o->form == CTL_FORM_DEFAULT && o->output);
    bool as_text = o->form == CTL_TEXT || (o->form == CTL_FORM_DEFAULT && !o->output);
    struct prof__arena a = { 0 };
    struct prof__report report;
    struct output out;
    int r;

    if (as_pprof && !o->output && term_is_terminal())
        return ctl_say(CTL_USAGE, "protobuf is no text for a terminal: say where to with -o FILE.");
    if (prof__census_report(c, command, &a, &report) < 0) {
        prof__arena_free(&a);
        return ctl_no_memory();
    }
    r = output_open(o, &out);
    if (r == CTL_OK) {
        if (as_text && strcmp(command, "heap") == 0 && o->diff <= 0)
            print_arenas(&c->glibc, out.file);
        if (as_pprof)
            r = show_pprof(&report, &a, out.file);
        else if (as_text && strcmp(command, "heap") != 0)
            r = print_ways(&report, j->title, o->rows ? o->rows : WAYS_SHOWN, out.file);
        else
            r = show_report(&report, j->title, o, out.file);
        if (as_text && strcmp(command, "leaks") == 0 && report.n_samples == 0)
            fputs("Nothing is leaked: all blocks in use can be reached.\n", out.file);
        r = output_close(&out, r);
    }
    prof__arena_free(&a);
    return r;
}

static int run_census(struct job *j, const char *command)
{
    struct prof__census *c = calloc(2, sizeof(*c));
    int passes = j->is_core ? 1 : LIVE_PASSES, r = c ? prof__census_begin(c, &j->image) : -ENOMEM;
    int status;

    term_progress("reading the heap", 0, 0);
    if (r == 0 && strcmp(command, "heap") == 0)
        r = run_heap(j, c, &c[1]);
    else if (r == 0 && strcmp(command, "leaks") == 0)
        r = prof__census_leaks(c, passes);
    else if (r == 0)
        r = prof__census_holders(c, PROF_MIN(passes, 2), DEPTH);
    term_progress_end();
    status = r < 0 ? failed(r) : show_census(j, command, c);
    if (c) {
        free(c[1].row);
        free(c[1].slot);
        prof__census_end(c);
    }
    free(c);
    return status;
}

/* --- threads ---------------------------------------------------------------------------------- */

static int to_file(void *arg, const void *data, size_t size)
{
    return fwrite(data, 1, size, arg) == size ? 0 : -EIO;
}

static void print_about(const struct job *j, FILE *out)
{
    struct prof__core_about about;

    if (!j->is_core)
        return;
    prof__image_core_about(&j->image, &about);
    fprintf(out, "core of %s", about.command[0] ? about.command : "a program");
    if (about.pid)
        fprintf(out, " (%d)", about.pid);
    if (about.signal)
        fprintf(out, ", ended by %s", strsignal(about.signal));
    fprintf(out, ": %zu threads, that which was hit first\n\n", about.threads);
}

static void print_missing(const struct job *j, FILE *out)
{
    const char *const *missing;
    size_t n = j->is_core ? prof__image_core_missing(&j->image, &missing) : 0;

    for (size_t i = 0; i < n; i++)
        fprintf(out, "could not be read: %s\n", missing[i]);
}

static int show_threads(struct job *j, struct prof__outside_threads *t, struct prof__arena *a)
{
    const struct ctl_options *o = j->o;
    bool as_pprof = o->form == CTL_PPROF || (o->form == CTL_FORM_DEFAULT && o->output);
    bool as_text = o->form == CTL_TEXT || (o->form == CTL_FORM_DEFAULT && !o->output);
    struct prof__report report;
    struct output out;
    int r;

    if (as_pprof && !o->output && term_is_terminal())
        return ctl_say(CTL_USAGE, "protobuf is no text for a terminal: say where to with -o FILE.");
    if (!as_text && prof__outside_threads_report(t, a, &report) < 0)
        return ctl_no_memory();
    r = output_open(o, &out);
    if (r != CTL_OK)
        return r;
    if (as_text) {
        print_about(j, out.file);
        prof__outside_threads_text(t, a, to_file, out.file);
        print_missing(j, out.file);
    } else if (as_pprof) {
        r = show_pprof(&report, a, out.file);
    } else {
        r = show_report(&report, j->title, o, out.file);
    }
    return output_close(&out, r);
}

static int run_threads(struct job *j)
{
    struct prof__arena a = { 0 };
    struct prof__outside_threads t;
    int r = prof__image_refresh(&j->image), status;

    if (r == 0)
        r = prof__outside_threads(&j->image, &a, &t);
    status = r < 0 ? failed(r) : show_threads(j, &t, &a);
    prof__arena_free(&a);
    return status;
}

/* --- libprof's own tables --------------------------------------------------------------------- */

/* What can be told of any program. */
static bool is_seen(const char *command)
{
    return strcmp(command, "heap") == 0 || strcmp(command, "leaks") == 0 ||
           strcmp(command, "holders") == 0;
}

static enum prof__names names_of(const struct ctl_options *o)
{
    if (!o->names || strcmp(o->names, "short") == 0)
        return PROF__NAMES_SHORT;
    return strcmp(o->names, "full") == 0 ? PROF__NAMES_FULL : PROF__NAMES_RAW;
}

/* Leaks and holders as a report that people understand, others as a table. */
static int print_kept(struct job *j, const char *command, struct prof__report *report,
                      struct prof__arena *a, FILE *out)
{
    const struct ctl_options *o = j->o;
    int r = -ENOTSUP;

    if (o->form == CTL_TEXT || (o->form == CTL_FORM_DEFAULT && !o->output))
        r = prof__prepared_text(command, report, a, to_file, out);
    return r == -ENOTSUP  ? show_report(report, j->title, o, out)
           : r == -ENOMEM ? ctl_no_memory()
           : r < 0        ? CTL_FAILED
                          : CTL_OK;
}

static int show_kept(struct job *j, const char *command, struct prof__prepared *p)
{
    const struct ctl_options *o = j->o;
    bool as_pprof = o->form == CTL_PPROF || (o->form == CTL_FORM_DEFAULT && o->output);
    struct prof__arena a = { 0 };
    struct prof__report report;
    struct output out;
    struct prof__prepared_ask ask = { command, o->site, names_of(o) };
    int r = p->is_known ? 0 : prof__prepared_adopt(&j->image, p); /* which says why not */

    if (r == 0)
        r = prof__prepared_report(&j->image, p, &ask, &a, &report);
    if (r < 0) {
        prof__arena_free(&a);
        return failed(r);
    }
    if (profile_choose(&report, o->type) < 0)
        r = ctl_say(CTL_NOT_FOUND, "%s has no sample type %s.", command, o->type);
    else if (as_pprof && !o->output && term_is_terminal())
        r = ctl_say(CTL_USAGE, "protobuf is no text for a terminal: say where to with -o FILE.");
    else
        r = output_open(o, &out);
    if (r == CTL_OK) {
        if (as_pprof)
            r = show_pprof(&report, &a, out.file);
        else
            r = print_kept(j, command, &report, &a, out.file);
        if (o->form == CTL_TEXT || (o->form == CTL_FORM_DEFAULT && !o->output))
            print_missing(j, out.file);
        r = output_close(&out, r);
    }
    prof__arena_free(&a);
    return r;
}

static void show_libprof(const struct prof__prepared *p)
{
    const char *name;

    printf("\n  libprof %s", p->version);
    for (size_t i = 0; i < p->build_id_bytes; i++)
        printf("%s%02x", i ? "" : ", build id ", p->build_id[i]);
    if (!p->is_known) {
        puts(", of a version that this profctl cannot read: heap, leaks and holders by type\n");
        return;
    }
    printf(": %zu sampled blocks in use\n  profiles:", p->blocks);
    for (size_t i = 0; (name = prof__prepared_name(i)); i++)
        printf(" %s", name);
    puts("\n  heap, leaks and holders --by-type tell of every block\n");
}

/* What a core file is of, and what can be asked of it. */
static int show_core(struct job *j, const struct prof__prepared *p)
{
    struct prof__arena a = { 0 };
    struct prof__outside_threads t;
    struct prof__core_about about;
    char buf[TERM_NUMBER];

    print_about(j, stdout);
    prof__image_core_about(&j->image, &about);
    if (about.arguments[0])
        printf("  %s\n", about.arguments);
    printf("  %s in %zu mappings", term_bytes(buf, (double)about.file_bytes), about.segments);
    if (about.absent_bytes)
        printf("; cut short by %s", term_bytes(buf, (double)about.absent_bytes));
    if (!p->at)
        printf("\n  no libprof in it: heap, leaks and holders by type\n\n");
    else
        show_libprof(p);
    if (j->image.n_threads > 1)
        j->image.n_threads = 1;
    if (prof__outside_threads(&j->image, &a, &t) == 0)
        prof__outside_threads_text(&t, &a, to_file, stdout);
    print_missing(j, stdout);
    prof__arena_free(&a);
    return CTL_OK;
}

/* Those that are kept in tables, by commands of their own. */
static bool is_kept(const char *command)
{
    static const char *const kept[] = { "heap", "allocs", "mutex", "block" };

    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        if (strcmp(command, kept[i]) == 0)
            return true;
    return false;
}

static int refuse(const struct job *j, const char *command, const struct prof__prepared *p)
{
    const struct target *t = j->target;

    if (j->is_core)
        return ctl_say(
            CTL_NO_LIBPROF,
            "%s is a core file of a program without libprof: it tells heap, leaks, holders "
            "and threads.",
            t->text);
    if (p->at)
        return ctl_say(CTL_NO_LIBPROF,
                       "Process %d (%s) has libprof in it, but does not listen. From outside heap, "
                       "allocs, mutex, block, leaks, holders and threads can be told. With "
                       "LIBPROF_CONTROL=children in the program's environment a forked child "
                       "listens, too.",
                       (int)t->proc.pid, t->proc.name);
    return ctl_say(CTL_NO_LIBPROF,
                   "Process %d (%s) has no libprof in it: from outside heap, leaks, holders and "
                   "threads can be told. Start it by \"profrun --dormant -- PROGRAM\", and it "
                   "can be asked for %s whenever you want to.",
                   (int)t->proc.pid, t->proc.name, command);
}

/* Leaks and holders can be told of a program whose libprof is of another version, and all of one
 * where it has sampled nothing. Of a process that runs they want more than one look. */
static bool wants_census(const struct job *j, const struct prof__prepared *p, const char *command)
{
    bool is_heap = strcmp(command, "heap") == 0;

    return !is_heap && !j->is_core ? true : p->is_known ? p->blocks == 0 : !is_heap;
}

static int run(struct job *j, const char *command)
{
    struct prof__arena own = { 0 };
    struct prof__prepared p;
    int r = prof__image_refresh(&j->image);

    if (r == 0) {
        prof__prepared_find(&j->image, &p);
        r = prof__prepared_own(&j->image, &p, &own);
    }
    if (r == 0 && p.is_known)
        r = prof__prepared_adopt(&j->image, &p);
    if (r < 0)
        r = failed(r);
    else if (strcmp(command, "core") == 0)
        r = show_core(j, &p);
    else if (p.at && is_kept(command) && !j->o->by_type && (j->o->seconds > 0 || j->o->diff > 0))
        r = ctl_say(
            CTL_USAGE,
            "%s has libprof in it, but does not listen: from outside there is only what is so "
            "now. Keep two by -o FILE and compare them by profctl diff.",
            j->target->text);
    else if (strcmp(command, "threads") == 0)
        r = run_threads(j);
    else if (is_seen(command) && (!p.at || j->o->by_type || wants_census(j, &p, command)))
        r = run_census(j, command);
    else if (p.at)
        r = show_kept(j, command, &p);
    else
        r = refuse(j, command, &p);
    prof__arena_free(&own);
    return r;
}

/* ---------------------------------------------------------------------------------------------- */

int outside_run(const char *command, const struct target *t, const struct ctl_options *o)
{
    struct job j = { .o = o, .target = t };
    int r;

    if (t->kind == TARGET_PROCESS && !is_seen(command) && !is_kept(command) &&
        strcmp(command, "threads") != 0) {
        struct prof__prepared p = { .at = target_is_prepared(t) == 1 };

        return refuse(&j, command, &p);
    }
    if (t->kind == TARGET_PROCESS)
        snprintf(j.title, sizeof(j.title), "%s of %s (%d), from outside", command, t->proc.name,
                 (int)t->proc.pid);
    else
        snprintf(j.title, sizeof(j.title), "%s of %s", command, t->text);
    r = open_image(&j);
    if (r < 0)
        return failed(r);
    r = run(&j, command);
    prof__image_close(&j.image);
    return r;
}
