/*
 * bare_forks.c - children that run no fork handlers, of _Fork() and vfork(), while all that is
 * recorded is: they make the calls that they may make, and wait for nobody who is not there.
 *
 * What libprof knows of the process is of the parent then, whose threads were at anything: reading,
 * waiting for locks, being profiled, setting actions. A child of vfork() besides writes the
 * memory of the thread that has made it, which goes on with it.
 */
#include <poll.h>
#include <prof/prof.h>
#include <prof/trace.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "long_run.h"

enum { THREADS = 4, PATIENCE_S = 60 };

static atomic_bool enough;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sem_t posted;

/* What POSIX lets such a child call, as far as there are hooks before it. 0: all went well. */
static int make_calls(bool is_child)
{
    struct sigaction action = { .sa_handler = SIG_DFL }, old;
    char byte = 0;
    int ends[2];

    if (pipe(ends) < 0 || write(ends[1], &byte, 1) != 1 || read(ends[0], &byte, 1) != 1)
        return 1;
    close(ends[0]);
    close(ends[1]);
    if (poll(NULL, 0, 0) < 0 || usleep(1) < 0)
        return 2;
    if (sigaction(SIGUSR1, &action, &old) < 0 ||
        (is_child && sigaction(SIGPROF, &action, &old) < 0)) /* it has an action of its own */
        return 3;
    if (sem_post(&posted) < 0 || sem_trywait(&posted) < 0)
        return 4;
    void *m = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED || munmap(m, 65536) < 0)
        return 5;
    return 0;
}

static void *work(void *arg)
{
    while (!atomic_load(&enough)) {
        void *p = malloc(1000);

        pthread_mutex_lock(&lock);
        make_calls(false);
        pthread_mutex_unlock(&lock);
        free(p);
    }
    return arg;
}

static void check_child(pid_t child, const char *what)
{
    int status = -1;

    CHECK(child > 0 && waitpid(child, &status, 0) == child, "%s: made", what);
    CHECK_INT(status, 0, what);
}

static void bare(void)
{
    pid_t child = _Fork();

    if (child == 0) {
        alarm(PATIENCE_S);
        int r = 0;
        for (int i = 0; i < 20 && r == 0; i++)
            r = make_calls(true);
        _exit(r);
    }
    check_child(child, "a child of _Fork()");
}

/* It may not call most of this, and programs do. */
static void in_our_memory(void)
{
    pid_t child = vfork();

    if (child == 0)
        _exit(make_calls(true));
    check_child(child, "a child of vfork()");
}

static int drop(void *arg, const void *data, size_t size)
{
    (void)data;
    *(size_t *)arg += size;
    return 0;
}

/* New ones, who have asked for nothing of their own before. */
static void *fork_in_a_thread(void *arg)
{
    in_our_memory();
    bare();
    CHECK_INT(make_calls(false), 0, "and it goes on");
    return arg;
}

static void fork_often(void)
{
    const size_t n = (size_t)long_run(30, 1000);

    for (size_t i = 0; i < n; i++) {
        pthread_t t;

        if (pthread_create(&t, NULL, fork_in_a_thread, NULL) != 0)
            break;
        pthread_join(t, NULL);
        bare();
        in_our_memory();
    }
}

int main(void)
{
    struct prof_trace_options o = PROF_TRACE_OPTIONS_INIT;
    static const char *const names[] = { "heap", "mmap", "mutex", "threads" };
    struct prof_write_options options = PROF_WRITE_OPTIONS_INIT;
    struct prof_window *w = NULL;
    struct prof_trace *trace = NULL;
    pthread_t t[THREADS];
    size_t bytes = 0;

    alarm(4 * PATIENCE_S);
    sem_init(&posted, 0, 0);
    prof_set_heap_rate(1);
    prof_set_mutex_fraction(1);
    prof_set_block_rate(1);
    o.io = 1;
    CHECK_INT(prof_trace_start(&o, &trace), 0, prof_last_error());
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    for (int i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, work, NULL);
    fork_often();
    atomic_store(&enough, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    CHECK_INT(prof_window_write(w, &options, drop, &bytes), 0, prof_last_error());
    CHECK_INT(prof_trace_write(trace, drop, &bytes), 0, prof_last_error());
    prof_window_close(w);
    prof_trace_stop(trace);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        CHECK_INT(prof_profile_write(prof_lookup(names[i]), &options, drop, &bytes), 0, names[i]);
    return check_report();
}
