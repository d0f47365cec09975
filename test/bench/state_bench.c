/*
 * state_bench.c - a program brought into some state, to see what costs grow with; libprof is looked
 * up at run time.
 *
 *   state_bench WHAT N
 *
 *   rest      nothing, N aside
 *   threads   N threads that have allocated and now wait
 *   live      N blocks in use, allocated from 100 stacks
 *   stacks    N blocks in use, each allocated from a stack of its own, 20 frames over 1,024
 *             functions
 *   heap      N MiB in use, in blocks of 1 MiB that nobody touches
 *   small     N MiB in use, in blocks of 16 B to 4 KiB
 *   mappings  N mappings of a file, executable, as of N libraries
 *
 * While threads, live and stacks are made every block is sampled, if libprof is there. Then it
 * prints what costs now: ns for malloc(64)+free, and for a pair whose block is sampled, at 20
 * frames, from stacks that have been seen before. Ends when its standard input does.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "many_functions.h"

enum { CHAIN = 14, STACK_SIZE = 64 << 10, MIB = 1 << 20, SAMPLED_SIZE = 1000 };

typedef int64_t set_rate_fn(int64_t rate);

static set_rate_fn *set_heap_rate;
static void *volatile block;
static size_t wanted;
static unsigned long long timed_ns;

static double now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* Set the rate and use up the gap that was drawn at the one before. */
static void set_rate(int64_t rate)
{
    if (!set_heap_rate)
        return;
    set_heap_rate(rate);
    for (int i = 0; i < 1024; i++) {
        block = malloc(65536);
        free(block);
    }
}

BENCH_ALWAYS static void keep(void)
{
    block = malloc(wanted);
    if (!block) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
}

static void keep_in_stacks(long n, long stacks)
{
    wanted = 32;
    set_rate(1);
    for (long i = 0; i < n; i++)
        bench_call(CHAIN, (uint64_t)(i % stacks), keep);
}

static pthread_barrier_t all_there;

static void *wait_here(void *arg)
{
    for (int i = 0; i < 4; i++) {
        block = malloc(100);
        free(block);
    }
    pthread_barrier_wait(&all_there);
    for (;;)
        pause();
    return arg;
}

static void make_threads(long n)
{
    pthread_attr_t attr;
    pthread_t t;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    pthread_barrier_init(&all_there, NULL, (unsigned)n + 1);
    set_rate(1);
    for (long i = 0; i < n; i++)
        if (pthread_create(&t, &attr, wait_here, NULL) != 0) {
            fprintf(stderr, "no more than %ld threads\n", i);
            exit(1);
        }
    pthread_barrier_wait(&all_there);
}

/* Every other page's permissions differ, or the kernel would make one mapping of two. */
static void make_mappings(long n)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    for (long i = 0; i < n; i++)
        if (mmap(NULL, 8192, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED) {
            perror("mmap");
            exit(1);
        }
    close(fd);
}

static void make_heap(long mib, bool small)
{
    uint64_t left = (uint64_t)mib * MIB;

    bench_seed = 1;
    while (left > 0) {
        uint32_t log2 = 4 + bench_random() % 8;

        wanted = small ? (1u << log2) + bench_random() % (1u << log2) : MIB;
        keep();
        if (small)
            memset(block, 1, wanted);
        left -= wanted < left ? wanted : left;
    }
}

/* The least of many goes: what else the machine does is left out. */
static double pair_ns(void)
{
    enum { PAIRS = 20000 };
    double least = 1e9;

    set_rate(512 << 10);
    for (int go = 0; go < 50; go++) {
        double t = now_ns();

        for (int i = 0; i < PAIRS; i++) {
            block = malloc(64);
            free(block);
        }
        t = (now_ns() - t) / PAIRS;
        if (t < least)
            least = t;
    }
    return least;
}

BENCH_ALWAYS static void timed_leaf(void)
{
    double t = now_ns();

    block = malloc(SAMPLED_SIZE);
    free(block);
    timed_ns += (unsigned long long)(now_ns() - t);
}

static double sampled_ns(void)
{
    double least = 1e9;

    set_rate(16); /* as good as every block of 1,000 bytes */
    for (int go = 0; go < 20; go++) {
        timed_ns = 0;
        for (uint64_t i = 0; i < 100; i++)
            bench_call(CHAIN, i, timed_leaf);
        if (go > 0 && (double)timed_ns / 100 < least)
            least = (double)timed_ns / 100;
    }
    set_rate(512 << 10);
    return least;
}

int main(int argc, char **argv)
{
    const char *what = argc == 3 ? argv[1] : "";
    long n = argc == 3 ? atol(argv[2]) : 0;
    char c;

    *(void **)&set_heap_rate = dlsym(RTLD_DEFAULT, "prof_set_heap_rate");
    if (n > 0 && strcmp(what, "threads") == 0)
        make_threads(n);
    else if (n > 0 && strcmp(what, "live") == 0)
        keep_in_stacks(n, 100);
    else if (n > 0 && strcmp(what, "stacks") == 0)
        keep_in_stacks(n, n);
    else if (n > 0 && strcmp(what, "heap") == 0)
        make_heap(n, false);
    else if (n > 0 && strcmp(what, "small") == 0)
        make_heap(n, true);
    else if (n > 0 && strcmp(what, "mappings") == 0)
        make_mappings(n);
    else if (strcmp(what, "rest") != 0) {
        fprintf(stderr, "usage: state_bench rest|threads|live|stacks|heap|small|mappings N\n");
        return 2;
    }
    printf("ready\n");
    fflush(stdout);
    /* Each line asks for the costs as they are then. */
    while (read(STDIN_FILENO, &c, 1) == 1) {
        double pair = pair_ns();

        printf("%.2f %.1f\n", pair, sampled_ns());
        fflush(stdout);
    }
    return 0;
}
