/* loaded_late_lib.c - code that is loaded late: calls back, and burns processor time. */
#include <time.h>

int late_call(void (*f)(void));
int late_call(void (*f)(void))
{
    volatile char frame[300]; /* so that its frame has a size that nobody would guess */

    frame[0] = 1;
    f();
    return frame[0];
}

unsigned long late_burn(long ms);
unsigned long late_burn(long ms)
{
    volatile unsigned long n = 0;
    volatile char frame[300];
    clock_t end = clock() + ms * (CLOCKS_PER_SEC / 1000);

    frame[0] = 0;
    while (clock() < end)
        for (int i = 0; i < 1000; i++)
            n += (unsigned long)frame[0] + 1;
    return n;
}
