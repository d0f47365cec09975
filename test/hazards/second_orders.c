/*
 * second_orders.c - locks of the program's and of libc's, taken in every order with libprof's.
 *
 * Each case ends in a deadlock, within a second as a rule, where one lock too many is held: by who
 * starts a profile while another thread calls setuid(), which libc passes on to all threads; by who
 * forks, between fork handlers that lock; by a call of libprof's that is interrupted by a handler
 * that forks.
 */
#include <errno.h>
#include <prof/http.h>
#include <prof/prof.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { SETXIDS = 3000, WINDOWS = 500, FORKS = 150, HANDLER_FORKS = 300, HANG_S = 60 };

static atomic_int stop, windows, calls;
static volatile sig_atomic_t forks;
static struct prof_profile *profile;
static pthread_mutex_t program_lock = PTHREAD_MUTEX_INITIALIZER;
static const char *volatile doing = "nothing yet";

static void on_hang(int sig)
{
    const char *what = doing;

    if (write(STDOUT_FILENO, "hangs: ", 7) < 0 || write(STDOUT_FILENO, what, strlen(what)) < 0 ||
        write(STDOUT_FILENO, "\n", 1) < 0)
        _exit(2);
    _exit(1);
}

static void begin(const char *what)
{
    doing = what;
    alarm(HANG_S);
    atomic_store(&stop, 0);
}

/* --- setuid() -------------------------------------------------------------------------------- */

static void *open_windows(void *arg)
{
    while (!atomic_load(&stop)) {
        struct prof_window *w;

        if (prof_window_open("profile", &w) == 0) {
            prof_window_close(w);
            atomic_fetch_add(&windows, 1);
        }
    }
    return NULL;
}

static void test_setuid_while_profiles_start(void)
{
    pthread_t t[2];
    int failed = 0, done = 0;

    begin("setuid() while CPU profiles start");
    for (size_t i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, open_windows, NULL);
    for (; done < SETXIDS || atomic_load(&windows) < WINDOWS; done++)
        failed += seteuid(geteuid()) != 0;
    atomic_store(&stop, 1);
    for (size_t i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    CHECK_INT(failed, 0, "seteuid() as ever");
}

/* --- fork handlers --------------------------------------------------------------------------- */

static void lock_program(void)
{
    pthread_mutex_lock(&program_lock);
    free(malloc(1000));
}

static void unlock_program(void)
{
    free(malloc(1000));
    pthread_mutex_unlock(&program_lock);
}

/* What holds the program's lock calls libprof; its fork handlers take that lock. */
static void *call_with_the_lock(void *arg)
{
    char address[300];

    for (uintptr_t key = 1; !atomic_load(&stop); key++) {
        pthread_mutex_lock(&program_lock);
        prof_http_address(address, sizeof(address));
        prof_http_handler_stop(); /* starting one allocates */
        prof_profile_add(profile, (const void *)key, 0);
        prof_profile_remove(profile, (const void *)key);
        if (key % 100 == 0) {
            prof_http_stop();
            prof_http_start("127.0.0.1:0");
        }
        pthread_mutex_unlock(&program_lock);
        atomic_fetch_add(&calls, 1);
    }
    return NULL;
}

static int end_of_child(pid_t pid)
{
    int status = -1;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static void test_fork_between_handlers_that_lock(void)
{
    pthread_t t;
    int wrong = 0, before = atomic_load(&calls);

    begin("fork() with handlers that take a lock under which libprof is called");
    pthread_create(&t, NULL, call_with_the_lock, NULL);
    for (int i = 0; i < FORKS; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            free(malloc(100));
            prof_profile_add(profile, &pid, 0);
            _exit(prof_profile_remove(profile, &pid) == 0 ? 7 : 8);
        }
        wrong += end_of_child(pid) != 7 << 8;
    }
    atomic_store(&stop, 1);
    pthread_join(t, NULL);
    CHECK_INT(wrong, 0, "children that did not end as they should");
    CHECK(atomic_load(&calls) > before, "the thread got through meanwhile");
}

/* --- a handler that forks -------------------------------------------------------------------- */

static void fork_here(int sig)
{
    int saved = errno;
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    end_of_child(pid);
    forks++;
    errno = saved;
}

/* Without other threads, and with nothing that allocates: libc's malloc could not do it either. */
static void test_a_handler_forks(void)
{
    struct sigaction action = { .sa_handler = fork_here, .sa_flags = SA_RESTART };
    struct itimerval every = { { 0, 1000 }, { 0, 1000 } }, never = { { 0, 0 }, { 0, 0 } };
    char address[300];
    int keys = 0;

    begin("a handler that forks in the middle of a call of libprof's");
    sigaction(SIGVTALRM, &action, NULL);
    setitimer(ITIMER_VIRTUAL, &every, NULL);
    for (uintptr_t key = 1; forks < HANDLER_FORKS; key++) {
        keys += prof_profile_add(profile, (const void *)key, 0) == 0;
        prof_profile_remove(profile, (const void *)key);
        prof_lookup("heap");
        prof_http_address(address, sizeof(address));
        prof_http_handler_stop(); /* starting one allocates */
    }
    setitimer(ITIMER_VIRTUAL, &never, NULL);
    CHECK(keys > 0, "the calls went on");
    CHECK_INT(prof_profile_count(profile), 0, "all keys are out again");
}

int main(void)
{
    struct sigaction hang = { .sa_handler = on_hang };

    sigaction(SIGALRM, &hang, NULL);
    pthread_atfork(lock_program, unlock_program, unlock_program); /* before there is a server */
    prof_set_heap_rate(1);
    prof_set_mutex_fraction(1);
    prof_set_block_rate(1);
    CHECK_INT(prof_profile_new("held", &profile), 0, "a profile");
    CHECK_INT(prof_http_start("127.0.0.1:0"), 0, "a server");
    test_setuid_while_profiles_start();
    test_fork_between_handlers_that_lock();
    test_a_handler_forks();
    return check_report();
}
