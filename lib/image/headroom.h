/*
 * headroom.h - what the process's memory cgroup uses, and how much may still be taken before its
 * limit.
 */
#ifndef PROF_IMAGE_HEADROOM_H
#define PROF_IMAGE_HEADROOM_H

#include "base/compiler.h"

/* Bytes; UINT64_MAX: there is no limit, or none that can be read. Pages of files that have not been
 * used lately count as free, as the kernel takes those first. */
uint64_t prof__memory_headroom(void);

/* The files that may say what the process's memory cgroup uses, in bytes, the likeliest first:
 * number i = 0, 1, ... of `cgroups`, which is what /proc/self/cgroup says. False: there are no
 * more. */
bool prof__memory_usage_file(const char *cgroups, unsigned i, char *path, size_t size);

/* Call `each` for the folder of every memory cgroup that counts for the process, from its own up to
 * the root; `cgroups` as above. In a container some of them may not be there. */
void prof__memory_groups(const char *cgroups,
                         void (*each)(const char *folder, bool version_1, void *arg), void *arg);

#endif
