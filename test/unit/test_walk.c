/*
 * test_walk.c - stacks equal those of libunwind's own unwinder, for frames of every kind a
 * compiler makes, on stacks of every kind a program has; and where there is no stack to walk, the
 * walk ends and says why.
 */
#include "unwind/stack.h"

#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/thread.h"
#include "call_on.h"
#include "check.h"
#include "oracle.h"
#include "unwind/rules.h"

#ifdef __clang__
#define FRAME __attribute__((noinline))
#else
#define FRAME __attribute__((noinline, noclone))
#endif
#define USE(x)  __asm__ volatile("" : : "r"(x) : "memory")
#define NO_TAIL __asm__ volatile("" : : : "memory")

#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER
#elif defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZER
#elif __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER
#endif
#endif

enum { ORACLE_MAX = 300 };

static const char *what; /* the case in hand */
static size_t last_n;
static uintptr_t last[PROF__STACK_MAX];

/* So that they are compiled again. */
static void forget_rules(void)
{
    memset(prof__rule_steps, 0, sizeof(prof__rule_steps));
}

/* --- the comparison --------------------------------------------------------------------------- */

static void check_equal(const uintptr_t *got, size_t n, const uintptr_t *want, size_t n_want)
{
    size_t same = 0;

    /* libunwind's last frame may be the end, or where it knows no further; only we say which. */
    if (n > 1 && got[n - 1] == PROF__PC_NO_INFO)
        n--;
    while (same < n && same < n_want && got[same] == want[same])
        same++;
    CHECK(n > 1 && same == n && same == n_want, "%s: %zu frames, libunwind has %zu, equal are %zu",
          what, n, n_want, same);
    if (same != n || same != n_want)
        for (size_t i = 0; i < PROF_MAX(n, n_want) && i < 40; i++)
            printf("  %2zu %#18lx %#18lx\n", i, i < n ? got[i] : 0, i < n_want ? want[i] : 0);
}

/* As a hook, which jumps to what records and leaves no frame of its own. */
FRAME static size_t stack_from(const void *return_address, uintptr_t *pcs)
{
    struct prof__site site = prof__site(return_address);

    return prof__stack_from(&site, pcs, PROF__STACK_MAX);
}

/* Compare from the caller of this function on. */
FRAME static void compare(void)
{
    uintptr_t want[ORACLE_MAX], from_site[PROF__STACK_MAX];
    struct prof__site site = prof__site(__builtin_return_address(0));
    size_t n_want, n;

    CHECK(site.sp, "the frame has the return address");
    last_n = prof__stack_here(__builtin_return_address(0), last, PROF__STACK_MAX);
    ORACLE_HERE(want, ORACLE_MAX, &n_want);
    check_equal(last, last_n, want, n_want);
    n = prof__stack_from(&site, from_site, PROF__STACK_MAX);
    CHECK(n == last_n && memcmp(from_site, last, n * sizeof(*last)) == 0, "the same from the site");
    /* Called, and not jumped to: the site is in doubt, and the walk takes the long way. */
    n = stack_from(__builtin_return_address(0), from_site);
    CHECK(n == last_n && memcmp(from_site, last, n * sizeof(*last)) == 0, "and without a frame");
}

/* --- what compilers make ---------------------------------------------------------------------- */

FRAME static void plain(void)
{
    compare();
    NO_TAIL;
}

FRAME static void variable_array(size_t n)
{
    char a[n];

    a[0] = a[n - 1] = 1;
    USE(a);
    compare();
    USE(a);
}

FRAME static void large_frame(void)
{
    char a[100000];

    a[0] = a[sizeof(a) - 1] = 1;
    USE(a);
    compare();
    USE(a);
}

/* An aligned frame: the stack pointer is rounded down, by an amount only known when it runs. */
FRAME static void aligned_frame(void)
{
    char a[64] __attribute__((aligned(64)));

    a[0] = 1;
    USE(a);
    compare();
    USE(a);
}

/* Aligned and of variable size: the CFA has to be loaded from the frame. */
FRAME static void aligned_variable(size_t n, long x)
{
    char a[64] __attribute__((aligned(64)));
    char b[n];

    a[0] = b[0] = (char)x;
    USE(a);
    USE(b);
    compare();
    USE(a);
    USE(b);
}

FRAME static void many_arguments(long a, long b, long c, long d, long e, long f, long g, long h)
{
    compare();
    USE(a + b * c + d * e + f * g + h);
}

#ifdef __GNUC__
#ifndef __clang__
__attribute__((optimize("no-omit-frame-pointer")))
#endif
#endif
FRAME static void
frame_pointer(void)
{
    compare();
    NO_TAIL;
}

FRAME static int recursive(int depth)
{
    int r = 1;

    if (depth == 0)
        compare();
    else
        r = recursive(depth - 1) + 1;
    NO_TAIL;
    return r;
}

static int by_int(const void *a, const void *b)
{
    static int calls;

    if (calls++ == 3)
        compare();
    return *(const int *)a - *(const int *)b;
}

FRAME static void in_qsort(void)
{
    int a[] = { 5, 3, 9, 1, 7 };

    qsort(a, ARRAY_LEN(a), sizeof(a[0]), by_int);
    NO_TAIL;
}

static void in_tree(const void *node, VISIT visit, int level)
{
    static int calls;

    if (calls++ == 0)
        compare();
    NO_TAIL;
}

static int by_pointer(const void *a, const void *b)
{
    return (a > b) - (a < b);
}

FRAME static void in_twalk(void)
{
    void *root = NULL;
    static char keys[3];

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        tsearch(&keys[i], &root, by_pointer);
    twalk(root, in_tree);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        tdelete(&keys[i], &root, by_pointer);
}

/* What assemblers write who align by hand: CFA = *(rsp + 16) + 8. */
void cfa_by_expression(void (*f)(void));
__asm__(".text\n"
        ".type cfa_by_expression, @function\n"
        "cfa_by_expression:\n"
        "    .cfi_startproc\n"
        "    movq %rsp, %rax\n"
        "    pushq %rbx\n"
        "    .cfi_def_cfa_offset 16\n"
        "    .cfi_offset rbx, -16\n"
        "    subq $32, %rsp\n"
        "    .cfi_def_cfa_offset 48\n"
        "    andq $-64, %rsp\n"
        "    movq %rax, 16(%rsp)\n"
        "    .cfi_escape 0x0f, 5, 0x77, 16, 0x06, 0x23, 8\n"
        "    movq $1, %rbx\n"
        "    call *%rdi\n"
        "    movq 16(%rsp), %rsp\n"
        "    .cfi_def_cfa rsp, 8\n"
        "    movq -8(%rsp), %rbx\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size cfa_by_expression, . - cfa_by_expression\n");

FRAME static void call_by_expression(size_t n)
{
    char a[n]; /* so that the CFA of this frame needs what the other has saved */

    USE(a);
    cfa_by_expression(plain);
    USE(a);
}

static void test_frames_of_every_kind(void)
{
    what = "plain";
    plain();
    what = "variable array";
    variable_array(123);
    what = "large frame";
    large_frame();
    what = "aligned frame";
    aligned_frame();
    what = "aligned frame of variable size";
    aligned_variable(77, 1);
    what = "CFA by an expression";
    call_by_expression(30);
    what = "many arguments";
    many_arguments(1, 2, 3, 4, 5, 6, 7, 8);
    what = "frame pointer";
    frame_pointer();
    what = "recursive";
    recursive(50);
    what = "qsort";
    in_qsort();
    what = "twalk";
    in_twalk();
}

/* --- stacks of other threads and none --------------------------------------------------------- */

static void *thread_main(void *arg)
{
    plain();
    variable_array(50);
    NO_TAIL;
    return arg;
}

static void run_thread(size_t stack_size, void *stack)
{
    pthread_attr_t attr;
    pthread_t t;

    pthread_attr_init(&attr);
    if (stack)
        pthread_attr_setstack(&attr, stack, stack_size);
    else if (stack_size)
        pthread_attr_setstacksize(&attr, stack_size);
    int r = pthread_create(&t, &attr, thread_main, NULL);
    if (r == 0)
        pthread_join(t, NULL);
    CHECK_INT(r, 0, what);
    pthread_attr_destroy(&attr);
}

static void test_threads_on_any_stack(void)
{
    static char own[2 << 20] __attribute__((aligned(4096)));

    what = "thread";
    run_thread(0, NULL);
    what = "thread on 64 KiB";
    run_thread(64 * 1024, NULL);
    what = "thread on 256 MiB";
    run_thread((size_t)256 << 20, NULL);
    what = "thread on a static array";
    run_thread(sizeof(own), own);
}

/* A stack with pages that cannot be read on both sides. */
static char *guarded_stack(size_t size)
{
    char *p = mmap(NULL, size + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED || mprotect(p + 4096, size, PROT_READ | PROT_WRITE) != 0)
        return NULL;
    return p + 4096;
}

static void guarded_stack_free(char *stack, size_t size)
{
    munmap(stack - 4096, size + 8192);
}

static ucontext_t main_context, coroutine;

static void coroutine_main(void)
{
    compare();
    swapcontext(&coroutine, &main_context);
    variable_array(300);
}

static void test_coroutines_with_guard_pages(void)
{
    enum { SIZE = 16384 };
    char *stack = guarded_stack(SIZE);

    what = "coroutine";
    getcontext(&coroutine);
    coroutine.uc_stack.ss_sp = stack;
    coroutine.uc_stack.ss_size = SIZE;
    coroutine.uc_link = &main_context;
    makecontext(&coroutine, coroutine_main, 0);
    swapcontext(&main_context, &coroutine);
    what = "coroutine resumed";
    swapcontext(&main_context, &coroutine);
    guarded_stack_free(stack, SIZE);
}

FRAME static void take(void)
{
    last_n = prof__stack_here(__builtin_return_address(0), last, PROF__STACK_MAX);
}

FRAME static void take_deeper(void)
{
    take();
    NO_TAIL;
}

static void test_a_stack_without_an_end_mark(void)
{
    enum { SIZE = 8192 };
    char *stack = guarded_stack(SIZE);
    uint64_t before = prof__stack_stats.unreadable + prof__stack_stats.no_info;

    call_on(stack + SIZE, take_deeper);
    CHECK(last_n >= 2, "%zu frames", last_n);
    CHECK(last[0] >= (uintptr_t)take_deeper && last[0] < (uintptr_t)take_deeper + 200, "the leaf");
    CHECK(prof__pc_is_pseudo(last[last_n - 1]), "ends in %#lx", last[last_n - 1]);
    CHECK_INT(prof__stack_stats.unreadable + prof__stack_stats.no_info, before + 1, "counted");
    guarded_stack_free(stack, SIZE);
}

/* --- signals ---------------------------------------------------------------------------------- */

static void on_signal_compare(int sig, siginfo_t *info, void *context)
{
    uintptr_t got[PROF__STACK_MAX], want[ORACLE_MAX];
    size_t n = prof__stack_interrupted(context, got, PROF__STACK_MAX);
    size_t n_want = oracle_interrupted(context, want, ORACLE_MAX);

    check_equal(got, n, want, n_want);
    compare(); /* through the signal frame */
}

static void install(int sig, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | flags;
    sigaction(sig, &action, NULL);
}

static void on_signal_nested(int sig, siginfo_t *info, void *context)
{
    raise(SIGUSR1);
    NO_TAIL;
}

FRAME static void raise_it(int sig)
{
    raise(sig);
    NO_TAIL;
}

static void test_through_signal_frames(void)
{
    stack_t stack = { .ss_size = 64 * 1024 }, none = { .ss_flags = SS_DISABLE };

    install(SIGUSR1, on_signal_compare, 0);
    install(SIGUSR2, on_signal_nested, 0);
    what = "handler";
    raise_it(SIGUSR1);
    what = "handler in a handler";
    raise_it(SIGUSR2);

    stack.ss_sp = malloc(stack.ss_size);
    sigaltstack(&stack, NULL);
    install(SIGUSR1, on_signal_compare, SA_ONSTACK);
    what = "handler on an alternate stack";
    raise_it(SIGUSR1);
    install(SIGUSR2, on_signal_nested, SA_ONSTACK);
    what = "two handlers on an alternate stack";
    raise_it(SIGUSR2);
    sigaltstack(&none, NULL);
    free(stack.ss_sp);
}

/* What a crash handler sees that allocates: the stack of the fault. */
static void on_fault(int sig, siginfo_t *info, void *context)
{
    ucontext_t *c = context;

    last_n = prof__stack_interrupted(context, last, PROF__STACK_MAX);
    take();                                   /* through the signal frame, to the same end */
    if (c->uc_mcontext.gregs[REG_RIP] == 0) { /* return from the call to nowhere */
        c->uc_mcontext.gregs[REG_RIP] = *(long long *)c->uc_mcontext.gregs[REG_RSP];
        c->uc_mcontext.gregs[REG_RSP] += 8;
    } else {
        _exit(last_n >= 1 ? 0 : 1);
    }
}

FRAME static void call_null(void)
{
    void (*volatile f)(void) = NULL;

    f();
    NO_TAIL;
}

static int endless(volatile int *depth)
{
    volatile int here[200];

    here[0] = *depth + 1;
    return here[0] ? endless(here) + here[0] : 0; /* never 0 */
}

static int child_status(void (*f)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        f();
        _exit(99);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void overflow(void)
{
    struct rlimit small = { 256 * 1024, 256 * 1024 };
    volatile int zero = 0;

    setrlimit(RLIMIT_STACK, &small);
    endless(&zero);
}

static void *overflow_thread(void *arg)
{
    stack_t stack = { .ss_size = 64 * 1024, .ss_sp = malloc(64 * 1024) };
    volatile int zero = 0;

    sigaltstack(&stack, NULL);
    endless(&zero);
    return arg;
}

static void overflow_in_a_thread(void)
{
    pthread_t t;

    pthread_create(&t, NULL, overflow_thread, NULL);
    pthread_join(t, NULL);
}

static void test_faults_can_be_walked(void)
{
    stack_t stack = { .ss_size = 64 * 1024, .ss_sp = malloc(64 * 1024) };

    sigaltstack(&stack, NULL);
    install(SIGSEGV, on_fault, SA_ONSTACK | SA_NODEFER);
    call_null();
    CHECK(last_n > 4, "call of a null pointer: %zu frames", last_n);
    CHECK(last_n > 4 && !prof__pc_is_pseudo(last[last_n - 1]), "walked to the end");
    CHECK_INT(child_status(overflow), 0, "overflow of the main stack");
    CHECK_INT(child_status(overflow_in_a_thread), 0, "overflow of a thread's stack");
    signal(SIGSEGV, SIG_DFL);
}

/* --- limits ----------------------------------------------------------------------------------- */

static size_t asked_max;

FRAME static void take_at_most(void)
{
    memset(last, 0, sizeof(last));
    last_n = prof__stack_here(__builtin_return_address(0), last, asked_max);
}

FRAME static int descend(int depth)
{
    int r = 0;

    if (depth == 0)
        take_at_most();
    else
        r = descend(depth - 1) + 1;
    NO_TAIL;
    return r;
}

static void test_depth_is_limited(void)
{
#ifdef THREAD_SANITIZER
    static const int depths[] = { 200, 10000 }; /* its own record of calls ends at 64 Ki */
#else
    static const int depths[] = { 200, 100000 };
#endif

    asked_max = PROF__STACK_MAX;
    descend(0);
    int above = (int)last_n - 1; /* frames that are not descend() */
    CHECK(!prof__pc_is_pseudo(last[last_n - 1]), "the stack ends");

    descend(PROF__STACK_MAX - 2 - above);
    CHECK_INT(last_n, PROF__STACK_MAX - 1, "127 frames fit");
    CHECK(!prof__pc_is_pseudo(last[last_n - 1]), "and none is a pseudo frame");
    descend(PROF__STACK_MAX - 1 - above);
    CHECK_INT(last_n, PROF__STACK_MAX, "128 do not");
    CHECK_INT(last[last_n - 1], PROF__PC_TRUNCATED, "128 do not");
    for (size_t i = 0; i < ARRAY_LEN(depths); i++) {
        uint64_t before = prof__stack_stats.truncated;

        descend(depths[i]);
        CHECK_INT(last_n, PROF__STACK_MAX, "deep");
        CHECK_INT(last[last_n - 1], PROF__PC_TRUNCATED, "deep");
        CHECK(last[last_n - 2] == last[1], "all the same frame");
        CHECK_INT(prof__stack_stats.truncated, before + 1, "counted");
    }
    for (asked_max = 1; asked_max < 10; asked_max++) {
        descend(20);
        CHECK_INT(last_n, asked_max, "as many as asked for");
        CHECK(last[0] >= (uintptr_t)descend && last[0] < (uintptr_t)descend + 200, "the leaf");
        if (asked_max > 1)
            CHECK_INT(last[last_n - 1], PROF__PC_TRUNCATED, "few");
    }
}

static void test_a_frame_that_is_not_met(void)
{
    uintptr_t pcs[PROF__STACK_MAX];

    CHECK_INT(prof__stack_here((const void *)0x123456, pcs, PROF__STACK_MAX), 2, "frames");
    CHECK_INT(pcs[0], 0x123455, "the caller");
    CHECK_INT(pcs[1], PROF__PC_NO_INFO, "and why no more");
    CHECK_INT(prof__stack_here((const void *)0x123456, pcs, 1), 1, "frames");
}

/* --- stacks that are not stacks --------------------------------------------------------------- */

/* Machine code without unwind info: push rbp; mov rsp, rbp; call *rdi; pop rbp; ret */
static const unsigned char with_frame_pointer[] = {
    0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3
};
/* push rbp; mov $odd number, rbp; call *rdi; pop rbp; ret */
static const unsigned char with_odd_rbp[] = { 0x55, 0x48, 0xc7, 0xc5, 0x35, 0x12,
                                              0x11, 0x00, 0xff, 0xd7, 0x5d, 0xc3 };
/* push rbp; mov rsi, rbp; call *rdi; pop rbp; ret */
static const unsigned char with_given_rbp[] = { 0x55, 0x48, 0x89, 0xf5, 0xff, 0xd7, 0x5d, 0xc3 };

/* The same, after it has called itself as often as rsi says:
 * push rbp; mov rsp, rbp; dec esi; jz 1f; call 0; pop rbp; ret; 1: call *rdi; pop rbp; ret */
static const unsigned char in_itself[] = { 0x55, 0x48, 0x89, 0xe5, 0xff, 0xce, 0x74,
                                           0x07, 0xe8, 0xf3, 0xff, 0xff, 0xff, 0x5d,
                                           0xc3, 0xff, 0xd7, 0x5d, 0xc3 };

/* Frame pointers of code without tables are followed through any number of frames, and tables from
 * there on; but not if they do not lead to tables, or do so elsewhere than behind a call. */
static void test_many_frames_made_at_run_time(void)
{
    enum { FRAMES = 50 };
    unsigned char *code =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void (*call)(void (*)(void), const void *);
    unsigned strange = 0;

    memcpy(&call, &code, sizeof(call));
    memcpy(code, in_itself, sizeof(in_itself));
    take_deeper();
    size_t without = last_n, leaf = 0;
    call(take_deeper, (const void *)(uintptr_t)FRAMES);
    while (leaf < last_n && last[leaf] != (uintptr_t)code + 16)
        leaf++;
    for (size_t i = 1; i < FRAMES; i++)
        strange += last[leaf + i] != (uintptr_t)code + 12;
    CHECK_INT(last_n, without + FRAMES, "all of them, and all that called them");
    CHECK_INT(strange, 0, "frames in between");
    CHECK(!prof__pc_is_pseudo(last[last_n - 1]), "to the end");

    /* Chains that lead up but nowhere: from the frame of this function. */
    const struct {
        const char *name;
        uintptr_t pc;
    } cases[] = {
        { "to no code", 0x500000001 },
        { "to a null pointer", 0 },
        { "to code that is no return address", (uintptr_t)take_deeper + 1 },
        { "to data", (uintptr_t)&last_n },
    };
    memcpy(code, with_given_rbp, sizeof(with_given_rbp));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        volatile uintptr_t chain[21];

        for (int k = 0; k < 20; k += 2) {
            chain[k] = (uintptr_t)&chain[k + 2];
            chain[k + 1] = cases[i].pc;
        }
        chain[20] = 0;
        call(take_deeper, (const void *)&chain[0]);
        CHECK_INT(last[last_n - 1], PROF__PC_NO_INFO, cases[i].name);
        CHECK_INT(last_n, leaf + 2, cases[i].name);
        chain[2] = (uintptr_t)&chain[0]; /* around in circles */
        call(take_deeper, (const void *)&chain[0]);
        CHECK_INT(last[last_n - 1], PROF__PC_NO_INFO, cases[i].name);
    }
    munmap(code, 4096);
}

static void test_code_made_at_run_time(void)
{
    unsigned char *code =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *page = guarded_stack(4096);
    void (*call)(void (*)(void), const void *);

    memcpy(&call, &code, sizeof(call));
    memcpy(code, with_frame_pointer, sizeof(with_frame_pointer));
    call(take_deeper, NULL);
    CHECK(last_n > 4 && last[1] == (uintptr_t)code + 5, "the frame in it is named");
    CHECK(!prof__pc_is_pseudo(last[last_n - 1]), "one frame pointer is followed");

    memcpy(code, with_odd_rbp, sizeof(with_odd_rbp));
    call(take_deeper, NULL);
    CHECK_INT(last_n, 3, "rbp is odd");
    CHECK_INT(last[2], PROF__PC_NO_INFO, "rbp is odd");

    const struct {
        const char *name;
        const void *rbp;
    } cases[] = {
        { "null", NULL },
        { "a page that cannot be read", page - 4096 },
        { "the last bytes before one", page + 4096 - 8 },
        { "a mapped page that is no stack", page },
        { "not canonical", (const void *)0x8000000000000000u },
        { "the end of the address space", (const void *)-8 },
        { "code", (const void *)(uintptr_t)take },
    };
    memcpy(code, with_given_rbp, sizeof(with_given_rbp));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        call(take_deeper, cases[i].rbp);
        CHECK_INT(last_n, 3, cases[i].name);
        CHECK_INT(last[last_n - 1], PROF__PC_NO_INFO, cases[i].name);
    }
    munmap(code, 4096);
    guarded_stack_free(page, 4096);
}

/* Registers of nowhere: the walk ends, without a fault. */
static void test_contexts_of_garbage(void)
{
    static const uintptr_t values[] = { 0,
                                        1,
                                        8,
                                        4096,
                                        0x1003,
                                        0x7fffffffffff,
                                        0x800000000000,
                                        (uintptr_t)-1,
                                        (uintptr_t)-4096,
                                        0xdeadbeefdeadbeef };
    uintptr_t pcs[PROF__STACK_MAX], stack[64];
    char *guarded = guarded_stack(4096);
    ucontext_t c;

    for (size_t i = 0; i < ARRAY_LEN(stack); i++)
        stack[i] = (uintptr_t)compare + i * 7;
    uintptr_t sps[ARRAY_LEN(values) + 4], pcs_in[ARRAY_LEN(values) + 4];
    memcpy(sps, values, sizeof(values));
    memcpy(pcs_in, values, sizeof(values));
    sps[ARRAY_LEN(values)] = (uintptr_t)stack;
    sps[ARRAY_LEN(values) + 1] = (uintptr_t)guarded + 4096 - 8;
    sps[ARRAY_LEN(values) + 2] = (uintptr_t)guarded + 4096 - 3;
    sps[ARRAY_LEN(values) + 3] = (uintptr_t)guarded - 16;
    pcs_in[ARRAY_LEN(values)] = (uintptr_t)compare + 9;
    pcs_in[ARRAY_LEN(values) + 1] = (uintptr_t)qsort + 3;
    pcs_in[ARRAY_LEN(values) + 2] = (uintptr_t)&stack;
    pcs_in[ARRAY_LEN(values) + 3] = (uintptr_t)variable_array + 40;
    getcontext(&c);
    size_t bad = 0, walks = 0;
    for (size_t i = 0; i < ARRAY_LEN(sps); i++) {
        for (size_t j = 0; j < ARRAY_LEN(pcs_in); j++) {
            for (size_t k = 0; k < ARRAY_LEN(sps); k++) {
                for (int r = 0; r < NGREG; r++)
                    c.uc_mcontext.gregs[r] = (long long)sps[k];
                c.uc_mcontext.gregs[REG_RSP] = (long long)sps[i];
                c.uc_mcontext.gregs[REG_RIP] = (long long)pcs_in[j];
                size_t n = prof__stack_interrupted(&c, pcs, PROF__STACK_MAX);

                bad += n < 1 || n > PROF__STACK_MAX;
                walks++;
            }
        }
    }
    CHECK_INT(bad, 0, "walks of no length");
    CHECK(walks > 2000, "%zu walks", walks);
    guarded_stack_free(guarded, 4096);
}

/* --- copies ----------------------------------------------------------------------------------- */

/* No memcpy: sanitizers would look into other functions' frames. */
PROF_NO_SANITIZE
static void copy_words(uintptr_t *to, const uintptr_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes / sizeof(*to); i++) {
        to[i] = from[i];
        USE(to); /* and no loop turned into one */
    }
}

/* A copy knows no register but rsp. What it gives is right as far as it goes, and if that is not
 * the end it says so. */
FRAME static size_t check_copy(const ucontext_t *c, size_t size)
{
    static uintptr_t words[8192];
    uintptr_t sp = (uintptr_t)c->uc_mcontext.gregs[REG_RSP];
    struct prof__stack_copy copy = { .pc = (uintptr_t)c->uc_mcontext.gregs[REG_RIP],
                                     .sp = sp,
                                     .bytes = words,
                                     .size = PROF_MIN(size, prof__self.stack_high - sp) };
    uintptr_t want[PROF__STACK_MAX], got[PROF__STACK_MAX];

    copy_words(words, (const uintptr_t *)sp, PROF_MIN(copy.size, sizeof(words)));
    size_t n_want = prof__stack_interrupted(c, want, PROF__STACK_MAX);
    size_t n = prof__stack_copied(&copy, got, NULL, PROF__STACK_MAX);
    bool whole = n == n_want && !prof__pc_is_pseudo(got[n - 1]);
    size_t frames = whole ? n : n - 1;

    CHECK(whole || prof__pc_is_pseudo(got[n - 1]), "%zu of %zu frames and no reason", n, n_want);
    CHECK(frames > 0 && frames <= n_want && memcmp(want, got, frames * sizeof(want[0])) == 0,
          "the frames are those of the stack itself");
    return frames;
}

static size_t copied[3];

static void on_signal_copy(int sig, siginfo_t *info, void *context)
{
    copied[0] = check_copy(context, 65536);
    copied[1] = check_copy(context, 16);
    copied[2] = check_copy(context, 0);
}

static void test_a_copied_stack(void)
{
    install(SIGUSR1, on_signal_copy, 0);
    raise_it(SIGUSR1);
    /* The leaf is libc's, and saves what its callers need, unless they have frame pointers. */
    CHECK(copied[0] >= 3, "%zu frames", copied[0]);
    CHECK_INT(copied[1], 1, "a copy of two words");
    CHECK_INT(copied[2], 1, "a copy of nothing");
}

/* --- manners ---------------------------------------------------------------------------------- */

static void test_errno_and_mask_are_kept(void)
{
    sigset_t before, after;

    sigprocmask(SIG_SETMASK, NULL, &before);
    errno = 4711;
    forget_rules();
    take_deeper();
    CHECK_INT(errno, 4711, "errno");
    sigprocmask(SIG_SETMASK, NULL, &after);
    CHECK(memcmp(&before, &after, sizeof(uint64_t)) == 0, "the signal mask");
    what = "after the rules were forgotten";
    plain();
}

#if defined(__OPTIMIZE__) && !defined(ADDRESS_SANITIZER) && !defined(THREAD_SANITIZER)
/* On a stack filled with a pattern, what has been overwritten has been used. */
static char *painted;
static size_t most_used;
enum { PAINTED = 32768 };

FRAME static void take_painted(void)
{
    char *here = __builtin_frame_address(0);
    size_t untouched = 0;

    forget_rules();
    memset(painted, 0x5a, (size_t)(here - painted) - 512);
    last_n = stack_from(__builtin_return_address(0), last);
    while (painted[untouched] == 0x5a)
        untouched++;
    most_used = PROF_MAX(most_used, (size_t)(here - painted) - untouched);
    NO_TAIL;
}

/* What it calls is below a frame that is found by an expression. */
FRAME static void aligned_painted(size_t n)
{
    char small[n];
    struct {
        _Alignas(64) char a[64];
    } large;

    small[0] = large.a[0] = 1;
    USE(small);
    USE(large.a);
    take_painted();
    USE(large.a);
    USE(small);
}

static void coroutine_taking(void)
{
    unsigned char *code =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void (*call)(void (*)(void), const void *);

    memcpy(&call, &code, sizeof(call));
    memcpy(code, in_itself, sizeof(in_itself));
    for (int i = 0; i < 2; i++) { /* the first time functions are looked up by the linker */
        most_used = 0;
        take_painted();
        aligned_painted(30);
        call(take_painted, (const void *)(uintptr_t)5);
    }
    munmap(code, 4096);
    swapcontext(&coroutine, &main_context);
}

/* A sample needs no more than it asks for: the walk's part, and what is beside it in the frame of
 * collect_heap.c, room for all frames among it. */
static void test_little_stack_is_used(void)
{
    enum { BESIDE = PROF__STACK_MAX * sizeof(uintptr_t) + 400 };

    painted = guarded_stack(PAINTED);
    getcontext(&coroutine);
    coroutine.uc_stack.ss_sp = painted;
    coroutine.uc_stack.ss_size = PAINTED;
    coroutine.uc_link = &main_context;
    makecontext(&coroutine, coroutine_taking, 0);
    swapcontext(&main_context, &coroutine);
    CHECK(last_n > 1, "%zu frames", last_n);
    printf("a walk takes %zu bytes of stack\n", most_used);
    CHECK_BETWEEN(most_used, 500, PROF__STACK_NEED - BESIDE, "bytes of stack for a walk");
    guarded_stack_free(painted, PAINTED);
}
#else
static void test_little_stack_is_used(void)
{
}
#endif

int main(void)
{
    prof__stack_init();
    test_frames_of_every_kind();
    test_threads_on_any_stack();
    test_coroutines_with_guard_pages();
    test_a_stack_without_an_end_mark();
    test_through_signal_frames();
    test_faults_can_be_walked();
    test_depth_is_limited();
    test_a_frame_that_is_not_met();
    test_code_made_at_run_time();
    test_many_frames_made_at_run_time();
    test_contexts_of_garbage();
    test_a_copied_stack();
    test_errno_and_mask_are_kept();
    test_little_stack_is_used();
    return check_report();
}
