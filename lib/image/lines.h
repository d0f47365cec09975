/*
 * lines.h - a file of /proc, line by line, in a buffer of fixed size.
 */
#ifndef PROF_IMAGE_LINES_H
#define PROF_IMAGE_LINES_H

#include "base/compiler.h"

/* Each line without its end; the bytes may be changed, and are gone when `each` returns. A line of
 * more than 16 KiB is passed over. The file is open meanwhile. 0, or a negative errno: of open(2),
 * or of read(2) when some lines have been given already. errno is kept. */
int prof__lines_each(const char *path, void (*each)(char *line, void *arg), void *arg);

#endif
