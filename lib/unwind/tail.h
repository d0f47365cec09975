/*
 * tail.h - the function that left the stack before its last call.
 *
 * A compiler turns a call that ends a function into a jump, and the function is on no stack any
 * more: very often the one that unlocks a mutex, whose last act that is. What is left of it is the
 * call that led to it, in front of the return address.
 */
#ifndef PROF_UNWIND_TAIL_H
#define PROF_UNWIND_TAIL_H

#include "base/compiler.h"

/* Pointers that a hook jumps through, each the whole of the hook. */
struct prof__doors {
    uintptr_t start, size;
};

/*
 * A hook was entered with `return_address`. If the call there was not to a hook but to a function
 * that ended in a jump to one, the address of that jump, or of the function when there is more
 * than one such jump; else 0. `doors` has n sets of hooks. Found out once for each return address.
 * Context: signal.
 */
uintptr_t prof__tail_caller(uintptr_t return_address, const struct prof__doors *doors, size_t n);

#endif
