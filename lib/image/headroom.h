/*
 * headroom.h - how much memory the process may still take before its cgroup's limit.
 */
#ifndef PROF_IMAGE_HEADROOM_H
#define PROF_IMAGE_HEADROOM_H

#include "base/compiler.h"

/* Bytes; UINT64_MAX: there is no limit, or none that can be read. Pages of files that have not been
 * used lately count as free, as the kernel takes those first. */
uint64_t prof__memory_headroom(void);

#endif
