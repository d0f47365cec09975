/*
 * read_profile.h - a profile that a process, a file or another tool made, as a report: so that
 * whatever lays out reports (lib/encode) shows it as the process itself would.
 */
#ifndef PROF_TOOL_READ_PROFILE_H
#define PROF_TOOL_READ_PROFILE_H

#include "base/arena.h"
#include "encode/encode.h"

/*
 * Of pprof protobuf, gzipped or not. Strings and all live in `a`. What frames are the program's own
 * is told by the same rules as in the process. 0, -EINVAL: that is no profile; -ENOMEM.
 */
int profile_read(const void *data, size_t size, struct prof__arena *a, struct prof__report *ret);

/* Choose which values count: those of this sample type; NULL: as the profile itself says. -ENOENT
 */
int profile_choose(struct prof__report *r, const char *type);

/*
 * now - before, of samples with the same stack, labels and all: what has come in between. Stacks
 * are the same where their functions, files and lines are, so two runs compare. -EINVAL: they are
 * not of one kind.
 */
int profile_subtract(const struct prof__report *now, const struct prof__report *before,
                     struct prof__arena *a, struct prof__report *ret);

#endif
