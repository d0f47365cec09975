/*
 * all_threads.c - the stacks of all threads: everyone is there, whole, named, in bounded time, and
 * it costs what it should.
 *
 * Compiled with frame pointers, once without optimization and once with, since their value in a
 * waiting thread nobody tells, and stacks must be complete all the same.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <prof/prof.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "long_run.h"
#include "proc.h"
#include "text_profile.h"

/* For how long a thread has no processor, and how long one that has is waited for, at most. */
enum { LONGER_THAN_AN_ANSWER_US = 400 * 1000, ANSWER_MS = 200 };

static atomic_int ready, stop;
static int quiet_pipe[2], epoll_fd;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static sem_t semaphore;
static volatile long sink;

/* --- places to wait at ----------------------------------------------------------------------- */

static void at_poll(void)
{
    struct pollfd p = { quiet_pipe[0], POLLIN, 0 };

    poll(&p, 1, -1);
}

static void at_epoll(void)
{
    struct epoll_event e;

    epoll_wait(epoll_fd, &e, 1, -1);
}

static void at_read(void)
{
    char c;

    if (read(quiet_pipe[0], &c, 1) != 1)
        sink++;
}

static void at_mutex(void)
{
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
}

static void at_cond(void)
{
    pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;

    pthread_mutex_lock(&own);
    while (!atomic_load(&stop))
        pthread_cond_wait(&cond, &own);
    pthread_mutex_unlock(&own);
}

static void at_rwlock(void)
{
    pthread_rwlock_rdlock(&rwlock);
    pthread_rwlock_unlock(&rwlock);
}

static void at_sem(void)
{
    sem_wait(&semaphore);
    sink++; /* so that the call above is not the last thing, and becomes a jump */
}

static void at_sleep(void)
{
    while (!atomic_load(&stop))
        sleep(1000);
}

static void at_getc(void)
{
    FILE *f = fdopen(dup(quiet_pipe[0]), "r");

    if (fgetc(f) == EOF)
        sink++;
    fclose(f);
}

static void at_all_blocked(void)
{
    sigset_t all;

    sigfillset(&all);
    sigdelset(&all, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    at_poll();
}

static void at_big_frames(void)
{
    volatile char big[300000];

    big[0] = 1;
    at_poll();
    sink += big[0];
}

static void spinning(void)
{
    while (!atomic_load(&stop))
        sink++;
}

static const struct {
    const char *name;
    void (*wait)(void);
} places[] = {
    { "at_poll", at_poll },
    { "at_epoll", at_epoll },
    { "at_read", at_read },
    { "at_mutex", at_mutex },
    { "at_cond", at_cond },
    { "at_rwlock", at_rwlock },
    { "at_sem", at_sem },
    { "at_sleep", at_sleep },
    { "at_getc", at_getc },
    { "at_all_blocked", at_all_blocked },
    { "at_big_frames", at_big_frames },
    { "spinning", spinning },
};

enum { PLACES = sizeof(places) / sizeof(places[0]) };

/* Through a few frames of different shapes. */
__attribute__((noinline)) static void inner(size_t i, int depth)
{
    volatile int here[8] = { depth };

    if (depth > 0)
        inner(i, depth - here[0] + depth - 1);
    else
        places[i].wait();
    sink += here[0];
}

static _Atomic pid_t tids[PLACES];

static void *thread_main(void *arg)
{
    size_t i = (size_t)arg;

    prctl(PR_SET_NAME, places[i].name);
    tids[i] = (pid_t)syscall(SYS_gettid);
    atomic_fetch_add(&ready, 1);
    inner(i, 3);
    return NULL;
}

static void on_wake_up(int sig)
{
}

/* What the kernel says that a thread is at: a call, its arguments and where. */
static void at_what(pid_t tid, char line[256])
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", (int)tid);
    FILE *f = fopen(path, "r");
    if (!f || !fgets(line, 256, f))
        line[0] = '\0';
    if (f)
        fclose(f);
}

/* It is in a system call, and stays there. */
static void until_waiting(pid_t tid)
{
    char before[256], line[256] = "";

    do {
        strcpy(before, line);
        usleep(5000);
        at_what(tid, line);
    } while (line[0] < '0' || line[0] > '9' || strcmp(line, before) != 0);
}

static void test_every_place(void)
{
    struct text_profile text;
    pthread_t t[PLACES];

    pthread_mutex_lock(&mutex);
    pthread_rwlock_wrlock(&rwlock);
    for (size_t i = 0; i < PLACES; i++)
        pthread_create(&t[i], NULL, thread_main, (void *)i);
    while (atomic_load(&ready) < PLACES)
        usleep(1000);
    for (size_t i = 0; i < PLACES; i++)
        if (places[i].wait != spinning)
            until_waiting(tids[i]);

    int answered = 0;
    for (int round = 0; round < 5 || (answered == 0 && round < 100); round++) {
        CHECK_INT(text_profile_take(&text, "threads", 1), 0, prof_last_error());
        CHECK_INT(text_profile_sum(&text, NULL), PLACES + 1, "threads");
        /* The one that spins gets a processor in time, or says nothing; on a machine that stands
         * still now and then, others too. */
        long silent = text_profile_sum(&text, "[no answer]");
        answered += silent == 0;
        for (size_t i = 0; i < PLACES && silent == 0; i++)
            CHECK_INT(text_profile_sum_of(&text, places[i].name, "thread_main", 0) >= 1, 1,
                      places[i].name);
        CHECK_INT(text_profile_sum(&text, "thread_main"), PLACES - silent,
                  "threads with whole stacks");
        CHECK_INT(text_profile_sum_of(&text, "thread_main", "clone", 0), PLACES - silent,
                  "threads whose stacks reach their beginning");
        CHECK_INT(text_profile_sum(&text, "["), silent, "threads with something missing");
        text_profile_free(&text);
    }
    CHECK(answered > 0, "there never were answers of all threads");

    CHECK_INT(text_profile_take(&text, "threads", 2), 0, prof_last_error());
    for (size_t i = 0; i < PLACES; i++) {
        char name[64];

        snprintf(name, sizeof(name), "# name: %s\n", places[i].name);
        CHECK(strstr(text.text, name) != NULL, "debug=2 names %s", places[i].name);
    }
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *e;
    while (tasks && (e = readdir(tasks))) {
        char head[64];

        snprintf(head, sizeof(head), "thread %s [", e->d_name);
        CHECK(e->d_name[0] == '.' || strstr(text.text, head) != NULL, "debug=2 has thread %s",
              e->d_name);
    }
    closedir(tasks);
    text_profile_free(&text);
    CHECK_INT(text_profile_take(&text, "goroutine", 1), 0, prof_last_error());
    CHECK(strncmp(text.text, "goroutine profile: total 13\n", 28) == 0, "the alias: %.40s",
          text.text);
    text_profile_free(&text);
    CHECK_INT(prof_profile_count(prof_lookup("threads")), PLACES + 1, "count");

    atomic_store(&stop, 1);
    pthread_mutex_unlock(&mutex);
    pthread_rwlock_unlock(&rwlock);
    pthread_cond_broadcast(&cond);
    sem_post(&semaphore);
    for (size_t i = 0; i < PLACES; i++) {
        struct timespec soon;

        do {
            if (write(quiet_pipe[1], "x", 1) != 1)
                break;
            pthread_cond_broadcast(&cond);
            pthread_kill(t[i], SIGUSR1);
            clock_gettime(CLOCK_REALTIME, &soon);
            soon.tv_sec++;
        } while (pthread_timedjoin_np(t[i], NULL, &soon) != 0);
    }
}

/* --- many ------------------------------------------------------------------------------------ */

static atomic_int waiting;
static pthread_barrier_t gate;

static void *one_of_many(void *arg)
{
    void *p = malloc(100);

    atomic_fetch_add(&waiting, 1);
    pthread_barrier_wait(&gate);
    free(p);
    return NULL;
}

static void test_many(int n)
{
    pthread_t *t = calloc((size_t)n, sizeof(*t));
    struct text_profile text;
    pthread_attr_t attr;
    int made = 0, fds = proc_entries("/proc/self/fd");

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 * 1024);
    pthread_barrier_init(&gate, NULL, (unsigned)n + 1);
    atomic_store(&waiting, 0);
    while (made < n && pthread_create(&t[made], &attr, one_of_many, NULL) == 0)
        made++;
    CHECK_INT(made, n, "threads made");
    if (made < n)
        _exit(check_report());
    while (atomic_load(&waiting) < n)
        usleep(1000);
    usleep(50000);

    long rss = proc_status("VmRSS:");
    double begin = now();
    CHECK_INT(text_profile_take(&text, "threads", 1), 0, prof_last_error());
    double took = now() - begin;
    CHECK_INT(text_profile_sum(&text, NULL), n + 1, "threads");
    CHECK_INT(text_profile_sum(&text, "one_of_many"), n, "threads with whole stacks");
    text_profile_free(&text);
    printf("%d threads in %.3f s, %ld KiB more\n", n, took, proc_status("VmRSS:") - rss);
    CHECK(took < 20, "%d threads took %.2f s", n, took);

    begin = now();
    struct prof_window *w = NULL;
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    printf("a CPU profile of them begins in %.3f s", now() - begin);
    begin = now();
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    text_profile_free(&text);
    prof_window_close(w);
    printf(", is written and ended in %.3f s; %ld KiB more in all\n", now() - begin,
           proc_status("VmRSS:") - rss);
    CHECK(proc_status("VmRSS:") - rss < 4L * n + 12 * 1024, "memory: %ld KiB for %d threads",
          proc_status("VmRSS:") - rss, n);
    CHECK_INT(proc_entries("/proc/self/fd"), fds, "descriptors");
    pthread_barrier_wait(&gate);
    for (int i = 0; i < n; i++)
        pthread_join(t[i], NULL);
    free(t);
}

/* A thread that asks for all stacks is in libprof at that moment. What it shows of itself begins
 * with what called libprof, by whichever function. */
static void dump_by_write(struct text_profile *t)
{
    CHECK_INT(text_profile_take(t, "threads", 1), 0, prof_last_error());
}

static void dump_one_by_one(struct text_profile *t)
{
    CHECK_INT(text_profile_take(t, "threads", 2), 0, prof_last_error());
}

static void dump_to_fd(struct text_profile *t)
{
    int fds[2];
    char buf[1 << 16];
    ssize_t n;

    CHECK_INT(pipe(fds), 0, "pipe");
    fcntl(fds[1], F_SETPIPE_SZ, (int)sizeof(buf));
    CHECK_INT(prof_profile_write_fd(prof_lookup("threads"), fds[1], 1), 0, prof_last_error());
    close(fds[1]);
    while ((n = read(fds[0], buf, sizeof(buf))) > 0)
        text_profile_sink(t, buf, (size_t)n);
    close(fds[0]);
}

static void read_file(const char *path, struct text_profile *t)
{
    char buf[4096];
    FILE *f = fopen(path, "r");
    size_t n;

    while (f && (n = fread(buf, 1, sizeof(buf), f)) > 0)
        text_profile_sink(t, buf, n);
    if (f)
        fclose(f);
    unlink(path);
}

static void dump_to_file(struct text_profile *t)
{
    char path[] = "all_threads_XXXXXX";

    close(mkstemp(path));
    CHECK_INT(prof_profile_write_file(prof_lookup("threads"), path, 1), 0, prof_last_error());
    read_file(path, t);
}

/* Of a window only what has changed is written: other stacks of this thread, which began it and
 * ends it. */
static void dump_by_window(struct text_profile *t)
{
    struct prof_window *w = NULL;

    CHECK_INT(prof_window_open("threads", &w), 0, prof_last_error());
    CHECK_INT(text_profile_window(t, w), 0, prof_last_error());
    prof_window_close(w);
}

static void dump_by_window_to_file(struct text_profile *t)
{
    char path[] = "all_threads_XXXXXX";
    struct prof_window *w = NULL;

    close(mkstemp(path));
    CHECK_INT(prof_window_open("threads", &w), 0, prof_last_error());
    CHECK_INT(prof_window_write_file(w, path, 1), 0, prof_last_error());
    prof_window_close(w);
    read_file(path, t);
}

static void test_the_asking_thread_shows_its_own_frames(void)
{
    static const struct {
        const char *name;
        void (*dump)(struct text_profile *t);
    } ways[] = {
        { "dump_by_write", dump_by_write },   { "dump_one_by_one", dump_one_by_one },
        { "dump_to_fd", dump_to_fd },         { "dump_to_file", dump_to_file },
        { "dump_by_window", dump_by_window }, { "dump_by_window_to_file", dump_by_window_to_file },
    };
    static const char *const ours[] = { "prof_profile_", "prof_window_", "prof__",
                                        "snapshot",      "take_own",     "[no" };

    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        struct text_profile text = { NULL, 0 };

        ways[i].dump(&text);
        CHECK(text.text && strstr(text.text, ways[i].name), "%s is in it: %.600s", ways[i].name,
              text.text ? text.text : "");
        char *map = text.text ? strstr(text.text, "Memory map") : NULL;
        if (map)
            *map = '\0';
        for (size_t j = 0; j < sizeof(ours) / sizeof(ours[0]); j++)
            CHECK(text.text && !strstr(text.text, ours[j]), "%s: %s is in it: %.600s", ways[i].name,
                  ours[j], text.text);
        text_profile_free(&text);
    }
}

/* Far more running threads than processors: each is waited for until it has had one. */
static void *spin(void *arg)
{
    atomic_fetch_add(&ready, 1);
    while (!atomic_load(&stop))
        sink++;
    return arg;
}

static double process_time(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_more_threads_than_processors(void)
{
    enum { DUMPS = 5 };
    long processors = sysconf(_SC_NPROCESSORS_ONLN), n = 50 * processors, best = n;
    pthread_t *t = calloc((size_t)n, sizeof(*t));
    bool told = false;

    atomic_store(&stop, 0);
    atomic_store(&ready, 0);
    for (long i = 0; i < n; i++)
        pthread_create(&t[i], NULL, spin, NULL);
    while (atomic_load(&ready) < n)
        usleep(1000);
    double begin = now(), used = -process_time();
    for (int i = 0; i < DUMPS; i++) {
        struct text_profile text;

        CHECK_INT(text_profile_take(&text, "threads", 1), 0, prof_last_error());
        CHECK_INT(text_profile_sum(&text, NULL), n + 1, "threads");
        long silent = text_profile_sum(&text, "[no answer]");
        best = silent < best ? silent : best;
        told = told || strstr(text.text, "more of them than processors");
        text_profile_free(&text);
    }
    used += process_time();
    double took = now() - begin;
    double share = used / (took * (double)processors);
    MEASURED("%ld threads on %ld processors: a dump takes %.2f s, %ld do not answer", n, processors,
             took / DUMPS, best);
    if (share > 0.7) /* others on the machine may leave too little */
        CHECK(best <= n / 20 && told, "%ld of %ld threads did not answer; %s", best, n,
              told ? "told" : "not told");
    atomic_store(&stop, 1);
    for (long i = 0; i < n; i++)
        pthread_join(t[i], NULL);
    free(t);
}

/*
 * A thread that runs and gets no processor for longer than answers take: it has the least claim to
 * the one that another never leaves, and that one ends only when a dump has waited long. One dump
 * that has its stack and says how long it took is enough: nothing that gives up earlier can make
 * one.
 */
static atomic_int hog_stops;

static void *hog(void *arg)
{
    atomic_fetch_add(&ready, 1);
    while (!atomic_load(&hog_stops))
        sink++;
    return arg;
}

static void *starve(void *arg)
{
    struct sched_param none = { 0 };

    sched_setscheduler(0, SCHED_IDLE, &none);
    spin(arg);
    sink++; /* so this frame stays */
    return NULL;
}

static void *end_hog(void *arg)
{
    usleep(LONGER_THAN_AN_ANSWER_US);
    atomic_store(&hog_stops, 1);
    return arg;
}

static void start_on(pthread_t *ret, int cpu, void *(*run)(void *))
{
    pthread_attr_t attr;
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    pthread_attr_init(&attr);
    pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
    CHECK_INT(pthread_create(ret, &attr, run, NULL), 0, "thread");
    pthread_attr_destroy(&attr);
}

/* The time that a dump says to have taken; 0: it does not. */
static int told_ms(const char *text)
{
    const char *at = strstr(text, "it took ");

    return at ? atoi(at + strlen("it took ")) : 0;
}

static void test_no_processor_is_waited_for(void)
{
    enum { TRIES = 8 };
    int cpu = sched_getcpu(), longest = 0;
    bool waited = false;

    for (int i = 0; i < TRIES && !waited; i++) {
        struct text_profile text;
        pthread_t starved, greedy, end;

        atomic_store(&stop, 0);
        atomic_store(&hog_stops, 0);
        atomic_store(&ready, 0);
        start_on(&starved, cpu, starve);
        while (atomic_load(&ready) < 1)
            usleep(1000);
        start_on(&greedy, cpu, hog);
        while (atomic_load(&ready) < 2)
            usleep(1000);
        pthread_create(&end, NULL, end_hog, NULL);
        CHECK_INT(text_profile_take(&text, "threads", 1), 0, prof_last_error());
        waited = text_profile_sum(&text, "starve") == 1 && told_ms(text.text) > ANSWER_MS;
        longest = told_ms(text.text) > longest ? told_ms(text.text) : longest;
        text_profile_free(&text);
        atomic_store(&stop, 1);
        pthread_join(end, NULL);
        pthread_join(greedy, NULL);
        pthread_join(starved, NULL);
    }
    MEASURED("the longest wait that was told is %d ms", longest);
    CHECK(waited, "in none of %d dumps had a thread its stack that got no processor", TRIES);
}

/* Threads that come and go all the time, while windows open and close. */
static void *brief(void *arg)
{
    for (int i = 0; i < 2000; i++)
        sink += i;
    return NULL;
}

static void test_churn(void)
{
    struct prof_window *w = NULL;
    struct text_profile text;
    double end = now() + 3;
    long made = 0, before = 0;

    CHECK_INT(text_profile_take(&text, "threadcreate", 1), 0, prof_last_error());
    before = text_profile_sum(&text, "test_churn");
    text_profile_free(&text);
    while (now() < end) {
        CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
        for (int i = 0; i < 200; i++, made += 2) {
            pthread_t t;
            thrd_t u;

            pthread_create(&t, NULL, brief, NULL);
            thrd_create(&u, (thrd_start_t)(void (*)(void))brief, NULL);
            if (i % 50 == 0 && text_profile_take(&text, "threads", 1) == 0)
                text_profile_free(&text);
            pthread_join(t, NULL);
            thrd_join(u, NULL);
        }
        prof_window_close(w);
    }
    FILE *f = fopen("/proc/self/timers", "r");
    CHECK(!f || fgetc(f) == EOF, "timers are left");
    if (f)
        fclose(f);
    CHECK_INT(text_profile_take(&text, "threadcreate", 1), 0, prof_last_error());
    CHECK_INT(text_profile_sum(&text, "test_churn") - before, made, "threads created");
    text_profile_free(&text);
    printf("%ld brief threads\n", made);
}

int main(int argc, char **argv)
{
    struct sigaction wake_up = { .sa_handler = on_wake_up };
    struct epoll_event e = { .events = EPOLLIN };

    alarm(200);
    sigaction(SIGUSR1, &wake_up, NULL);
    if (pipe(quiet_pipe) != 0 || (epoll_fd = epoll_create1(0)) < 0)
        return 1;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, quiet_pipe[0], &e);
    sem_init(&semaphore, 0, 0);
    test_the_asking_thread_shows_its_own_frames();
    test_every_place();
    test_many(200);
    test_many(2000);
    test_churn();
    test_more_threads_than_processors();
    test_no_processor_is_waited_for();
    return check_report();
}
