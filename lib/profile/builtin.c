/*
 * builtin.c - the list of built-in profiles, and what their status sentences share.
 */
#include "profile/builtin.h"

#include <stdarg.h>
#include <stdio.h>

#include "table/labels.h"

struct prof_profile *const prof__builtin[] = {
    &prof__profile_allocs,       &prof__profile_block,   &prof__profile_goroutine,
    &prof__profile_heap,         &prof__profile_mmap,    &prof__profile_mutex,
    &prof__profile_threadcreate, &prof__profile_threads, NULL,
};

void prof__append(char *buf, size_t size, int *length, const char *format, ...)
{
    size_t at = PROF_MIN((size_t)*length, size);
    va_list args;

    va_start(args, format);
    int n = vsnprintf(size ? buf + at : NULL, size - at, format, args);
    va_end(args);
    if (n > 0)
        *length += n;
}

/* What every profile may have lost. */
void prof__append_losses(char *buf, size_t size, int *length)
{
    uint64_t stacks = prof__stack_table_lost(), rows = prof__rows_lost();

    if (stacks || rows)
        prof__append(
            buf, size, length,
            "%llu samples of any profile are under [lost: table full]: the tables have reached "
            "their bound; LIBPROF_MEMORY_LIMIT raises it\n",
            (unsigned long long)(stacks + rows));
    if (prof__rows_full())
        prof__append(
            buf, size, length,
            "%llu totals have grown too large to tell and are shown as the largest number; "
            "differences and what is in use are right\n",
            (unsigned long long)prof__rows_full());
    if (prof__labels_lost())
        prof__append(buf, size, length,
                     "%llu labels are shown as [other]: too many distinct values\n",
                     (unsigned long long)prof__labels_lost());
}
