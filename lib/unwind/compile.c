/*
 * compile.c - unwind tables to rules.
 *
 * What is usual in them cfi.c reads. For the rest libunwind is given an address space of its own,
 * which is no process but a questioner. It steps once, from a frame whose registers hold not values
 * but tags: numbers far apart from each other, one for each register. What it then computes shows
 * how: a new stack pointer a little above the tag of rbp was made by adding to rbp; a word it asks
 * for near a tag is a word of the stack, and is answered with another tag. Addresses inside the
 * object are real and read for it: these are the tables.
 *
 * This way none of libunwind's own means of looking around are used, which a profiler cannot
 * afford: it does not iterate over loaded objects (a lock of the loader's), map files, open pipes
 * or keep caches. The unwind table comes from objects.h. What remains is a lock of its own around
 * its pools of memory, uncontended since it is entered only under our lock.
 *
 * Signals are masked while the lock is held, so that no handler meets it taken by the thread it
 * interrupted. A thread that finds it taken spins, and gives up after some microseconds in a signal
 * and some milliseconds in a hook, so nothing ever waits for it for long. libunwind's own masking
 * lets the two signals of libc through that sigprocmask() cannot block, one of which cancels
 * threads: hence cancellation is put off too.
 *
 * Tables may be damaged, so libunwind too reads them by reader.h only.
 */
#include "unwind/compile.h"

#include <errno.h>
#include <fcntl.h>
#include <libunwind.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/single_threaded.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/lock.h"
#include "unwind/cfi.h"
#include "unwind/rawmask.h"
#include "unwind/stack.h"

/* Exported by libunwind for its tools, and declared in none of its headers. */
extern int UNW_OBJ(dwarf_search_unwind_table)(unw_addr_space_t, unw_word_t, unw_dyn_info_t *,
                                              unw_proc_info_t *, int, void *);

#define WORD sizeof(uintptr_t)

enum {
    SPINS = 400,       /* of some 40 ns each, between two yields */
    YIELDS_SIGNAL = 4, /* the holder may not be running */
    YIELDS_HOOK = 100, /* some milliseconds at most; threads that start together need it */
    LOADS_MAX = 8,     /* words of the stack for one rule */
    TAG_SHIFT = 56,    /* tag n is n << 56; no address of a program is so large */
    TAG_REGISTERS = 1, /* tags of registers */
    TAG_LOADS = TAG_REGISTERS + PROF__REGISTERS, /* tags of words loaded from the stack */
    TAG_END = TAG_LOADS + LOADS_MAX,
};

static struct prof__lock lock = PROF__LOCK_INIT(PROF__RANK_COMPILE);

enum { SPACE_NONE, SPACE_IN_THE_MAKING, SPACE_READY };
static _Atomic int space_state;
static unw_addr_space_t space;

/* How this thread may be canceled. */
struct cancel {
    int state, type;
};

/* Everything below is guarded by `lock`. Not on the stack, of which a signal handler on an
 * alternate stack, or a coroutine, may have little. */
static uint64_t saved_mask;
static struct cancel saved_cancel;
static struct job {
    uintptr_t pc; /* looked up: inside the instruction, so return address - 1 */
    bool info_found;
    unsigned n_loads;
    uintptr_t load[LOADS_MAX]; /* addresses of words of the stack, in tags */
    struct prof__reader reader;
    unw_cursor_t cursor;
} job;

/* --- tags ----------------------------------------------------------------------------------- */

static uintptr_t tag(unsigned n)
{
    return (uintptr_t)n << TAG_SHIFT;
}

/* Which tag is near, and how far it is; 0: none. */
static unsigned near_tag(uintptr_t value, int64_t *ret_distance)
{
    unsigned n = (unsigned)((value + ((uintptr_t)1 << (TAG_SHIFT - 1))) >> TAG_SHIFT);

    *ret_distance = (int64_t)(value - tag(n));
    return n < TAG_END ? n : 0;
}

/* --- what libunwind asks -------------------------------------------------------------------- */

/* A word of the stack, which the rule loads. */
static __attribute__((noinline)) int access_stack(uintptr_t at, uintptr_t *ret)
{
    int64_t distance;

    if (near_tag(at, &distance) == 0)
        return -UNW_EINVAL;
    /* The same word has the same answer: expressions are given it byte by byte. */
    unsigned i = 0;
    while (i < job.n_loads && job.load[i] != at)
        i++;
    if (i == LOADS_MAX)
        return -UNW_EINVAL;
    if (i == job.n_loads)
        job.load[job.n_loads++] = at;
    *ret = tag(TAG_LOADS + i);
    return 0;
}

static int access_mem(unw_addr_space_t as, unw_word_t at, unw_word_t *value, int write, void *arg)
{
    if (write)
        return -UNW_EINVAL;
    return prof__read_word(&job.reader, at, value) ? 0 : access_stack(at, value);
}

static int access_reg(unw_addr_space_t as, unw_regnum_t reg, unw_word_t *value, int write,
                      void *arg)
{
    if (write || reg < 0 || reg > UNW_X86_64_RIP)
        return -UNW_EBADREG;
    *value = reg == UNW_X86_64_RIP ? job.pc : tag(TAG_REGISTERS + (unsigned)reg);
    return 0;
}

/* Let libunwind search the object's table. */
static int find_proc_info(unw_addr_space_t as, unw_word_t pc, unw_proc_info_t *pi, int need_info,
                          void *arg)
{
    const struct prof__object *o = job.reader.object;
    struct prof__cfi_table table;
    unw_dyn_info_t di;
    int r;

    if (!prof__cfi_table(&job.reader, o->eh_frame_hdr, &table))
        return -UNW_ENOINFO;
    memset(&di, 0, sizeof(di));
    di.start_ip = o->start;
    di.end_ip = o->start + o->size;
    di.format = UNW_INFO_FORMAT_REMOTE_TABLE;
    di.u.rti.segbase = table.hdr;
    di.u.rti.table_data = table.pairs;
    di.u.rti.table_len = table.count; /* in words of 8 bytes, as pairs are */
    r = UNW_OBJ(dwarf_search_unwind_table)(as, pc, &di, pi, need_info, arg);
    if (r >= 0)
        job.info_found = true;
    return r;
}

static void put_unwind_info(unw_addr_space_t as, unw_proc_info_t *pi, void *arg)
{
}

static int get_dyn_info_list_addr(unw_addr_space_t as, unw_word_t *ret, void *arg)
{
    return -UNW_ENOINFO;
}

static int access_fpreg(unw_addr_space_t as, unw_regnum_t reg, unw_fpreg_t *value, int write,
                        void *arg)
{
    return -UNW_EBADREG;
}

static int resume(unw_addr_space_t as, unw_cursor_t *cursor, void *arg)
{
    return -UNW_EINVAL;
}

static int get_proc_name(unw_addr_space_t as, unw_word_t pc, char *buf, size_t size,
                         unw_word_t *ret_offset, void *arg)
{
    return -UNW_ENOINFO;
}

/* --- from what it did to a rule ------------------------------------------------------------- */

static uint64_t kind(enum prof__rule_kind k)
{
    return (uint64_t)k << 48 | (uint64_t)PROF__SAVE_NONE << 32;
}

/* Where the step left `reg`, as 12 bits. `base`: the tag that saves are relative to, or 0 when that
 * is the CFA. */
static uint64_t save_of(int reg, uintptr_t cfa, uintptr_t base)
{
    unw_save_loc_t loc;

    if (unw_get_save_loc(&job.cursor, reg, &loc) < 0)
        return PROF__SAVE_LOST;
    if (loc.type == UNW_SLT_REG)
        return loc.u.regnum == reg ? PROF__SAVE_NONE : PROF__SAVE_LOST;
    if (loc.type != UNW_SLT_MEMORY)
        return PROF__SAVE_LOST;
    int64_t bytes = (int64_t)(base ? loc.u.addr - base : cfa - loc.u.addr);
    int64_t words = bytes / (int64_t)WORD + (base ? PROF__SAVE_BIAS : 0);

    if (bytes % (int64_t)WORD != 0 || words <= PROF__SAVE_NONE || words >= PROF__SAVE_LOST)
        return PROF__SAVE_LOST;
    return (uint64_t)words;
}

/* The kind of a CFA that is a register plus an offset. */
static enum prof__rule_kind base_kind(unsigned base, int64_t offset)
{
    if (offset > 0 && base == PROF__RSP)
        return PROF__RULE_RSP;
    return offset > 0 && base == PROF__RBP ? PROF__RULE_RBP : PROF__RULE_BASE;
}

static uint64_t first_half(enum prof__rule_kind k, unsigned base, int64_t offset)
{
    return (uint32_t)offset | (uint64_t)base << 44 | (uint64_t)k << 48;
}

static bool return_address_is_below(uintptr_t cfa)
{
    for (unsigned i = 0; i < job.n_loads; i++)
        if (job.load[i] == cfa - WORD)
            return true;
    return false;
}

/* The first half of a rule but for rbp, from the CFA; PROF__RULE_LOST if a rule cannot say it. */
static uint64_t step_of(uintptr_t cfa)
{
    int64_t offset, more = 0;
    unsigned n = near_tag(cfa, &offset);
    enum prof__rule_kind k = PROF__RULE_BASE;

    if (n >= TAG_LOADS && n - TAG_LOADS < job.n_loads) {
        more = offset;
        n = near_tag(job.load[n - TAG_LOADS], &offset);
        k = PROF__RULE_DEREF;
    }
    if (n < TAG_REGISTERS || n >= TAG_LOADS || offset != (int32_t)offset || more < -2048 ||
        more > 2047 || !return_address_is_below(cfa))
        return kind(PROF__RULE_LOST);

    unsigned base = n - TAG_REGISTERS;
    if (k == PROF__RULE_BASE)
        k = base_kind(base, offset);
    return first_half(k, base, offset) | (uint64_t)more << 52;
}

static void set_kind(struct prof__rule *r, enum prof__rule_kind k)
{
    r->step = (r->step & ~((uint64_t)15 << 48)) | (uint64_t)k << 48;
}

static void rule_of(struct prof__rule *ret)
{
    static const int saved[] = { UNW_X86_64_RBX, UNW_X86_64_R12, UNW_X86_64_R13, UNW_X86_64_R14,
                                 UNW_X86_64_R15 };
    uintptr_t cfa, base = 0;

    if (unw_get_reg(&job.cursor, UNW_REG_SP, &cfa) < 0) {
        ret->step = kind(PROF__RULE_LOST);
        return;
    }
    ret->step = step_of(cfa);
    if (prof__rule_kind(ret->step) == PROF__RULE_LOST)
        return;
    uint64_t rbp = save_of(UNW_X86_64_RBP, cfa, 0);

    if (prof__rule_kind(ret->step) == PROF__RULE_DEREF && rbp == PROF__SAVE_LOST) {
        base = tag(TAG_REGISTERS + prof__rule_base(ret->step));
        rbp = save_of(UNW_X86_64_RBP, cfa, base);
        set_kind(ret, PROF__RULE_ALIGNED);
    }
    if (rbp == PROF__SAVE_LOST && prof__rule_kind(ret->step) < PROF__RULE_BASE)
        set_kind(ret, PROF__RULE_BASE);
    ret->step |= rbp << 32;
    for (unsigned i = 0; i < ARRAY_LEN(saved); i++)
        ret->saves |= save_of(saved[i], cfa, base) << 12 * i;
}

/* --- without libunwind ------------------------------------------------------------------------ */

/* As save_of(). 0: a rule cannot say it, or nobody does. */
static uint64_t usual_save(const struct prof__cfi_row *row, unsigned reg)
{
    int32_t bytes = row->saved[reg];

    if (bytes == 0)
        return PROF__SAVE_NONE;
    return bytes % (int32_t)WORD == 0 && bytes < -(int32_t)WORD &&
                   bytes > -PROF__SAVE_LOST * (int32_t)WORD
               ? (uint64_t)(-bytes / (int32_t)WORD)
               : 0;
}

/* The rule of job.pc, if the tables are of the usual kind there. */
static bool usual_rule(const struct prof__object *o, struct prof__rule *ret)
{
    static const unsigned saved[] = { PROF__RBX, PROF__R12, 13, 14, 15 };
    struct prof__cfi_table table;
    struct prof__cfi_row row;
    uint64_t rbp, saves = 0;

    if (!prof__cfi_table(&job.reader, o->eh_frame_hdr, &table) ||
        !prof__cfi_row(&job.reader, &table, job.pc, &row) ||
        row.saved[PROF__CFI_RA] != -(int32_t)WORD || row.saved[PROF__RSP] != 0 ||
        (rbp = usual_save(&row, PROF__RBP)) == 0)
        return false;
    for (unsigned i = 0; i < ARRAY_LEN(saved); i++) {
        uint64_t save = usual_save(&row, saved[i]);

        if (save == 0)
            return false;
        saves |= save << 12 * i;
    }
    ret->step =
        first_half(base_kind(row.cfa_register, row.cfa_offset), row.cfa_register, row.cfa_offset) |
        rbp << 32;
    ret->saves = saves;
    return true;
}

/* --- what has no tables ----------------------------------------------------------------------- */

/* Is this the code that returns from a signal handler? The kernel's interface asks every libc for
 * the same two instructions: mov $15 (rt_sigreturn) to eax or rax, and syscall. */
static bool is_sigreturn(uintptr_t at)
{
    uintptr_t a, b;

    if (!prof__read_word(&job.reader, at, &a) || !prof__read_word(&job.reader, at + 1, &b))
        return false;
    return (a == 0x0f0000000fc0c748u && b >> 56 == 0x05) ||
           (a & 0xffffffffffffffu) == 0x050f0000000fb8u;
}

/* Is this where a coroutine's first function returns to? glibc's code after makecontext() has no
 * unwind info: mov %rbx, %rsp; mov (%rsp), %rdi; test %rdi, %rdi. */
static bool is_start_of_context(uintptr_t at)
{
    uintptr_t code;

    if (prof__read_word(&job.reader, at, &code) &&
        (code & 0xffffffffu) == 0xfa1e0ff3u) /* endbr64 */
        at += 4;
    return prof__read_word(&job.reader, at, &code) && code == 0x48243c8b48dc8948u;
}

/* A stub that jumps through the table of imported functions, before it has pushed anything? Some
 * linkers leave stubs out of the unwind tables. */
static bool is_plt_stub(uintptr_t at)
{
    uintptr_t code;

    if (!prof__read_word(&job.reader, at, &code))
        return false;
    if ((code & 0xffffffffu) == 0xfa1e0ff3u) /* endbr64 */
        code >>= 32;
    if ((code & 0xff) == 0xf2) /* bnd */
        code >>= 8;
    return (code & 0xffff) == 0x25ff ||                            /* jmp *offset(%rip) */
           ((code & 0xff) == 0x68 && (code >> 40 & 0xff) == 0xe9); /* push $n; jmp first stub */
}

static void rule_without_info(uintptr_t pc, bool exact, struct prof__rule *ret)
{
    if (exact && is_plt_stub(pc))
        ret->step = kind(PROF__RULE_RSP) | (uint64_t)PROF__RSP << 44 | WORD;
    else if (!exact && is_start_of_context(pc))
        ret->step = kind(PROF__RULE_END);
    else
        ret->step = kind(PROF__RULE_NO_INFO);
}

/* What libunwind makes of it. */
static void unusual_rule(uintptr_t pc, bool exact, struct prof__rule *ret)
{
    if (unw_init_remote(&job.cursor, space, NULL) < 0) {
        ret->step = kind(PROF__RULE_LOST);
        return;
    }
    int r = unw_step(&job.cursor);

    if (!job.info_found)
        rule_without_info(pc, exact, ret);
    else if (r == 0)
        ret->step = kind(PROF__RULE_END);
    else if (r < 0)
        ret->step = kind(PROF__RULE_LOST);
    else
        rule_of(ret);
}

void prof__compile(uintptr_t pc, bool exact, const struct prof__object *o, struct prof__rule *ret)
{
    static const uint64_t nothing_saved = 0x001001001001001u; /* PROF__SAVE_NONE five times */
    int saved = errno;

    /* The cursor is libunwind's to initialize. */
    memset(&job, 0, offsetof(struct job, cursor));
    job.pc = exact ? pc : pc - 1;
    job.reader.object = o;
    ret->saves = 0;
    if (is_sigreturn(pc) || (exact && (is_sigreturn(pc - 7) || is_sigreturn(pc - 5))))
        ret->step = kind(PROF__RULE_SIGNAL);
    else if (!usual_rule(o, ret))
        unusual_rule(pc, exact, ret);
    if (ret->saves == 0)
        ret->saves = nothing_saved;
    errno = saved;
}

/* --- entering and leaving ------------------------------------------------------------------- */

/* Are these the two ends of one pipe? */
static bool is_pipe(const int fd[2])
{
    struct stat end[2];

    return fstat(fd[0], &end[0]) == 0 && fstat(fd[1], &end[1]) == 0 && S_ISFIFO(end[0].st_mode) &&
           end[0].st_dev == end[1].st_dev && end[0].st_ino == end[1].st_ino;
}

/*
 * Getting ready, libunwind also opens a pipe, for tests of addresses that it never makes with our
 * accessors. Those two descriptors are the program's to use, so they are closed again. Which ones
 * they are is known while there is one thread: a pipe gets the two lowest free numbers. A process
 * with more threads by now keeps them, close-on-exec, rather than lose another pair by mistake.
 */
static unw_addr_space_t make_space(unw_accessors_t *accessors)
{
    int saved = errno, fd[2] = { -1, -1 };
    /* First, since malloc may belong to somebody who uses libunwind too, and opens a pipe now. */
    unw_addr_space_t made = unw_create_addr_space(accessors, 0);

    if (__libc_single_threaded && pipe2(fd, O_CLOEXEC) == 0) {
        close(fd[0]);
        close(fd[1]);
    }
    if (made)
        unw_set_caching_policy(made, UNW_CACHE_NONE);
    if (fd[0] >= 0 && is_pipe(fd)) {
        close(fd[0]);
        close(fd[1]);
    }
    errno = saved;
    return made;
}

/* libunwind has malloc make its address space, once. */
static bool space_ready(bool may_init)
{
    static unw_accessors_t accessors = {
        .find_proc_info = find_proc_info,
        .put_unwind_info = put_unwind_info,
        .get_dyn_info_list_addr = get_dyn_info_list_addr,
        .access_mem = access_mem,
        .access_reg = access_reg,
        .access_fpreg = access_fpreg,
        .resume = resume,
        .get_proc_name = get_proc_name,
    };
    /* Acquire: pairs with the release below, so `space` is there. */
    int state = atomic_load_explicit(&space_state, memory_order_acquire);

    if (state == SPACE_READY)
        return true;
    if (!may_init || state == SPACE_IN_THE_MAKING ||
        !atomic_compare_exchange_strong_explicit(&space_state, &state, SPACE_IN_THE_MAKING,
                                                 memory_order_relaxed, memory_order_relaxed))
        return false;
    space = make_space(&accessors);
    atomic_store_explicit(&space_state, space ? SPACE_READY : SPACE_NONE, memory_order_release);
    return space != NULL;
}

static bool take_lock(int most_yields)
{
    for (int yields = 0; yields < most_yields; yields++) {
        for (int spins = 0; spins < SPINS; spins++) {
            /* Looking first keeps the line shared while somebody else holds the lock. */
            if (atomic_load_explicit(&lock.state, memory_order_relaxed) == 0 &&
                prof__trylock(&lock))
                return true;
            __builtin_ia32_pause();
        }
        sched_yield();
    }
    return false;
}

/* The type as well as the state: a cancellation that was sent while it was enabled, glibc before
 * 2.37 carries out when it arrives, whatever the state is then. */
static void put_off_cancellation(struct cancel *ret_was)
{
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &ret_was->state);
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &ret_was->type);
}

/* May not return: here one that came meanwhile is carried out. */
static void let_cancellation(const struct cancel *was)
{
    int unused;

    pthread_setcanceltype(was->type, &unused);
    pthread_setcancelstate(was->state, &unused);
}

uintptr_t prof__compile_enter(bool may_init)
{
    uint64_t all = ~(uint64_t)0, mask;
    struct cancel cancel;

    put_off_cancellation(&cancel);
    if (space_ready(may_init)) {
        prof__raw_sigmask(SIG_SETMASK, &all, &mask);
        if (take_lock(may_init ? YIELDS_HOOK : YIELDS_SIGNAL)) {
            saved_mask = mask;
            saved_cancel = cancel;
            return 0;
        }
        prof__raw_sigmask(SIG_SETMASK, &mask, NULL);
    }
    let_cancellation(&cancel);
    return PROF__PC_BUSY;
}

void prof__compile_leave(void)
{
    uint64_t mask = saved_mask;
    struct cancel cancel = saved_cancel;

    prof__unlock(&lock);
    prof__raw_sigmask(SIG_SETMASK, &mask, NULL);
    let_cancellation(&cancel);
}

/* --- functions without a name --------------------------------------------------------------- */

/* Nothing keeps the object of an address in a profile loaded, unlike that of a stack being walked,
 * and the loader's lock could not be taken in a forked child. So tables are read by way of the
 * kernel, which only refuses when they are gone. */
uintptr_t prof__stack_function_start(uintptr_t pc)
{
    struct prof__object o;
    struct prof__reader reader = { .object = &o, .by_kernel = true };
    struct prof__cfi_table table;
    uintptr_t start;

    if (!prof__object_find(pc, &o) || !prof__cfi_table(&reader, o.eh_frame_hdr, &table) ||
        !prof__cfi_function(&reader, &table, pc, &start))
        return 0;
    return start;
}

void prof__stack_fork_prepare(void)
{
    prof__lock(&lock);
}

void prof__stack_fork_done(void)
{
    prof__unlock(&lock);
}
