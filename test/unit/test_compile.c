/*
 * test_compile.c - what the rule compiler must not do: allocate, look for objects, or believe a
 * damaged table.
 */
#include "unwind/compile.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <search.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/random.h"
#include "check.h"
#include "unwind/cfi.h"
#include "unwind/eh_hdr.h"
#include "unwind/stack.h"

/* --- calls that must not happen --------------------------------------------------------------- */

static volatile bool watching;
static volatile unsigned iterations, allocations;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif

#ifndef SANITIZED
/* In front of libc's. */
int dl_iterate_phdr(int (*f)(struct dl_phdr_info *, size_t, void *), void *arg)
{
    static int (*real)(int (*)(struct dl_phdr_info *, size_t, void *), void *);

    if (watching)
        iterations++;
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "dl_iterate_phdr");
    return real(f, arg);
}

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);

void *malloc(size_t size)
{
    if (watching)
        allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    if (watching)
        allocations++;
    return __libc_calloc(n, size);
}
#endif

static unsigned questions;
static char *vanishing; /* a page that is gone as soon as it has been asked for */

/* The linker puts these in front of ours (--wrap). */
bool __real_prof__page_readable(uintptr_t at);
bool __wrap_prof__page_readable(uintptr_t at);
int __real_prof__memory_get(uintptr_t from, void *to, size_t n);
int __wrap_prof__memory_get(uintptr_t from, void *to, size_t n);

bool __wrap_prof__page_readable(uintptr_t at)
{
    questions++;
    bool readable = __real_prof__page_readable(at);
    if (vanishing && at - (uintptr_t)vanishing < 4096)
        munmap(vanishing, 4096);
    return readable;
}

int __wrap_prof__memory_get(uintptr_t from, void *to, size_t n)
{
    questions++;
    return __real_prof__memory_get(from, to, n);
}

static long resident_pages(void)
{
    long size, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (f) {
        if (fscanf(f, "%ld %ld", &size, &resident) != 2)
            resident = 0;
        fclose(f);
    }
    return resident;
}

/* One that no sanitizer replaces. */
#define a_function_of_libc twalk

static bool find_libc(struct prof__object *ret)
{
    bool found = prof__object_find((uintptr_t)a_function_of_libc, true, ret);

    CHECK(found, "libc is not known");
    return found;
}

static void compile(uintptr_t pc, const struct prof__object *o, struct prof__rule *ret)
{
    prof__compile(pc, true, o, PROF__READ_HELD, ret);
}

static void test_it_allocates_and_looks_for_nothing(void)
{
    enum { TIMES = 30000 };
    uint64_t seed = 1;
    struct prof__object o;
    struct prof__rule r;
    unsigned useful = 0;

    if (!find_libc(&o))
        return;
    for (int round = 0; round < 2; round++) {
        long before = resident_pages();

        watching = true;
        for (int i = 0; i < TIMES; i++) {
            compile(o.start + prof__random(&seed) % o.size, &o, &r);
            useful += prof__rule_kind(r.step) <= PROF__RULE_FP;
        }
        watching = false;
        CHECK_INT(allocations, 0, "malloc");
        CHECK_INT(iterations, 0, "dl_iterate_phdr");
        /* The tables are paged in by the first round. */
        if (round == 1)
            CHECK(resident_pages() - before < 64, "memory grows: %ld pages",
                  resident_pages() - before);
    }
    CHECK(useful > TIMES / 3, "%u rules", useful);
}

static void test_nothing_is_read_far_away(void)
{
    /* From a program at such an address two gigabytes go around, both ways. */
    struct prof__object low = { .start = 0x400000, .size = 0x100000 };
    struct prof__object high = { .start = ((uintptr_t)1 << 47) - 0x100000, .size = 0x1000 };
    const uintptr_t bad[] = { 0, 8, 4095, (uintptr_t)1 << 47, UINTPTR_MAX - 7, UINTPTR_MAX };
    uintptr_t word;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct prof__reader a, b;

        prof__reader_start(&a, &low, PROF__READ_FOREIGN);
        prof__reader_start(&b, &high, PROF__READ_FOREIGN);
        CHECK(!prof__read_number(&a, bad[i], 8, &word), "%#lx near 0", (unsigned long)bad[i]);
        CHECK(!prof__read_number(&b, bad[i], 8, &word), "%#lx near the end", (unsigned long)bad[i]);
    }
}

/* --- all that tables can say ------------------------------------------------------------------ */

/* Never run. Each nop has a row of its own; the numbers are DWARF's (6.4.2, 2.5). */
__asm__(".pushsection .text\n"
        "odd_frames:\n"
        ".cfi_startproc\n"
        "nop\n" /* 0: as a call leaves it */
        ".cfi_def_cfa_offset 4096\n.cfi_offset %rbp, -64\n.cfi_offset %r15, -32760\n"
        "nop\n" /* 1: a large frame */
        ".cfi_remember_state\n.cfi_def_cfa %rbp, 16\n.cfi_restore %rbp\n"
        "nop\n" /* 2: rbp */
        ".cfi_restore_state\n"
        "nop\n" /* 3: as 1 */
        ".cfi_offset %rbx, -32768\n"
        "nop\n" /* 4: saved too far away for a rule */
        ".cfi_restore %rbx\n.cfi_restore %r15\n.cfi_restore %rbp\n.cfi_def_cfa %r10, 0\n"
        "nop\n"                                            /* 5: another register */
        ".cfi_escape 0x0f, 3, 0x76, 0x78, 0x06\n"          /* CFA: *(rbp - 8) */
        ".cfi_escape 0x10, 3, 2, 0x76, 0x70\n"             /* rbx at rbp - 16 */
        ".cfi_escape 0x10, 6, 2, 0x76, 0x00\n"             /* rbp at rbp */
        "nop\n"                                            /* 6: an aligned frame */
        ".cfi_restore %rbx\n.cfi_restore %rbp\n"           /* */
        ".cfi_escape 0x0f, 6, 0x77, 0x98, 1, 6, 0x23, 8\n" /* CFA: *(rsp + 152) + 8 */
        ".cfi_offset %rbx, -16\n"
        "nop\n" /* 7: what rsp was, kept on the stack */
        ".cfi_def_cfa %rbp, 32\n.cfi_escape 0x10, 3, 2, 0x76, 0x70\n"
        "nop\n" /* 8: at rbp - 16 is 6 words below the CFA */
        ".cfi_escape 0x0f, 2, 0x91, 0\n"
        "nop\n" /* 9: relative to what is no register */
        ".cfi_def_cfa %rsp, 16\n.cfi_register %rip, %rcx\n"
        "nop\n" /* 10: the return address in a register */
        ".cfi_offset %rip, -8\n.cfi_escape 0x16, 7, 2, 0x77, 8\n"
        "nop\n" /* 11: another stack pointer than the CFA */
        ".cfi_escape 0x14, 7, 0\n.cfi_escape 0x10, 12, 3, 0x12, 0x22, 0x06\n"
        "nop\n" /* 12: r12 where nobody can say */
        ".cfi_undefined %rip\n"
        "nop\n" /* 13: the end */
        ".cfi_endproc\n"
        ".balign 16\n"
        "odd_stub:\n"
        ".cfi_startproc\n" /* CFA: rsp + 8 + ((rip & 15) >= 11) * 8, as in linkers' stubs */
        ".cfi_escape 0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22\n"
        ".skip 16, 0x90\n"
        ".cfi_endproc\n"
        ".popsection");
extern const char odd_frames[], odd_stub[];

static void test_all_that_tables_say(void)
{
    enum { SP = 7, FP = 6, R10 = 10, LOST = PROF__SAVE_LOST };
    static const struct {
        enum prof__rule_kind kind;
        unsigned base;
        int64_t offset, more;
        unsigned fp, rbx, r12, r15;
    } want[] = {
        { PROF__RULE_SP, SP, 8, 0, 1, 1, 1, 1 },
        { PROF__RULE_SP, SP, 4096, 0, 8, 1, 1, 4095 },
        { PROF__RULE_FP, FP, 16, 0, 1, 1, 1, 4095 },
        { PROF__RULE_SP, SP, 4096, 0, 8, 1, 1, 4095 },
        { PROF__RULE_SP, SP, 4096, 0, 8, LOST, 1, 4095 },
        { PROF__RULE_BASE, R10, 0, 0, 1, 1, 1, 1 },
        { PROF__RULE_ALIGNED, FP, -8, 0, 2048, 2046, 1, 1 },
        { PROF__RULE_DEREF, SP, 152, 8, 1, 2, 1, 1 },
        { PROF__RULE_FP, FP, 32, 0, 1, 6, 1, 1 },
        { PROF__RULE_LOST },
        { PROF__RULE_LOST },
        { PROF__RULE_LOST },
        { PROF__RULE_SP, SP, 16, 0, 1, LOST, LOST, 1 },
        { PROF__RULE_END },
    };
    struct prof__object o;
    struct prof__rule r;
    char what[16];

    if (!prof__object_find((uintptr_t)odd_frames, true, &o)) {
        CHECK(false, "the program is not known");
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(want); i++) {
        compile((uintptr_t)odd_frames + i, &o, &r);
        snprintf(what, sizeof(what), "row %u", i);
        CHECK_INT(prof__rule_kind(r.step), want[i].kind, what);
        if (prof__rule_kind(r.step) > PROF__RULE_ALIGNED)
            continue;
        CHECK_INT(prof__rule_base(r.step), want[i].base, what);
        CHECK_INT(prof__rule_offset(r.step), want[i].offset, what);
        CHECK_INT(prof__rule_more(r.step), want[i].more, what);
        CHECK_INT(prof__rule_fp(r.step), want[i].fp, what);
        CHECK_INT(r.saves & 0xfff, want[i].rbx, what);
        CHECK_INT(r.saves >> 12 & 0xfff, want[i].r12, what);
        CHECK_INT(r.saves >> 48 & 0xfff, want[i].r15, what);
    }
    for (unsigned i = 0; i < 16; i++) {
        compile((uintptr_t)odd_stub + i, &o, &r);
        CHECK_INT(prof__rule_kind(r.step), PROF__RULE_SP, "a stub");
        CHECK_INT(prof__rule_offset(r.step), i >= 11 ? 16 : 8, "before and after it has pushed");
    }
}

/* What nobody holds is read through the kernel, and says the same. */
static void test_both_ways_to_read_agree(void)
{
    uint64_t seed = 5;
    struct prof__object o;
    struct prof__rule held, foreign;
    unsigned different = 0, rules = 0;

    if (!find_libc(&o))
        return;
    o.permanent = false;
    for (int i = 0; i < 3000; i++) {
        uintptr_t pc = o.start + prof__random(&seed) % o.size;

        compile(pc, &o, &held);
        prof__compile(pc, true, &o, PROF__READ_FOREIGN, &foreign);
        different += held.step != foreign.step || held.saves != foreign.saves;
        rules += prof__rule_kind(held.step) <= PROF__RULE_ALIGNED;
    }
    CHECK_INT(different, 0, "rules that differ");
    CHECK(rules > 1000, "%u rules", rules);
}

/* A walk makes first halves; who needs all registers finds, or makes, the second. */
static void test_halves_of_rules_fit(void)
{
    uint64_t seed = 6;
    struct prof__object o;
    struct prof__rule whole, found;
    unsigned different = 0, ordinary = 0, made = 0;

    if (!find_libc(&o))
        return;
    for (int i = 0; i < 20000; i++) {
        uintptr_t pc = o.start + prof__random(&seed) % o.size;

        prof__compile(pc, false, &o, PROF__READ_HELD, &whole);
        if (i % 2 == 0)
            made += prof__rule_make(pc, &o, PROF__READ_HELD);
        for (int again = 0; again < 2; again++) {
            prof__rule_find(pc, false, &o, PROF__READ_HELD, &found);
            different += found.step != whole.step || found.saves != whole.saves;
        }
        ordinary += prof__rule_is_ordinary(whole.step);
    }
    CHECK_INT(different, 0, "rules that differ");
    CHECK(ordinary > 5000 && made > ordinary / 3, "%u ordinary rules, %u made", ordinary, made);
}

#ifdef PROF__NO_FIND_OBJECT
enum { HAS_FIND_OBJECT = false };
#else
enum { HAS_FIND_OBJECT = true };
#endif

/* Where an object lies is asked of the kernel once, and for its functions no more. (The list that
 * stands in for _dl_find_object() does not say enough of an object to do without.) */
static void test_the_kernel_is_hardly_asked(void)
{
    void *library = dlopen("libm.so.6", RTLD_NOW), *pc = library ? dlsym(library, "cbrt") : NULL;
    uint64_t seed = 7;
    struct prof__object o;
    struct prof__rule r;
    unsigned rules = 0, asked = 0;

    CHECK(pc != NULL, "no libm");
    if (!pc)
        return;
    questions = 0;
    CHECK(prof__object_find((uintptr_t)pc, true, &o), "libm is not known");
    compile((uintptr_t)pc, &o, &r);
    CHECK(questions <= 2, "%u questions for one object", questions);
    for (int i = 0; i < 2000; i++) {
        questions = 0;
        compile(o.start + prof__random(&seed) % o.size, &o, &r);
        if (prof__rule_is_ordinary(r.step)) { /* else it may be outside all code */
            rules++;
            asked += questions;
        }
    }
    CHECK_INT(asked, 0, "questions for its functions");
    CHECK(rules > 500, "%u rules", rules);
    dlclose(library);
}

/* --- damage ----------------------------------------------------------------------------------- */

/* A private copy of an object, gaps included, that can be damaged: its tables only hold distances,
 * so they are right in the copy too. NULL: there is no memory for it. */
PROF_NO_SANITIZE static char *copy_object(const struct prof__object *o, struct prof__object *ret)
{
    char *copy = mmap(NULL, o->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (copy == MAP_FAILED)
        return NULL;
    for (size_t at = 0; at < o->size; at += 4096) {
        if (!prof__page_readable(o->start + at)) {
            mprotect(copy + at, 4096, PROT_NONE);
            continue;
        }
        /* No memcpy, into which sanitizers look. */
        for (size_t i = at; i < PROF_MIN(at + 4096, o->size); i++)
            ((volatile char *)copy)[i] = ((const volatile char *)o->start)[i];
    }
    *ret = *o;
    ret->start = (uintptr_t)copy;
    ret->eh_frame_hdr = ret->start + (o->eh_frame_hdr - o->start);
    return copy;
}

static void test_damaged_tables_are_survived(void)
{
    enum { TIMES = 20000, FLIPS = 40 };
    uint64_t seed = 2;
    struct prof__object o, c;
    struct prof__rule r;
    unsigned kinds[16] = { 0 };

    if (!find_libc(&o))
        return;
    char *copy = copy_object(&o, &c);
    CHECK(copy != NULL, "there is a copy");
    if (!copy)
        return;
    compile(c.start + ((uintptr_t)a_function_of_libc - o.start), &c, &r);
    CHECK_INT(prof__rule_kind(r.step), PROF__RULE_SP, "the copy is as good");

    /* The table and .eh_frame behind it, to the end of their mapping. */
    size_t tables = 0;
    while (c.eh_frame_hdr + tables < c.start + c.size &&
           prof__page_readable(c.eh_frame_hdr + tables) && tables < 400000)
        tables += 4096;
    tables -= 8192;
    for (int i = 0; i < TIMES; i++) {
        char *at[FLIPS], was[FLIPS];

        for (int k = 0; k < FLIPS; k++) {
            /* Every tenth time the head of the table too. */
            at[k] = (char *)c.eh_frame_hdr +
                    prof__random(&seed) % (k == 0 && i % 10 == 0 ? 16 : tables);
            was[k] = *at[k];
            *at[k] = (char)prof__random(&seed);
        }
        compile(c.start + prof__random(&seed) % c.size, &c, &r);
        kinds[prof__rule_kind(r.step)]++;
        for (int k = FLIPS - 1; k >= 0; k--)
            *at[k] = was[k];
    }
    CHECK(kinds[PROF__RULE_SP] > 0 && kinds[PROF__RULE_NO_INFO] > 0, "rules of both kinds");

    /* Bytes at random, all of them, where a function's own entry is. */
    for (int i = 0; i < TIMES; i++) {
        char *entries = (char *)c.eh_frame_hdr + tables / 2;

        for (int k = 0; k < 200; k++)
            entries[prof__random(&seed) % (tables / 2)] = (char)prof__random(&seed);
        compile(c.start + prof__random(&seed) % c.size, &c, &r);
    }
    compile(c.start + ((uintptr_t)a_function_of_libc - o.start), &c, &r);
    CHECK(true, "got here");
    munmap(copy, o.size);
}

/* What follows an entry is the next one, near as well: none of it may be taken for an operand. */
static void test_an_operation_cut_by_its_entrys_end_is_damage(void)
{
    typedef uint32_t u32 __attribute__((may_alias, aligned(1)));
    uint64_t seed = 7;
    struct prof__object o, c;
    struct prof__cfi_entry e;
    struct prof__reader r;
    struct prof__rule whole, cut;
    unsigned tried = 0, believed = 0;

    if (!find_libc(&o))
        return;
    char *copy = copy_object(&o, &c);
    CHECK(copy != NULL, "there is a copy");
    if (!copy)
        return;
    c.permanent = true; /* so that all of it is near, with a list of objects too */
    for (int i = 0; i < 5000; i++) {
        uintptr_t pc = c.start + prof__random(&seed) % c.size;

        prof__reader_start(&r, &c, PROF__READ_HELD);
        uintptr_t at = prof__eh_entry(&r, pc);
        if (at == 0 || !prof__cfi_entry(&r, pc, &e) || !e.usual)
            continue;
        const uint8_t *first = (const uint8_t *)e.own;
        u32 *length = (u32 *)at, was = *length;
        /* DW_CFA_advance_loc and DW_CFA_def_cfa_offset, whose operand is cut off. */
        if (e.own_end - e.own < 8 || first[0] >> 6 != 1 || first[1] != 0x0e)
            continue;
        *length = (u32)(e.own - at - 4);
        compile(e.end - 1, &c, &whole);
        *length += 2;
        compile(e.end - 1, &c, &cut);
        *length = was;
        tried += prof__rule_kind(whole.step) == PROF__RULE_SP;
        believed += prof__rule_kind(cut.step) != PROF__RULE_LOST;
    }
    CHECK(tried > 500, "%u entries", tried);
    CHECK_INT(believed, 0, "entries that end within an operation, and were believed");
    munmap(copy, o.size);
}

static void test_objects_without_a_table(void)
{
    struct prof__object o;
    struct prof__rule r;

    if (!prof__object_find((uintptr_t)a_function_of_libc, true, &o))
        return;
    const uintptr_t tables[] = { 0, 8, o.start - 4096, o.start + o.size - 4, UINTPTR_MAX - 100 };
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        o.eh_frame_hdr = tables[i];
        compile((uintptr_t)a_function_of_libc, &o, &r);
        CHECK_INT(prof__rule_kind(r.step), PROF__RULE_NO_INFO, "no table");
    }
}

/* A plug-in that this thread will return into stays; what its damaged table leads to need not. */
static void test_what_lies_outside_may_go_away(void)
{
    const size_t size = 4 * 4096;
    char *pages = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct prof__object plugin = { .start = (uintptr_t)pages, .size = size };
    struct prof__reader r;
    uint64_t word;

    CHECK(pages != MAP_FAILED, "there is memory");
    if (pages == MAP_FAILED)
        return;
    vanishing = pages + size + 4096;
    *(uint64_t *)vanishing = 42;
    prof__reader_start(&r, &plugin, PROF__READ_HELD);
    CHECK(prof__read_number(&r, (uintptr_t)vanishing, 8, &word) && word == 42, "by the kernel");
    munmap(vanishing, 4096);
    prof__reader_start(&r, &plugin, PROF__READ_HELD);
    CHECK(!prof__read_number(&r, (uintptr_t)vanishing, 8, &word), "it is gone");
    vanishing = NULL;
    munmap(pages, 2 * size);
}

int main(void)
{
    prof__stack_init();
    test_it_allocates_and_looks_for_nothing();
    test_nothing_is_read_far_away();
    test_all_that_tables_say();
    test_both_ways_to_read_agree();
    test_halves_of_rules_fit();
    if (HAS_FIND_OBJECT)
        test_the_kernel_is_hardly_asked();
    test_damaged_tables_are_survived();
    test_an_operation_cut_by_its_entrys_end_is_damage();
    test_objects_without_a_table();
    test_what_lies_outside_may_go_away();
    return check_report();
}
