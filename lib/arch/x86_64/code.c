#include "arch/code.h"

#include <string.h>

enum {
    WORD = 8,
    INSTRUCTION_MAX = 16,
    ENDBR64 = (int32_t)0xfa1e0ff3,
    BND = 0xf2, /* a prefix of branches, which does nothing */
};

static int32_t int32_at(const uint8_t *p)
{
    int32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static uint64_t word_at(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

/* --- branches --------------------------------------------------------------------------------- */

/* What `end` is relative to: an instruction that ends in a 32-bit distance ends at that address. */
static uintptr_t relative(const uint8_t *end, uintptr_t at)
{
    return at + (uintptr_t)(intptr_t)int32_at(end - 4);
}

static bool is_indirect_call(const uint8_t *end)
{
    /* ff /2 with each way to name the place: its length decides where it begins. */
    return (end[-2] == 0xff && (end[-1] & 0xf8) == 0xd0) ||                      /* register */
           (end[-2] == 0xff && (end[-1] & 0xf8) == 0x10) ||                      /* (register) */
           (end[-3] == 0xff && ((end[-2] & 0xf8) == 0x50 || end[-2] == 0x14)) || /* disp8, sib */
           (end[-4] == 0xff && end[-3] == 0x54) ||                               /* sib, disp8 */
           (end[-6] == 0xff && (end[-5] & 0xf8) == 0x90 && end[-5] != 0x94) ||   /* disp32 */
           (end[-7] == 0xff && (end[-6] == 0x94 || end[-6] == 0x14));            /* sib, disp32 */
}

struct prof__branch prof__code_call(const uint8_t *end, uintptr_t at)
{
    if (end[-5] == 0xe8)
        return (struct prof__branch) { PROF__BRANCH_DIRECT, 5, relative(end, at) };
    if (end[-6] == 0xff && end[-5] == 0x15) /* call *slot(%rip) */
        return (struct prof__branch) { PROF__BRANCH_SLOT, 6, relative(end, at) };
    if (is_indirect_call(end))
        return (struct prof__branch) { .kind = PROF__BRANCH_INDIRECT };
    return (struct prof__branch) { .kind = PROF__BRANCH_NONE };
}

struct prof__branch prof__code_jump(const uint8_t *code, uintptr_t at)
{
    if (code[0] == 0xe9)
        return (struct prof__branch) { PROF__BRANCH_DIRECT, 5, relative(code + 5, at + 5) };
    if (code[0] == 0xff && code[1] == 0x25) /* jmp *slot(%rip) */
        return (struct prof__branch) { PROF__BRANCH_SLOT, 6, relative(code + 6, at + 6) };
    return (struct prof__branch) { .kind = PROF__BRANCH_NONE };
}

struct prof__branch prof__code_stub(const uint8_t *code, uintptr_t at)
{
    unsigned n = int32_at(code) == ENDBR64 ? 4 : 0;

    n += code[n] == BND;
    struct prof__branch jump = prof__code_jump(code + n, at + n);
    jump.size += n;
    return jump;
}

/* --- what has no unwind info ------------------------------------------------------------------ */

/* Some linkers leave stubs out of the tables. This one jumps through the table of imported
 * functions, or has that table filled in: push $n; jmp the first stub. */
bool prof__code_is_stub(const uint8_t *code)
{
    code += int32_at(code) == ENDBR64 ? 4 : 0;
    code += *code == BND;
    return (code[0] == 0xff && code[1] == 0x25) || (code[0] == 0x68 && code[5] == 0xe9);
}

/* mov $15 (rt_sigreturn) to eax or rax, and syscall. */
static bool begins_sigreturn(const uint8_t *code)
{
    return (word_at(code) == 0x0f0000000fc0c748u && code[8] == 0x05) ||
           (word_at(code) & 0xffffffffffffffu) == 0x050f0000000fb8u;
}

bool prof__code_is_sigreturn(const uint8_t *code, bool exact)
{
    return begins_sigreturn(code) ||
           (exact && (begins_sigreturn(code - 7) || begins_sigreturn(code - 5)));
}

/* mov %rbx, %rsp; mov (%rsp), %rdi; test %rdi, %rdi */
bool prof__code_is_context_start(const uint8_t *code)
{
    return word_at(code + (int32_at(code) == ENDBR64 ? 4 : 0)) == 0x48243c8b48dc8948u;
}

/* --- prologues -------------------------------------------------------------------------------- */

/* Length of an instruction that compilers mix into prologues: moves, loads and stores, lea, and
 * arithmetic that does not touch rsp. 0: it is something else. */
static size_t harmless(const uint8_t *p)
{
    const uint8_t *start = p;
    size_t immediate = 0;
    bool rex_r = false, rex_b = false;

    if (*p == 0x64 || *p == 0x66) /* %fs:, for the stack protector; 16 bits */
        p++;
    if ((*p & 0xf0) == 0x40) {
        rex_r = *p & 4;
        rex_b = *p & 1;
        p++;
    }
    if ((*p & 0xf8) == 0xb8) /* mov $imm32, register */
        return (*p & 7) == 4 && !rex_b ? 0 : (size_t)(p + 5 - start);
    uint8_t op = *p++;
    if (op == 0x0f) {
        op = *p++;
        if (op != 0x10 && op != 0x11 && op != 0x1f && op != 0x28 && op != 0x29 && op != 0x57 &&
            op != 0x6e && op != 0x7e && op != 0xb6 && op != 0xb7 && op != 0xbe && op != 0xbf &&
            op != 0xef)
            return 0;
    } else if (op == 0x81 || op == 0xc7) {
        immediate = 4;
    } else if (op == 0x80 || op == 0x83 || op == 0xc6) {
        immediate = 1;
    } else if (op != 0x01 && op != 0x29 && op != 0x31 && op != 0x33 && op != 0x39 && op != 0x3b &&
               op != 0x63 && op != 0x84 && op != 0x85 && op != 0x88 && op != 0x89 && op != 0x8b &&
               op != 0x8d) {
        return 0;
    }
    uint8_t mod = *p >> 6, reg = *p >> 3 & 7, rm = *p & 7;
    p++;
    if ((mod == 3 && rm == 4 && !rex_b) || ((op == 0x8b || op == 0x8d) && reg == 4 && !rex_r))
        return 0; /* rsp */
    if (mod != 3) {
        bool sib = rm == 4;

        if (mod == 0 && (rm == 5 || (sib && (*p & 7) == 5)))
            p += 4;
        p += sib + (mod == 1 ? 1 : mod == 2 ? 4 : 0);
    }
    return (size_t)(p + immediate - start);
}

size_t prof__code_frame_size(const uint8_t code[PROF__PROLOGUE])
{
    const uint8_t *p = code, *end = code + PROF__PROLOGUE - INSTRUCTION_MAX;
    size_t size = 0;

    if (int32_at(p) == ENDBR64)
        p += 4;
    if (p[0] != 0x55) /* push rbp, at once or not at all */
        return 0;
    for (p++; p[0] != 0x48 || p[1] != 0x89 || p[2] != 0xe5;) { /* mov rsp, rbp */
        size_t n = harmless(p);

        if (n == 0 || p + n >= end)
            return 0;
        p += n;
    }
    for (p += 3; p < end;) {
        size_t n = harmless(p);

        if ((p[0] & 0xf8) == 0x50) { /* push */
            size += WORD;
            n = 1;
        } else if (p[0] == 0x41 && (p[1] & 0xf8) == 0x50) {
            size += WORD;
            n = 2;
        } else if (p[0] == 0x48 && p[1] == 0x83 && p[2] == 0xec) { /* sub $imm8, rsp */
            return size + p[3];
        } else if (p[0] == 0x48 && p[1] == 0x81 && p[2] == 0xec) { /* sub $imm32, rsp */
            return size + (uint32_t)int32_at(p + 3);
        }
        if (n == 0)
            break;
        p += n;
    }
    return size;
}
