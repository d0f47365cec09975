/*
 * test_vars.c - the thread that notes numbers: who starts and ends it, a fork, a main thread that
 * leaves.
 */
#include <prof/prof.h>
#include <prof/vars.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "proc.h"

static struct prof_vars_point point[PROF_VARS_SECONDS_MAX];

static int64_t points(void)
{
    return prof_vars_read(PROF_VARS_SECOND, point, PROF_VARS_SECONDS_MAX, sizeof(point[0]));
}

/* Wait until there are more than that, at most half a minute. How many. */
static int64_t more_than(int64_t n)
{
    int64_t now;

    for (int ms = 0; (now = points()) <= n && ms < 30000; ms += 10)
        poll(NULL, 0, 10);
    return now;
}

/* Threads that note numbers; a sanitizer has threads, too. */
static int threads(void)
{
    pid_t tid;

    return proc_threads_named("prof-vars", &tid);
}

/* The kernel knows an ended thread a moment longer. */
static bool threads_become(int n)
{
    for (int ms = 0; threads() != n && ms < 30000; ms += 10)
        poll(NULL, 0, 10);
    return threads() == n;
}

static void test_wrong_calls(void)
{
    CHECK_INT(prof_vars_stop(), -EALREADY, "a stop without a start");
    CHECK_INT(prof_vars_read(7, point, 1, sizeof(point[0])), -EINVAL, "no such series");
    CHECK_INT(prof_vars_read(PROF_VARS_SECOND, NULL, 1, sizeof(point[0])), -EINVAL, "no place");
    CHECK_INT(prof_vars_read(PROF_VARS_SECOND, point, 1, 0), -EINVAL, "points of no size");
    CHECK_INT(points(), 0, "there is no record");
}

static void test_each_start_wants_its_stop(void)
{
    char status[200];

    CHECK_INT(threads(), 0, "no thread before");
    CHECK(prof_vars_status(status, sizeof(status)) > 0, "it says that nothing is noted");
    CHECK_INT(prof_vars_start(), 0, "start");
    CHECK_INT(prof_vars_start(), 0, "start again");
    CHECK(threads_become(1), "one thread for both");
    CHECK(more_than(0) > 0, "the first second is noted at once");
    CHECK_INT(prof_vars_status(status, sizeof(status)), 0, "nothing to complain of");
    CHECK_INT(prof_vars_stop(), 0, "one stop");
    CHECK_INT(threads(), 1, "the other start is still good");
    CHECK_INT(prof_vars_stop(), 0, "the other stop");
    CHECK(threads_become(0), "no thread after");
    int64_t n = points();
    CHECK(n > 0, "the record stays");
    CHECK_INT(prof_vars_start(), 0, "start once more");
    CHECK(more_than(n) > n, "and goes on");
    prof_vars_stop();
}

static void test_numbers_are_those_of_the_process(void)
{
    enum { BYTES = 64 << 20 };
    struct prof_vars_point old[1] = { { 0 } };
    char *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    prof_vars_start();
    int64_t n = more_than(points());
    uint64_t before = point[n - 1].rss_bytes;
    for (size_t i = 0; i < BYTES; i += 4096)
        ((volatile char *)p)[i] = 1;
    n = more_than(more_than(n));
    CHECK_BETWEEN(point[n - 1].rss_bytes, before + BYTES / 10 * 9, before + BYTES * 4.0,
                  "RSS; a sanitizer has its own");
    CHECK_BETWEEN(point[n - 1].threads, 2, 3, "threads; a sanitizer may have one");
    CHECK(point[n - 1].cpu_ns > 0, "processor time");
    CHECK(point[n - 1].time_ms > point[n - 2].time_ms, "time passes");
    CHECK_INT(prof_vars_read(PROF_VARS_SECOND, old, 1, 16), 1, "a caller that knows two numbers");
    CHECK(old[0].rss_bytes == point[n - 1].rss_bytes && old[0].swap_bytes == 0,
          "is given these two, of the latest point");
    prof_vars_stop();
    munmap(p, BYTES);
}

/* The program's descriptors are its own: none is used, and one that it hands to the record by
 * accident, as a pipe that shall end, is not kept. */
static void test_no_descriptor_of_the_program_is_used(void)
{
    int fds[2], next;
    char c;

    CHECK_INT(pipe(fds), 0, "a pipe");
    prof_vars_start();
    more_than(points());
    next = open("/dev/null", O_RDONLY);
    CHECK_INT(next, fds[1] + 1, "the next number is the program's");
    close(next);
    close(fds[1]);
    CHECK_INT(read(fds[0], &c, 1), 0, "the pipe ends when the program closes it");
    close(fds[0]);
    prof_vars_stop();
}

static void test_a_child_begins_with_none(void)
{
    int status = 0;

    prof_vars_start();
    more_than(points());
    pid_t child = fork();
    if (child == 0) {
        bool ok = points() == 0 && prof_vars_stop() == -EALREADY;
#ifndef __SANITIZE_THREAD__ /* its thread is not there, and a child may start none */
        ok = ok && threads() == 0 && prof_vars_start() == 0 && more_than(0) > 0 &&
             prof_vars_stop() == 0;
#endif
        _exit(ok ? 0 : 1);
    }
    waitpid(child, &status, 0);
    CHECK_INT(status, 0, "the child's record is empty, and it can have its own");
    int64_t n = points();
    CHECK(more_than(n) > n, "the parent's goes on");
    prof_vars_stop();
}

static void test_switched_off(void)
{
    char status[200];

    CHECK_INT(prof_vars_start(), -ENOTSUP, "LIBPROF_VARS=0");
    CHECK(threads_become(0), "no thread");
    CHECK(prof_vars_status(status, sizeof(status)) > 0 && strstr(status, "LIBPROF_VARS"),
          "it says why");
}

/* What the environment says when the program starts. */
static void test_switched_off_in_another(char *self)
{
    int status = -1;

    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        setenv("LIBPROF_VARS", "0", 1);
        execl("/proc/self/exe", self, "off", (char *)NULL);
        _exit(2);
    }
    waitpid(pid, &status, 0);
    CHECK_INT(status, 0, "LIBPROF_VARS=0");
}

/* /proc/self/status of a process whose main thread has ended knows no memory. */
static void *without_main(void *arg)
{
    pthread_join(*(pthread_t *)arg, NULL);
    prof_vars_start();
    int64_t n = more_than(points());
    CHECK(point[n - 1].rss_bytes > 0 && point[n - 1].rss_bytes != PROF_VARS_MISSING,
          "RSS of a process whose main thread has left");
    prof_vars_stop();
    exit(check_report());
}

int main(int argc, char **argv)
{
    static pthread_t main_thread;
    pthread_t last;

    if (argc > 1) {
        test_switched_off();
        return check_report();
    }
    test_wrong_calls();
    test_each_start_wants_its_stop();
    test_numbers_are_those_of_the_process();
    test_no_descriptor_of_the_program_is_used();
    test_a_child_begins_with_none();
    test_switched_off_in_another(argv[0]);
#ifdef __SANITIZE_THREAD__ /* its own thread would keep the process */
    (void)without_main, (void)main_thread, (void)last;
    return check_report();
#else
    main_thread = pthread_self();
    pthread_create(&last, NULL, without_main, &main_thread);
    pthread_exit(NULL);
#endif
}
