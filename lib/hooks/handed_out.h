/*
 * handed_out.h - look at what the allocator hands out, once frees have been seen to go by the
 * hooks.
 */
#ifndef PROF_HOOKS_HANDED_OUT_H
#define PROF_HOOKS_HANDED_OUT_H

#include "base/compiler.h"

/* Are blocks looked at? Hooks that charge after the call do that themselves (charge.h). */
extern _Atomic bool prof__handed_out_watched __attribute__((visibility("hidden")));

/* Once, when the real functions are known. */
void prof__handed_out_prepare(void) __attribute__((visibility("hidden")));

#endif
