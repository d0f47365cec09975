/*
 * guess.c - finding the frame pointer on a stack whose registers are not known.
 *
 * Of a thread that waits in a system call the kernel tells pc and sp. Most code finds its caller
 * with these, but some functions need the frame pointer. Where it points there are two words:
 * the caller's, and the return address. So look for a place whose second word is the address
 * behind a call of this very function:
 *
 *   1. where the function's prologue says: it pushes so many registers, and takes so many bytes.
 *      That is exact for nearly all compiled code, so any call will do;
 *   2. else upward from sp, the first such place;
 *   3. else the first whose call is an indirect one, and whose saved one leads further up.
 *
 * A call of this function is one whose target is where the function begins, directly, or by a stub
 * or a table of imported functions. Words that are found on a stack lead anywhere, so code and
 * tables are read through the kernel. Bounded by the window that is looked through, and the calls
 * in it.
 */
#include "unwind/guess.h"

#include <string.h>

#include "arch/code.h"
#include "base/memory.h"
#include "unwind/cfi.h"
#include "unwind/stack.h"

#define WORD sizeof(uintptr_t)

enum {
    WINDOW = 1 << 20,  /* bytes of stack looked through */
    CALLS_MAX = 16384, /* words of them that lead into an object; each costs half a microsecond */
};

enum call { NO_CALL, OTHER_CALL, INDIRECT_CALL, CALL_OF_IT };

struct guess {
    struct prof__walk *w;
    uintptr_t function; /* where it begins; 0: not known */
    unsigned calls_left;
};

static bool read_stack(struct prof__walk *w, uintptr_t at, uintptr_t *ret)
{
    const struct prof__bounds *b = &w->bounds;

    if (at < b->low || at >= b->high || b->high - at < WORD)
        return false;
    memcpy(ret, (const void *)(at + b->shift), WORD);
    return true;
}

/* Bytes of code; what cannot be read is 0. */
static void read_code(uintptr_t at, uint8_t *to, size_t size)
{
    ssize_t n = prof__memory_read(at, to, size);

    n = PROF_MAX(n, 0);
    memset(to + n, 0, size - (size_t)n);
}

static bool read_slot(uintptr_t at, uintptr_t *ret)
{
    return prof__memory_read(at, ret, sizeof(*ret)) == (ssize_t)sizeof(*ret);
}

static uintptr_t function_start(const struct prof__walk *w)
{
    uintptr_t pc = w->exact ? w->regs.pc : w->regs.pc - 1;
    struct prof__cfi_entry entry;
    struct prof__reader r;

    prof__reader_start(&r, &w->object, PROF__READ_NORMAL);
    return prof__cfi_entry(&r, pc, &entry) ? entry.start : 0;
}

/* Where a stub at `at` jumps to; 0: it is none. */
static uintptr_t stub_target(uintptr_t at)
{
    uint8_t code[PROF__CODE_SIZE];
    uintptr_t target;

    read_code(at, code, sizeof(code));
    struct prof__branch jump = prof__code_stub(code, at);
    if (jump.kind == PROF__BRANCH_SLOT)
        return read_slot(jump.to, &target) ? target : 0;
    return jump.kind == PROF__BRANCH_DIRECT ? jump.to : 0;
}

static enum call what_call(struct guess *g, uintptr_t return_address)
{
    uint8_t code[PROF__CODE_BEFORE];
    uintptr_t target;

    if (!prof__object_covers(return_address - 1) || g->calls_left == 0)
        return NO_CALL;
    g->calls_left--;
    read_code(return_address - sizeof(code), code, sizeof(code));
    struct prof__branch call = prof__code_call(code + sizeof(code), return_address);
    switch (call.kind) {
    case PROF__BRANCH_DIRECT:
        if (call.to == g->function || (g->function && stub_target(call.to) == g->function))
            return CALL_OF_IT;
        return OTHER_CALL; /* of another function, which may have ended in a jump to this one */
    case PROF__BRANCH_SLOT:
        return read_slot(call.to, &target) && target == g->function ? CALL_OF_IT : INDIRECT_CALL;
    case PROF__BRANCH_INDIRECT:
        return INDIRECT_CALL;
    case PROF__BRANCH_NONE:
        break;
    }
    return NO_CALL;
}

/* --- the place ------------------------------------------------------------------------------- */

static enum call what_frame(struct guess *g, uintptr_t fp)
{
    uintptr_t return_address;

    if (!read_stack(g->w, fp + WORD, &return_address) || return_address < PROF__CODE_MIN)
        return NO_CALL;
    return what_call(g, prof__code_address(return_address));
}

static bool leads_up(struct prof__walk *w, uintptr_t fp)
{
    uintptr_t next;

    return read_stack(w, fp, &next) && (next == 0 || (next > fp && next < w->bounds.high));
}

static uintptr_t found(struct prof__walk *w, uintptr_t fp)
{
    w->regs.r[PROF__REG_FP] = fp;
    w->regs.known |= (uint32_t)1 << PROF__REG_FP;
    return 0;
}

uintptr_t prof__guess_frame_pointer(struct prof__walk *w)
{
    struct guess g = { w, function_start(w), CALLS_MAX };
    uintptr_t sp = w->regs.r[PROF__REG_SP], indirect = 0, word;
    uint8_t prologue[PROF__PROLOGUE];
    size_t size = 0;

    if (g.function) {
        read_code(g.function, prologue, sizeof(prologue));
        size = prof__code_frame_size(prologue);
    }
    if (size && !read_stack(w, sp + size + WORD, &word))
        return PROF__PC_UNREADABLE;
    if (size && what_frame(&g, sp + size) != NO_CALL)
        return found(w, sp + size);
    for (uintptr_t at = (sp + WORD - 1) & ~(WORD - 1); at - sp < WINDOW; at += WORD) {
        enum call call;

        if (!read_stack(w, at + WORD, &word))
            return indirect ? found(w, indirect) : PROF__PC_UNREADABLE;
        call = what_frame(&g, at);
        if (call == CALL_OF_IT)
            return found(w, at);
        if (call == INDIRECT_CALL && !indirect && leads_up(w, at))
            indirect = at;
    }
    return indirect ? found(w, indirect) : PROF__PC_NO_INFO;
}
