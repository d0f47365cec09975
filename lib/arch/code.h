/*
 * code.h - what a few bytes of machine code tell: where they call or jump, and what has no unwind
 * info because nobody thought that it would be unwound.
 *
 * Takes bytes, wherever they came from, and the address that they have, and reads nothing else. Any
 * bytes will do: what they are not is no crash, and what they merely look like is for the caller to
 * doubt. Context: signal.
 */
#ifndef PROF_ARCH_CODE_H
#define PROF_ARCH_CODE_H

#include "base/compiler.h"

enum {
    PROF__CODE_BEFORE = 8, /* bytes in front of an address that are looked at */
    PROF__CODE_SIZE = 16,  /* and from it on */
    PROF__PROLOGUE = 112,  /* from where a function begins */
#if defined(__aarch64__)
    PROF__CODE_STEP = 4, /* bytes; an instruction begins at multiples */
#else
    PROF__CODE_STEP = 1,
#endif
};

struct prof__branch {
    enum {
        PROF__BRANCH_NONE,
        PROF__BRANCH_DIRECT,   /* `to` is where it leads */
        PROF__BRANCH_SLOT,     /* `to` is the address of a word that says where */
        PROF__BRANCH_INDIRECT, /* through a register */
    } kind;
    unsigned size; /* bytes, those passed over included */
    uintptr_t to;
};

/* The call that ends where `end` points, which has the address `at`. */
struct prof__branch prof__code_call(const uint8_t *end, uintptr_t at);

/* The jump to one place that begins at `code`. */
struct prof__branch prof__code_jump(const uint8_t *code, uintptr_t at);

/* The same behind what may stand at the beginning of a function: a stub is that and no more. */
struct prof__branch prof__code_stub(const uint8_t *code, uintptr_t at);

/* Does a stub for an imported function begin here, of any kind? */
bool prof__code_is_stub(const uint8_t *code);

/* Is this the code that returns from a signal handler; with `exact`, maybe some way into it? The
 * kernel's interface asks every libc for the same few instructions. */
bool prof__code_is_sigreturn(const uint8_t *code, bool exact);

/* Is this where a coroutine's first function returns to: glibc's code after makecontext()? */
bool prof__code_is_context_start(const uint8_t *code);

/* Bytes between the frame pointer and the stack pointer once the prologue of the function that
 * begins here is through; 0: it is none that we know, or has no frame pointer. */
size_t prof__code_frame_size(const uint8_t code[PROF__PROLOGUE]);

#endif
