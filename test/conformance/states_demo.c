/*
 * states_demo.c - a program that brings itself, on command, into each state that a profile can be
 * read in. Linked with libprof-hooks and libprof-http.
 *
 * One command a line on standard input, one line of answer on standard output, as server_demo.c:
 *
 *   start ADDR   address   heap RATE   locks RATE
 *   work         some of everything: blocks kept, a contended lock, labels, a thread created
 *   saturate     more distinct stacks than the tables take (run with LIBPROF_MEMORY_LIMIT)
 *   plugins A B  load A, let it allocate, unload it; then the same with B
 *   busy N       N threads that allocate, lock and compute, until "calm"
 *   calm
 */
#include <dlfcn.h>
#include <prof/http.h>
#include <prof/prof.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *volatile keep;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool stop;
static pthread_t workers[64];
static int n_workers;
static struct prof_profile *custom;

/* A symbol that is no UTF-8 and full of what means something to some reader; the inner quotes are
 * the assembler's. */
void *odd_name(size_t size) __asm__("\"odd<\xff&;\xc3(>\"");

__attribute__((noinline)) void *odd_name(size_t size)
{
    void *p = malloc(size);
    __asm__ volatile("" : "+r"(p));
    return p;
}

static void *wait_for_lock(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void work(void)
{
    pthread_t thread;

    prof_labels_push("kind", "bad \xff\xfe utf-8 \"quoted\"");
    prof_labels_push("empty", "");
    for (int i = 0; i < 200; i++)
        keep = odd_name(1000 + (size_t)i);
    pthread_mutex_lock(&lock);
    pthread_create(&thread, NULL, wait_for_lock, NULL);
    usleep(20000); /* long enough that the thread is most likely waiting; nothing depends on it */
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
    prof_labels_pop();
    prof_labels_pop();
    if (custom)
        prof_profile_add(custom, malloc(1), 0);
}

/* 2^18 call paths: each level takes one of two branches. */
static void branch_a(unsigned path, int depth);

__attribute__((noinline)) static void branch_b(unsigned path, int depth)
{
    if (depth == 0)
        keep = malloc(24);
    else if (path & 1)
        branch_a(path >> 1, depth - 1);
    else
        branch_b(path >> 1, depth - 1);
    __asm__ volatile("");
}

__attribute__((noinline)) static void branch_a(unsigned path, int depth)
{
    if (depth == 0)
        keep = malloc(40);
    else if (path & 1)
        branch_a(path >> 1, depth - 1);
    else
        branch_b(path >> 1, depth - 1);
    __asm__ volatile("");
}

static void saturate(void)
{
    for (unsigned path = 0; path < 1 << 18; path++)
        branch_a(path, 18);
}

static void plugin(const char *path)
{
    void *library = dlopen(path, RTLD_NOW);

    if (!library)
        return;
    void *(*allocate)(size_t) = (void *(*)(size_t))(uintptr_t)dlsym(library, "plugin_allocate");
    for (int i = 0; allocate && i < 10; i++)
        keep = allocate(500);
    dlclose(library);
}

static void *run(void *arg)
{
    uint64_t n = 0;

    (void)arg;
    while (!atomic_load(&stop)) {
        void *p = odd_name(100 + n % 5000);
        pthread_mutex_lock(&lock);
        for (volatile int i = 0; i < 200; i++)
            ;
        pthread_mutex_unlock(&lock);
        free(p);
        n++;
    }
    return NULL;
}

static void calm(void)
{
    atomic_store(&stop, true);
    while (n_workers > 0)
        pthread_join(workers[--n_workers], NULL);
    atomic_store(&stop, false);
}

static long command(char *line, char *text, size_t size)
{
    char *word = strtok(line, " \n"), *a = strtok(NULL, " \n"), *b = strtok(NULL, " \n");

    text[0] = '\0';
    if (!word)
        return -1;
    if (strcmp(word, "start") == 0)
        return prof_http_start(a);
    if (strcmp(word, "address") == 0)
        return prof_http_address(text, size) < 0;
    if (strcmp(word, "heap") == 0 && a)
        return prof_set_heap_rate(atol(a)) < 0;
    if (strcmp(word, "locks") == 0 && a) {
        prof_set_block_rate(atol(a));
        prof_set_mutex_fraction(atol(a));
        return 0;
    }
    if (strcmp(word, "work") == 0)
        work();
    else if (strcmp(word, "saturate") == 0)
        saturate();
    else if (strcmp(word, "plugins") == 0 && a && b)
        plugin(a), plugin(b);
    else if (strcmp(word, "busy") == 0 && a)
        while (n_workers < atoi(a) && n_workers < 64)
            pthread_create(&workers[n_workers++], NULL, run, NULL);
    else if (strcmp(word, "calm") == 0)
        calm();
    else
        return -1;
    return 0;
}

int main(void)
{
    char line[1024], text[256];

    prof_profile_new("odd/name.<custom>&'%", &custom);
    while (fgets(line, sizeof(line), stdin)) {
        long r = command(line, text, sizeof(text));

        if (text[0])
            printf("%s\n", text);
        else
            printf("%ld\n", r);
        fflush(stdout);
    }
    calm();
    return 0;
}
