/*
 * traps.c - a program that traps all floating-point exceptions, the inexact result included, and
 * rounds in a way of its own: nothing that libprof computes may raise SIGFPE in it, in whatever
 * thread, nor change its state, nor be rounded its way.
 */
#include <arpa/inet.h>
#include <fenv.h>
#include <prof/http.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "text_profile.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned calls_of_sink, strange_in_sink;

/* Is all as the program has set it, and no flag raised? */
static bool as_set(void)
{
    return fegetexcept() == FE_ALL_EXCEPT && fegetround() == FE_UPWARD &&
           fetestexcept(FE_ALL_EXCEPT) == 0;
}

static int see(void *arg, const void *data, size_t size)
{
    calls_of_sink++;
    strange_in_sink += !as_set();
    return text_profile_sink(arg, data, size);
}

__attribute__((noinline)) static void allocate(void)
{
    void *volatile p;

    for (size_t i = 0; i < 20000; i++) {
        p = malloc(i % 3000);
        p = realloc(p, i % 2000 + 1);
        free(p);
    }
}

static void *contend(void *arg)
{
    struct timespec tiny = { 0, 20000 };

    for (int i = 0; i < 200; i++) {
        pthread_mutex_lock(&mutex);
        nanosleep(&tiny, NULL);
        pthread_mutex_unlock(&mutex);
    }
    allocate();
    return as_set() ? arg : NULL;
}

static void work(void)
{
    pthread_t t[3];
    void *result;

    for (int i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, contend, &mutex);
    allocate();
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i], &result);
        CHECK(result == &mutex, "a thread's state is as set");
    }
    prof_block_record(12345, 0);
    prof_mutex_record(12345, 1, 0);
    prof_heap_alloc(&mutex, 100000);
    prof_heap_free(&mutex);
}

/* Every profile in every form. */
static void write_all(void)
{
    struct prof_profile *profile[64];
    size_t n = prof_profiles(profile, 64);

    for (size_t i = 0; i < n && i < 64; i++) {
        for (int debug = 0; debug <= 3; debug++) {
            struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
            struct text_profile text = { NULL, 0 };
            const char *name = prof_profile_name(profile[i]);

            o.debug = debug < 3 ? debug : 0;
            o.folded = debug == 3 && strcmp(name, "heap") == 0 ? "alloc_space" : NULL;
            prof_profile_write(profile[i], &o, see, &text);
            CHECK(as_set(), "%s, debug %d", name, debug);
            text_profile_free(&text);
        }
    }
    CHECK(n >= 5 && calls_of_sink >= 5, "%zu profiles, %u calls of a sink", n, calls_of_sink);
    CHECK_INT(strange_in_sink, 0, "calls of the sink in another state");
}

static void write_windows(void)
{
    struct text_profile text = { NULL, 0 };
    struct prof_window *w;
    char buf[4096];
    struct prof_stats s = PROF_STATS_INIT;

    CHECK_INT(prof_window_open("heap", &w), 0, "a window");
    CHECK_INT(prof_cpu_start(see, &text), 0, "a profile of the processor");
    work();
    CHECK_INT(prof_cpu_stop(), 0, "its end");
    CHECK_INT(prof_window_write(w, NULL, see, &text), 0, "written");
    prof_window_close(w);
    prof_deadlocks(buf, sizeof(buf));
    prof_stats(&s);
    CHECK(s.heap_allocated_bytes > 0, "sampled");
    CHECK(as_set(), "after windows");
    text_profile_free(&text);
}

static void get(const struct sockaddr_in *to, const char *path)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char buf[65536];
    size_t size = 0;
    ssize_t n = connect(fd, (const struct sockaddr *)to, sizeof(*to));

    dprintf(fd, "GET %s HTTP/1.0\r\n\r\n", path);
    for (; n >= 0 && (n = read(fd, buf + size, 32)) > 0 && size < 32;)
        size += (size_t)n;
    CHECK(size > 12 && memcmp(buf + 9, "200", 3) == 0, "%s: %.*s", path, (int)size, buf);
    while ((n = read(fd, buf, sizeof(buf))) > 0)
        ;
    close(fd);
}

/* The server's thread is made by one that traps. */
static void serve(void)
{
    static const char *const paths[] = {
        "/debug/pprof/",
        "/debug/pprof/heap",
        "/debug/pprof/heap?debug=1",
        "/debug/pprof/heap?debug=2",
        "/debug/pprof/heap?seconds=1",
        "/debug/pprof/allocs?debug=1",
        "/debug/pprof/mutex?debug=1",
        "/debug/pprof/block?debug=1",
        "/debug/pprof/threads?debug=2",
        "/debug/pprof/profile?seconds=1",
        "/metrics",
        "/debug/pprof/ui/",
    };
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    char address[256] = "";

    CHECK_INT(prof_http_start("127.0.0.1:0"), 0, "the server");
    prof_http_address(address, sizeof(address));
    const char *colon = strrchr(address, ':');
    to.sin_port = htons((uint16_t)(colon ? strtoul(colon + 1, NULL, 10) : 0));
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
        get(&to, paths[i]);
    CHECK_INT(prof_http_stop(), 0, "stopped");
    CHECK(as_set(), "after serving");
}

int main(void)
{
    prof_set_heap_rate(4096);
    prof_set_block_rate(1000);
    prof_set_mutex_fraction(2);
    fesetround(FE_UPWARD);
    feenableexcept(FE_ALL_EXCEPT);
    feclearexcept(FE_ALL_EXCEPT);
    work();
    write_all();
    write_windows();
    serve();
    return check_report();
}
