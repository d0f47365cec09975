/*
 * odd_threads.c - threads that are not as libc makes them, or do not end as it expects, with
 * everything sampled.
 *
 * A thread of raw clone(2) may have no thread-local data at all, and is sent signals all the same.
 * A main thread may leave before the others; the process then ends when the last of them has, and
 * threads of ours must not put that off. Thread-specific destructors go round and allocate and lock
 * while they do.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <prof/http.h>
#include <prof/prof.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "burn.h"
#include "check.h"
#include "text_profile.h"

enum { STACK = 64 * 1024, LIMIT_S = 30, KEYS = 4, ROUNDS = 4, WORDS = 64 };

/* --- raw clone(2) ---------------------------------------------------------------------------- */

static volatile int raw_stop;

/* All that the thread runs: no call, nothing thread-local. */
static void raw_main(void)
{
    while (!raw_stop)
        burn_sink++;
#if defined(__x86_64__)
    __asm__ volatile("syscall" ::"a"(SYS_exit), "D"(0) : "rcx", "r11");
#else
    register long number __asm__("x8") = SYS_exit;
    register long status __asm__("x0") = 0;
    __asm__ volatile("svc #0" ::"r"(number), "r"(status));
#endif
}

/* A thread with `block` as its thread register, or with the caller's (SHARED). *tid is set to 0
 * when it has ended. */
#define SHARED ((void *)-1)

static long raw_clone(char *stack, void *block, pid_t *tid)
{
    unsigned long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                          CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;

    if (block != SHARED)
        flags |= CLONE_SETTLS;
#if defined(__x86_64__)
    register pid_t *child_tid __asm__("r10") = tid;
    register void *tls __asm__("r8") = block;
    register void (*function)(void) __asm__("r9") = raw_main;
    long r;

    __asm__ volatile("syscall\n\t"
                     "testq %%rax, %%rax\n\t"
                     "jnz 0f\n\t"
                     "xorl %%ebp, %%ebp\n\t"
                     "call *%[function]\n"
                     "0:"
                     : "=a"(r)
                     : "0"((long)SYS_clone), "D"(flags), "S"(stack), "d"(0L), "r"(child_tid),
                       "r"(tls), [function] "r"(function)
                     : "rcx", "r11", "memory");
    return r;
#else
    register long r __asm__("x0") = (long)flags;
    register char *sp __asm__("x1") = stack;
    register void *parent_tid __asm__("x2") = NULL;
    register void *tls __asm__("x3") = block;
    register pid_t *child_tid __asm__("x4") = tid;
    register long number __asm__("x8") = SYS_clone;

    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 0f\n\t"
                     "mov x29, xzr\n\t"
                     "blr %[function]\n"
                     "0:"
                     : "+r"(r)
                     : "r"(sp), "r"(parent_tid), "r"(tls), "r"(child_tid),
                       "r"(number), [function] "r"(raw_main)
                     : "memory", "x30");
    return r;
#endif
}

/* Until that thread has run for so long, from now on. */
static void let_run(long tid, double seconds)
{
    clockid_t clock = (clockid_t)(~(unsigned)tid << 3 | 6); /* of a thread, by its id */
    struct timespec t, moment = { 0, 1000 * 1000 };
    double now, end = 0;

    do {
        nanosleep(&moment, NULL);
        clock_gettime(clock, &t);
        now = (double)t.tv_sec + (double)t.tv_nsec / 1e9;
        if (end == 0)
            end = now + seconds;
    } while (now < end);
}

static void test_threads_of_raw_clone(void)
{
    static uint64_t blocks[WORDS] __attribute__((aligned(64)));
    void *const own = &blocks[WORDS / 2];
    static const struct {
        const char *name;
        void *block;
    } kinds[] = {
        { "the register of its maker", SHARED },
        { "a block of its own", &blocks[WORDS / 2] },
        { "no block", NULL },
        { "a register that points nowhere", (void *)0x10008 },
    };

    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct text_profile threads, text;
        struct prof_window *w = NULL;
        pid_t tid = 1, now;
        size_t changed = 0;

        for (size_t j = 0; j < WORDS; j++)
            blocks[j] = 0x5555;
        blocks[WORDS / 2] = (uintptr_t)own; /* as the ABI has it */
        raw_stop = 0;
        long id = raw_clone(stack + STACK - 64, kinds[i].block, &tid);
        CHECK(id > 0, "%s: %ld", kinds[i].name, id);
        CHECK_INT(prof_window_open("profile", &w), 0, kinds[i].name);
        CHECK_INT(text_profile_take(&threads, "threads", 1), 0, kinds[i].name);
        let_run(id, 0.1);
        CHECK_INT(text_profile_window(&text, w), 0, kinds[i].name);
        if (kinds[i].block != SHARED)
            CHECK(text_profile_sum_of(&text, "[thread not made by libc]", NULL, 0) > 0,
                  "%s: its time is counted", kinds[i].name);
        prof_window_close(w);
        raw_stop = 1;
        while ((now = __atomic_load_n(&tid, __ATOMIC_ACQUIRE)) != 0)
            syscall(SYS_futex, &tid, FUTEX_WAIT, now, NULL, NULL, 0);
        for (size_t j = 0; j < WORDS; j++)
            changed += j != WORDS / 2 && blocks[j] != 0x5555;
        CHECK_INT(changed, 0, "words written of a block that is not libc's");
        text_profile_free(&text);
        text_profile_free(&threads);
        munmap(stack, STACK);
    }
}

/* --- main() leaves --------------------------------------------------------------------------- */

static void *run_on(void *arg)
{
    burn(0.05);
    free(malloc(100));
    if (arg)
        pthread_join(*(pthread_t *)arg, NULL); /* main itself */
    return NULL;
}

/* Of a child: with the server's thread, with the CPU profile's, with both. */
static void leave(bool server, bool window, bool joined)
{
    static pthread_t self;
    struct prof_window *w;
    pthread_t t;

    alarm(LIMIT_S);
    self = pthread_self();
    if (server && prof_http_start("127.0.0.1:0") < 0)
        _exit(2);
    if (window && prof_window_open("profile", &w) < 0)
        _exit(3);
    for (int i = 0; i < 3; i++)
        if (pthread_create(&t, NULL, run_on, joined && i == 0 ? &self : NULL) != 0)
            _exit(4);
    pthread_exit(NULL);
}

static void test_main_leaves_and_the_process_ends(void)
{
    for (int i = 0; i < 8; i++) {
        int status = -1;
        pid_t pid = fork();

        if (pid == 0)
            leave(i & 1, i & 2, i & 4);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        CHECK(status == 0, "status %#x with%s%s%s", (unsigned)status, i & 1 ? " a server" : "",
              i & 2 ? " a CPU profile" : "", i & 4 ? " main joined" : "");
    }
}

/* --- thread-specific destructors ------------------------------------------------------------- */

static pthread_key_t key[KEYS];
static _Thread_local int destroyed;
static atomic_int destructions;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void destroy(void *p)
{
    free(p);
    pthread_mutex_lock(&lock);
    free(malloc(3000));
    pthread_mutex_unlock(&lock);
    prof_labels_push("in", "destructor");
    atomic_fetch_add(&destructions, 1);
    if (++destroyed <= KEYS * (ROUNDS - 1)) /* and so each is called in every round */
        for (size_t i = 0; i < KEYS; i++)
            if (!pthread_getspecific(key[i])) {
                pthread_setspecific(key[i], malloc(40));
                break;
            }
}

static void *with_values(void *arg)
{
    for (size_t i = 0; i < KEYS; i++)
        pthread_setspecific(key[i], malloc(30));
    return NULL;
}

static void *end_at_once(void *arg)
{
    free(malloc(100));
    syscall(SYS_exit, 0);
    return NULL;
}

static void test_threads_that_end_oddly(void)
{
    enum { N = 50 };
    pthread_attr_t detached;
    struct prof_window *w = NULL;
    pthread_t t;

    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (size_t i = 0; i < KEYS; i++)
        pthread_key_create(&key[i], destroy);
    CHECK_INT(prof_window_open("profile", &w), 0, "a CPU profile");
    for (int i = 0; i < N; i++) {
        CHECK_INT(pthread_create(&t, NULL, with_values, NULL), 0, "a thread");
        CHECK_INT(pthread_join(t, NULL), 0, "it ends");
        CHECK_INT(pthread_create(&t, &detached, end_at_once, NULL), 0, "a thread that only exits");
    }
    prof_window_close(w);
    CHECK(atomic_load(&destructions) >= N * KEYS, "destructors have run");
}

int main(void)
{
    alarm(LIMIT_S * 4);
    prof_set_heap_rate(1);
    prof_set_mutex_fraction(1);
    prof_set_block_rate(1);
    prof_set_cpu_rate(250);
    test_threads_of_raw_clone();
    test_main_leaves_and_the_process_ends();
    test_threads_that_end_oddly();
    return check_report();
}
