/*
 * masked_waits.c - signals of libprof's do not come in by the door that was left open for others.
 *
 * Threads block all signals while they work, always or for a moment before they wait, and let them
 * in while they wait: ppoll(), pselect(), epoll_pwait(), sigsuspend(). A signal of ours that has
 * come while a thread blocked it must not end a wait, however often profiles begin and end; the
 * program's own always does. And a mask that cannot be read is EFAULT, as without.
 */
#include <errno.h>
#include <poll.h>
#include <prof/prof.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "long_run.h"
#include "text_profile.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum { WAIT_NS = 2 * 1000 * 1000 };

/* ppoll() of a program that was built with _FORTIFY_SOURCE. */
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask,
                size_t size);

static atomic_int stop;
static int epoll_fd;
static volatile long sink;
static _Thread_local volatile sig_atomic_t woken;

static const struct timespec span = { 0, WAIT_NS };

/* Each: did it wait as long as it should? */
static bool in_ppoll(const sigset_t *none)
{
    return ppoll(NULL, 0, &span, none) == 0;
}

static bool in_checked_ppoll(const sigset_t *none)
{
    struct pollfd none_at_all;

    return __ppoll_chk(&none_at_all, 0, &span, none, sizeof(none_at_all)) == 0;
}

static bool in_pselect(const sigset_t *none)
{
    return pselect(0, NULL, NULL, NULL, &span, none) == 0;
}

static bool in_epoll_pwait(const sigset_t *none)
{
    struct epoll_event e;

    return epoll_pwait(epoll_fd, &e, 1, WAIT_NS / 1000000, none) == 0;
}

static bool in_epoll_pwait2(const sigset_t *none)
{
    struct epoll_event e;

    return epoll_pwait2(epoll_fd, &e, 1, &span, none) == 0 || errno == ENOSYS;
}

/* Until the program's own signal, which a timer sends. */
static bool in_sigsuspend(const sigset_t *none)
{
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
    struct itimerspec when = { { 0, 0 }, span };
    timer_t timer;

    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    woken = 0;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
        return false;
    timer_settime(timer, 0, &when, NULL);
    sigsuspend(none);
    timer_delete(timer);
    return woken;
}

static const struct {
    const char *name;
    bool (*wait)(const sigset_t *none);
} waits[] = {
    { "ppoll", in_ppoll },
    { "__ppoll_chk", in_checked_ppoll },
    { "pselect", in_pselect },
    { "epoll_pwait", in_epoll_pwait },
    { "epoll_pwait2", in_epoll_pwait2 },
    { "sigsuspend", in_sigsuspend },
};

enum { WAITS = sizeof(waits) / sizeof(waits[0]) };

static struct waiter {
    size_t wait;
    bool always; /* it blocks signals, but for its waits */
    long waited, early;
} waiter[2 * WAITS];

static void on_own_signal(int sig)
{
    (void)sig;
    woken = 1;
}

static void work(void)
{
    struct timespec begin, now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    do {
        for (int i = 0; i < 1000; i++)
            sink += i;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    } while ((now.tv_sec - begin.tv_sec) * 1000000000 + now.tv_nsec - begin.tv_nsec < WAIT_NS);
}

static void *wait_masked(void *arg)
{
    struct waiter *w = arg;
    sigset_t all, none;

    sigfillset(&all);
    sigemptyset(&none);
    if (w->always)
        pthread_sigmask(SIG_SETMASK, &all, NULL);
    while (!atomic_load(&stop)) {
        if (!w->always)
            work();
        pthread_sigmask(SIG_SETMASK, &all, NULL);
        work();
        w->waited++;
        w->early += !waits[w->wait].wait(&none);
        if (!w->always)
            pthread_sigmask(SIG_SETMASK, &none, NULL);
    }
    return NULL;
}

static void profile_for(int seconds)
{
    const struct timespec pause = { 0, 300 * 1000 * 1000 };
    struct text_profile text;
    struct timespec begin, now;
    long samples = 0;

    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        struct prof_window *w = NULL;

        CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
        nanosleep(&pause, NULL);
        CHECK_INT(text_profile_take(&text, "threads", 1), 0, prof_last_error());
        text_profile_free(&text);
        nanosleep(&pause, NULL);
        CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
        samples += text_profile_sum(&text, NULL);
        text_profile_free(&text);
        prof_window_close(w);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec - begin.tv_sec < seconds);
    CHECK(samples > 100, "only %ld samples", samples);
}

/* libc hands a mask on, and the kernel says what is wrong with it; also when signals of ours are
 * there to be blocked. */
static void bad_masks(bool blocked)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sigset_t all;

    sigfillset(&all);
    sigdelset(&all, SIGALRM);
    pthread_sigmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &all, NULL);
    CHECK(pages != MAP_FAILED && mprotect(pages + page, page, PROT_NONE) == 0, "two pages");
    const void *const bad[] = { (void *)8, pages + page, pages + page - 4,
                                (void *)(UINTPTR_MAX - 3), (void *)((uintptr_t)1 << 63) };
    for (size_t i = 0; i < WAITS; i++)
        for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
            errno = 0;
            bool waited = waits[i].wait(bad[k]);
            CHECK(errno == ENOSYS || (!waited && errno == EFAULT), "%s with a mask at %p: %s",
                  waits[i].name, bad[k], strerror(errno));
        }
    munmap(pages, 2 * page);
}

int main(void)
{
    struct sigaction own = { .sa_handler = on_own_signal };
    pthread_t t[2 * WAITS];

    alarm(200);
    sigaction(SIGUSR1, &own, NULL);
    epoll_fd = epoll_create1(0);
    prof_set_cpu_rate(250);
    for (size_t i = 0; i < 2 * WAITS; i++) {
        waiter[i] = (struct waiter) { .wait = i / 2, .always = i % 2 };
        if (pthread_create(&t[i], NULL, wait_masked, &waiter[i]) != 0)
            return 1;
    }
    profile_for((int)long_run(6, 60));
    atomic_store(&stop, 1);
    for (size_t i = 0; i < 2 * WAITS; i++) {
        pthread_join(t[i], NULL);
        CHECK(waiter[i].early == 0, "%s of a thread that blocks signals %s: %ld of %ld ended early",
              waits[waiter[i].wait].name, waiter[i].always ? "else" : "at times", waiter[i].early,
              waiter[i].waited);
        CHECK(waiter[i].waited > 10, "%ld waits", waiter[i].waited);
    }
    bad_masks(false);
    bad_masks(true);
    return check_report();
}
