/*
 * show.c - a report as people and programs read it: a table of functions, JSON, folded stacks.
 */
#include "tool/show.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "encode/encode_order.h"
#include "encode/functions.h"
#include "tool/term.h"

const char *show_number(char buf[SHOW_NUMBER], double v, const char *unit)
{
    if (strcmp(unit, "bytes") == 0)
        return term_bytes(buf, v);
    if (strcmp(unit, "nanoseconds") == 0)
        return term_time(buf, v);
    return term_count(buf, v);
}

/* Of what percentages are: all there is; of a difference, all that has changed. */
static double whole_of(const struct prof__report *r, double *ret_sum)
{
    size_t v = prof__report_default_value(r);
    double sum = 0, size = 0;

    for (size_t i = 0; i < r->n_samples; i++) {
        sum += (double)r->sample[i].value[v];
        size += fabs((double)r->sample[i].value[v]);
    }
    *ret_sum = sum;
    return size;
}

/* --- functions -------------------------------------------------------------------------------- */

static int by_size(int64_t a, int64_t b)
{
    double x = fabs((double)a), y = fabs((double)b);

    return (x < y) - (x > y);
}

static int by_flat(const void *a, const void *b)
{
    const struct prof__function *p = a, *q = b;
    int order = by_size(p->flat, q->flat);

    return order ? order : by_size(p->cum, q->cum);
}

static int by_cum(const void *a, const void *b)
{
    const struct prof__function *p = a, *q = b;
    int order = by_size(p->cum, q->cum);

    return order ? order : by_size(p->flat, q->flat);
}

/* Those that have anything, sorted; in `a`. */
static struct prof__function *sorted(const struct prof__report *r, const struct ctl_options *o,
                                     struct prof__arena *a, size_t *ret_n)
{
    struct prof__functions f;
    size_t n = 0;

    if (prof__functions_load(r, a, &f) < 0)
        return NULL;
    struct prof__function *all = prof__arena_array(a, f.n + 1, sizeof(*all));
    for (size_t i = 0; all && i < f.n; i++)
        if (f.function[i].flat || f.function[i].cum)
            all[n++] = f.function[i];
    if (all)
        qsort(all, n, sizeof(*all), o->by_cum ? by_cum : by_flat);
    *ret_n = n;
    return all;
}

int show_table(const struct prof__report *r, const struct ctl_options *o, unsigned rows,
               unsigned width, FILE *out)
{
    struct term_table t = { .head = { "FLAT", "FLAT%", "CUM", "CUM%", "FUNCTION" },
                            .is_right = { true, true, true, true, false },
                            .n_columns = 5 };
    const char *unit = r->value_type[prof__report_default_value(r)].unit;
    struct prof__arena a = { 0 };
    char number[SHOW_NUMBER];
    double sum, whole = whole_of(r, &sum);
    size_t n;
    struct prof__function *f = sorted(r, o, &a, &n);

    if (!f) {
        prof__arena_free(&a);
        return ctl_no_memory();
    }
    for (size_t i = 0; i < n && i < rows; i++) {
        term_table_add(&t, show_number(number, (double)f[i].flat, unit));
        term_table_printf(&t, "%.1f", whole > 0 ? 100 * (double)f[i].flat / whole : 0);
        term_table_add(&t, show_number(number, (double)f[i].cum, unit));
        term_table_printf(&t, "%.1f", whole > 0 ? 100 * (double)f[i].cum / whole : 0);
        if (*f[i].file && term_columns(f[i].name) + strlen(prof__base_name(f[i].file)) + 34 < width)
            term_table_printf(&t, "%s  %s", f[i].name, prof__base_name(f[i].file));
        else
            term_table_add(&t, f[i].name);
    }
    term_table_print(&t, out, width);
    if (n > rows)
        fprintf(out, "%s... and %zu more (--rows %zu)%s\n", term_on(TERM_DIM), n - rows, n,
                term_off());
    prof__arena_free(&a);
    return CTL_OK;
}

/* --- JSON ------------------------------------------------------------------------------------- */

static int show_json(const struct prof__report *r, const char *title, const struct ctl_options *o,
                     FILE *out)
{
    size_t v = prof__report_default_value(r), n;
    struct prof__arena a = { 0 };
    struct prof__function *f = sorted(r, o, &a, &n);
    double sum;

    if (!f) {
        prof__arena_free(&a);
        return ctl_no_memory();
    }
    whole_of(r, &sum);
    fputs("{\"title\":", out);
    term_json_string(out, title);
    fputs(",\"type\":", out);
    term_json_string(out, r->value_type[v].type);
    fputs(",\"unit\":", out);
    term_json_string(out, r->value_type[v].unit);
    fprintf(out, ",\"total\":%.0f,\"time_ns\":%lld,\"duration_ns\":%lld,\n\"functions\":[", sum,
            (long long)r->time_ns, (long long)r->duration_ns);
    for (size_t i = 0; i < n && (!o->rows || i < o->rows); i++) {
        fputs(i ? ",\n{\"name\":" : "\n{\"name\":", out);
        term_json_string(out, f[i].name);
        fputs(",\"file\":", out);
        term_json_string(out, f[i].file);
        fprintf(out, ",\"flat\":%lld,\"cum\":%lld}", (long long)f[i].flat, (long long)f[i].cum);
    }
    fputs("],\n\"comments\":[", out);
    for (size_t i = 0; i < r->n_comments; i++) {
        fputs(i ? "," : "", out);
        term_json_string(out, r->comment[i]);
    }
    fputs("]}\n", out);
    prof__arena_free(&a);
    return CTL_OK;
}

/* --- any form --------------------------------------------------------------------------------- */

static int to_file(void *file, const void *data, size_t size)
{
    return fwrite(data, 1, size, file) == size ? 0 : -5;
}

static int show_folded(const struct prof__report *r, FILE *out)
{
    struct prof__arena a = { 0 };
    int error =
        prof__encode_folded(r, r->value_type[prof__report_default_value(r)].type, &a, to_file, out);

    prof__arena_free(&a);
    return error == 0 || (out == stdout && ctl_reader_left())
               ? CTL_OK
               : ctl_say(CTL_FAILED, "The stacks could not be written.");
}

int show_pprof(const struct prof__report *r, struct prof__arena *a, FILE *out)
{
    return prof__encode_pprof(r, a, to_file, out) == 0 || (out == stdout && ctl_reader_left())
               ? CTL_OK
               : ctl_say(CTL_FAILED, "The profile could not be written.");
}

static void show_heading(const struct prof__report *r, const char *title, FILE *out)
{
    const struct prof__value_type *type = &r->value_type[prof__report_default_value(r)];
    char number[SHOW_NUMBER], clean[512];
    double sum;

    whole_of(r, &sum);
    fprintf(out, "%s%s%s: %s %s, %zu stacks", term_on(TERM_BOLD),
            term_fit(clean, sizeof(clean), title, 200), term_off(),
            show_number(number, sum, type->unit), type->type, r->n_samples);
    if (r->duration_ns > 0)
        fprintf(out, ", in %s", term_span(number, (double)r->duration_ns / 1e9));
    fputc('\n', out);
    for (size_t i = 0; i < r->n_comments; i++)
        fprintf(out, "%s# %s%s\n", term_on(TERM_DIM),
                term_fit(clean, sizeof(clean), r->comment[i], sizeof(clean) / 2), term_off());
}

int show_report(struct prof__report *r, const char *title, const struct ctl_options *o, FILE *out)
{
    r->has_own_lines = !o->all_code;
    switch (o->form) {
    case CTL_JSON:
        return show_json(r, title, o, out);
    case CTL_FOLDED:
        return show_folded(r, out);
    case CTL_FLAME:
        show_heading(r, title, out);
        return show_flame(r, term_width(), term_is_terminal() ? term_height() - 3 : 60, out);
    default:
        show_heading(r, title, out);
        if (r->n_samples == 0)
            return CTL_OK;
        return show_table(r, o, o->rows ? o->rows : 20, term_width(), out);
    }
}
