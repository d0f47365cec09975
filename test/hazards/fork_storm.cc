/*
 * fork_storm.cc - fork in a program whose threads allocate and lock, with everything sampled and a
 * server running. Each child allocates from new threads, throws, and writes profiles.
 *
 *   fork_storm DIRECTORY CHILDREN
 *
 * Leaves two heap profiles of each child in DIRECTORY: NUMBER.pb.gz with all, and
 * NUMBER.window.pb.gz with what came after the fork, for fork_storm.py to read.
 */
#include <atomic>
#include <stdexcept>

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <prof/http.h>
#include <prof/prof.h>

extern "C" {
#include "check.h"
}
#include "long_run.h"
#include "proc.h"

namespace
{

enum { THREADS = 8, CHILD_THREADS = 4, CHILD_BLOCKS = 2500, CHILD_LIMIT_S = 30 };

const char *directory;
std::atomic<bool> stop, rest; /* rest: leave the processors to the child */
std::atomic<long> rounds;
pthread_mutex_t mutexes[2] = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER };

/* In the parent only, before and after the fork. */
void *churn(void *arg)
{
    void *ring[16] = { nullptr };
    pthread_mutex_t *m = &mutexes[(long)arg % 2];

    for (unsigned i = 0; !stop; i++) {
        pthread_mutex_lock(m);
        free(ring[i % 16]);
        ring[i % 16] = malloc(16 + i % 500);
        pthread_mutex_unlock(m);
        rounds++;
        while (rest && !stop)
            usleep(1000);
    }
    for (void *p : ring)
        free(p);
    return nullptr;
}

void *in_the_child(void *)
{
    for (int i = 0; i < CHILD_BLOCKS; i++) {
        void *volatile p = malloc(1000);
        free(p);
    }
    return nullptr;
}

__attribute__((noinline)) void throw_at(int depth)
{
    if (depth == 0)
        throw std::runtime_error("in a child");
    throw_at(depth - 1);
    rounds++;
}

/* Of descriptor directory entries, the sockets. */
int sockets()
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    for (struct dirent *e; d && (e = readdir(d)) != nullptr;) {
        char to[64] = "";
        if (readlinkat(dirfd(d), e->d_name, to, sizeof(to) - 1) > 0)
            n += strncmp(to, "socket:", 7) == 0;
    }
    if (d)
        closedir(d);
    return n;
}

/* 0, or the number of what is wrong. */
int child(int number)
{
    struct prof_window *w = nullptr;
    pthread_t t[CHILD_THREADS];
    char path[4096], address[128];
    bool caught = false;

    alarm(CHILD_LIMIT_S); /* a child that hangs ends by SIGALRM */
    if (proc_entries("/proc/self/task") != 1 || sockets() != 0 ||
        prof_http_address(address, sizeof(address)) >= 0)
        return 1;
    if (prof_window_open("heap", &w) != 0)
        return 2;
    for (auto &thread : t)
        if (pthread_create(&thread, nullptr, in_the_child, nullptr) != 0)
            return 3;
    try {
        throw_at(5);
    } catch (const std::runtime_error &) {
        caught = true;
    }
    for (auto &thread : t)
        pthread_join(thread, nullptr);
    snprintf(path, sizeof(path), "%s/%d.window.pb.gz", directory, number);
    if (prof_window_write_file(w, path, 0) != 0)
        return 4;
    prof_window_close(w);
    snprintf(path, sizeof(path), "%s/%d.pb.gz", directory, number);
    if (prof_write_heap(path) != 0)
        return 5;
    return caught ? 0 : 6;
}

int port_of(const char *address)
{
    const char *colon = strrchr(address, ':');
    return colon ? atoi(colon + 1) : 0;
}

/* 0, or the errno of connect(). */
int connects(int port)
{
    struct sockaddr_in to = {};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

    to.sin_family = AF_INET;
    to.sin_port = htons((uint16_t)port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    r = connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 ? 0 : errno;
    close(fd);
    return r;
}

/* The parent's server ends while a child lives: nobody must answer for it. */
void test_nobody_serves_on(int port)
{
    int to[2];
    char c;

    if (pipe(to) != 0)
        return;
    CHECK_INT(connects(port), 0, "the server is there");
    pid_t pid = fork();
    if (pid == 0) {
        close(to[1]);
        alarm(CHILD_LIMIT_S);
        _exit(read(to[0], &c, 1) != 0);
    }
    close(to[0]);
    CHECK_INT(prof_http_stop(), 0, prof_last_error());
    CHECK_INT(connects(port), ECONNREFUSED, "connecting when the parent's server has ended");
    close(to[1]);
    int status = -1;
    waitpid(pid, &status, 0);
    CHECK_INT(status, 0, "the child");
}

} // namespace

int main(int argc, char **argv)
{
    struct prof_stats last = PROF_STATS_INIT, stats = PROF_STATS_INIT;
    struct prof_window *cpu = nullptr;
    pthread_t t[THREADS];
    char address[128] = "";
    double slowest = 0;

    if (argc < 3)
        return 2;
    directory = argv[1];
    int children = atoi(argv[2]);
    alarm((unsigned)long_run(200, 900));
    prof_set_heap_rate(1024);
    prof_set_block_rate(1);
    prof_set_mutex_fraction(1);
    prof_set_cpu_rate(250);
    CHECK_INT(prof_http_start("127.0.0.1:0"), 0, prof_last_error());
    CHECK(prof_http_address(address, sizeof(address)) > 0, "%s", prof_last_error());
    CHECK_INT(prof_window_open("profile", &cpu), 0, prof_last_error());
    for (long i = 0; i < THREADS; i++)
        pthread_create(&t[i], nullptr, churn, (void *)i);

    for (int i = 0; i < children; i++) {
        int status = -1;
        long before = rounds;
        double begin = now();

        while (rounds < before + 100)
            usleep(100);
        prof_stats(&stats);
        CHECK(stats.heap_allocated_bytes > last.heap_allocated_bytes,
              "the parent goes on counting");
        last = stats;
        pid_t pid = fork();
        if (pid == 0)
            _exit(child(i));
        rest = true;
        waitpid(pid, &status, 0);
        rest = false;
        CHECK(status == 0, "child %d: status %#x", i, (unsigned)status);
        if (now() - begin > slowest)
            slowest = now() - begin;
    }
    test_nobody_serves_on(port_of(address));
    stop = true;
    for (pthread_t thread : t)
        pthread_join(thread, nullptr);
    prof_window_close(cpu);
    MEASURED("%d children, the slowest took %.2f s", children, slowest);
    return check_report();
}
