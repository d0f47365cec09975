#include "arch/registers.h"

#include <ucontext.h>

static_assert(offsetof(struct prof__registers, pc) == 0 &&
                  offsetof(struct prof__registers, r) == sizeof(uintptr_t),
              "PROF__CAPTURE knows the layout");
static_assert(offsetof(mcontext_t, sp) - offsetof(mcontext_t, regs) == 31 * sizeof(uintptr_t) &&
                  offsetof(mcontext_t, pc) - offsetof(mcontext_t, sp) == sizeof(uintptr_t),
              "31 registers, the stack pointer and the pc follow each other");

const size_t prof__context_at = offsetof(ucontext_t, uc_mcontext.regs);

void prof__registers_from_context(struct prof__registers *regs, const uintptr_t *words)
{
    for (unsigned i = 0; i < PROF__REGISTERS; i++)
        regs->r[i] = words[i];
    regs->pc = words[PROF__REGISTERS];
    regs->known = PROF__KNOWN_ALL;
}

uintptr_t prof__context_sp(const void *ucontext)
{
    return ((const ucontext_t *)ucontext)->uc_mcontext.sp;
}
