/*
 * big_tls.c - a program with much static thread-local data, which glibc takes from the stack of
 * each thread; for big_tls.py.
 *
 *   big_tls [ADDRESS]     serves there by itself, if linked so; works until its input ends, then
 *                         main() leaves by pthread_exit() with nobody but libprof's threads left
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef LINKED
#include <prof/http.h>
#endif

static _Thread_local char data[TLS_BYTES];
static atomic_int stop;
static volatile unsigned sum;

static void *works(void *arg)
{
    data[TLS_BYTES - 1] = 1;
    while (!atomic_load(&stop)) {
        void *p = malloc(100000);
        const struct timespec pause = { 0, 100000 };

        for (unsigned i = 0; i < 300000; i++)
            sum += i;
        free(p);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_attr_t attr;
    pthread_t thread;
    char byte;

#ifdef LINKED
    if (argc > 1 && prof_http_start(argv[1]) < 0) {
        fprintf(stderr, "%s\n", prof_last_error());
        return 2;
    }
#endif
    memset(data, 1, sizeof(data));
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, TLS_BYTES + 256 * 1024);
    if (pthread_create(&thread, &attr, works, NULL) != 0)
        return 3;
    puts("ready");
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
    atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    pthread_exit(NULL);
}
