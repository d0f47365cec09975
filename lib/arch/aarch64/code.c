#include "arch/code.h"

#include <string.h>

/*
 * Encodings: Arm Architecture Reference Manual for A-profile, C6.2; the procedure linkage table:
 * "ELF for the Arm 64-bit Architecture", and what linkers make of it.
 */
enum { WORD = 8, INSTRUCTION = 4, STUB_MAX = 4 };

#define BTI_C     0xd503245fu
#define BR_X16    0xd61f0200u
#define BR_X17    0xd61f0220u
#define PUSH_LR   0xa9bf7bf0u /* stp x16, x30, [sp, #-16]!: the first stub */
#define SIGRETURN 0xd2801168u /* mov x8, #139 */
#define SVC       0xd4000001u

static uint32_t instruction(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

/* The low `bits` of `v` as a number with a sign. */
static intptr_t extend(uint32_t v, unsigned bits)
{
    return (intptr_t)((uint64_t)v << (64 - bits)) >> (64 - bits);
}

/* --- branches --------------------------------------------------------------------------------- */

static uintptr_t branch_target(uint32_t i, uintptr_t at)
{
    return at + (uintptr_t)(extend(i, 26) * INSTRUCTION);
}

struct prof__branch prof__code_call(const uint8_t *end, uintptr_t at)
{
    uint32_t i = instruction(end - INSTRUCTION);

    if (i >> 26 == 0x25) /* bl */
        return (struct prof__branch) { PROF__BRANCH_DIRECT, INSTRUCTION,
                                       branch_target(i, at - INSTRUCTION) };
    /* blr, and blraa and its kin, which check a signature first */
    if ((i & 0xfffffc1f) == 0xd63f0000 || (i & 0xfefff800) == 0xd63f0800)
        return (struct prof__branch) { .kind = PROF__BRANCH_INDIRECT };
    return (struct prof__branch) { .kind = PROF__BRANCH_NONE };
}

struct prof__branch prof__code_jump(const uint8_t *code, uintptr_t at)
{
    uint32_t i = instruction(code);

    if (i >> 26 == 0x05) /* b */
        return (struct prof__branch) { PROF__BRANCH_DIRECT, INSTRUCTION, branch_target(i, at) };
    return (struct prof__branch) { .kind = PROF__BRANCH_NONE };
}

static bool is_adrp_x16(uint32_t i)
{
    return (i & 0x9f00001f) == 0x90000010;
}

/* ldr x17, [x16, #offset] */
static bool is_load(uint32_t i)
{
    return (i & 0xffc003ff) == 0xf9400211;
}

/* add x16, x16, #offset */
static bool is_add(uint32_t i)
{
    return (i & 0xffc003ff) == 0x91000210;
}

static uintptr_t page_of(uint32_t adrp, uintptr_t at)
{
    intptr_t pages = extend((adrp >> 5 & 0x7ffff) << 2 | (adrp >> 29 & 3), 21);

    return (at & ~(uintptr_t)0xfff) + (uintptr_t)(pages * 0x1000);
}

/* adrp, then ldr of x17 for an imported function, or add for one that is out of a branch's reach */
struct prof__branch prof__code_stub(const uint8_t *code, uintptr_t at)
{
    unsigned n = instruction(code) == BTI_C ? INSTRUCTION : 0;
    uint32_t first = instruction(code + n), second = instruction(code + n + INSTRUCTION);
    uint32_t offset = second >> 10 & 0xfff;

    if (is_adrp_x16(first) && is_load(second))
        return (struct prof__branch) { PROF__BRANCH_SLOT, n + 2 * INSTRUCTION,
                                       page_of(first, at + n) + (uintptr_t)offset * WORD };
    if (is_adrp_x16(first) && is_add(second) && instruction(code + n + 2 * INSTRUCTION) == BR_X16)
        return (struct prof__branch) { PROF__BRANCH_DIRECT, n + 3 * INSTRUCTION,
                                       page_of(first, at + n) + offset };
    struct prof__branch jump = prof__code_jump(code + n, at + n);
    jump.size += n;
    return jump;
}

/* --- what has no unwind info ------------------------------------------------------------------ */

/* Some way into a stub is as good: what it does before the jump is no more than this. */
bool prof__code_is_stub(const uint8_t *code)
{
    for (unsigned n = 0; n < STUB_MAX; n++, code += INSTRUCTION) {
        uint32_t i = instruction(code);

        if (i == BR_X17 || i == BR_X16 || i == PUSH_LR)
            return true;
        if (i != BTI_C && !is_adrp_x16(i) && !is_load(i) && !is_add(i))
            return false;
    }
    return false;
}

bool prof__code_is_sigreturn(const uint8_t *code, bool exact)
{
    if (instruction(code) == SIGRETURN)
        return instruction(code + INSTRUCTION) == SVC;
    return exact && instruction(code) == SVC && instruction(code - INSTRUCTION) == SIGRETURN;
}

/* mov x0, x19; cbnz x0, setcontext */
bool prof__code_is_context_start(const uint8_t *code)
{
    return instruction(code) == 0xaa1303e0 &&
           (instruction(code + INSTRUCTION) & 0xff00001f) == 0xb5000000;
}

/* The frame record lies where the tables say, so nobody needs to guess it from the prologue. */
size_t prof__code_frame_size(const uint8_t code[PROF__PROLOGUE])
{
    (void)code;
    return 0;
}
