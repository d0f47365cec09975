/*
 * interrupted.c - no system call of the program's ends early because it is being profiled.
 *
 * Threads wait in each of the calls that a signal ends with EINTR even if its handler has
 * SA_RESTART, while threads are dumped, the CPU is profiled and every wait recorded. First they
 * wait long: the idle program. Then they wait for a moment, again and again, and work in between,
 * so that timers go off within the calls. And a signal of the program's own still ends a call, as
 * ever, however near to one of libprof's it comes.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <prof/prof.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "long_run.h"
#include "text_profile.h"

static int wait_ms; /* how long each call waits */
static atomic_int stop, ready;
static int quiet_pipe[2], epoll_fd, quiet_socket[2], listener, queue, semaphores;
static struct sockaddr_un full; /* where a listener has a queue without room */
static socklen_t full_size;
static aio_context_t aio;
static volatile long sink;

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct timespec span(void)
{
    return (struct timespec) { wait_ms / 1000, wait_ms % 1000 * 1000000L };
}

static struct timespec moment(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    t.tv_nsec += wait_ms % 1000 * 1000000L;
    t.tv_sec += wait_ms / 1000 + t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

/* Each: 0 when the call ended as it should, else its errno. */
static int in_poll(void)
{
    struct pollfd p = { quiet_pipe[0], POLLIN, 0 };

    return poll(&p, 1, wait_ms) == 0 ? 0 : errno;
}

static int in_ppoll(void)
{
    struct pollfd p = { quiet_pipe[0], POLLIN, 0 };
    struct timespec t = span();
    sigset_t none;

    sigemptyset(&none);
    return ppoll(&p, 1, &t, &none) == 0 ? 0 : errno;
}

static int in_select(void)
{
    struct timeval t = { wait_ms / 1000, wait_ms % 1000 * 1000 };
    fd_set set;

    FD_ZERO(&set);
    FD_SET(quiet_pipe[0], &set);
    return select(quiet_pipe[0] + 1, &set, NULL, NULL, &t) == 0 ? 0 : errno;
}

static int in_pselect(void)
{
    struct timespec t = span();
    sigset_t none;
    fd_set set;

    FD_ZERO(&set);
    FD_SET(quiet_pipe[0], &set);
    sigemptyset(&none);
    return pselect(quiet_pipe[0] + 1, &set, NULL, NULL, &t, &none) == 0 ? 0 : errno;
}

static int in_epoll_wait(void)
{
    struct epoll_event e;

    return epoll_wait(epoll_fd, &e, 1, wait_ms) == 0 ? 0 : errno;
}

static int in_epoll_pwait(void)
{
    struct epoll_event e;

    return epoll_pwait(epoll_fd, &e, 1, wait_ms, NULL) == 0 ? 0 : errno;
}

static int in_nanosleep(void)
{
    struct timespec t = span(), left;

    return nanosleep(&t, &left) == 0 ? 0 : errno;
}

static int in_clock_nanosleep(void)
{
    struct timespec t = moment(CLOCK_MONOTONIC);

    return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static int in_sem_timedwait(void)
{
    struct timespec t = moment(CLOCK_REALTIME);
    sem_t s;

    sem_init(&s, 0, 0);
    return sem_timedwait(&s, &t) == -1 && errno == ETIMEDOUT ? 0 : errno;
}

static int in_sigtimedwait(void)
{
    struct timespec t = span();
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    return sigtimedwait(&set, NULL, &t) == -1 && errno == EAGAIN ? 0 : errno;
}

static int in_recv(void)
{
    struct timeval t = { wait_ms / 1000, wait_ms % 1000 * 1000 };
    char c;

    setsockopt(quiet_socket[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
    return recv(quiet_socket[0], &c, 1, 0) == -1 && errno == EAGAIN ? 0 : errno;
}

static int in_accept(void)
{
    struct timeval t = { wait_ms / 1000, wait_ms % 1000 * 1000 };

    setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
    return accept(listener, NULL, NULL) == -1 && errno == EAGAIN ? 0 : errno;
}

static int in_recvmmsg(void)
{
    struct timeval t = { wait_ms / 1000, wait_ms % 1000 * 1000 };
    char c;
    struct iovec part = { &c, 1 };
    struct mmsghdr m = { .msg_hdr = { .msg_iov = &part, .msg_iovlen = 1 } };

    setsockopt(quiet_socket[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
    return recvmmsg(quiet_socket[0], &m, 1, 0, NULL) == -1 && errno == EAGAIN ? 0 : errno;
}

static int in_connect(void)
{
    struct timeval t = { wait_ms / 1000, wait_ms % 1000 * 1000 };
    int s = socket(AF_UNIX, SOCK_STREAM, 0), r;

    setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
    r = connect(s, (struct sockaddr *)&full, full_size) == -1 && errno == EAGAIN ? 0 : errno;
    close(s);
    return r;
}

/* As languages and libraries do it that have locks of their own: through syscall(), in whose code
 * no number stands. */
static int in_futex(void)
{
    uint32_t word = 1;
    struct timespec t = span();

    return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, &t, NULL, 0) == -1 && errno == ETIMEDOUT
               ? 0
               : errno;
}

static int in_io_getevents(void)
{
    struct timespec t = span();
    struct io_event e;

    return syscall(SYS_io_getevents, aio, 1L, 1L, &e, &t) == 0 ? 0 : errno;
}

static int in_usleep(void)
{
    return usleep((unsigned)wait_ms * 1000) == 0 ? 0 : errno;
}

/* Knows seconds only. */
static int in_sleep(void)
{
    if (wait_ms < 1000)
        return in_usleep();
    return sleep((unsigned)wait_ms / 1000) == 0 ? 0 : EINTR;
}

static int in_semtimedop(void)
{
    struct sembuf op = { 0, -1, 0 };
    struct timespec t = span();

    return semtimedop(semaphores, &op, 1, &t) == -1 && errno == EAGAIN ? 0 : errno;
}

/* Without a time of their own; main ends them at the end. */
static int in_msgrcv(void)
{
    struct {
        long type;
        char text[8];
    } m;

    return msgrcv(queue, &m, sizeof(m.text), 1, 0) >= 0 ? 0 : errno;
}

static int in_pause(void)
{
    return pause() == -1 && atomic_load(&stop) ? 0 : errno;
}

static const struct {
    const char *name;
    int (*call)(void);
    int endless;
} calls[] = {
    { "poll", in_poll, 0 },
    { "ppoll", in_ppoll, 0 },
    { "select", in_select, 0 },
    { "pselect", in_pselect, 0 },
    { "epoll_wait", in_epoll_wait, 0 },
    { "epoll_pwait", in_epoll_pwait, 0 },
    { "nanosleep", in_nanosleep, 0 },
    { "clock_nanosleep", in_clock_nanosleep, 0 },
    { "sem_timedwait", in_sem_timedwait, 0 },
    { "sigtimedwait", in_sigtimedwait, 0 },
    { "usleep", in_usleep, 0 },
    { "sleep", in_sleep, 0 },
    { "recv", in_recv, 0 },
    { "recvmmsg", in_recvmmsg, 0 },
    { "accept", in_accept, 0 },
    { "connect", in_connect, 0 },
    { "futex", in_futex, 0 },
    { "io_getevents", in_io_getevents, 0 },
    { "semtimedop", in_semtimedop, 0 },
    { "msgrcv", in_msgrcv, 1 },
    { "pause", in_pause, 1 },
};

enum { CALLS = sizeof(calls) / sizeof(calls[0]) };

static struct result {
    long done, early; /* calls that ended, and by something that was not theirs */
    int last;
    pthread_t thread;
} results[CALLS];

static void work(void)
{
    for (int i = 0; i < 20000; i++)
        sink += i;
}

static void *wait_in(void *arg)
{
    size_t i = (size_t)arg;

    atomic_fetch_add(&ready, 1);
    do {
        int r = calls[i].call();

        results[i].done++;
        if (r != 0 && !atomic_load(&stop)) {
            results[i].early++;
            results[i].last = r;
        }
        if (wait_ms < 100)
            work();
    } while (!atomic_load(&stop));
    return NULL;
}

static void on_own_signal(int sig)
{
}

static void start_all(int ms)
{
    wait_ms = ms;
    atomic_store(&stop, 0);
    atomic_store(&ready, 0);
    memset(results, 0, sizeof(results));
    for (size_t i = 0; i < CALLS; i++)
        pthread_create(&results[i].thread, NULL, wait_in, (void *)i);
    while (atomic_load(&ready) < CALLS)
        usleep(1000);
}

static void end_all(const char *what)
{
    atomic_store(&stop, 1);
    for (size_t i = 0; i < CALLS; i++) {
        struct timespec soon;

        do { /* until it has been in the call, and out */
            pthread_kill(results[i].thread, SIGUSR1);
            clock_gettime(CLOCK_REALTIME, &soon);
            soon.tv_nsec += 10000000;
            soon.tv_sec += soon.tv_nsec / 1000000000;
            soon.tv_nsec %= 1000000000;
        } while (pthread_timedjoin_np(results[i].thread, NULL, &soon) != 0);
        CHECK(results[i].early == 0, "%s: %s ended early %ld times of %ld: %s", what, calls[i].name,
              results[i].early, results[i].done, strerror(results[i].last));
    }
}

/* With a line feed behind it; "": it has none any more. */
static void name_of(const char *tid, char name[32])
{
    char path[64];
    FILE *f;

    name[0] = '\0';
    snprintf(path, sizeof(path), "/proc/self/task/%.16s/comm", tid);
    if ((f = fopen(path, "r"))) {
        if (!fgets(name, 32, f))
            name[0] = '\0';
        fclose(f);
    }
}

static bool is_ours(const char *tid)
{
    char name[32];

    name_of(tid, name);
    return strncmp(name, "prof-", 5) == 0;
}

/* The threads that the kernel has, and no others, but for libprof's own. */
static void check_every_tid(void)
{
    struct text_profile text;
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *e;
    long ours = 0;

    CHECK_INT(text_profile_take(&text, "threads", 2), 0, prof_last_error());
    while (tasks && (e = readdir(tasks))) {
        char head[64], name[32];

        name_of(e->d_name, name);
        bool own = is_ours(e->d_name);
        ours += strcmp(name, "prof-cpu\n") == 0;
        snprintf(head, sizeof(head), "thread %.16s [", e->d_name);
        CHECK(e->d_name[0] == '.' || own == (strstr(text.text, head) == NULL), "%s is %s libprof's",
              head, own ? "in it, and" : "missing, and not");
    }
    CHECK_INT(ours, 1, "threads that time the profile of the CPU");
    closedir(tasks);
    text_profile_free(&text);
}

/* How often the other threads have run, or -1: one of them runs, or waits for a processor. */
static long runs(void)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *e;
    bool awake = false;
    long sum = 0;

    while (tasks && (e = readdir(tasks))) {
        char path[64], line[128];
        long n;

        snprintf(path, sizeof(path), "/proc/self/task/%.16s/status", e->d_name);
        int tid = atoi(e->d_name);
        FILE *f = tid > 0 && tid != getpid() && !is_ours(e->d_name) ? fopen(path, "r") : NULL;
        while (f && fgets(line, sizeof(line), f))
            if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1)
                sum += n;
            else if (strncmp(line, "State:\t", 7) == 0)
                awake = awake || line[7] != 'S';
        if (f)
            fclose(f);
    }
    closedir(tasks);
    return awake ? -1 : sum;
}

static void test_idle_program(void)
{
    struct prof_window *w = NULL, *blocked = NULL;
    struct text_profile text;

    start_all(100000); /* longer than all of this takes */
    long before;
    do { /* until all have gone to sleep */
        before = runs();
        usleep(50000);
    } while (before < 0 || runs() != before);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    CHECK_INT(prof_window_open("block", &blocked), 0, prof_last_error());
    for (int i = 0; i < 50; i++) {
        CHECK_INT(text_profile_take(&text, "threads", 1), 0, prof_last_error());
        CHECK_INT(text_profile_sum(&text, NULL), CALLS + 1, "threads");
        CHECK_INT(text_profile_sum(&text, "wait_in"), CALLS, "threads whose stacks are complete");
        text_profile_free(&text);
    }
    check_every_tid();
    CHECK_INT(runs(), before, "times that the threads have run, as they wait");
    CHECK_INT(text_profile_window(&text, blocked), 0, prof_last_error());
    text_profile_free(&text);
    prof_window_close(blocked);
    prof_window_close(w);
    end_all("idle");
}

static void test_busy_program(void)
{
    struct prof_window *w = NULL, *blocked = NULL;
    struct text_profile text;
    struct timespec begin, now;
    long samples;

    prof_set_cpu_rate(250);
    start_all(1);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    CHECK_INT(prof_window_open("block", &blocked), 0, prof_last_error());
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        if (text_profile_take(&text, "threads", 1) != 0)
            CHECK(0, "%s", prof_last_error());
        text_profile_free(&text);
        usleep(2000);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec - begin.tv_sec < 6);
    CHECK_INT(text_profile_window(&text, w), 0, "write");
    samples = text_profile_sum(&text, "wait_in");
    CHECK(samples > 100, "only %ld samples", samples);
    printf("%ld samples, %ld of them within the system calls\n", samples,
           text_profile_sum_of(&text, "poll", "wait_in", 1) +
               text_profile_sum_of(&text, "wait", "in_", 1) +
               text_profile_sum_of(&text, "sleep", "in_", 1));
    text_profile_free(&text);
    prof_window_close(w);
    CHECK_INT(text_profile_window(&text, blocked), 0, "write");
    CHECK(text_profile_sum(&text, "in_sem_timedwait") > 100, "waits are recorded: %.300s",
          text.text);
    text_profile_free(&text);
    prof_window_close(blocked);
    end_all("busy");
}

/* A program that counts on EINTR of its own signals gets every one. */
static atomic_long own_early;
static atomic_int own_stop;

static void *count_on_eintr(void *arg)
{
    while (!atomic_load(&own_stop)) {
        struct pollfd p = { quiet_pipe[0], POLLIN, 0 };

        if (poll(&p, 1, 20000) == -1 && errno == EINTR)
            atomic_fetch_add(&own_early, 1);
        work();
    }
    return NULL;
}

static void test_own_signals_still_interrupt(void)
{
    struct prof_window *w = NULL;
    long sent = 0;
    pthread_t t;

    pthread_create(&t, NULL, count_on_eintr, NULL);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    for (; sent < 3000; sent++) {
        usleep(300); /* it works, and then waits; the signal is to meet it there */
        long seen = atomic_load(&own_early);
        pthread_kill(t, SIGUSR1);
        double end = seconds_now() + 20; /* a processor's turn may be long in coming */
        for (int tries = 0; atomic_load(&own_early) == seen && seconds_now() < end; tries++) {
            usleep(100);
            if (tries % 100 == 99) /* it came between two calls, as any signal may */
                pthread_kill(t, SIGUSR1);
        }
        if (atomic_load(&own_early) == seen)
            break;
    }
    prof_window_close(w);
    CHECK_INT(sent, 3000, "signals of the program's own that ended its poll()");
    atomic_store(&own_stop, 1);
    pthread_kill(t, SIGUSR1);
    usleep(1000);
    pthread_kill(t, SIGUSR1);
    pthread_join(t, NULL);
}

/*
 * A program that lets its signal in only where it waits, as POSIX has it: once the handler has run,
 * the wait must be over, or the program sleeps for ever. A profiler that cannot tell its own signal
 * from that one, and makes the call again, takes the EINTR away. Of each kind of wait, and with the
 * signal blocked before it or not.
 */
static atomic_uint wanted_sent, wanted_seen;
static atomic_int wanted_runs;
static int (*wanted_wait)(const sigset_t *none);

static int by_sigsuspend(const sigset_t *none)
{
    return sigsuspend(none);
}

static int by_ppoll(const sigset_t *none)
{
    return ppoll(NULL, 0, NULL, none);
}

static int by_pselect(const sigset_t *none)
{
    return pselect(0, NULL, NULL, NULL, NULL, none);
}

static int by_epoll_pwait(const sigset_t *none)
{
    struct epoll_event e;

    return epoll_pwait(epoll_fd, &e, 1, -1, none);
}

static void on_wanted(int sig)
{
    atomic_fetch_add(&wanted_runs, 1);
}

static void *wait_for_eintr(void *arg)
{
    sigset_t none;

    sigemptyset(&none);
    while (!atomic_load(&own_stop))
        if (wanted_wait(&none) == -1 && errno == EINTR)
            atomic_store(&wanted_seen, atomic_load(&wanted_sent));
    return NULL;
}

/* Send signals until one's handler has run, and 20 seconds later its wait has not ended. How many
 * came through. */
static long send_wanted(pthread_t t, double seconds)
{
    double end = seconds_now() + seconds;
    long sent = 0;

    for (; seconds_now() < end; sent++) {
        int runs = atomic_load(&wanted_runs);
        double since = seconds_now();

        atomic_fetch_add(&wanted_sent, 1);
        pthread_kill(t, SIGUSR1);
        while (atomic_load(&wanted_seen) != atomic_load(&wanted_sent))
            if (seconds_now() - since > 20) {
                CHECK(0, "signal %ld: the handler has %srun, and the wait goes on", sent + 1,
                      atomic_load(&wanted_runs) == runs ? "not " : "");
                return sent;
            }
    }
    CHECK(sent > 0, "signals");
    return sent;
}

static void test_a_wanted_eintr_arrives(void)
{
    static const struct {
        const char *name;
        int (*wait)(const sigset_t *none);
    } waits[] = {
        { "sigsuspend", by_sigsuspend },
        { "ppoll", by_ppoll },
        { "pselect", by_pselect },
        { "epoll_pwait", by_epoll_pwait },
    };
    struct sigaction wanted = { .sa_handler = on_wanted }, before;
    struct prof_window *w = NULL;
    double seconds = (double)long_run(2, 10);
    sigset_t usr1;

    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL); /* in the threads made here, too */
    sigaction(SIGUSR1, &wanted, &before);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        pthread_t t;

        wanted_wait = waits[i].wait;
        atomic_store(&own_stop, 0);
        pthread_create(&t, NULL, wait_for_eintr, NULL);
        long sent = send_wanted(t, seconds);
        MEASURED("%s: %ld signals of the program's ended its wait", waits[i].name, sent);
        atomic_store(&own_stop, 1);
        pthread_kill(t, SIGUSR1);
        pthread_join(t, NULL);
    }
    prof_window_close(w);
    pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
    sigaction(SIGUSR1, &before, NULL);
}

int main(void)
{
    struct sigaction own = { .sa_handler = on_own_signal };
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int full_listener = socket(AF_UNIX, SOCK_STREAM, 0), in_queue = socket(AF_UNIX, SOCK_STREAM, 0);
    struct epoll_event e = { .events = EPOLLIN };
    sigset_t usr2;

    alarm(200);
    prof_set_block_rate(1);
    sigaction(SIGUSR1, &own, NULL);
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    sigprocmask(SIG_BLOCK, &usr2, NULL);
    if (pipe(quiet_pipe) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, quiet_socket) != 0)
        return 1;
    epoll_fd = epoll_create1(0);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, quiet_pipe[0], &e);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&any, sizeof(any)) != 0 || listen(listener, 1) != 0)
        return 1;
    full_size = sizeof(full);
    full.sun_family = AF_UNIX; /* and the kernel chooses a name that is no file's */
    if (bind(full_listener, (struct sockaddr *)&full, sizeof(sa_family_t)) != 0 ||
        getsockname(full_listener, (struct sockaddr *)&full, &full_size) != 0 ||
        listen(full_listener, 0) != 0 ||
        connect(in_queue, (struct sockaddr *)&full, full_size) != 0)
        return 1;
    if (syscall(SYS_io_setup, 1, &aio) != 0)
        return 1;
    queue = msgget(IPC_PRIVATE, 0600);
    semaphores = semget(IPC_PRIVATE, 1, 0600);

    test_idle_program();
    test_busy_program();
    test_own_signals_still_interrupt();
    test_a_wanted_eintr_arrives();

    msgctl(queue, IPC_RMID, NULL);
    semctl(semaphores, 0, IPC_RMID);
    return check_report();
}
