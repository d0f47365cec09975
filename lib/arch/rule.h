/*
 * rule.h - how a processor's frames fit into a word: the layout of what unwind/rules.h keeps.
 *
 * A rule is made of parts, and a processor's folder says which of them fit, and where they lie:
 *   prof__rule_pack()      the parts as a word; false: they do not fit
 *   prof__rule_offset(), _base(), _more(), _fp(), _pc()   the parts of a word
 *   prof__rule_pack_saves(), prof__rule_saved()           the same for the kept registers;
 * PROF__SAVES_NOTHING is what it makes of PROF__SAVE_NONE for each prof__save             a code,
 * of PROF__SAVE_BITS bits and some more for unwind/cfi.h PROF__SAVE_NONE        of a register:
 * still in it The kind is in bits 48..51 everywhere, and an ordinary rule is its kind in all bits
 * from 48 up. Where a register is saved is a code: words below the CFA, PROF__SAVE_NONE or, where a
 * rule cannot say, PROF__SAVE_LOST; with PROF__RULE_ALIGNED words above the base register plus
 * PROF__SAVE_BIAS.
 */
#ifndef PROF_ARCH_RULE_H
#define PROF_ARCH_RULE_H

#include "arch/registers.h"

enum prof__rule_kind {
    PROF__RULE_SP,    /* CFA = stack pointer + offset */
    PROF__RULE_FP,    /* CFA = frame pointer + offset; up to here that is known to be recoverable */
    PROF__RULE_BASE,  /* CFA = base register + offset */
    PROF__RULE_DEREF, /* CFA = *(base register + offset) + more */
    PROF__RULE_ALIGNED, /* the same, and what is saved is found from the base register */
    PROF__RULE_SIGNAL,  /* a signal frame: the stack pointer leads to the ucontext */
    PROF__RULE_END,     /* the outermost frame */
    PROF__RULE_NO_INFO, /* nothing is known of this pc */
    PROF__RULE_LOST,    /* unwind info exists, and says what a rule cannot */
};

struct prof__rule_parts {
    enum prof__rule_kind kind;
    unsigned base;   /* register */
    int64_t offset;  /* bytes */
    int64_t more;    /* bytes */
    uint64_t fp, pc; /* codes; of pc, 0: in its register */
};

static inline enum prof__rule_kind prof__rule_kind(uint64_t step)
{
    return (enum prof__rule_kind)(step >> 48 & 15);
}

#if defined(__x86_64__)
#include "arch/x86_64/rule.h"
#elif defined(__aarch64__)
#include "arch/aarch64/rule.h"
#else
#error "no folder for this processor in lib/arch/"
#endif

#endif
