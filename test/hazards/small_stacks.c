/*
 * small_stacks.c - what a hook must leave alone: the little stack that a thread has, errno, the
 * floating-point modes, the direction flag, cancellation; and 2,000 threads at once.
 */
#include <errno.h>
#include <fenv.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "totals.h"

enum { MANY = 2000 };

static void *volatile escaped;

/* Every door once, from a stack of the least size there may be; 0 when all worked. */
static void *use_doors(void *arg)
{
    void *p = malloc(100);
    uintptr_t failed = 0;

    p = realloc(p, 5000);
    failed += !p;
    free(p);
    p = calloc(10, 10);
    failed += !p;
    free(p);
    failed += posix_memalign(&p, 64, 100) != 0;
    escaped = p;
    free(p);
    p = aligned_alloc(64, 128);
    failed += !p;
    free(p);
    return (void *)failed;
}

static void test_smallest_stacks(void)
{
    long failed = 0, n = 0;

    for (int i = 0; i < 50; i++) {
        pthread_attr_t attr;
        pthread_t thread;
        void *result;

        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, (size_t)sysconf(_SC_THREAD_STACK_MIN));
        if (pthread_create(&thread, &attr, use_doors, NULL) == 0) {
            pthread_join(thread, &result);
            failed += result != NULL;
            n++;
        }
        pthread_attr_destroy(&attr);
    }
    CHECK_INT(n, 50, "threads with the smallest stack started");
    CHECK_INT(failed, 0, "of which this many failed");
}

static atomic_int arrived;
static pthread_barrier_t gate;

static void *live_together(void *arg)
{
    char *p = malloc(1000 + (size_t)(uintptr_t)arg);

    p[0] = 1;
    atomic_fetch_add(&arrived, 1);
    pthread_barrier_wait(&gate);
    free(p);
    return NULL;
}

static void test_many_threads(void)
{
    static pthread_t thread[MANY];
    struct totals before = totals_now(), after;
    pthread_attr_t attr;
    int n = 0;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 << 10);
    pthread_barrier_init(&gate, NULL, MANY + 1);
    while (n < MANY && pthread_create(&thread[n], &attr, live_together, (void *)(uintptr_t)n) == 0)
        n++;
    if (n < MANY) { /* the barrier will never open; nothing to be learned here */
        printf("only %d threads can be had on this machine\n", n);
        for (int i = 0; i < n; i++)
            pthread_cancel(thread[i]);
        return;
    }
    pthread_barrier_wait(&gate);
    for (int i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    after = totals_now();
    CHECK_INT(atomic_load(&arrived), MANY, "threads ran");
    CHECK(after.alloc_objects - before.alloc_objects >= MANY, "each one's block is counted: %lld",
          after.alloc_objects - before.alloc_objects);
    pthread_attr_destroy(&attr);
}

/* How the processor calculates; and what else of it a function may not change. */
#if defined(__x86_64__)
static unsigned control(void)
{
    return __builtin_ia32_stmxcsr();
}

static void set_control(unsigned mxcsr)
{
    __builtin_ia32_ldmxcsr(mxcsr);
}

/* Round up, flush to zero, division by zero unmasked, no sticky flags. */
static unsigned odd_control(unsigned mxcsr)
{
    return (mxcsr & ~0x6000u & ~0x200u & ~0x3fu) | 0x4000u | 0x8000u;
}

/* x87's control word, and the direction flag. */
static unsigned other_control(void)
{
    unsigned short x87 = 0;
    unsigned long flags;

    __asm__ volatile("fnstcw %0" : "=m"(x87));
    __asm__ volatile("pushfq\n\tpopq %0" : "=r"(flags));
    return x87 | (flags & 0x400 ? 1u << 16 : 0);
}
#else
static unsigned control(void)
{
    unsigned long fpcr;

    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    return (unsigned)fpcr;
}

static void set_control(unsigned fpcr)
{
    __asm__ volatile("msr fpcr, %0" : : "r"((unsigned long)fpcr));
}

/* Round up, flush to zero. */
static unsigned odd_control(unsigned fpcr)
{
    return (fpcr & ~0xc00000u) | 0x400000u | 0x1000000u;
}

/* The sticky flags. */
static unsigned other_control(void)
{
    unsigned long fpsr;

    __asm__ volatile("mrs %0, fpsr" : "=r"(fpsr));
    return (unsigned)fpsr;
}
#endif

static void test_modes_are_kept(void)
{
    unsigned before = control(), odd = odd_control(before);
    fenv_t env, env_after;

    fegetenv(&env);
    fesetround(FE_DOWNWARD);
    unsigned other = other_control();
    set_control(odd);
    errno = 4321;
    for (int i = 0; i < 1000; i++) {
        void *p = malloc((size_t)i);
        p = realloc(p, (size_t)i * 2 + 1);
        escaped = p;
        free(p);
        escaped = p = calloc(1, (size_t)i + 1);
        free(p);
    }
    int error = errno;
    unsigned after = control(), other_after = other_control();
    set_control(before);
    fegetenv(&env_after);
    fesetenv(&env);
    CHECK_INT(error, 4321, "errno");
    CHECK_INT(after, odd, "rounding, traps and their like");
    CHECK_INT(other_after, other, "the processor's other modes");
}

static void *allocate_until_cancelled(void *arg)
{
    for (int i = 0; i < 10000; i++) { /* with a cancellation pending all along */
        escaped = malloc(100);
        free(escaped);
        escaped = realloc(NULL, 10);
        free(escaped);
    }
    atomic_store((atomic_int *)arg, 1);
    pthread_testcancel();
    return NULL;
}

static void test_no_cancellation_point(void)
{
    atomic_int finished = 0;
    pthread_t thread;
    void *result;

    pthread_create(&thread, NULL, allocate_until_cancelled, &finished);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    /* cancelled either before it ran, or where it asked for it */
    CHECK(result == PTHREAD_CANCELED, "cancelled");
    CHECK(atomic_load(&finished) == 1, "not inside an allocation");
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    free(malloc(1));
    test_smallest_stacks();
    test_many_threads();
    test_modes_are_kept();
    test_no_cancellation_point();
    return check_report();
}
