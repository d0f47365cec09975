/*
 * odd_stacks.c - the CPU profiled and all threads dumped while code runs on stacks that are none of
 * a thread's, without unwind tables, with the frame pointer used for something else, and very deep.
 *
 * Nothing may crash, and no time may be lost: what cannot be walked is under what is known of it.
 */
#include <errno.h>
#include <prof/prof.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "check.h"
#include "text_profile.h"

enum { COROUTINE_STACK = 16 * 1024, COROUTINES = 16, DEEP = 100000 };

static atomic_int stop;
static volatile long sink;

static void spend(int n)
{
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

static void *coroutines(void *arg)
{
    prof_labels_push("kind", "coroutines");
    for (int i = 0; i < COROUTINES; i++) {
        char *p = mmap(NULL, COROUTINE_STACK + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        mprotect(p + 4096, COROUTINE_STACK, PROT_READ | PROT_WRITE);
        getcontext(&coroutine[i]);
        coroutine[i].uc_stack.ss_sp = p + 4096;
        coroutine[i].uc_stack.ss_size = COROUTINE_STACK;
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
        ".size odd_frame_pointer, . - odd_frame_pointer\n");
void odd_frame_pointer(uintptr_t rbp);

static void *odd(void *arg)
{
    char *gone = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    munmap(gone, 4096);
    prof_labels_push("kind", "odd");
    while (!atomic_load(&stop)) {
        odd_frame_pointer(1);
        odd_frame_pointer(0);
        odd_frame_pointer((uintptr_t)gone);
        odd_frame_pointer(UINTPTR_MAX);
        odd_frame_pointer((uintptr_t)__builtin_frame_address(0) - 64);
    }
    return NULL;
}

/* --- code made at run time ------------------------------------------------------------------- */

static void *generated(void *arg)
{
    static const uint8_t code[] = {
        0xb8, 0x20, 0x4e, 0x00, 0x00, /* mov $20000, %eax */
        0xff, 0xc8,                   /* dec %eax */
        0x75, 0xfc,                   /* jnz to that */
        0xc3,                         /* ret */
    };
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void (*run)(void);

    memcpy(p, code, sizeof(code));
    mprotect(p, 4096, PROT_READ | PROT_EXEC);
    memcpy(&run, &p, sizeof(run));
    prof_labels_push("kind", "generated");
    while (!atomic_load(&stop))
        run();
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
}

static void *signals(void *arg)
{
    static char stack[64 * 1024];
    stack_t own = { .ss_sp = stack, .ss_size = sizeof(stack) };

    sigaltstack(&own, NULL);
    prof_labels_push("kind", "signals");
    while (!atomic_load(&stop)) {
        raise(SIGUSR1);
        spend(1000);
    }
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
    { "coroutines", "on_a_coroutine", coroutines, 0 },
    { "odd", "odd_frame_pointer", odd, 0 },
    { "generated", NULL, generated, 0 },
    { "deep", "down", deep, (size_t)64 << 20 },
    { "signals", "on_usr1", signals, 0 },
    { "small", "spend", small, 20 * 1024 },
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static double clock_of(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(void)
{
    struct sigaction usr1 = { .sa_handler = on_usr1, .sa_flags = SA_ONSTACK };
    struct prof_window *w = NULL;
    struct text_profile text;
    pthread_t t[KINDS];
    clockid_t clock[KINDS];
    double before[KINDS];

    alarm(100);
    sigaction(SIGUSR1, &usr1, NULL);
    prof_set_cpu_rate(250);
    for (int i = 0; i < KINDS; i++) {
        pthread_attr_t attr;

        pthread_attr_init(&attr);
        if (kinds[i].stack)
            CHECK_INT(pthread_attr_setstacksize(&attr, kinds[i].stack), 0, "stack size");
        CHECK_INT(pthread_create(&t[i], &attr, kinds[i].run, NULL), 0, kinds[i].name);
        pthread_getcpuclockid(t[i], &clock[i]);
    }
    usleep(200000);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    for (int i = 0; i < KINDS; i++)
        before[i] = clock_of(clock[i]);
    double end = clock_of(CLOCK_MONOTONIC) + 8;
    while (clock_of(CLOCK_MONOTONIC) < end) {
        if (text_profile_take(&text, "threads", 1) != 0)
            CHECK(0, "%s", prof_last_error());
        CHECK_INT(text_profile_sum(&text, NULL), KINDS + 1, "threads");
        text_profile_free(&text);
        usleep(20000);
    }
    double used_by[KINDS];
    for (int i = 0; i < KINDS; i++)
        used_by[i] = clock_of(clock[i]) - before[i];
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    for (int i = 0; i < KINDS; i++) {
        double used = used_by[i], got;
        char label[64];

        snprintf(label, sizeof(label), "\"kind\":\"%s\"", kinds[i].name);
        got = (double)text_profile_sum(&text, label) / 250;
        printf("%-12s %.2f s by the kernel, %.2f s by the profile, of that %.2f s by name\n",
               kinds[i].name, used, got,
               kinds[i].frame ? (double)text_profile_sum_of(&text, kinds[i].frame, label, 0) / 250
                              : 0);
        CHECK_BETWEEN(got, used * 0.95 - 0.03, used * 1.05 + 0.03, kinds[i].name);
        if (kinds[i].frame)
            CHECK(text_profile_sum_of(&text, kinds[i].frame, label, 0) > 0, "%s is not in %s",
                  kinds[i].frame, kinds[i].name);
    }
    CHECK(text_profile_sum_of(&text, "[truncated", "\"kind\":\"deep\"", 0) > 0,
          "a stack too deep says so");
    text_profile_free(&text);
    prof_window_close(w);
    atomic_store(&stop, 1);
    for (int i = 0; i < KINDS; i++)
        pthread_join(t[i], NULL);
    CHECK_INT(atomic_load(&errno_changed), 0, "times errno changed by itself");
    return check_report();
}
