/*
 * test_thread.c - whether a thread is inside the profiler, where handlers run on other stacks and
 * jump out.
 */
#include "base/thread.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include "check.h"
#include "unwind/stack.h"

enum { STACK = 1 << 20, ALTERNATE = 1 << 16 };

/* At the end of a thread AddressSanitizer unmaps what the alternate stack is by then: the test's.
 */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "use_sigaltstack=0";
}

static volatile bool entered_in_handler, jump_out;
static sigjmp_buf outside;

static void on_signal(int signal)
{
    struct prof__thread *t = &prof__self;

    entered_in_handler = prof__enter(t);
    if (entered_in_handler)
        prof__leave(t);
    if (jump_out)
        siglongjmp(outside, 1);
}

/* As the profiler would, with a signal in the middle. */
__attribute__((noinline)) static bool profile(void)
{
    struct prof__thread *t = &prof__self;

    if (!prof__enter(t))
        return false;
    entered_in_handler = true;
    raise(SIGUSR1);
    CHECK(t->busy, "what the handler did has ended nothing");
    prof__leave(t);
    return true;
}

/* Twice: a handler meets the profiler at work; and jumps out of it, after which it is not. */
static void expect(const char *what, int flags)
{
    struct sigaction a = { .sa_handler = on_signal, .sa_flags = flags };
    uintptr_t pcs[PROF__STACK_MAX];

    sigaction(SIGUSR1, &a, NULL);
    prof__stack_here(__builtin_return_address(0), pcs, PROF__STACK_MAX);
    jump_out = false;
    CHECK(profile(), "%s: from outside", what);
    CHECK(!entered_in_handler, "%s: a handler is inside", what);
    jump_out = true;
    if (!sigsetjmp(outside, 1)) {
        profile();
        CHECK(false, "it jumps");
    }
    CHECK(!entered_in_handler, "%s: a handler that will jump is inside, too", what);
    jump_out = false;
    CHECK(profile(), "%s: what was left by a jump is history", what);
    CHECK(!entered_in_handler, "%s: and inside again", what);
    CHECK(!prof__self.busy, "%s: outside", what);
}

/* The alternate stack is above the thread's, or below. */
static void *with_alternate(void *alternate)
{
    stack_t s = { .ss_sp = alternate, .ss_size = ALTERNATE };

    expect("no alternate stack", 0);
    sigaltstack(&s, NULL);
    expect("an alternate stack that is not used", 0);
    expect("on an alternate stack", SA_ONSTACK);
    return NULL;
}

/* One that is forgotten while it is used. Jumping out of it leaves no alternate stack behind. */
static void *with_forgotten(void *alternate)
{
    stack_t s = { .ss_sp = alternate, .ss_size = ALTERNATE, .ss_flags = (int)(1u << 31) };

    if (sigaltstack(&s, NULL) == 0) /* SS_AUTODISARM, of Linux 4.7 */
        expect("on one that is forgotten", SA_ONSTACK);
    return NULL;
}

static void run(void *(*start)(void *), char *stack, char *alternate)
{
    pthread_attr_t attr;
    pthread_t t;

    pthread_attr_init(&attr);
    pthread_attr_setstack(&attr, stack, STACK);
    CHECK_INT(pthread_create(&t, &attr, start, alternate), 0, "a thread");
    pthread_join(t, NULL);
}

int main(void)
{
#ifdef __SANITIZE_THREAD__
    return 77; /* handlers are called by the sanitizer, in frames of its own */
#endif
    char *m = mmap(NULL, STACK + 2 * ALTERNATE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);

    prof__stack_init();
    for (int i = 0; i < 2; i++) {
        char *alternate = i ? m : m + ALTERNATE + STACK;

        run(with_alternate, m + ALTERNATE, alternate);
        run(with_forgotten, m + ALTERNATE, alternate);
    }
    return check_report();
}
