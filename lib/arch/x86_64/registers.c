#include "arch/registers.h"

#include <ucontext.h>

static_assert(offsetof(struct prof__registers, pc) == 0 &&
                  offsetof(struct prof__registers, r) == sizeof(uintptr_t),
              "PROF__CAPTURE knows the layout");
static_assert(NGREG == PROF__CONTEXT_WORDS && sizeof(greg_t) == sizeof(uintptr_t), "gregs");

const size_t prof__context_at = offsetof(ucontext_t, uc_mcontext.gregs);

void prof__registers_from_context(struct prof__registers *regs, const uintptr_t *words)
{
    static const uint8_t where[PROF__REGISTERS] = {
        REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP,
        REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
    };

    for (unsigned i = 0; i < PROF__REGISTERS; i++)
        regs->r[i] = words[where[i]];
    regs->pc = words[REG_RIP];
    regs->known = PROF__KNOWN_ALL;
}

uintptr_t prof__context_sp(const void *ucontext)
{
    return (uintptr_t)((const ucontext_t *)ucontext)->uc_mcontext.gregs[REG_RSP];
}
