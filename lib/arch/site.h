/*
 * site.h - from where one of our functions was called.
 *
 * A walk could begin in our innermost function and go up through ours to the program's. It is
 * shorter to begin where the program called us: what was in pc, sp and fp there is told by the
 * frame of the function that it called, or of one that this jumped to.
 */
#ifndef PROF_ARCH_SITE_H
#define PROF_ARCH_SITE_H

#include "arch/registers.h"

struct prof__site {
    const void *return_address;
    uintptr_t sp, fp; /* of the caller; sp 0: not known */
};

/* Of a function that was jumped to by the one which returns there. Where the compiler has made a
 * call of the jump, the frame has another return address, and tells nothing. Values and no pointer
 * to the frame, since a compiler may give it up before the last jump. */
static inline __attribute__((always_inline)) struct prof__site
prof__site(const void *return_address)
{
    /* On all processors that we know: the caller's frame pointer, and where to return to. */
    const uintptr_t *frame = __builtin_frame_address(0);

    if (prof__code_address(frame[1]) != (uintptr_t)return_address)
        return (struct prof__site) { return_address, 0, 0 };
#if defined(__aarch64__) /* the frame goes on above these two, by how much only the compiler knows \
                          */
    return (struct prof__site) { return_address, (uintptr_t)__builtin_dwarf_cfa(), frame[0] };
#else
    return (struct prof__site) { return_address, (uintptr_t)(frame + 2), frame[0] };
#endif
}

#endif
