/*
 * boot.h - memory for whoever allocates while malloc itself is still being looked up.
 */
#ifndef PROF_HOOKS_BOOT_H
#define PROF_HOOKS_BOOT_H

#include "base/compiler.h"

/* Zeroed memory, or NULL with errno set to ENOMEM. `alignment` is a power of two, at least 16. It
 * is never given out again. Takes no lock. Context: hook. */
void *prof__boot_alloc(size_t alignment, size_t size);

/* Did `p` come from there? Context: hook. */
bool prof__boot_owns(const void *p);

/* The size it was asked for with. */
size_t prof__boot_size(const void *p);

#endif
