/*
 * held.h - pointers that a program gave to the kernel, from /proc/PID.
 */
#ifndef PROF_IMAGE_HELD_H
#define PROF_IMAGE_HELD_H

#include "image/image.h"

/* What epoll sets and timers of the process in the folder `proc` carry, "/proc/self" or another's,
 * in memory from `a`. *ret_unreadable counts descriptors that could not be looked at. 0 or -ENOMEM.
 */
int prof__held_read(const char *proc, struct prof__arena *a, struct prof__image_held **ret_held,
                    size_t *ret_n, unsigned *ret_unreadable);

#endif
