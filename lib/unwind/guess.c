/*
 * guess.c - finding rbp on a stack whose registers are not known.
 *
 * Of a thread that waits in a system call the kernel tells pc and sp. Most code finds its caller
 * with these, but a function with a frame pointer needs rbp. Where it points there are two words:
 * the caller's rbp, and the return address. So look for a place whose second word is the address
 * behind a call of this very function:
 *
 *   1. where the function's prologue says: it pushes so many registers, and takes so many bytes.
 *      That is exact for nearly all compiled code, so any call will do;
 *   2. else upward from sp, the first such place;
 *   3. else the first whose call is an indirect one, and whose saved rbp leads further up.
 *
 * A call of this function is one whose target is where the function begins, directly, or by a stub
 * or a table of imported functions. Code and tables are read through the kernel, as the object may
 * be unloaded meanwhile. Bounded by the window that is looked through.
 */
#include "unwind/guess.h"

#include <string.h>

#include "base/task.h"
#include "unwind/stack.h"

#define WORD sizeof(uintptr_t)

enum {
    WINDOW = 1 << 20, /* bytes of stack looked through */
    PROLOGUE = 96,    /* bytes of code that a prologue may take */
    INSTRUCTION_MAX = 16,
    CALL_MAX = 7, /* bytes of the longest call instruction */
};

enum call { NO_CALL, OTHER_CALL, INDIRECT_CALL, CALL_OF_IT };

static bool read_stack(struct prof__walk *w, uintptr_t at, uintptr_t *ret)
{
    const struct prof__bounds *b = &w->bounds;

    if (at < b->low || at >= b->high || b->high - at < WORD)
        return false;
    memcpy(ret, (const void *)(at + b->shift), WORD);
    return true;
}

static bool read_code(uintptr_t at, void *to, size_t size)
{
    return prof__memory_read(at, to, size) == (ssize_t)size;
}

static int32_t int32_at(const uint8_t *p)
{
    int32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

/* --- where the function begins --------------------------------------------------------------- */

/* From the object's table of functions, sorted; its layout is told in compile.c. 0: unknown. */
static uintptr_t function_start(const struct prof__object *o, uintptr_t pc)
{
    uintptr_t hdr = o->eh_frame_hdr;
    int32_t head[3], pair[2];
    int64_t low = 0, high;

    if (!hdr || !read_code(hdr, head, sizeof(head)) || (uint32_t)head[0] >> 8 != 0x3b031b)
        return 0;
    for (high = (uint32_t)head[2]; high - low > 1;) {
        int64_t middle = (low + high) / 2;

        if (!read_code(hdr + 12 + (uintptr_t)middle * 8, pair, sizeof(pair)))
            return 0;
        if (hdr + (uintptr_t)(intptr_t)pair[0] <= pc)
            low = middle;
        else
            high = middle;
    }
    if (high <= low || !read_code(hdr + 12 + (uintptr_t)low * 8, pair, sizeof(pair)))
        return 0;
    return hdr + (uintptr_t)(intptr_t)pair[0];
}

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

/* Bytes between rbp and rsp when the prologue is through; 0: it is none that we know. */
static size_t frame_size(uintptr_t function)
{
    uint8_t code[PROLOGUE + INSTRUCTION_MAX];
    const uint8_t *p = code;
    size_t size = 0;

    if (!read_code(function, code, sizeof(code)))
        return 0;
    if (int32_at(p) == (int32_t)0xfa1e0ff3) /* endbr64 */
        p += 4;
    if (p[0] != 0x55) /* push rbp, at once or not at all */
        return 0;
    for (p++; p[0] != 0x48 || p[1] != 0x89 || p[2] != 0xe5;) { /* mov rsp, rbp */
        size_t n = harmless(p);

        if (n == 0 || p + n >= code + PROLOGUE)
            return 0;
        p += n;
    }
    for (p += 3; p < code + PROLOGUE;) {
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

/* --- is it a return address of a call of the function ---------------------------------------- */

/* Where a stub at `at` jumps to; 0: it is none. */
static uintptr_t stub_target(uintptr_t at)
{
    uint8_t code[16];
    const uint8_t *p = code;
    uintptr_t target;

    if (!read_code(at, code, sizeof(code)))
        return 0;
    if (int32_at(p) == (int32_t)0xfa1e0ff3) /* endbr64 */
        p += 4;
    if (*p == 0xf2) /* bnd */
        p++;
    if (p[0] == 0xe9) /* jmp there */
        return at + (uintptr_t)(p - code) + 5 + (uintptr_t)(intptr_t)int32_at(p + 1);
    if (p[0] != 0xff || p[1] != 0x25) /* jmp *slot(%rip) */
        return 0;
    at += (uintptr_t)(p - code) + 6 + (uintptr_t)(intptr_t)int32_at(p + 2);
    return read_code(at, &target, sizeof(target)) ? target : 0;
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

static enum call what_call(uintptr_t return_address, uintptr_t function)
{
    struct prof__object object;
    uint8_t code[CALL_MAX];
    const uint8_t *end = code + CALL_MAX;
    uintptr_t target;

    if (!prof__object_find(return_address - 1, &object) ||
        !read_code(return_address - CALL_MAX, code, sizeof(code)))
        return NO_CALL;
    if (end[-5] == 0xe8) {
        target = return_address + (uintptr_t)(intptr_t)int32_at(end - 4);
        if (target == function || (function && stub_target(target) == function))
            return CALL_OF_IT;
        /* Of another function, which may have ended in a jump to this one. */
        return OTHER_CALL;
    }
    if (end[-6] == 0xff && end[-5] == 0x15) { /* call *slot(%rip) */
        target = return_address + (uintptr_t)(intptr_t)int32_at(end - 4);
        if (read_code(target, &target, sizeof(target)) && target == function)
            return CALL_OF_IT;
    }
    return is_indirect_call(end) ? INDIRECT_CALL : NO_CALL;
}

/* --- the place ------------------------------------------------------------------------------- */

static enum call what_frame(struct prof__walk *w, uintptr_t rbp, uintptr_t function)
{
    uintptr_t return_address;

    if (!read_stack(w, rbp + WORD, &return_address) || return_address < 4096)
        return NO_CALL;
    return what_call(return_address, function);
}

static bool leads_up(struct prof__walk *w, uintptr_t rbp)
{
    uintptr_t next;

    return read_stack(w, rbp, &next) && (next == 0 || (next > rbp && next < w->bounds.high));
}

static uintptr_t found(struct prof__walk *w, uintptr_t rbp)
{
    w->regs.r[PROF__RBP] = rbp;
    w->regs.known |= (uint32_t)1 << PROF__RBP;
    return 0;
}

uintptr_t prof__guess_rbp(struct prof__walk *w)
{
    uintptr_t sp = w->regs.r[PROF__RSP], indirect = 0, word;
    uintptr_t function = function_start(&w->object, w->exact ? w->regs.pc : w->regs.pc - 1);
    size_t size = function ? frame_size(function) : 0;

    if (size && !read_stack(w, sp + size + WORD, &word))
        return PROF__PC_UNREADABLE;
    if (size && what_frame(w, sp + size, function) != NO_CALL)
        return found(w, sp + size);
    for (uintptr_t at = (sp + WORD - 1) & ~(WORD - 1); at - sp < WINDOW; at += WORD) {
        enum call call;

        if (!read_stack(w, at + WORD, &word))
            return indirect ? found(w, indirect) : PROF__PC_UNREADABLE;
        call = what_frame(w, at, function);
        if (call == CALL_OF_IT)
            return found(w, at);
        if (call == INDIRECT_CALL && !indirect && leads_up(w, at))
            indirect = at;
    }
    return indirect ? found(w, indirect) : PROF__PC_NO_INFO;
}
