/*
 * loader_held_lib.c - a plugin whose constructor waits; for loader_held.c.
 */
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

extern _Atomic uint32_t loader_gate;

__attribute__((constructor)) static void wait_at_gate(void)
{
    enum { OUTSIDE, INSIDE };
    uint32_t outside = OUTSIDE;

    if (!atomic_compare_exchange_strong(&loader_gate, &outside, INSIDE))
        return;
    syscall(SYS_futex, &loader_gate, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    while (atomic_load(&loader_gate) == INSIDE)
        syscall(SYS_futex, &loader_gate, FUTEX_WAIT, INSIDE, NULL, NULL, 0);
}
