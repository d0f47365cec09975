/*
 * term.h - what people read: tables in the terminal's width, colour, and a bar while they wait.
 *
 * Colour only where stdout is a terminal, NO_COLOR is not set and TERM is not "dumb", or where
 * --color says so. Strings from outside come in through term_clean(): no control character of a
 * stranger's reaches the terminal.
 */
#ifndef PROF_TOOL_TERM_H
#define PROF_TOOL_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum term_color { TERM_AUTO, TERM_ALWAYS, TERM_NEVER };

/* To be called first. */
void term_setup(enum term_color color);

/* Is stdout a terminal? */
bool term_is_terminal(void);

/* Columns of stdout, or 80; at least 40. Lines, or 24. */
unsigned term_width(void);
unsigned term_height(void);

/* What turns a style on, and all off: "" without colour. */
enum term_style { TERM_BOLD, TERM_DIM, TERM_RED, TERM_GREEN, TERM_YELLOW, TERM_REVERSE };
const char *term_on(enum term_style style);
const char *term_off(void);

/* Columns that UTF-8 text takes: one for each character, as names of code have no wide ones. */
size_t term_columns(const char *text);

/* `text` in at most `columns`, control characters as '?', cut in the middle with "…" so that both
 * ends of a name show. Returns buf. */
const char *term_fit(char *buf, size_t size, const char *text, size_t columns);

/* "12.3M", "1.5G": bytes in at most 6 columns; "340us", "1.2s": nanoseconds; "12.3k": numbers. */
enum { TERM_NUMBER = 48 };
const char *term_bytes(char buf[TERM_NUMBER], double bytes);
const char *term_time(char buf[TERM_NUMBER], double ns);
const char *term_count(char buf[TERM_NUMBER], double n);
/* "3d 4h", "5m 10s". */
const char *term_span(char buf[TERM_NUMBER], double seconds);

/* --- tables ----------------------------------------------------------------------------------- */

/* Rows are kept until term_table_print(), as wide as their widest; the last column gets what is
 * left of the width. */
enum { TERM_COLUMNS_MAX = 12 };
struct term_table {
    const char *head[TERM_COLUMNS_MAX];
    bool is_right[TERM_COLUMNS_MAX]; /* numbers */
    unsigned n_columns;
    char **cell;
    size_t n_rows, room;
};

/* One cell after another, row after row. Copied. */
void term_table_add(struct term_table *t, const char *text);
void term_table_printf(struct term_table *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* To `out`, in `width` columns, and freed. */
void term_table_print(struct term_table *t, FILE *out, unsigned width);

/* --- waiting ---------------------------------------------------------------------------------- */

/* A bar on stderr, if that is a terminal: `done` of `whole` seconds; whole 0: it is not known. It
 * shows from the first second on. */
void term_progress(const char *what, double done, double whole);

/* Remove it. */
void term_progress_end(void);

/* --- JSON ------------------------------------------------------------------------------------- */

/* A string with its quotes: valid UTF-8, whatever the text is. */
void term_json_string(FILE *out, const char *text);

#endif
