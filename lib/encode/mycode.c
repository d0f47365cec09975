/*
 * mycode.c - the rules of mycode.json, which the viewer goes by, too.
 *
 * Each list is sorted, so that it is searched by halves: a text begins with one of the prefixes
 * only if it begins with the last that is not after it, or with one that is a prefix of that.
 */
#include "encode/mycode.h"

#include <string.h>

#include "base/path.h"
#include "mycode_rules.h"

/* The last of n sorted strings that does not come after s[0..size); n: none. */
static size_t last_before(const char *const *list, size_t n, const char *s, size_t size)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t mid = low + (high - low) / 2, length = strlen(list[mid]);
        int order = memcmp(list[mid], s, PROF_MIN(length, size));

        if (order < 0 || (order == 0 && length <= size))
            low = mid + 1;
        else
            high = mid;
    }
    return low ? low - 1 : n;
}

static bool begins_with(const char *const *list, size_t n, const char *s)
{
    size_t size = strlen(s), at = last_before(list, n, s, size);

    for (; at < n; at--) { /* at - 1 of 0 is beyond n */
        size_t length = strlen(list[at]);

        if (strncmp(list[at], s, length) == 0)
            return true;
        if (list[at][0] != s[0])
            return false;
    }
    return false;
}

static bool is_one_of(const char *const *list, size_t n, const char *s, size_t size)
{
    size_t at = last_before(list, n, s, size);

    return at < n && strlen(list[at]) == size && memcmp(list[at], s, size) == 0;
}

/* Of a library's file: by where it is, or by its name. */
static bool is_foreign_module(const char *file)
{
    return begins_with(rule_modules, ARRAY_LEN(rule_modules), file) ||
           begins_with(rule_module_names, ARRAY_LEN(rule_module_names), prof__base_name(file));
}

bool prof__is_my_code(const struct prof__frame *f)
{
    if (!f->is_program && is_foreign_module(f->mapping))
        return false;
    if (f->file && begins_with(rule_files, ARRAY_LEN(rule_files), f->file))
        return false;
    for (size_t i = 0; f->file && i < ARRAY_LEN(rule_file_parts); i++)
        if (strstr(f->file, rule_file_parts[i]))
            return false;
    return !begins_with(rule_name_prefixes, ARRAY_LEN(rule_name_prefixes), f->name) &&
           !is_one_of(rule_names, ARRAY_LEN(rule_names), f->name, strcspn(f->name, "(."));
}
