/*
 * odd_stacks.c - the CPU profiled, every block recorded and all threads dumped while code runs on
 * stacks that are none of a thread's, without unwind tables, with the frame pointer used for
 * something else, and very deep.
 *
 * Nothing may crash, and nothing may be lost: what cannot be walked is under what is known of it.
 */
#include <errno.h>
#include <prof/prof.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "check.h"
#include "long_run.h"
#include "span.h"
#include "text_profile.h"

enum { COROUTINES = 16, DEEP = 100000, TENTHS = 1000 };

static atomic_int stop, stopped, leave;
static volatile long sink;

/* How many blocks took so many tenths of a microsecond; the last: and more. */
static atomic_long took[TENTHS];
static _Thread_local void
    *volatile kept; /* the last block of each kind is still there at the end */

__attribute__((noinline)) static void spend(int n)
{
    double begin = clock_of(CLOCK_THREAD_CPUTIME_ID);
    void *p = malloc((size_t)n);
    double us = (clock_of(CLOCK_THREAD_CPUTIME_ID) - begin) * 1e6;

    atomic_fetch_add(&took[us * 10 < TENTHS - 1 ? (int)(us * 10) : TENTHS - 1], 1);
    free(kept);
    kept = p;
    for (int i = 0; i < n; i++)
        sink += i;
}

/* --- coroutines, each with an unreadable page on either side --------------------------------- */

static ucontext_t scheduler, coroutine[COROUTINES]; /* one thread has them */

__attribute__((noinline)) static void on_a_coroutine(int depth)
{
    volatile char here[64] = { 0 };

    if (depth > 0)
        on_a_coroutine(depth - 1);
    else
        spend(3000);
    sink += here[0];
}

static void coroutine_main(int number)
{
    for (;;) {
        on_a_coroutine(5);
        swapcontext(&coroutine[number], &scheduler);
    }
}

/* 8 KiB, and where the processor has many registers what a signal's frame takes beyond 4 KiB. */
static size_t coroutine_stack(void)
{
    size_t frame = getauxval(AT_MINSIGSTKSZ);

    return 8192 + (frame > 4096 ? (frame - 1) / 4096 * 4096 : 0);
}

static void *coroutines(void *arg)
{
    static size_t size; /* static, since getcontext() could return twice */

    size = coroutine_stack();
    prof_labels_push("kind", "coroutines");
    for (int i = 0; i < COROUTINES; i++) {
        char *p = mmap(NULL, size + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        mprotect(p + 4096, size, PROT_READ | PROT_WRITE);
        getcontext(&coroutine[i]);
        coroutine[i].uc_stack.ss_sp = p + 4096;
        coroutine[i].uc_stack.ss_size = size;
        coroutine[i].uc_link = &scheduler;
        makecontext(&coroutine[i], (void (*)(void))coroutine_main, 1, i);
    }
    for (int i = 0; !atomic_load(&stop); i = (i + 1) % COROUTINES)
        swapcontext(&scheduler, &coroutine[i]);
    return NULL;
}

/* --- rbp as any other register --------------------------------------------------------------- */

/* No unwind information is given for the push, and rbp is odd, null, or points to nowhere. */
__asm__(".text\n"
        ".type odd_frame_pointer, @function\n"
        "odd_frame_pointer:\n"
        "    push %rbp\n"
        "    mov %rdi, %rbp\n"
        "    mov $20000, %eax\n"
        "1:  dec %eax\n"
        "    jnz 1b\n"
        "    pop %rbp\n"
        "    ret\n"
        ".size odd_frame_pointer, . - odd_frame_pointer\n"
        ".type odd_caller, @function\n"
        "odd_caller:\n"
        "    push %rbp\n"
        "    mov %rdi, %rbp\n"
        "    call called_oddly\n"
        "    pop %rbp\n"
        "    ret\n"
        ".size odd_caller, . - odd_caller\n");
void odd_frame_pointer(uintptr_t rbp);
void odd_caller(uintptr_t rbp);
void called_oddly(void);

__attribute__((used)) void called_oddly(void)
{
    spend(2000);
}

/* A page that one thread takes away and gives back while another's rbp points there. It is never
 * unmapped: somebody else's memory could come to lie there. */
static char *fickle;

static void *fickle_page(void *arg)
{
    prof_labels_push("kind", "fickle page");
    while (!atomic_load(&stop)) {
        mprotect(fickle, 4096, PROT_NONE);
        spend(1000);
        mprotect(fickle, 4096, PROT_READ | PROT_WRITE);
        spend(1000);
    }
    return NULL;
}

static void *odd(void *arg)
{
    char *gone = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    munmap(gone, 4096);
    prof_labels_push("kind", "odd");
    while (!atomic_load(&stop)) {
        const uintptr_t values[] = {
            1,
            0,
            (uintptr_t)gone,
            (uintptr_t)fickle + 64,
            UINTPTR_MAX,
            (uintptr_t)__builtin_frame_address(0) - 64,
            (uintptr_t)__builtin_frame_address(0) + 1,
        };

        for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
            odd_frame_pointer(values[i]);
            odd_caller(values[i]);
        }
    }
    return NULL;
}

/* --- code made at run time ------------------------------------------------------------------- */

static void *generated(void *arg)
{
    static const uint8_t code[] = {
        0x57,                         /* push %rdi */
        0xff, 0xd7,                   /* call *%rdi */
        0x5f,                         /* pop %rdi */
        0xb8, 0x20, 0x4e, 0x00, 0x00, /* mov $20000, %eax */
        0xff, 0xc8,                   /* dec %eax */
        0x75, 0xfc,                   /* jnz to that */
        0xc3,                         /* ret */
    };
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void (*run)(void (*call)(void));

    memcpy(p, code, sizeof(code));
    mprotect(p, 4096, PROT_READ | PROT_EXEC);
    memcpy(&run, &p, sizeof(run));
    prof_labels_push("kind", "generated");
    while (!atomic_load(&stop))
        run(called_oddly);
    return NULL;
}

/* --- depth ----------------------------------------------------------------------------------- */

__attribute__((noinline)) static long down(int depth)
{
    volatile long here = depth;

    if (depth > 0)
        here += down(depth - 1);
    else
        while (!atomic_load(&stop))
            spend(1000);
    return here;
}

static void *deep(void *arg)
{
    prof_labels_push("kind", "deep");
    sink += down(DEEP);
    return NULL;
}

/* --- a handler of the program's on a stack of its own, that jumps about ---------------------- */

static void on_usr1(int sig)
{
    spend(20000);
    sink += sig; /* no tail call */
}

static void *signals(void *arg)
{
    static char stack[64 * 1024];
    stack_t own = { .ss_sp = stack, .ss_size = sizeof(stack) }, before;

    sigaltstack(&own, &before);
    prof_labels_push("kind", "signals");
    while (!atomic_load(&stop)) {
        raise(SIGUSR1);
        spend(1000);
    }
    sigaltstack(&before, NULL); /* a sanitizer's, which takes it back when the thread ends */
    return NULL;
}

/* --- a thread with hardly any stack ---------------------------------------------------------- */

static atomic_long errno_changed;

static void *small(void *arg)
{
    prof_labels_push("kind", "small");
    while (!atomic_load(&stop)) {
        errno = 4711;
        spend(1000);
        if (errno != 4711)
            atomic_fetch_add(&errno_changed, 1);
    }
    return NULL;
}

static const struct {
    const char *name, *frame;
    void *(*run)(void *arg);
    size_t stack;
} kinds[] = {
    { "fickle page", "fickle_page", fickle_page, 0 },
    { "coroutines", "on_a_coroutine", coroutines, 0 },
    { "odd", "odd_frame_pointer", odd, 0 },
    { "generated", NULL, generated, 0 },
    { "deep", "down", deep, (size_t)64 << 20 },
    { "signals", "on_usr1", signals, 0 },
    { "small", "spend", small, 20 * 1024 },
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static struct span used[KINDS];

/* It stays when it is done: what a timer has to tell of it comes when it goes on, which who gets no
 * processor does not. */
static void *run(void *kind)
{
    size_t i = (size_t)kind;

    kinds[i].run(NULL);
    span_before_reading(&used[i], CLOCK_THREAD_CPUTIME_ID);
    atomic_fetch_add(&stopped, 1);
    while (!atomic_load(&leave))
        usleep(1000);
    return NULL;
}

/* Of the time that the recorded mallocs took, in microseconds. */
static double percentile(double part)
{
    long all = 0, sum = 0;

    for (int i = 0; i < TENTHS; i++)
        all += took[i];
    for (int i = 0; i < TENTHS; i++)
        if ((double)(sum += took[i]) >= (double)all * part)
            return (i + 1) / 10.0;
    return 0;
}

/* Of each, however little of the processors others leave. */
static const double ENOUGH_S = 0.3;

/* What a thread that lives may have used since its last signal, which comes at a tick of the
 * kernel's: on a crowded machine tens of milliseconds. */
static const double UNTOLD_S = 0.1;

static double least_used(const clockid_t clock[KINDS])
{
    double least = clock_of(clock[0]);

    for (int i = 1; i < KINDS; i++)
        if (clock_of(clock[i]) < least)
            least = clock_of(clock[i]);
    return least;
}

int main(void)
{
    struct sigaction usr1 = { .sa_handler = on_usr1, .sa_flags = SA_ONSTACK };
    struct prof_window *w = NULL;
    struct text_profile text;
    pthread_t t[KINDS];
    clockid_t clock[KINDS];

    alarm((unsigned)long_run(100, 300));
    fickle = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    prof_set_heap_rate(1);
    sigaction(SIGUSR1, &usr1, NULL);
    prof_set_cpu_rate(250);
    for (int i = 0; i < KINDS; i++) {
        pthread_attr_t attr;

        pthread_attr_init(&attr);
        if (kinds[i].stack)
            CHECK_INT(pthread_attr_setstacksize(&attr, kinds[i].stack), 0, "stack size");
        CHECK_INT(pthread_create(&t[i], &attr, run, (void *)(uintptr_t)i), 0, kinds[i].name);
        pthread_getcpuclockid(t[i], &clock[i]);
    }
    usleep(200000);
    for (int i = 0; i < KINDS; i++)
        used[i] = span_before_opening(clock[i]);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    for (int i = 0; i < KINDS; i++)
        span_opened(&used[i], clock[i]);
    double end = clock_of(CLOCK_MONOTONIC) + (double)long_run(5, 60);
    while (clock_of(CLOCK_MONOTONIC) < end || least_used(clock) < ENOUGH_S) {
        if (text_profile_take(&text, "threads", 1) != 0)
            CHECK(0, "%s", prof_last_error());
        CHECK_INT(text_profile_sum(&text, NULL), KINDS + 1, "threads");
        text_profile_free(&text);
        usleep(20000);
    }
    atomic_store(&stop, 1);
    while (atomic_load(&stopped) < KINDS)
        usleep(1000);
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    for (int i = 0; i < KINDS; i++)
        span_read(&used[i], clock[i]);
    for (int i = 0; i < KINDS; i++) {
        double got;
        char label[64];

        snprintf(label, sizeof(label), "\"kind\":\"%s\"", kinds[i].name);
        got = (double)text_profile_sum(&text, label) / 250;
        printf(
            "%-12s %.2f to %.2f s by the kernel, %.2f s by the profile, of that %.2f s by name\n",
            kinds[i].name, used[i].least, used[i].most, got,
            kinds[i].frame ? (double)text_profile_sum_of(&text, kinds[i].frame, label, 0) / 250
                           : 0);
        CHECK_BETWEEN(got, used[i].least * 0.95 - UNTOLD_S, used[i].most * 1.05 + 0.03,
                      kinds[i].name);
        if (kinds[i].frame)
            CHECK(text_profile_sum_of(&text, kinds[i].frame, label, 0) > 0, "%s is not in %s",
                  kinds[i].frame, kinds[i].name);
    }
    CHECK(text_profile_sum_of(&text, "[truncated", "\"kind\":\"deep\"", 0) > 0,
          "a stack too deep says so");
    text_profile_free(&text);
    prof_window_close(w);
    CHECK_INT(text_profile_take(&text, "heap", 1), 0, prof_last_error());
    for (int i = 0; i < KINDS; i++) {
        char label[64];

        snprintf(label, sizeof(label), "\"kind\":\"%s\"", kinds[i].name);
        /* the last, and maybe the one before */
        CHECK_BETWEEN(text_profile_sum_of(&text, "spend", label, 0), 1, 2, kinds[i].name);
    }
    text_profile_free(&text);
    atomic_store(&leave, 1);
    for (int i = 0; i < KINDS; i++)
        pthread_join(t[i], NULL);
    CHECK_INT(atomic_load(&errno_changed), 0, "times errno changed by itself");
    MEASURED("half of the recorded mallocs take %.1f us at most, 99.9 %% take %.1f",
             percentile(0.5), percentile(0.999));
    if (long_run(0, 1))
        CHECK_BETWEEN(percentile(0.999), 0, 99, "us that a recorded malloc takes");
    return check_report();
}
