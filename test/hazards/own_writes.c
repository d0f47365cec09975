/*
 * own_writes.c - what libprof writes for the program raises no signal in it.
 *
 * A profile is written to a pipe that nobody reads, and to a file that may not grow: an error,
 * while the signals keep their default actions, which end the process; and what the program has
 * blocked, waiting or caught of the same signals is not touched.
 */
#include <errno.h>
#include <fcntl.h>
#include <prof/prof.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static volatile sig_atomic_t caught;

static void on_signal(int signal)
{
    caught++;
}

static int to_broken_pipe(void)
{
    int fds[2];

    CHECK_INT(pipe(fds), 0, "a pipe");
    close(fds[0]);
    int r = prof_profile_write_fd(prof_lookup("heap"), fds[1], 0);
    close(fds[1]);
    return r;
}

static bool is_pending(int signal)
{
    sigset_t set;

    sigpending(&set);
    return sigismember(&set, signal);
}

static bool is_blocked(int signal)
{
    sigset_t set;

    pthread_sigmask(SIG_SETMASK, NULL, &set);
    return sigismember(&set, signal);
}

static void test_a_broken_pipe(void)
{
    sigset_t set;

    CHECK_INT(to_broken_pipe(), -EPIPE, "an error, at the default action");
    CHECK(!is_pending(SIGPIPE) && !is_blocked(SIGPIPE), "and nothing is left of it");

    signal(SIGPIPE, on_signal);
    CHECK_INT(to_broken_pipe(), -EPIPE, "with a handler");
    CHECK_INT(caught, 0, "which is not called");
    write(-1, "", 0);
    raise(SIGPIPE);
    CHECK_INT(caught, 1, "but for the program's own");

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    CHECK_INT(to_broken_pipe(), -EPIPE, "blocked");
    CHECK(!is_pending(SIGPIPE) && is_blocked(SIGPIPE), "it stays so, and none waits");
    raise(SIGPIPE);
    CHECK_INT(to_broken_pipe(), -EPIPE, "blocked, with one of the program's waiting");
    CHECK(is_pending(SIGPIPE), "which waits on");
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    CHECK_INT(caught, 2, "and comes");
}

static void test_a_file_that_may_not_grow(void)
{
    char path[] = "/tmp/own_writes.XXXXXX";
    struct rlimit limit;
    struct stat st;
    int fd = mkstemp(path);

    CHECK(fd >= 0, "a file");
    getrlimit(RLIMIT_FSIZE, &limit);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 10;
    setrlimit(RLIMIT_FSIZE, &limit);
    CHECK_INT(prof_profile_write_fd(prof_lookup("heap"), fd, 0), -EFBIG, "a descriptor");
    CHECK_INT(prof_write_heap(path), -EFBIG, "a path");
    limit.rlim_cur = before;
    setrlimit(RLIMIT_FSIZE, &limit);
    CHECK(!is_pending(SIGXFSZ) && !is_blocked(SIGXFSZ), "nothing is left of it");
    CHECK(fstat(fd, &st) == 0 && st.st_size == 10, "the descriptor got what it could take");
    close(fd);
    unlink(path);
}

int main(void)
{
    test_a_broken_pipe();
    test_a_file_that_may_not_grow();
    return check_report();
}
