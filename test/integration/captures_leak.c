/*
 * captures_leak.c - leaks so many million bytes a second from one place, after so many milliseconds
 * of rest; at 0 it only waits for what ends it.
 *
 *     captures_leak MB_A_SECOND REST_MS
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BLOCK = 256 * 1024 };

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

__attribute__((noinline)) void *leaking_site(void)
{
    char *p = malloc(BLOCK);

    if (p)
        memset(p, 1, BLOCK);
    return p;
}

int main(int argc, char **argv)
{
    double rate = argc > 2 ? atof(argv[1]) * 1e6 : 0, done = 0;

    poll(NULL, 0, argc > 2 ? atoi(argv[2]) : 0);
    while (rate == 0)
        poll(NULL, 0, 1000);
    for (double begin = now_s();;) {
        if (done > (now_s() - begin) * rate) {
            poll(NULL, 0, 1);
            continue;
        }
        leaking_site();
        done += BLOCK;
    }
}
