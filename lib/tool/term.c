/*
 * term.c - what people read: tables in the terminal's width, colour, and a bar while they wait.
 */
#include "tool/term.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/utf8.h"

static bool has_color;
static bool bar_shown;

void term_setup(enum term_color color)
{
    const char *term = getenv("TERM"), *no = getenv("NO_COLOR");

    has_color = color == TERM_ALWAYS || (color == TERM_AUTO && term_is_terminal() && !(no && *no) &&
                                         term && strcmp(term, "dumb") != 0);
}

bool term_is_terminal(void)
{
    return isatty(STDOUT_FILENO);
}

static struct winsize size_of(void)
{
    struct winsize size = { 0 };

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
        size.ws_col = size.ws_row = 0;
    return size;
}

unsigned term_width(void)
{
    unsigned width = size_of().ws_col;

    return width ? PROF_MAX(width, 40u) : 80;
}

unsigned term_height(void)
{
    unsigned height = size_of().ws_row;

    return height ? height : 24;
}

const char *term_on(enum term_style style)
{
    static const char *const codes[] = { "\033[1m",  "\033[2m",  "\033[31m",
                                         "\033[32m", "\033[33m", "\033[7m" };

    return has_color ? codes[style] : "";
}

const char *term_off(void)
{
    return has_color ? "\033[0m" : "";
}

/* --- text ------------------------------------------------------------------------------------- */

static bool starts_character(char c)
{
    return ((unsigned char)c & 0xc0) != 0x80;
}

size_t term_columns(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += starts_character(*text);
    return n;
}

/* The first n characters of `text`, as bytes. */
static size_t bytes_of(const char *text, size_t n)
{
    const char *at = text;

    while (*at && n > 0) {
        at++;
        while (*at && !starts_character(*at))
            at++;
        n--;
    }
    return (size_t)(at - text);
}

const char *term_fit(char *buf, size_t size, const char *text, size_t columns)
{
    size_t have = term_columns(text), n;

    if (have <= columns) {
        snprintf(buf, size, "%s", text);
    } else {
        size_t head = columns > 1 ? (columns - 1) * 2 / 3 : 0;
        size_t tail = columns > 1 ? columns - 1 - head : 0;

        n = bytes_of(text, have - tail);
        snprintf(buf, size, "%.*s…%s", (int)bytes_of(text, head), text, text + n);
    }
    for (char *c = buf; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    return buf;
}

/* Three digits and a letter. */
static const char *scaled(char buf[TERM_NUMBER], double v, double step, const char *const *letters,
                          size_t n)
{
    double size = fabs(v);
    size_t i = 0;

    while (size >= (step > 1000 ? 1000 : 999.5) && i + 1 < n) {
        size /= step;
        i++;
    }
    snprintf(buf, TERM_NUMBER, "%s%.*f%s", v < 0 ? "-" : "",
             i == 0 || size >= 99.95 ? 0
             : size >= 9.995         ? 1
                                     : 2,
             size, letters[i]);
    return buf;
}

const char *term_bytes(char buf[TERM_NUMBER], double bytes)
{
    static const char *const letters[] = { "B", "K", "M", "G", "T", "P" };

    return scaled(buf, bytes, 1024, letters, ARRAY_LEN(letters));
}

const char *term_count(char buf[TERM_NUMBER], double n)
{
    static const char *const letters[] = { "", "k", "M", "G", "T" };

    return scaled(buf, n, 1000, letters, ARRAY_LEN(letters));
}

const char *term_time(char buf[TERM_NUMBER], double ns)
{
    static const char *const letters[] = { "ns", "us", "ms", "s" };

    if (fabs(ns) >= 999.5e9)
        return term_span(buf, ns / 1e9);
    return scaled(buf, ns, 1000, letters, ARRAY_LEN(letters));
}

const char *term_span(char buf[TERM_NUMBER], double seconds)
{
    long s = (long)seconds;

    if (s >= 86400)
        snprintf(buf, TERM_NUMBER, "%ldd %ldh", s / 86400, s / 3600 % 24);
    else if (s >= 3600)
        snprintf(buf, TERM_NUMBER, "%ldh %ldm", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(buf, TERM_NUMBER, "%ldm %lds", s / 60, s % 60);
    else
        snprintf(buf, TERM_NUMBER, "%lds", s);
    return buf;
}

/* --- tables ----------------------------------------------------------------------------------- */

void term_table_add(struct term_table *t, const char *text)
{
    if (t->room == t->n_rows) {
        size_t room = t->room ? 2 * t->room : 64 * TERM_COLUMNS_MAX;
        char **cell = realloc(t->cell, room * sizeof(*cell));

        if (!cell)
            return;
        t->cell = cell;
        t->room = room;
    }
    t->cell[t->n_rows++] = strdup(text);
}

void term_table_printf(struct term_table *t, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    term_table_add(t, text);
}

static void print_cell(FILE *out, const char *text, size_t width, bool is_right, bool is_last)
{
    char fit[2048];
    size_t pad;

    term_fit(fit, sizeof(fit), text ? text : "", width);
    pad = width - PROF_MIN(width, term_columns(fit));
    if (is_right)
        fprintf(out, "%*s%s", (int)pad, "", fit);
    else
        fprintf(out, "%s%*s", fit, is_last ? 0 : (int)pad, "");
    fputs(is_last ? "\n" : "  ", out);
}

void term_table_print(struct term_table *t, FILE *out, unsigned width)
{
    size_t widths[TERM_COLUMNS_MAX] = { 0 }, taken = 0;
    unsigned last = t->n_columns - 1;

    for (unsigned c = 0; c < t->n_columns; c++)
        widths[c] = term_columns(t->head[c]);
    for (size_t i = 0; i < t->n_rows; i++)
        if (t->cell[i])
            widths[i % t->n_columns] = PROF_MAX(widths[i % t->n_columns], term_columns(t->cell[i]));
    for (unsigned c = 0; c < last; c++)
        taken += widths[c] + 2;
    if (taken + widths[last] > width)
        widths[last] = width > taken + 8 ? width - taken : 8;
    fputs(term_on(TERM_BOLD), out);
    for (unsigned c = 0; c <= last; c++) {
        if (c == last)
            fprintf(out, "%s%s\n", t->head[c], term_off());
        else
            print_cell(out, t->head[c], widths[c], t->is_right[c], false);
    }
    for (size_t i = 0; i < t->n_rows; i++) {
        unsigned c = (unsigned)(i % t->n_columns);

        print_cell(out, t->cell[i], widths[c], t->is_right[c], c == last);
        free(t->cell[i]);
    }
    free(t->cell);
    t->cell = NULL;
    t->n_rows = t->room = 0;
}

/* --- waiting ---------------------------------------------------------------------------------- */

void term_progress(const char *what, double done, double whole)
{
    enum { CELLS = 30 };
    char bar[CELLS + 1];

    if (!isatty(STDERR_FILENO) || (!bar_shown && done < 1 && whole < 1))
        return;
    size_t full = whole > 0 ? (size_t)(CELLS * PROF_MIN(done / whole, 1)) : (size_t)done % CELLS;
    for (size_t i = 0; i < CELLS; i++)
        bar[i] = whole > 0 ? (i < full ? '#' : '.') : i == full ? '#' : '.';
    bar[CELLS] = '\0';
    if (whole > 0)
        fprintf(stderr, "\r%.40s [%s] %.0f of %.0f s \033[K", what, bar, done, whole);
    else
        fprintf(stderr, "\r%.40s [%s] %.0f s \033[K", what, bar, done);
    fflush(stderr);
    bar_shown = true;
}

void term_progress_end(void)
{
    if (bar_shown)
        fputs("\r\033[K", stderr);
    bar_shown = false;
}

/* --- JSON ------------------------------------------------------------------------------------- */

void term_json_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (size_t n; *text; text += n ? n : 1) {
        n = prof__utf8_next(text);
        if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else if ((unsigned char)*text < ' ')
            fprintf(out, "\\u%04x", (unsigned)*text);
        else if (n)
            fwrite(text, 1, n, out);
        else
            fputs("\xef\xbf\xbd", out); /* U+FFFD */
    }
    fputc('"', out);
}
