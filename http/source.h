/*
 * source.h - source files for the viewer, when the program's owner has allowed that.
 *
 * A request names no file. It names an address of code, and the debug information of the object
 * that is loaded there says which file that is: so nothing can be read but sources of this very
 * program, as far as its user may read them, and as long as whoever built it meant well.
 */
#ifndef PROF_HTTP_SOURCE_H
#define PROF_HTTP_SOURCE_H

#include <stdint.h>

#include "buffer.h"

/*
 * Append the file's name, a newline and the file. -ENOENT: no file is known for that address, it
 * cannot be opened, is no regular file, no text, or has more than 4 MiB; `ret_reason` is then a
 * sentence. -ENOMEM. Context: the server's thread, whose descriptors are its own.
 */
int prof__source_write(uint64_t address, unsigned depth, struct prof__buffer *out,
                       const char **ret_reason);

#endif
