/*
 * chart.c - lines over time, as SVG.
 *
 * The picture is stretched to the width there is, so no text is in it: what the lines are and how
 * high the scale goes is said in words around it, which stay readable on a phone. Lines differ by
 * their dashes too, not by colour alone.
 */
#include "chart.h"

#include <math.h>
#include <stdio.h>

#include "series.h"

enum { WIDTH = 1000, HEIGHT = 200 };

const char prof__chart_style[] =
    ":root { --rss: #0b57d0; --heap: #b3261e }\n"
    "@media (prefers-color-scheme: dark) { :root { --rss: #8ab4f8; --heap: #ff9e92 } }\n"
    ".chart { margin: 1rem 0 } .chart svg { display: block; width: 100%; height: 9rem;\n"
    "  background: var(--soft) }\n"
    ".chart path { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke;\n"
    "  stroke-linejoin: round }\n"
    ".chart .grid { stroke: var(--line); stroke-width: 1 } .chart .rss { stroke: var(--rss) }\n"
    ".chart .heap { stroke: var(--heap); stroke-dasharray: 6 3 }\n"
    ".chart p { display: flex; flex-wrap: wrap; gap: 0 1.2rem; margin: 0 }\n"
    ".chart p span:last-child { margin-left: auto }\n"
    ".chart b.rss { color: var(--rss) } .chart b.heap { color: var(--heap) }\n";

/* What is drawn. */
static const struct line {
    unsigned var; /* in prof__vars[] */
    const char *class, *key;
} lines[] = { { 0, "rss", "&#9473;" }, { 1, "heap", "&#9477;" } };

#define LINES (sizeof(lines) / sizeof(lines[0]))

/* The least that is not below, of 1 MiB, 1.5, 2, 3, 4, 6, 8 ... */
static double scale_for(double most)
{
    double scale = 1024 * 1024;

    for (int i = 0; scale < most; i++)
        scale *= i % 2 ? 4.0 / 3 : 1.5;
    return scale;
}

static double highest(const struct prof__series *s, unsigned var, double *ret_last)
{
    double most = NAN;

    *ret_last = NAN;
    for (size_t i = 0; i < s->n; i++) {
        uint64_t v = prof__var_of(&prof__vars[var], &s->point[i]);

        if (v == PROF_VARS_MISSING || s->now_ms - s->point[i].time_ms > s->span_ms)
            continue;
        most = fmax(most, (double)v);
        *ret_last = (double)v;
    }
    return most;
}

static void add_line(struct prof__buffer *out, const struct prof__series *s,
                     const struct line *line, double scale)
{
    int64_t gap_ms = s->step_ms * 5 / 2; /* nothing was noted for longer */
    int64_t last_ms = 0;

    prof__buffer_printf(out, "<path class='%s' d='", line->class);
    for (size_t i = 0; i < s->n; i++) {
        const struct prof_vars_point *p = &s->point[i];
        uint64_t v = prof__var_of(&prof__vars[line->var], p);
        int64_t ago = s->now_ms - p->time_ms;

        if (v == PROF_VARS_MISSING || ago > s->span_ms)
            continue;
        ago = ago < 0 ? 0 : ago;
        prof__buffer_printf(out, "%c%d %d", p->time_ms - last_ms > gap_ms ? 'M' : 'L',
                            (int)(WIDTH - ago * WIDTH / s->span_ms),
                            (int)(HEIGHT - (double)v / scale * HEIGHT));
        last_ms = p->time_ms;
    }
    prof__buffer_puts(out, "'/>\n");
}

static int add_chart(struct prof__buffer *out, const struct prof__series *s)
{
    double last[LINES], most = 0;
    char text[32], span[32];

    for (size_t i = 0; i < LINES; i++)
        most = fmax(most, highest(s, lines[i].var, &last[i]));
    double scale = scale_for(most);
    prof__series_span(s, span, sizeof(span));
    prof__buffer_puts(out, "<div class='chart'>\n<p>");
    for (size_t i = 0; i < LINES; i++) {
        prof__var_text(&prof__vars[lines[i].var], last[i], text, sizeof(text));
        prof__buffer_printf(out, "<span><b class='%s' aria-hidden='true'>%s</b> %s %s</span> ",
                            lines[i].class, lines[i].key, prof__vars[lines[i].var].words, text);
    }
    prof__var_text(&prof__vars[0], scale, text, sizeof(text));
    prof__buffer_printf(out,
                        "<span class='quiet'>0 to %s</span></p>\n"
                        "<svg viewBox='0 0 %d %d' preserveAspectRatio='none' role='img' "
                        "aria-label='Memory of the last %s'>\n",
                        text, WIDTH, HEIGHT, span);
    prof__buffer_puts(out, "<path class='grid' d='");
    for (int i = 1; i < 4; i++)
        prof__buffer_printf(out, "M0 %dH%dM%d 0V%d", i * HEIGHT / 4, WIDTH, i * WIDTH / 4, HEIGHT);
    prof__buffer_puts(out, "'/>\n");
    for (size_t i = 0; i < LINES; i++)
        add_line(out, s, &lines[i], scale);
    prof__buffer_puts(out, "</svg>\n");
    return prof__buffer_printf(out,
                               "<p class='quiet links'><span>%s ago</span> <span><a "
                               "href='vars'>numbers over time</a></span> <span>now</span></p>\n"
                               "</div>\n",
                               span);
}

int prof__chart(struct prof__buffer *out)
{
    struct prof__series s;
    int r = prof__series_recent(&s);

    if (r < 0)
        return r;
    if (s.n >= 2)
        r = add_chart(out, &s);
    prof__series_free(&s);
    return r;
}
