/*
 * test_bounds.c - a thread's stack ends where it ends, whatever is mapped right below it: what is
 * there is not read as if it could not go away, nor written to. And it is the thread's own,
 * whatever process it is in.
 */
#include "unwind/bounds.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "call_on.h"
#include "check.h"
#include "unwind/stack.h"

#ifdef __clang__
#define FRAME __attribute__((noinline))
#else
#define FRAME __attribute__((noinline, noclone))
#endif
#define NO_TAIL __asm__ volatile("" : : : "memory")

enum { SIZE = 256 * 1024 }; /* no less than PTHREAD_STACK_MIN, 128 KiB on arm64 */

static char
    *region; /* a coroutine's stack, what goes away, a thread's stack without a guard page */
static size_t last_n;
static uintptr_t last[PROF__STACK_MAX];
static bool room;

/* Code without tables that calls its first argument with its second as the frame pointer. */
#if defined(__x86_64__) /* push rbp; mov rsi, rbp; call *rdi; pop rbp; ret */
static const unsigned char with_given_fp[] = { 0x55, 0x48, 0x89, 0xf5, 0xff, 0xd7, 0x5d, 0xc3 };
#else /* stp x29, x30, [sp, #-16]!; mov x29, x1; blr x0; ldp x29, x30, [sp], #16; ret */
static const uint32_t with_given_fp[] = { 0xa9bf7bfd, 0xaa0103fd, 0xd63f0000, 0xa8c17bfd,
                                          0xd65f03c0 };
#endif
static void (*call)(void (*f)(void), const void *fp);
static ucontext_t caller, coroutine;

FRAME static void take(void)
{
    last_n = prof__stack_here(__builtin_return_address(0), last, PROF__STACK_MAX);
    NO_TAIL;
}

static void on_the_coroutine(void)
{
    take();
    munmap(region + SIZE, SIZE);
    call(take, region + SIZE + 4096);
}

static void *with_a_neighbour(void *unused)
{
    getcontext(&coroutine);
    coroutine.uc_stack.ss_sp = region;
    coroutine.uc_stack.ss_size = SIZE;
    coroutine.uc_link = &caller;
    makecontext(&coroutine, on_the_coroutine, 0);
    take(); /* on its own */
    swapcontext(&caller, &coroutine);
    return unused;
}

FRAME static void ask_for_room(void)
{
    room = prof__stack_room();
    NO_TAIL;
}

static void *near_the_end(void *unused)
{
    static const struct {
        size_t above;
        bool room;
    } cases[] = { { PROF__STACK_NEED / 2, false }, { 3 * PROF__STACK_NEED, true } };
    char *start = region + (size_t)2 * SIZE;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        call_on(start + cases[i].above, ask_for_room);
        CHECK_INT(room, cases[i].room, "room above the end of a stack");
    }
    return unused;
}

static void run(void *(*f)(void *))
{
    pthread_attr_t attr;
    pthread_t t;

    region =
        mmap(NULL, (size_t)3 * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_attr_init(&attr);
    CHECK_INT(pthread_attr_setstack(&attr, region + (size_t)2 * SIZE, SIZE), 0, "its stack");
    int r = pthread_create(&t, &attr, f, NULL);
    CHECK_INT(r, 0, "a thread");
    if (r == 0)
        pthread_join(t, NULL);
    pthread_attr_destroy(&attr);
    munmap(region, (size_t)3 * SIZE);
}

/* A frame pointer of garbage leads where the thread's stack once seemed to reach. */
static void test_a_neighbour_that_goes_away(void)
{
    int32_t block_at = prof__stack_block_at;

    CHECK(block_at != 0, "where libc keeps the beginning of a stack");
    for (int known = 1; known >= 0; known--) {
        prof__stack_block_at = known ? block_at : 0;
        run(with_a_neighbour);
        CHECK_INT(last_n, 2, "frames");
        CHECK_INT(last[last_n - 1], PROF__PC_NO_INFO, "the way up");
    }
    prof__stack_block_at = block_at;
}

/* A child of vfork() is the first thread of its process, on this thread's stack, and writes this
 * thread's state. */
static void *with_a_child(void *unused)
{
    pid_t child = vfork();

    if (child == 0) {
        take();
        _exit(prof__stack_main_end() == prof__self.stack_high);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child, "a child");
    CHECK_INT(status, 0, "the child's stack is not the main thread's");
    take();
    CHECK((uintptr_t)&status > prof__self.stack_low && (uintptr_t)&status < prof__self.stack_high,
          "the thread knows its own stack");
    return unused;
}

static void *that_forks(void *unused)
{
    pid_t child = fork();

    if (child == 0) {
        take();
        _exit(prof__self.stack_high - (uintptr_t)__builtin_frame_address(0) > SIZE);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child, "a child");
    CHECK_INT(status, 0, "a forked child is on the stack of the thread that has made it");
    return unused;
}

int main(void)
{
#ifdef __SANITIZE_THREAD__
    return 77; /* its threads need more stack than these are given */
#endif
    unsigned char *code =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    memcpy(&call, &code, sizeof(call));
    memcpy(code, with_given_fp, sizeof(with_given_fp));
    __builtin___clear_cache((char *)code, (char *)code + sizeof(with_given_fp));
    prof__stack_init();
    test_a_neighbour_that_goes_away();
    run(near_the_end);
    run(with_a_child);
    run(that_forks);
    return check_report();
}
