/*
 * text_profile.h - a profile in text form (debug=1) taken into memory, and sums over its rows.
 */
#ifndef TEST_TEXT_PROFILE_H
#define TEST_TEXT_PROFILE_H

#include <prof/prof.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text_profile {
    char *text; /* NULL: nothing was written */
    size_t size;
};

static inline int text_profile_sink(void *arg, const void *data, size_t size)
{
    struct text_profile *t = (struct text_profile *)arg;
    char *text = (char *)realloc(t->text, t->size + size + 1);

    if (!text)
        return -1;
    memcpy(text + t->size, data, size);
    t->text = text;
    t->size += size;
    text[t->size] = '\0';
    return 0;
}

/* For a profile that nobody reads. */
static inline int text_profile_drop(void *arg, const void *data, size_t size)
{
    (void)arg;
    (void)data;
    (void)size;
    return 0;
}

static inline void text_profile_free(struct text_profile *t)
{
    free(t->text);
    t->text = NULL;
    t->size = 0;
}

/* Write a window, or the whole profile of that name. */
static inline int text_profile_window(struct text_profile *t, struct prof_window *w)
{
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;

    o.debug = 1;
    t->text = NULL;
    t->size = 0;
    return prof_window_write(w, &o, text_profile_sink, t);
}

static inline int text_profile_take(struct text_profile *t, const char *name, int debug)
{
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;

    o.debug = debug;
    t->text = NULL;
    t->size = 0;
    return prof_profile_write(prof_lookup(name), &o, text_profile_sink, t);
}

/* Sum of the first column of the rows that have `a` and `b` (NULL: anything) in their addresses,
 * labels or frames; `only_leaf`: `a` in the first frame. */
static inline long text_profile_sum_of(const struct text_profile *t, const char *a, const char *b,
                                       int only_leaf)
{
    long sum = 0;

    for (const char *row = t->text; row && *row;) {
        const char *end = strstr(row, "\n\n"), *at = strstr(row, " @ ");
        size_t size = end ? (size_t)(end - row) : strlen(row);
        /* The head and the comments stand before the first row, in its paragraph. */
        char *copy = strndup(row, size), *line = copy;

        while (line && at && !(*line >= '0' && *line <= '9' && strstr(line, " @ ")))
            line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL;
        if (line && at) {
            char *leaf = strstr(line, "\n#\t");
            char *leaf_end = leaf ? strchr(leaf + 1, '\n') : NULL;
            char *in_a = a ? strstr(line, a) : line;

            if (only_leaf && leaf && leaf_end && in_a >= leaf_end)
                in_a = NULL;
            if (in_a && (!b || strstr(line, b)))
                sum += atol(line);
        }
        free(copy);
        row = end ? end + 2 : NULL;
    }
    return sum;
}

static inline long text_profile_sum(const struct text_profile *t, const char *a)
{
    return text_profile_sum_of(t, a, NULL, 0);
}

#endif
