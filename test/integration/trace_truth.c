/*
 * trace_truth.c - does what a trace is to show, and says itself what it has done and when.
 *
 *   trace_truth relay THREADS ROUNDS sem|cond FILE
 *       a token goes round; a line "THREAD TID WOKEN_NS" for each pass, in order
 *   trace_truth convoy FILE PPROF
 *       four threads at one lock, and the mutex profile of the same time
 *   trace_truth regions FILE JSON REGION_PPROF
 *       regions within regions, tasks from thread to thread, a log line, labels
 *   trace_truth io CALLS FILE IO_PPROF
 *       a pipe is read that another thread writes to after a while; a line "BEGIN_NS END_NS" a read
 *   trace_truth stall FOLDER
 *       captures by rules: a region that takes too long, a task under way, SIGTERM, which ends it
 *   trace_truth sched SLEEPS FILE
 *       a thread sleeps; a line "BEGIN_NS END_NS" each time
 *   trace_truth flood RECORDS FILE
 *       more than the ring holds
 *   trace_truth crowd THREADS REGIONS FILE
 *       so many threads at once, each with so many regions and one log line
 *   trace_truth again FILE
 *       the file is written again and again, until somebody ends it
 *   trace_truth full FILE
 *       there is room for a part of the trace only; "DEVICE FILE", what the two writes returned
 *
 * FILE is the Perfetto trace. Times are CLOCK_MONOTONIC.
 */
#define _GNU_SOURCE /* pthread_setname_np */
#include <prof/capture.h>
#include <prof/prof.h>
#include <prof/trace.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 16, PASSES_MAX = 100000 };

static struct prof_trace *trace;
static int io, sched; /* with system calls; with context switches */

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void must(int r, const char *what)
{
    if (r < 0) {
        printf("%s: %d, %s\n", what, r, prof_last_error());
        exit(1);
    }
}

static void begin(const char *format, const char *as)
{
    struct prof_trace_options o = PROF_TRACE_OPTIONS_INIT;

    o.min_wait_ns = -1;
    o.no_cpu = 1;
    o.format = format;
    o.as = as;
    o.io = io;
    o.sched = sched;
    must(prof_trace_start(&o, &trace), "prof_trace_start");
}

static void end(const char *path)
{
    must(prof_trace_write_file(trace, path), "prof_trace_write_file");
    prof_trace_stop(trace);
}

/* --- relay ------------------------------------------------------------------------------------ */

static struct {
    int64_t ns;
    int thread, tid;
} pass[PASSES_MAX];
static int passes, threads, rounds;
static sem_t turn[MOST];
static _Atomic int tids[MOST];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond[MOST];
static int whose, arrived;

/* It sleeps, and on a futex. */
static void until_asleep(int thread)
{
    char path[64], line[32], futex[16];

    snprintf(futex, sizeof(futex), "%d ", SYS_futex);
    for (;;) {
        snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tids[thread]);
        FILE *f = tids[thread] ? fopen(path, "r") : NULL;
        bool asleep = f && fgets(line, sizeof(line), f) && strncmp(line, futex, strlen(futex)) == 0;

        if (f)
            fclose(f);
        if (asleep)
            return;
        usleep(100);
    }
}

/* Who is next sleeps, for whom nobody would have to wake. At the end it may be gone. */
static void note(int thread, bool last)
{
    pass[passes].ns = now_ns();
    pass[passes].thread = thread;
    pass[passes++].tid = tids[thread];
    if (!last)
        until_asleep((thread + 1) % threads);
}

static void *relay_sem(void *arg)
{
    int me = (int)(intptr_t)arg;

    tids[me] = (int)syscall(SYS_gettid);
    for (int i = 0; i < rounds; i++) {
        sem_wait(&turn[me]);
        note(me, me == threads - 1 && i == rounds - 1);
        sem_post(&turn[(me + 1) % threads]);
    }
    return NULL;
}

static void *relay_cond(void *arg)
{
    int me = (int)(intptr_t)arg;

    tids[me] = (int)syscall(SYS_gettid);
    pthread_mutex_lock(&mutex);
    arrived++;
    for (int i = 0; i < rounds; i++) {
        while (whose != me)
            pthread_cond_wait(&cond[me], &mutex);
        note(me, me == threads - 1 && i == rounds - 1);
        whose = (me + 1) % threads;
        pthread_cond_signal(&cond[whose]);
    }
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static void relay(const char *how, const char *path)
{
    int by_sem = strcmp(how, "sem") == 0;
    pthread_t thread[MOST];

    whose = -1;
    for (int i = 0; i < threads; i++) {
        sem_init(&turn[i], 0, 0);
        pthread_cond_init(&cond[i], NULL);
    }
    begin(NULL, NULL);
    for (int i = 0; i < threads; i++)
        pthread_create(&thread[i], NULL, by_sem ? relay_sem : relay_cond, (void *)(intptr_t)i);
    if (by_sem) {
        for (int i = 0; i < threads; i++)
            until_asleep(i);
        sem_post(&turn[0]);
    } else {
        pthread_mutex_lock(&mutex);
        while (arrived < threads) { /* who has arrived has let go of it, and waits */
            pthread_mutex_unlock(&mutex);
            usleep(1000);
            pthread_mutex_lock(&mutex);
        }
        whose = 0;
        pthread_cond_signal(&cond[0]);
        pthread_mutex_unlock(&mutex);
    }
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    end(path);
    for (int i = 0; i < passes; i++)
        printf("%d %d %lld\n", pass[i].thread, pass[i].tid, (long long)pass[i].ns);
}

/* --- convoy ----------------------------------------------------------------------------------- */

static pthread_barrier_t all;

__attribute__((noinline)) static void hold_long(void)
{
    pthread_mutex_lock(&mutex);
    usleep(3000);
    pthread_mutex_unlock(&mutex);
    __asm__ volatile("");
}

__attribute__((noinline)) static void hold_short(void)
{
    pthread_mutex_lock(&mutex);
    usleep(500);
    pthread_mutex_unlock(&mutex);
    __asm__ volatile("");
}

static void *convoy_thread(void *arg)
{
    pthread_barrier_wait(&all);
    for (int i = 0; i < 40; i++)
        ((int)(intptr_t)arg % 2 ? hold_long : hold_short)();
    return NULL;
}

static void convoy(const char *path, const char *pprof)
{
    struct prof_window *window;
    pthread_t thread[4];

    prof_set_mutex_fraction(1);
    pthread_barrier_init(&all, NULL, 4);
    begin(NULL, NULL);
    must(prof_window_open("mutex", &window), "prof_window_open");
    for (int i = 0; i < 4; i++)
        pthread_create(&thread[i], NULL, convoy_thread, (void *)(intptr_t)i);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    must(prof_window_write_file(window, pprof, 0), "prof_window_write_file");
    prof_window_close(window);
    end(path);
}

/* --- regions ---------------------------------------------------------------------------------- */

static sem_t done, named;

static void *worker(void *arg)
{
    uint64_t id = (uint64_t)(uintptr_t)arg;

    prof_region_begin("work");
    prof_region_begin("parse");
    usleep(1000);
    prof_region_end("parse");
    prof_region_begin("render"); /* never ended by itself: ends with the one around it */
    usleep(1000);
    prof_region_end("work");
    prof_task_end(id, "request");
    sem_post(&done);
    sem_wait(&named);
    return NULL;
}

static void regions(const char *path, const char *json, const char *region_pprof)
{
    struct prof_trace *others[2];
    pthread_t thread[3];

    sem_init(&done, 0, 0);
    sem_init(&named, 0, 0);
    prof_region_begin("before"); /* and so it has no begin in the trace */
    begin("json", NULL);
    others[0] = trace;
    begin(NULL, "region");
    others[1] = trace;
    begin(NULL, NULL);
    prof_region_end("before");
    prof_labels_push("tenant", "blue \"1\"");
    for (uintptr_t i = 0; i < 3; i++) {
        prof_task_begin(i + 1, "request");
        pthread_create(&thread[i], NULL, worker, (void *)(i + 1));
        pthread_setname_np(thread[i], i == 0 ? "first" : i == 1 ? "sec\xff\"nd" : "third");
    }
    for (int i = 0; i < 3; i++)
        sem_wait(&done);
    for (int i = 0; i < 3; i++)
        sem_post(&named);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    prof_labels_pop();
    prof_trace_log("a line of text, \xc3\xa4nd a byte that is wrong: \xff, and enough of it "
                   "for several records");
    prof_region_begin("unfinished");
    end(path);
    trace = others[0];
    end(json);
    trace = others[1];
    end(region_pprof);
    prof_region_end("unfinished");
}

/* --- io --------------------------------------------------------------------------------------- */

static int ends[2];

static void *write_slowly(void *arg)
{
    for (long i = 0; i < *(const long *)arg; i++) {
        usleep(3000);
        if (write(ends[1], "x", 1) != 1)
            exit(1);
    }
    return NULL;
}

__attribute__((noinline)) static void wait_for_a_byte(int64_t ns[2])
{
    char c;

    ns[0] = now_ns();
    if (read(ends[0], &c, 1) != 1)
        exit(1);
    ns[1] = now_ns();
}

static void calls(long n, const char *path, const char *io_pprof)
{
    pthread_t thread;
    int64_t(*ns)[2] = calloc((size_t)n, sizeof(*ns));

    if (!ns || pipe(ends))
        exit(1);
    io = 1;
    begin(NULL, "io");
    struct prof_trace *as_io = trace;
    begin(NULL, NULL);
    pthread_create(&thread, NULL, write_slowly, &n);
    for (long i = 0; i < n; i++)
        wait_for_a_byte(ns[i]);
    pthread_join(thread, NULL);
    end(path);
    trace = as_io;
    end(io_pprof);
    for (long i = 0; i < n; i++)
        printf("%lld %lld\n", (long long)ns[i][0], (long long)ns[i][1]);
    printf("fd %d\n", ends[0]);
    free(ns);
}

/* --- captures --------------------------------------------------------------------------------- */

static void capture_by(const char *rule)
{
    struct prof_capture c[8];

    for (int i = 0; i < 3000; i++) {
        int64_t n = prof_captures(c, 8, sizeof(c[0]));

        for (int64_t k = 0; k < n; k++)
            if (strcmp(c[k].rule, rule) == 0 && strcmp(c[k].profile, "trace") == 0)
                return;
        usleep(10000);
    }
    printf("no capture by %s\n", rule);
    exit(1);
}

static void stall(const char *folder)
{
    char rules[400];

    snprintf(rules, sizeof(rules),
             "stall>50ms -> trace; stall>2s -> trace; term -> trace; "
             "cooldown 1h; dir %s",
             folder);
    must(prof_capture_start(rules), "prof_capture_start");
    if (prof_trace_record(-1) <= 0)
        exit(1);
    prof_region_begin("quick");
    prof_region_end("quick");
    prof_region_begin("slow");
    usleep(100000);
    prof_region_end("slow");
    capture_by("stall>50ms");
    prof_task_begin(7, "request that hangs");
    capture_by("stall>2s");
    prof_region_begin("at the end");
    fflush(stdout);
    kill(getpid(), SIGTERM);
    pause();
}

/* --- sched ------------------------------------------------------------------------------------ */

static void sleeps(long n, const char *path)
{
    sched = 1;
    begin(NULL, NULL);
    for (long i = 0; i < n; i++) {
        int64_t before = now_ns();

        usleep(3000);
        printf("%lld %lld\n", (long long)before, (long long)now_ns());
    }
    printf("tid %d\n", (int)syscall(SYS_gettid));
    end(path);
}

/* --- flood ------------------------------------------------------------------------------------ */

static void *flood_thread(void *arg)
{
    for (long i = 0; i < *(const long *)arg; i++)
        prof_trace_log("x");
    return NULL;
}

static void flood(long n, const char *path)
{
    pthread_t thread;

    begin(NULL, NULL);
    pthread_create(&thread, NULL, flood_thread, &n);
    pthread_join(thread, NULL);
    end(path);
}

/* --- crowd ------------------------------------------------------------------------------------ */

static long regions_each;

static void *one_of_many(void *arg)
{
    char line[32];

    pthread_barrier_wait(&all); /* all are there */
    for (long i = 0; i < regions_each; i++) {
        prof_region_begin("step");
        prof_region_end("step");
    }
    snprintf(line, sizeof(line), "thread %d", (int)(intptr_t)arg);
    prof_trace_log(line);
    pthread_barrier_wait(&all); /* and none has gone */
    return NULL;
}

static void crowd(int n, const char *path)
{
    pthread_t *thread = calloc((size_t)n, sizeof(*thread));

    if (!thread)
        exit(1);
    pthread_barrier_init(&all, NULL, (unsigned)n);
    begin(NULL, NULL);
    for (int i = 0; i < n; i++)
        if (pthread_create(&thread[i], NULL, one_of_many, (void *)(intptr_t)i))
            exit(1);
    for (int i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    end(path);
    free(thread);
}

/* --- files ------------------------------------------------------------------------------------ */

static void tell_much(void)
{
    for (int i = 0; i < 2000; i++) {
        prof_region_begin("a region");
        prof_trace_log("a line of text that is somewhat long");
        prof_region_end("a region");
    }
}

static void again(const char *path)
{
    begin(NULL, NULL);
    tell_much();
    for (;;)
        must(prof_trace_write_file(trace, path), "prof_trace_write_file");
}

static void full(const char *path)
{
    struct rlimit room = { 8192, 8192 };

    begin(NULL, NULL);
    tell_much();
    int device = prof_trace_write_file(trace, "/dev/full");
    printf("%d %s\n", device, prof_last_error());
    fflush(stdout);
    if (setrlimit(RLIMIT_FSIZE, &room))
        exit(1);
    int file = prof_trace_write_file(trace, path);
    printf("%d %s\n", file, prof_last_error());
    prof_trace_stop(trace);
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "relay") == 0) {
        threads = atoi(argv[2]);
        rounds = atoi(argv[3]);
        if (threads < 2 || threads > MOST || threads * rounds > PASSES_MAX)
            return 2;
        relay(argv[4], argv[5]);
    } else if (argc == 4 && strcmp(argv[1], "convoy") == 0) {
        convoy(argv[2], argv[3]);
    } else if (argc == 5 && strcmp(argv[1], "regions") == 0) {
        regions(argv[2], argv[3], argv[4]);
    } else if (argc == 5 && strcmp(argv[1], "io") == 0) {
        calls(atol(argv[2]), argv[3], argv[4]);
    } else if (argc == 4 && strcmp(argv[1], "sched") == 0) {
        sleeps(atol(argv[2]), argv[3]);
    } else if (argc == 3 && strcmp(argv[1], "stall") == 0) {
        stall(argv[2]);
    } else if (argc == 4 && strcmp(argv[1], "flood") == 0) {
        flood(atol(argv[2]), argv[3]);
    } else if (argc == 5 && strcmp(argv[1], "crowd") == 0) {
        regions_each = atol(argv[3]);
        crowd(atoi(argv[2]), argv[4]);
    } else if (argc == 3 && strcmp(argv[1], "again") == 0) {
        again(argv[2]);
    } else if (argc == 3 && strcmp(argv[1], "full") == 0) {
        full(argv[2]);
    } else {
        return 2;
    }
    return 0;
}
