/*
 * courtesies.c - what a hooked call leaves as it found it, with every event recorded: errno, the
 * rounding mode, the exceptions that are unmasked and those that are pending, the direction flag,
 * the cancel state and type; and it is no point of cancellation that the real call is not. The same
 * for code that the CPU profile interrupts. And libprof's memory is none of malloc's.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fenv.h>
#include <malloc.h>
#include <prof/prof.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { ERRNO = 1234, DIRECTION_FLAG = 1 << 10, BLOCKS = 300, LARGE = 5000, LIMIT_S = 60 };

/* --- the calls -------------------------------------------------------------------------------- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sem_t semaphore;
static void *volatile block;

static void *do_nothing(void *arg)
{
    return arg;
}

static void call_malloc(void)
{
    free(malloc(100));
}

static void call_calloc(void)
{
    free(calloc(3, 100));
}

static void call_realloc(void)
{
    block = realloc(malloc(100), 5000);
    free(block);
}

static void call_reallocarray(void)
{
    block = reallocarray(malloc(100), 10, 100);
    free(block);
}

static void call_posix_memalign(void)
{
    void *p = NULL;

    if (posix_memalign(&p, 64, 100) == 0)
        free(p);
}

static void call_aligned_alloc(void)
{
    block = aligned_alloc(64, 128);
    free(block);
}

static void call_memalign(void)
{
    block = memalign(64, 100);
    free(block);
}

static void call_valloc(void)
{
    block = valloc(100);
    free(block);
}

static void call_mutex(void)
{
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
}

/* Somebody else has the lock for a while, so that there is a wait to record. */
static void *hold(void *arg)
{
    struct timespec while_ = { 0, 2000000 };

    pthread_mutex_lock(&mutex);
    sem_post(&semaphore);
    nanosleep(&while_, NULL);
    pthread_mutex_unlock(&mutex);
    return arg;
}

static void call_contended_mutex(void)
{
    pthread_t holder;

    pthread_create(&holder, NULL, hold, NULL);
    sem_wait(&semaphore);
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    pthread_join(holder, NULL);
}

static void call_rwlock(void)
{
    pthread_rwlock_rdlock(&rwlock);
    pthread_rwlock_unlock(&rwlock);
    pthread_rwlock_wrlock(&rwlock);
    pthread_rwlock_unlock(&rwlock);
}

static void call_condition(void)
{
    struct timespec soon;

    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 1000000;
    soon.tv_sec += soon.tv_nsec / 1000000000;
    soon.tv_nsec %= 1000000000;
    pthread_mutex_lock(&mutex);
    pthread_cond_timedwait(&condition, &mutex, &soon);
    pthread_mutex_unlock(&mutex);
    pthread_cond_broadcast(&condition);
}

static void call_semaphore(void)
{
    sem_post(&semaphore);
    sem_wait(&semaphore);
}

static void call_pthread_create(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, do_nothing, NULL) == 0)
        pthread_join(thread, NULL);
}

static void call_dlclose(void)
{
    void *library = dlopen("libpcprofile.so", RTLD_NOW);

    if (library)
        dlclose(library);
}

static void call_sigaction(void)
{
    struct sigaction action;

    sigaction(SIGUSR2, NULL, &action);
}

static const struct {
    const char *name;
    void (*call)(void);
    bool cancels;    /* it is a point of cancellation */
    bool sets_errno; /* and may, as libc does it */
} calls[] = {
    { "malloc", call_malloc, false, false },
    { "calloc", call_calloc, false, false },
    { "realloc", call_realloc, false, false },
    { "reallocarray", call_reallocarray, false, false },
    { "posix_memalign", call_posix_memalign, false, false },
    { "aligned_alloc", call_aligned_alloc, false, false },
    { "memalign", call_memalign, false, false },
    { "valloc", call_valloc, false, false },
    { "mutex", call_mutex, false, false },
    { "mutex, contended", call_contended_mutex, true, true },
    { "rwlock", call_rwlock, false, false },
    { "condition", call_condition, true, true },
    { "semaphore", call_semaphore, true, true },
    { "pthread_create", call_pthread_create, true, true },
    { "dlclose", call_dlclose, false, true },
    { "sigaction", call_sigaction, false, false },
};

/* --- the state of the processor and of the thread --------------------------------------------- */

struct state {
    uint32_t mxcsr;
    uint16_t x87_control, x87_status;
    bool backwards;
    int cancel_state, cancel_type;
};

static struct state state_now(void)
{
    struct state s = { 0 };
    uint64_t flags;

    __asm__ volatile("stmxcsr %0" : "=m"(s.mxcsr));
    __asm__ volatile("fnstcw %0" : "=m"(s.x87_control));
    __asm__ volatile("fnstsw %0" : "=m"(s.x87_status));
    __asm__ volatile("pushfq\n\tpopq %0" : "=r"(flags));
    s.backwards = flags & DIRECTION_FLAG;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &s.cancel_state);
    pthread_setcancelstate(s.cancel_state, NULL);
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &s.cancel_type);
    pthread_setcanceltype(s.cancel_type, NULL);
    return s;
}

static void compare(const struct state *before, const struct state *after, const char *name)
{
    CHECK_INT(after->mxcsr, before->mxcsr, name);
    CHECK_INT(after->x87_control, before->x87_control, name);
    CHECK_INT(after->x87_status, before->x87_status, name);
    CHECK(!after->backwards, "%s: direction flag", name);
    CHECK_INT(after->cancel_state, before->cancel_state, name);
    CHECK_INT(after->cancel_type, before->cancel_type, name);
}

/* Rounding up, with one exception pending, all others unmasked: so whatever a hook computes in
 * floating point would end the process, or show. */
static void set_odd_environment(void)
{
    fesetround(FE_UPWARD);
    feraiseexcept(FE_INEXACT);
    feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW | FE_UNDERFLOW);
}

static void set_usual_environment(void)
{
    fesetenv(FE_DFL_ENV);
}

static void test_calls_leave_the_environment(void)
{
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
        for (int round = 0; round < 3; round++) {
            int type;

            pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
            pthread_setcanceltype(round ? PTHREAD_CANCEL_ASYNCHRONOUS : PTHREAD_CANCEL_DEFERRED,
                                  &type);
            if (round < 2)
                set_odd_environment();
            struct state before = state_now();
            errno = ERRNO;
            calls[i].call();
            int error = errno;
            struct state after = state_now();
            set_usual_environment();
            pthread_setcanceltype(type, NULL);
            pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
            compare(&before, &after, calls[i].name);
            if (!calls[i].sets_errno)
                CHECK_INT(error, ERRNO, calls[i].name);
        }
}

/* --- cancellation ----------------------------------------------------------------------------- */

static void *be_cancelled(void *arg)
{
    void (*call)(void) = *(void (**)(void))arg;

    pthread_cancel(pthread_self()); /* at the next point of cancellation */
    call();
    call();
    return arg;
}

static void test_calls_are_no_points_of_cancellation(void)
{
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
        void *result = NULL;
        pthread_t thread;

        if (calls[i].cancels)
            continue;
        pthread_create(&thread, NULL, be_cancelled, (void *)&calls[i].call);
        pthread_join(thread, &result);
        CHECK(result == (void *)&calls[i].call, "%s cancels", calls[i].name);
    }
}

/* --- the CPU profile -------------------------------------------------------------------------- */

static int count_bytes(void *arg, const void *data, size_t size)
{
    *(size_t *)arg += size;
    return 0;
}

/* Code that the profile's signals interrupt, going backwards through memory. */
static void spin_backwards_ms(long ms, bool *ret_kept)
{
    int64_t end = clock() + ms * (CLOCKS_PER_SEC / 1000);

    *ret_kept = true;
    while (clock() < end) {
        uint64_t flags = 0;

        /* The red zone may hold something of ours. */
        __asm__ volatile("std\n\t"
                         "mov $200000, %%ecx\n"
                         "1:\tdec %%ecx\n\t"
                         "jnz 1b\n\t"
                         "lea -128(%%rsp), %%rsp\n\t"
                         "pushfq\n\tpopq %0\n\t"
                         "lea 128(%%rsp), %%rsp\n\t"
                         "cld"
                         : "=r"(flags)
                         :
                         : "rcx", "cc", "memory");
        *ret_kept &= (flags & DIRECTION_FLAG) != 0;
    }
}

static void test_interrupted_code_finds_its_environment(void)
{
    struct prof_stats before = { .size = sizeof(before) }, after = { .size = sizeof(after) };
    size_t bytes = 0;
    bool kept;

    prof_set_cpu_rate(250);
    CHECK_INT(prof_cpu_start(count_bytes, &bytes), 0, prof_last_error());
    prof_stats(&before);
    set_odd_environment();
    struct state was = state_now();
    errno = ERRNO;
    spin_backwards_ms(300, &kept);
    int error = errno;
    struct state is = state_now();
    set_usual_environment();
    prof_stats(&after);
    CHECK_INT(prof_cpu_stop(), 0, prof_last_error());
    CHECK(after.cpu_samples > before.cpu_samples + 10, "%d samples",
          (int)(after.cpu_samples - before.cpu_samples));
    compare(&was, &is, "CPU profile");
    CHECK(kept, "the direction flag is as it was");
    CHECK_INT(error, ERRNO, "CPU profile");
}

/* --- malloc's own statistics ------------------------------------------------------------------ */

/* Bytes in use after allocating, as malloc counts them: too large for its caches. */
static size_t bytes_of_blocks(int64_t rate)
{
    static void *p[BLOCKS];

    prof_set_heap_rate(rate);
    size_t before = mallinfo2().uordblks;
    for (size_t i = 0; i < BLOCKS; i++)
        p[i] = malloc(LARGE);
    size_t bytes = mallinfo2().uordblks - before;
    for (size_t i = 0; i < BLOCKS; i++)
        free(p[i]);
    CHECK_INT(mallinfo2().uordblks, before, "bytes in use, when all is freed");
    return bytes;
}

static void test_memory_is_not_malloc_s(void)
{
    size_t written = 0;

    size_t without = bytes_of_blocks(0);
    CHECK_INT(bytes_of_blocks(1), without, "bytes in use");
    CHECK_INT(prof_profile_write(prof_lookup("heap"), NULL, count_bytes, &written), 0, "written");
    size_t before = mallinfo2().uordblks;
    CHECK_INT(prof_profile_write(prof_lookup("heap"), NULL, count_bytes, &written), 0, "written");
    CHECK_INT(mallinfo2().uordblks, before, "bytes in use, when a profile is written");
    CHECK_INT(bytes_of_blocks(1), without, "bytes in use, again");
}

int main(void)
{
    alarm(LIMIT_S);
    sem_init(&semaphore, 0, 0);
    test_memory_is_not_malloc_s();
    prof_set_heap_rate(1);
    prof_set_block_rate(1);
    prof_set_mutex_fraction(1);
    test_calls_leave_the_environment();
    test_calls_are_no_points_of_cancellation();
    prof_set_heap_rate(1000); /* rates between one and all, which takes arithmetic */
    prof_set_block_rate(100);
    prof_set_mutex_fraction(2);
    test_calls_leave_the_environment();
    test_interrupted_code_finds_its_environment();
    return check_report();
}
