/*
 * fork_orders_lib.c - a library whose constructor is the first of all to register fork handlers, as
 * an allocator's may be. Each calls what the program has put here.
 */
#include <pthread.h>

void (*fork_orders_handler[3])(void);

static void call(int i)
{
    if (fork_orders_handler[i])
        fork_orders_handler[i]();
}

static void prepare(void)
{
    call(0);
}

static void in_parent(void)
{
    call(1);
}

static void in_child(void)
{
    call(2);
}

__attribute__((constructor)) static void start(void)
{
    pthread_atfork(prepare, in_parent, in_child);
}
