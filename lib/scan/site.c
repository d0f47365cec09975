/*
 * site.c - allocators, their wrappers and containers take what others ask for.
 */
#include "scan/site.h"

#include <string.h>

static bool begins(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

static bool is_library(const struct prof__report *r, const struct prof__location *l)
{
    const char *file = r->mapping[l->mapping].file;

    return l->mapping > 0 && (begins(file, "/usr/lib") || begins(file, "/lib"));
}

static bool is_wrapper(const char *name)
{
    static const char *const prefix[] = {
        "std::", "__gnu_cxx::", "operator new", "g_malloc", "g_realloc", "je_", "mi_",
    };
    static const char *const part[] = { "malloc", "calloc", "realloc", "strdup", "memalign" };

    for (size_t i = 0; i < ARRAY_LEN(prefix); i++)
        if (begins(name, prefix[i]))
            return true;
    for (size_t i = 0; i < ARRAY_LEN(part); i++)
        if (strstr(name, part[i]) && !strchr(name, ':'))
            return true;
    return false;
}

uint32_t prof__site_of(const struct prof__report *r, const struct prof__report_sample *s,
                       struct prof__arena *a, uint32_t *ret_line, const char **ret_name)
{
    *ret_name = "??";
    *ret_line = 0;
    for (uint32_t i = 0; i < s->n_locations; i++) {
        const struct prof__location *l = &r->location[s->location[i]];

        for (uint32_t k = 0; k < l->n_lines && !is_library(r, l); k++) {
            const char *name = l->line[k].name;

            if (name[0] == '[' || is_wrapper(name))
                continue;
            *ret_name = name;
            *ret_line = k;
            return s->location[i];
        }
    }
    const struct prof__location *leaf = &r->location[s->location[0]];
    if (leaf->n_lines)
        *ret_name = leaf->line[0].name;
    return s->location[0];
}
