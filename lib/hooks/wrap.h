/*
 * wrap.h - the hooks under the names that ld's --wrap gives them (next_wrapped.c).
 *
 * Included by the compiler ahead of every source of libprof-wrap. From here on, who defines or
 * calls malloc() defines or calls __wrap_malloc.
 */
#ifndef PROF_HOOKS_WRAP_H
#define PROF_HOOKS_WRAP_H

#define PROF__HOOKS_PREFIX "__wrap_"
#define PROF__HOOKS_WRAPPED_BY_LD

#undef _FILE_OFFSET_BITS /* or mmap() and mmap64() would be one */
#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>

#include "hooks/hook_alone.h"
#include "hooks/real.h"
#include "hooks/real_io.h"
#include "hooks/real_pthread.h"

void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t alignment, size_t size);

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* sigset() and sigignore() are */
/* clang-format off */
#define RENAME(name) extern __typeof__(name) name __asm__(PROF__HOOKS_PREFIX #name);
#define RENAME_IO(result, name, ...) RENAME(name)
#define RENAME_PTHREAD(name, parameters, arguments) RENAME(name)
PROF__REAL_DOORS(RENAME)
PROF__IO_DOORS(RENAME_IO)
PROF__PTHREAD_HOOKED(RENAME_PTHREAD)
PROF__ALONE_HOOKED(RENAME_PTHREAD)
RENAME(reallocarray)
RENAME(bsd_signal)
RENAME(ssignal)
RENAME(sysv_signal)
RENAME(free_sized)
RENAME(free_aligned_sized)
#undef RENAME_IO
#undef RENAME_PTHREAD
#undef RENAME
/* clang-format on */
#pragma GCC diagnostic pop

#endif
