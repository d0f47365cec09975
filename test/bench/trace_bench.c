/*
 * trace_bench.c - nanoseconds for a record of a timeline; libprof is linked, so that the program
 * can tell it things.
 *
 *   trace_bench off|on RECORDS [0|1|2|3]
 *
 * of all, or of one of them:
 *
 * Prints, for a region (two records), a log line of 8 bytes (one), one of 100 bytes (five), and a
 * semaphore posted and taken without waiting: nanoseconds a record, and for the last a pair.
 */
#include <prof/trace.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts); /* nobody else is in it */
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

int main(int argc, char **argv)
{
    long n = argc >= 3 ? atol(argv[2]) : 0;
    double ns[4], start;
    char text[101];
    sem_t sem;

    if (n < 1)
        return 2;
    memset(text, 'x', 100);
    text[100] = '\0';
    sem_init(&sem, 0, 0);
    if (strcmp(argv[1], "on") == 0 && prof_trace_record(10000000000) < 0)
        return 1;
    for (int what = 0; what < 4; what++) {
        ns[what] = 0;
        if (argc > 3 && what != atoi(argv[3]))
            continue;
        start = now_ns();
        for (long i = 0; i < n; i++)
            if (what == 0) {
                prof_region_begin("parse");
                prof_region_end("parse");
            } else if (what == 1) {
                prof_trace_log(text + 92);
            } else if (what == 2) {
                prof_trace_log(text);
            } else {
                sem_post(&sem);
                sem_wait(&sem);
            }
        ns[what] = (now_ns() - start) / (double)n;
    }
    printf("%.2f %.2f %.2f %.2f\n", ns[0] / 2, ns[1], ns[2] / 5, ns[3]);
    return 0;
}
