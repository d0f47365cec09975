/*
 * ends.c - ends in the way that it is told, with one block that nobody frees.
 *
 *   ends WAY
 *
 * Prints "ready" where it waits for a signal. What it sees that it must not see is its status: 9.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void *volatile kept;
static volatile sig_atomic_t handled;

__attribute__((noinline)) static void keep(size_t size)
{
    kept = memset(malloc(size), 1, size);
}

static void ready(void)
{
    puts("ready");
    fflush(stdout);
}

static void wait_for_ever(void)
{
    ready();
    for (;;)
        pause();
}

static void on_term(int signal)
{
    handled = signal;
}

static void leave(int signal)
{
    (void)signal;
    _exit(5);
}

static void *churn(void *arg)
{
    for (unsigned i = 0;; i++)
        free(memset(malloc(16 + i % 5000), 1, 16));
    return arg;
}

static void start_threads(int n)
{
    pthread_t thread;

    while (n-- > 0)
        pthread_create(&thread, NULL, churn, NULL);
}

/* The kernel interrupts it anywhere, as often as not in malloc. */
static void leave_in_malloc(void)
{
    struct sigaction action = { .sa_handler = leave };

    sigaction(SIGUSR1, &action, NULL);
    start_threads(1);
    ready();
    churn(NULL);
}

static void own_handler(void)
{
    struct sigaction action = { .sa_handler = on_term }, old;

    if (sigaction(SIGTERM, NULL, &old) != 0 || old.sa_handler != SIG_DFL)
        exit(9);
    sigaction(SIGTERM, &action, NULL);
    ready();
    while (!handled)
        pause();
    exit(4);
}

/* Cleans up, and has itself ended as if it had not. */
static void end_as_ever(int number)
{
    signal(number, SIG_DFL);
    raise(number);
}

static void raised_again(bool by_sigaction)
{
    struct sigaction action = { .sa_handler = SIG_DFL }, old;

    if (signal(SIGTERM, end_as_ever) != SIG_DFL)
        exit(9);
    if (by_sigaction && (sigaction(SIGTERM, &action, &old) != 0 || old.sa_handler != end_as_ever ||
                         sigaction(SIGTERM, NULL, &old) != 0 || old.sa_handler != SIG_DFL))
        exit(9);
    wait_for_ever();
}

/* Has the signal while it waits, and only then. */
static void masked(void)
{
    sigset_t term, none;

    sigemptyset(&none);
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    ready();
    sigsuspend(&none);
    exit(9);
}

static void waited_for(void)
{
    sigset_t term;
    int signal = 0;

    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    ready();
    sigwait(&term, &signal);
    exit(signal == SIGTERM ? 6 : 9);
}

/* As when a handler of the program's runs: it holds what names are looked up with. */
static int hold(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)info;
    (void)size;
    (void)arg;
    wait_for_ever();
    return 1;
}

static void no_memory(void)
{
    struct rlimit few = { 0, 0 };

    setrlimit(RLIMIT_AS, &few);
    wait_for_ever();
}

/* A child that is ended is ended at once, and leaves no file. */
static void child_ends(pid_t (*make)(void))
{
    int status = 0;
    pid_t pid = make();

    if (pid == 0) {
        kill(getpid(), SIGTERM);
        _exit(9);
    }
    waitpid(pid, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGTERM)
        exit(9);
    wait_for_ever();
}

int main(int argc, char **argv)
{
    const char *way = argc > 1 ? argv[1] : "";

    keep(4 << 20);
    if (strcmp(way, "wait") == 0)
        wait_for_ever();
    if (strcmp(way, "threads") == 0) {
        start_threads(4);
        wait_for_ever();
    }
    if (strcmp(way, "handler") == 0)
        own_handler();
    if (strcmp(way, "raised again") == 0)
        raised_again(false);
    if (strcmp(way, "default again") == 0)
        raised_again(true);
    if (strcmp(way, "masked") == 0)
        masked();
    if (strcmp(way, "sigwait") == 0)
        waited_for();
    if (strcmp(way, "ignored") == 0) {
        signal(SIGTERM, SIG_IGN);
        ready();
        sleep(1);
        exit(7);
    }
    if (strcmp(way, "_exit") == 0)
        _exit(3);
    if (strcmp(way, "_exit in malloc") == 0)
        leave_in_malloc();
    if (strcmp(way, "loader") == 0)
        dl_iterate_phdr(hold, NULL);
    if (strcmp(way, "no memory") == 0)
        no_memory();
    if (strcmp(way, "fork") == 0)
        child_ends(fork);
    if (strcmp(way, "vfork") == 0)
        child_ends(vfork);
    if (strcmp(way, "process 1") == 0) {
        ready();
        exit(sleep(2) == 0 ? 8 : 9); /* not a moment less */
    }
    return 2;
}
