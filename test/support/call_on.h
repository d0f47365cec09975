/*
 * call_on.h - call a function with the stack pointer at some place, which no compiler would.
 */
#ifndef TEST_CALL_ON_H
#define TEST_CALL_ON_H

#if defined(__x86_64__)
__attribute__((noinline)) static void call_on(char *top, void (*f)(void))
{
    __asm__ volatile("movq %%rsp, %%rbx\n\t"
                     "movq %0, %%rsp\n\t"
                     "call *%1\n\t"
                     "movq %%rbx, %%rsp"
                     : "+D"(top), "+S"(f)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                       "r15", "memory", "cc");
}
#elif defined(__aarch64__)
__attribute__((noinline)) static void call_on(char *top, void (*f)(void))
{
    register char *at __asm__("x20") = top;
    register void (*to)(void) __asm__("x21") = f;

    __asm__ volatile("mov x19, sp\n\t"
                     "mov sp, %0\n\t"
                     "blr %1\n\t"
                     "mov sp, x19"
                     : "+r"(at), "+r"(to)
                     :
                     : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11",
                       "x12", "x13", "x14", "x15", "x16", "x17", "x18", "x19", "x22", "x23", "x24",
                       "x25", "x26", "x27", "x28", "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6",
                       "v7", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25",
                       "v26", "v27", "v28", "v29", "v30", "v31", "memory", "cc");
}
#endif

#endif
