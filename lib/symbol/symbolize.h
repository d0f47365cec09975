/*
 * symbolize.h - address -> function, file, line, with inlined frames.
 *
 * From DWARF where there is any (also in separate debug files), else the symbol table, else
 * nothing. Of code made at run time, what its maker tells perf (jit_names.h). Runs when a profile
 * is read, never when a sample is taken.
 */
#ifndef PROF_SYMBOL_SYMBOLIZE_H
#define PROF_SYMBOL_SYMBOLIZE_H

#include "base/arena.h"
#include "symbol/modules.h"

struct prof__line {
    const char *function; /* as the linker knows it (mangled), or else with its scopes as the source
                             has them; NULL: unknown. Valid UTF-8 */
    const char *name;     /* the same, short and for people (names.h); NULL: unknown */
    const char *file;     /* absolute where the compiler said so; NULL: unknown. Valid UTF-8 */
    const char *home;     /* file in which the function is declared; NULL: unknown. Valid UTF-8 */
    uint32_t line;        /* 0: unknown */
    uint32_t start_line;  /* of the function; 0: unknown */
};

struct prof__symbols {
    const struct prof__line *line; /* innermost inlined function first */
    size_t n;                      /* 0: nothing is known */
};

/* An address to look up, in the module that it belongs to; NULL: none, gives no lines. */
struct prof__code_address {
    const struct prof__module *module;
    uint64_t address;
};

/*
 * Look up n addresses. Results and their strings live in `a`. One thread at a time works, others
 * wait. Never asks the network, never maps a file whose build id differs. 0 or -ENOMEM; a file
 * that cannot be read or is damaged only means fewer names.
 */
int prof__symbolize(struct prof__arena *a, const struct prof__code_address *asked, size_t n,
                    struct prof__symbols *ret_symbols);

/* What stood in the way of better names for a module that was looked up. */
struct prof__symbol_note {
    const struct prof__module *module;
    const char *unread; /* debug information that is there and was not read, and why, in a sentence;
                           NULL: nothing was passed over */
    const char
        *wanted; /* where a debug file would be found, there being none; NULL: it needs none */
};

struct prof__symbol_notes {
    struct prof__symbol_note *note;
    size_t n;
};

/*
 * The same until `until_ns` of prof__monotonic_ns(), waiting for others included; 0: for some
 * seconds. When that is near there are names of symbols only, and then addresses. Returns 1 when
 * that was so: another time there may be more. ret_notes gets a note for each module of which
 * something is to be told; it may be NULL.
 */
int prof__symbolize_until(struct prof__arena *a, const struct prof__code_address *asked, size_t n,
                          int64_t until_ns, struct prof__symbols *ret_symbols,
                          struct prof__symbol_notes *ret_notes);

/* Bytes kept between calls: they have a bound, which tests and bench measure. */
size_t prof__symbolize_cached(void);

/*
 * For who looks after what is kept for a short while (dwarf_kept.h): to be called each second, and
 * with false when that is over. Gives back what is due; waits for nobody. Where nobody calls it
 * nothing of the kind is kept.
 */
void prof__symbolize_tend(bool goes_on);

/* In a forked child: another thread may have been at work, so its state is abandoned. */
void prof__symbolize_fork_child(void);

#endif
