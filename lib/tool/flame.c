/*
 * flame.c - a flame graph of characters: the root at the top, as wide as the terminal.
 *
 * Stacks are put together into a tree by the names of their functions. A row is a depth; a cell as
 * many columns as its share of the whole, and with its name as far as that goes. What is narrower
 * than a column is left blank.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "encode/encode_order.h"
#include "encode/functions.h"
#include "tool/show.h"
#include "tool/term.h"

struct node {
    uint32_t function;
    uint32_t child, next; /* 0: none */
    double value;
};

struct tree {
    struct node *node; /* [0]: the root; no other is 0 */
    uint32_t n, room;
    const struct prof__functions *f;
    struct prof__arena *a;
};

static uint32_t child_of(struct tree *t, uint32_t parent, uint32_t function)
{
    uint32_t at = t->node[parent].child;

    while (at && t->node[at].function != function)
        at = t->node[at].next;
    if (at)
        return at;
    if (t->n == t->room) {
        struct node *more = prof__arena_array(t->a, 2 * (size_t)t->room, sizeof(*more));

        if (!more)
            return 0;
        memcpy(more, t->node, t->n * sizeof(*more));
        t->node = more;
        t->room *= 2;
    }
    t->node[t->n] = (struct node) { .function = function, .next = t->node[parent].child };
    t->node[parent].child = t->n;
    return t->n++;
}

/* Of a difference its size counts: what grew and what shrank. */
static int add_sample(struct tree *t, const struct prof__report *r,
                      const struct prof__report_sample *s, double value)
{
    uint32_t at = 0, start, own;

    prof__report_start(r, s, &start, &own);
    t->node[0].value += value;
    for (uint32_t i = s->n_locations; i-- > start;) {
        uint32_t l = s->location[i], lines = PROF_MAX(r->location[l].n_lines, 1u);

        for (uint32_t k = lines; k-- > (i == start ? own : 0);) {
            at = child_of(t, at, t->f->line[t->f->first[l] + k]);
            if (!at)
                return -1;
            t->node[at].value += value;
        }
    }
    return 0;
}

static const struct node *nodes; /* for the comparison, as qsort() hands nothing on */

static int wider(const void *a, const void *b)
{
    double x = nodes[*(const uint32_t *)a].value, y = nodes[*(const uint32_t *)b].value;

    return (x < y) - (x > y);
}

struct cell {
    uint32_t node;
    unsigned left, width;
};

/* The next row: the children of each cell, within its columns. */
static size_t next_row(const struct tree *t, const struct cell *row, size_t n, double per_column,
                       struct cell *ret)
{
    size_t made = 0;

    for (size_t i = 0; i < n; i++) {
        uint32_t list[1024];
        unsigned left = row[i].left, end = left + row[i].width;
        size_t children = 0;

        for (uint32_t c = t->node[row[i].node].child; c && children < 1024; c = t->node[c].next)
            list[children++] = c;
        nodes = t->node;
        qsort(list, children, sizeof(list[0]), wider);
        for (size_t k = 0; k < children && left < end; k++) {
            unsigned width = (unsigned)(t->node[list[k]].value / per_column + 0.5);

            if (width == 0)
                break;
            width = PROF_MIN(width, end - left);
            ret[made++] = (struct cell) { list[k], left, width };
            left += width;
        }
    }
    return made;
}

static void print_row(const struct tree *t, const struct cell *row, size_t n, FILE *out)
{
    static const char *const colors[] = { "\033[30;43m", "\033[30;103m", "\033[97;41m" };
    bool has_color = *term_off();
    unsigned at = 0;
    char fit[1024];

    for (size_t i = 0; i < n; i++) {
        const char *name = t->f->function[t->node[row[i].node].function].name;

        fprintf(out, "%*s", (int)(row[i].left - at), "");
        term_fit(fit, sizeof(fit), row[i].width > 3 ? name : "", row[i].width - 1);
        size_t pad = row[i].width - 1 - term_columns(fit);
        if (has_color)
            fprintf(out, "%s%s%*s \033[0m", colors[(i + row[i].left) % 3], fit, (int)pad, "");
        else
            fprintf(out, "|%s%*s", fit, (int)pad, "");
        at = row[i].left + row[i].width;
    }
    fputc('\n', out);
}

static int draw(struct tree *t, unsigned width, unsigned rows, FILE *out)
{
    struct cell *row = prof__arena_array(t->a, width + 1, sizeof(*row));
    struct cell *next = prof__arena_array(t->a, width + 1, sizeof(*next));
    double per_column = t->node[0].value / width;
    size_t n = 1;

    if (!row || !next)
        return ctl_no_memory();
    row[0] = (struct cell) { 0, 0, width };
    if (per_column <= 0)
        return CTL_OK;
    for (unsigned depth = 0; depth < rows; depth++) {
        n = next_row(t, row, n, per_column, next);
        if (n == 0)
            return CTL_OK;
        print_row(t, next, n, out);
        struct cell *swap = row;
        row = next;
        next = swap;
    }
    fprintf(out, "%s(deeper ones are left out)%s\n", term_on(TERM_DIM), term_off());
    return CTL_OK;
}

int show_flame(const struct prof__report *r, unsigned width, unsigned rows, FILE *out)
{
    size_t v = prof__report_default_value(r);
    struct prof__arena a = { 0 };
    struct prof__functions f;
    struct tree t = { .f = &f, .a = &a, .n = 1, .room = 1024 };
    int status = CTL_OK;

    t.node = prof__arena_array(&a, t.room, sizeof(*t.node));
    if (!t.node || prof__functions_load(r, &a, &f) < 0)
        status = ctl_no_memory();
    for (size_t i = 0; status == CTL_OK && i < r->n_samples; i++)
        if (add_sample(&t, r, &r->sample[i], fabs((double)r->sample[i].value[v])) < 0)
            status = ctl_no_memory();
    if (status == CTL_OK)
        status = draw(&t, width, rows, out);
    prof__arena_free(&a);
    return status;
}
