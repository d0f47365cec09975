/*
 * error.c - one sentence a thread, in initial-exec thread-local storage: so it needs no allocation,
 * and the size of that scarce memory bounds the sentence.
 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"

static _Thread_local char sentence[160] __attribute__((tls_model("initial-exec")));

const char *prof_last_error(void)
{
    return sentence;
}

int prof_set_last_error(int error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    return error;
}

int prof__error_memory(const char *what)
{
    return prof_set_last_error(-ENOMEM, "out of memory for %s", what);
}

int prof__struct_read(const void *from, size_t least, void *ret, size_t size)
{
    size_t given = *(const size_t *)from;

    if (!prof__struct_size(given, least))
        return -EINVAL;
    for (size_t i = size; i < given; i++)
        if (((const char *)from)[i] != 0)
            return -E2BIG;
    memcpy(ret, from, PROF_MIN(given, size));
    return 0;
}
