/*
 * thread_ends.cc - all the ways that C++ leaves a frame: an exception, pthread_exit() and
 * cancellation, 50 frames deep. Each must run every destructor on its way.
 */
#include <cstdio>
#include <prof/prof.h>
#include <pthread.h>

enum { DEPTH = 50 };
enum how { THROW, EXIT, CANCEL };

static int destructors, ready;

struct counted {
    ~counted()
    {
        __atomic_add_fetch(&destructors, 1, __ATOMIC_SEQ_CST);
    }
};

__attribute__((noinline)) static void leave(int depth, how by)
{
    counted c;

    if (depth > 1) {
        leave(depth - 1, by);
        __asm__ volatile("" : : "r"(&c) : "memory");
        return;
    }
    __atomic_store_n(&ready, 1, __ATOMIC_SEQ_CST);
    switch (by) {
    case THROW:
        throw 1;
    case EXIT:
        pthread_exit(nullptr);
    case CANCEL:
        for (;;)
            pthread_testcancel();
    }
}

static void *run(void *arg)
{
    try {
        leave(DEPTH, *static_cast<how *>(arg));
    } catch (int) {
    }
    return nullptr;
}

int main()
{
    static const char *const names[] = { "exception", "pthread_exit", "pthread_cancel" };
    int passed = 0, failed = 0;

    prof_set_heap_rate(1); /* so that libprof walks stacks meanwhile */
    for (int i = 0; i < 3; i++) {
        how by = static_cast<how>(i);
        pthread_t t;

        destructors = ready = 0;
        pthread_create(&t, nullptr, run, &by);
        if (by == CANCEL) {
            while (!__atomic_load_n(&ready, __ATOMIC_SEQ_CST))
                ;
            pthread_cancel(t);
        }
        pthread_join(t, nullptr);
        printf("%s: %d of %d destructors\n", names[i], destructors, DEPTH);
        destructors == DEPTH ? passed++ : failed++;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
