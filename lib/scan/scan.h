/*
 * scan.h - looking for what is held, and by whom: one scan, from options to verdicts.
 *
 *   live blocks -> targets
 *   image -> plan -> heap walk -> flood  \
 *                 -> references          /  -> passes, intersected -> verdicts
 *
 * A process that runs is not stopped, so what one pass sees need never have been so at any one
 * moment: a pointer may move from what is read late to what was read early. But a block that is
 * leaked stays so. So passes are repeated, and only what all of them agree on is told; blocks that
 * are young are left out, as pointers to them move most.
 *
 * Everything here uses the image (lib/image) and the tables, and could as well look at another
 * process or a core file. Context: normal, in the thread that asks.
 */
#ifndef PROF_SCAN_SCAN_H
#define PROF_SCAN_SCAN_H

#include <prof/prof.h>

#include "image/image.h"
#include "scan/heap.h"
#include "scan/pass.h"

/* Options with the defaults filled in. */
struct prof__scan_setup {
    struct prof_scan_options o;
    uint32_t age_s;
    uint32_t since_s; /* only blocks born then or later; what is older is in use */
};

/* The caller's may be older (shorter) or newer; NULL is allowed. `passes` and `age_s` are what this
 * profile has by default. -EINVAL, -E2BIG; the sentence set. */
int prof__scan_setup(const struct prof_scan_options *from, int passes, int age_s,
                     struct prof__scan_setup *ret);

/* What a scan has seen, for the reader. */
struct prof__scan_report {
    bool walked;         /* by the walk of glibc's heap; else by references */
    const char *why_not; /* NULL: it was */
    int passes;
    size_t blocks, young;   /* sampled ones looked for, and those too young */
    uint64_t read_bytes;    /* in one pass */
    uint64_t swapped_pages; /* not read */
    uint64_t lost_bytes, own_unlisted;
    uint64_t garbled_bytes;
    size_t chunks, missed;
    uint64_t tagged;
    unsigned threads, silent, unreadable, hidden_regs, descriptors;
    unsigned dead_stacks;
    bool presence_unknown;
    int64_t cpu_ns, wall_ns;
};

struct prof__scan {
    const struct prof__scan_setup *setup;
    struct prof__image image;
    struct prof__pace pace;
    struct prof__sweep sweep;
    struct prof__arena arena;      /* for as long as the scan takes */
    struct prof__arena pass_arena; /* for one pass */
    struct prof__targets blocks, fed;
    struct prof__heap heap;      /* of the last pass */
    struct prof__plan plan, all; /* with and without the heap left out */
    struct prof__scan_report report;
    int64_t start_ns;
};

/* --- what the program has told ---------------------------------------------------------------- */

/* Roots and blocks to ignore, in memory from `a`. 0 or -ENOMEM. */
struct prof__named {
    struct prof__named_root *root;
    size_t n_roots;
    uint64_t *ignored;
    size_t n_ignored;
};
int prof__named_take(struct prof__arena *a, struct prof__named *ret);

/* --- a scan ----------------------------------------------------------------------------------- */

/*
 * Wait for a turn, as only one scan goes on in a process at a time, and take the targets. `entry`
 * is a frame address: of the caller's stack, what is above it belongs to the program. 0, -ECANCELED
 * or another negative errno, the sentence set; prof__scan_end() also then.
 */
int prof__scan_begin(struct prof__scan *s, const struct prof__scan_setup *setup, uintptr_t entry);
void prof__scan_end(struct prof__scan *s);

/* From now on every scan is of that image, which somebody else opened and goes on having, and never
 * again of the process itself. For tools. */
void prof__scan_lend(struct prof__image *image);

/* Take the image, and find out what is where: the heap, unless `walk` is not set, modules, stacks.
 * *ret_named is what the program has told. -ENOBUFS: it would take too much memory. 0 or another
 * negative errno, the sentence set. */
int prof__scan_look(struct prof__scan *s, bool walk, struct prof__named *ret_named);

/* One look at everything: the states of all targets; with `explain` also how those that are not
 * reached hang together. */
int prof__scan_pass(struct prof__scan *s, const struct prof__ways *ways, bool explain);

/* In between. */
int prof__scan_rest(struct prof__scan *s);

/* Sentences on what was looked at and what could not be, newline-ended, in memory from `a`. NULL:
 * out of memory. */
const char *prof__scan_notes(const struct prof__scan *s, struct prof__arena *a);

/* --- lifecycle -------------------------------------------------------------------------------- */

/* Register the profiles. */
void prof__scan_init(void);
extern struct prof_profile prof__profile_leaks, prof__profile_holders, prof__profile_memory;

#endif
