/*
 * error.h - the sentence behind prof_last_error().
 *
 * prof_set_last_error() of the public header is what the inside uses too: `return
 * prof_set_last_error(-ENOMEM, "...")`. Calls that succeed leave it alone.
 */
#ifndef PROF_BASE_ERROR_H
#define PROF_BASE_ERROR_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include <prof/prof.h>

/* "out of memory for WHAT", -ENOMEM. */
int prof__error_memory(const char *what);

/* Can a caller of any version have filled this in as the size of its struct? If not it was never
 * set, and does not say how much may be read or written. */
static inline bool prof__struct_size(size_t size, size_t least)
{
    return size >= least && size <= 4096 && size % sizeof(size_t) == 0;
}

/*
 * What a caller of any version has filled in, as this version knows it: its struct begins with its
 * size, may be shorter, or longer if it has nothing there. `ret` begins as what is the default; at
 * least `least` bytes are needed. 0, -EINVAL: it was not initialized; -E2BIG: it asks for something
 * that this version does not know.
 */
int prof__struct_read(const void *from, size_t least, void *ret, size_t size);

#endif
