#include "unwind/stack.h"
struct prof__stack_stats prof__stack_stats;
size_t prof__stack_here(const void *return_address, uintptr_t *pcs, size_t max) { pcs[0] = (uintptr_t)return_address - 1; return 1; }
size_t prof__stack_interrupted(const void *ucontext, uintptr_t *pcs, size_t max) { pcs[0] = PROF__PC_NO_INFO; return 1; }
void prof__stack_code_unloaded(void) {}
void prof__stack_fork_prepare(void) {}
void prof__stack_fork_done(void) {}
void prof__stack_init(void) {}
