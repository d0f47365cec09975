/*
 * metrics.c - /metrics in Prometheus' text form, 0.0.4.
 *
 *   process_*   the standard set of "Writing client libraries", with its help texts
 *   libprof_*   what prof_stats() tells: estimates, waiting, losses, our own memory; requests
 *   the rest    what the program has asked to append
 *
 * A number that cannot be had is left out, and never guessed. There is no label whose values come
 * from outside or grow without bound: no function, no path, no name of a custom profile. Nor is
 * there what mallinfo2() knows: it takes every lock of malloc in turn, and one that is never given
 * back would stop the server just when it is needed.
 *
 * There is no lock: a slot in the list of the program's writers is taken, then made visible; they
 * are called by one thread at a time, and others that wait for that give up in a second, since a
 * writer may never return.
 */
#include "metrics.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <prof/capture.h>
#include <prof/http.h>
#include <prof/prof.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "process.h"

#define SECOND_NS 1e9

#ifdef __clang__
static const char compiler[] = "clang " __clang_version__;
#else
static const char compiler[] = "gcc " __VERSION__;
#endif

enum { WRITERS_MAX = 16 };

static struct {
    void *arg;
    _Atomic(prof_metrics_fn *) write; /* NULL: not there yet */
} writers[WRITERS_MAX];
static atomic_uint writers_taken;
static atomic_flag writing = ATOMIC_FLAG_INIT; /* one of them is at work */

int prof_metrics_add(prof_metrics_fn *write, void *arg)
{
    if (!write)
        return prof_set_last_error(-EINVAL, "no function given to prof_metrics_add()");
    unsigned slot = atomic_load_explicit(&writers_taken, memory_order_relaxed);
    do {
        if (slot == WRITERS_MAX)
            return prof_set_last_error(-ENOSPC, "there are %d writers of metrics already",
                                       WRITERS_MAX);
        /* Relaxed: only the number counts; the release below makes the slot visible. */
    } while (!atomic_compare_exchange_weak_explicit(&writers_taken, &slot, slot + 1,
                                                    memory_order_relaxed, memory_order_relaxed));
    writers[slot].arg = arg;
    /* Release: `arg` before `write`; pairs with the load in add_writers(). */
    atomic_store_explicit(&writers[slot].write, write, memory_order_release);
    return 0;
}

/* --- requests --------------------------------------------------------------------------------- */

static const char *const handlers[] = {
    "allocs", "block",  "captures",     "cmdline", "custom", "goroutine", "heap",  "holders",
    "index",  "leaks",  "memory",       "metrics", "mmap",   "mutex",     "other", "profile",
    "rates",  "symbol", "threadcreate", "threads", "trace",  "ui",        "vars",
};
static const unsigned statuses[] = {
    200, 301, 302, 304, 400, 401, 403, 404, 405, 413, 414, 431, 500, 501, 503, 505,
};

#define HANDLERS (sizeof(handlers) / sizeof(handlers[0]))
#define STATUSES (sizeof(statuses) / sizeof(statuses[0]))

/* Upper bounds of the classes of a histogram, in seconds; the last class has none. */
static const struct {
    double seconds;
    const char *name;
} bounds[] = {
    { 0.001, "0.001" }, { 0.005, "0.005" }, { 0.01, "0.01" }, { 0.05, "0.05" },
    { 0.1, "0.1" },     { 0.5, "0.5" },     { 1, "1.0" },     { 5, "5.0" },
};

#define BOUNDS (sizeof(bounds) / sizeof(bounds[0]))

/* Numbers that stand for themselves: all are added to and read without an order. */
typedef _Atomic uint64_t counter;

static counter requests[HANDLERS][STATUSES];
static struct {
    counter n[BOUNDS + 1]; /* of this class alone */
    counter sum_ns;
} written[HANDLERS]; /* profiles, with status 200 */
static atomic_int in_flight;
static counter displaced;

static void count(counter *c, uint64_t n)
{
    atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

static unsigned long long value_of(counter *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

void prof__metrics_in_flight(int change)
{
    atomic_fetch_add_explicit(&in_flight, change, memory_order_relaxed);
}

void prof__metrics_displaced(void)
{
    count(&displaced, 1);
}

void prof__metrics_forked(void)
{
    atomic_store_explicit(&in_flight, 0, memory_order_relaxed);
    atomic_flag_clear_explicit(&writing, memory_order_relaxed);
}

void prof__metrics_count(const char *handler, unsigned status, uint64_t ns)
{
    size_t h = 0, s = 0, b = 0;

    while (h < HANDLERS && strcmp(handlers[h], handler) != 0)
        h++;
    while (s < STATUSES && statuses[s] != status)
        s++;
    if (h == HANDLERS || s == STATUSES)
        return;
    count(&requests[h][s], 1);
    if (status != 200)
        return;
    while (b < BOUNDS && (double)ns / SECOND_NS > bounds[b].seconds)
        b++;
    count(&written[h].n[b], 1);
    count(&written[h].sum_ns, ns);
}

/* --- writing ---------------------------------------------------------------------------------- */

static int family(struct prof__buffer *out, const char *name, const char *type, const char *help)
{
    return prof__buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A double, in the C locale whatever the program has set. */
static int sample(struct prof__buffer *out, const char *name, double value)
{
    char text[64];

    snprintf(text, sizeof(text), "%.17g", value);
    for (char *c = text; *c; c++)
        if (*c == ',')
            *c = '.';
    return prof__buffer_printf(out, "%s %s\n", name, text);
}

static int metric(struct prof__buffer *out, const char *name, const char *type, const char *help,
                  double value)
{
    family(out, name, type, help);
    return sample(out, name, value);
}

/* --- the process ------------------------------------------------------------------------------ */

/* Descriptors of the program: the server's own are in another table. -1: not known. */
static long open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    long n = 0;

    if (!dir)
        return -1;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 2; /* "." and ".." */
}

static void add_limit(struct prof__buffer *out, const char *name, const char *help, int resource)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) == 0)
        metric(out, name, "gauge", help, (double)limit.rlim_cur);
}

static void add_process(struct prof__buffer *out)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) == 0)
        metric(out, "process_cpu_seconds_total", "counter",
               "Total user and system CPU time spent in seconds.",
               (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    long n = open_descriptors();
    if (n >= 0)
        metric(out, "process_open_fds", "gauge", "Number of open file descriptors.", (double)n);
    add_limit(out, "process_max_fds", "Maximum number of open file descriptors.", RLIMIT_NOFILE);
    add_limit(out, "process_virtual_memory_max_bytes",
              "Maximum amount of virtual memory available in bytes.", RLIMIT_AS);

    struct prof__process process;
    if (!prof__process_read(&process))
        return;
    metric(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.",
           (double)process.virtual_bytes);
    metric(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
           (double)process.resident_bytes);
    metric(out, "process_threads", "gauge", "Number of OS threads in the process.",
           (double)process.threads);
    if (process.started_s > 0)
        metric(out, "process_start_time_seconds", "gauge",
               "Start time of the process since unix epoch in seconds.", process.started_s);
}

/* --- the profiles ----------------------------------------------------------------------------- */

static void add_estimates(struct prof__buffer *out, const struct prof_stats *s)
{
    metric(out, "libprof_heap_allocations_total", "counter",
           "Blocks allocated, estimated from samples.", (double)s->heap_allocated_objects);
    metric(out, "libprof_heap_allocated_bytes_total", "counter",
           "Bytes allocated, estimated from samples.", (double)s->heap_allocated_bytes);
    metric(out, "libprof_heap_inuse_objects", "gauge",
           "Blocks allocated and not freed, estimated from samples.",
           (double)s->heap_inuse_objects);
    metric(out, "libprof_heap_inuse_bytes", "gauge",
           "Bytes allocated and not freed, estimated from samples.", (double)s->heap_inuse_bytes);
    metric(out, "libprof_heap_watched", "gauge",
           "1 if the process's malloc is seen; 0 if only blocks that it feeds are.",
           (double)s->heap_watched);
    metric(out, "libprof_heap_bypassed_objects", "gauge",
           "Loaded objects that call another malloc, whose blocks are not seen.",
           (double)s->heap_bypassed_objects);
    metric(out, "libprof_mutex_contentions_total", "counter",
           "Unlocks that others were waiting for, while that was watched.",
           (double)s->mutex_contentions);
    metric(out, "libprof_mutex_wait_seconds_total", "counter",
           "Time waited for locks, charged to their holders, while that was watched.",
           (double)s->mutex_wait_ns / SECOND_NS);
    metric(out, "libprof_block_events_total", "counter",
           "Waits for locks, conditions, semaphores and threads, while that was watched.",
           (double)s->block_events);
    metric(out, "libprof_block_wait_seconds_total", "counter",
           "Time spent in these waits, while that was watched.",
           (double)s->block_wait_ns / SECOND_NS);
    metric(out, "libprof_cpu_samples_total", "counter",
           "Samples taken for CPU profiles, which are taken only on request.",
           (double)s->cpu_samples);
}

static void add_settings(struct prof__buffer *out)
{
    metric(out, "libprof_heap_sample_interval_bytes", "gauge",
           "Mean bytes allocated between two heap samples; 0 is off.",
           (double)prof_set_heap_rate(-1));
    metric(out, "libprof_block_sample_interval_seconds", "gauge",
           "Mean time waited between two samples of the block profile; 0 is off.",
           (double)prof_set_block_rate(-1) / SECOND_NS);
    metric(out, "libprof_mutex_sample_fraction", "gauge",
           "One in so many contended unlocks is recorded; 0 is off.",
           (double)prof_set_mutex_fraction(-1));
    metric(out, "libprof_cpu_sample_rate_hertz", "gauge",
           "Samples a second of CPU time of each thread, while a CPU profile is under way.",
           (double)prof_set_cpu_rate(-1));
}

static void add_reason(struct prof__buffer *out, const char *name, const char *reason,
                       uint64_t value)
{
    prof__buffer_printf(out, "%s{reason=\"%s\"} %llu\n", name, reason, (unsigned long long)value);
}

/* A number of its own, so that an alarm can be set on it; how many threads can never go on. */
static void add_deadlocks(struct prof__buffer *out)
{
    int n = prof_deadlocks(NULL, 0);

    if (n >= 0)
        metric(out, "libprof_deadlocked_threads", "gauge",
               "Threads that wait for each other's locks in a circle, and can never go on.",
               (double)n);
}

static void add_own(struct prof__buffer *out, const struct prof_stats *s, bool thread_is_ours)
{
    static const char lost[] = "libprof_samples_lost_total";
    static const char cut[] = "libprof_samples_truncated_total";
    struct reason {
        const char *reason;
        uint64_t value;
    };
    const struct reason cuts[] = {
        { "depth_limit", s->cut_too_deep },
        { "no_unwind_info", s->cut_no_info },
        { "unreadable", s->cut_unreadable },
    };
    const struct reason losses[] = {
        { "stack_table_full", s->lost_stacks },     { "row_table_full", s->lost_rows },
        { "live_table_full", s->lost_live_blocks }, { "label_table_full", s->lost_labels },
        { "lock_table_full", s->lost_waits },       { "little_stack", s->lost_little_stack },
    };
    struct timespec t;

    family(out, lost, "counter", "Samples that lack something, or are missing, for want of room.");
    for (size_t i = 0; i < sizeof(losses) / sizeof(losses[0]); i++)
        add_reason(out, lost, losses[i].reason, losses[i].value);
    family(out, cut, "counter", "Stacks that end early; their samples are counted, and say so.");
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++)
        add_reason(out, cut, cuts[i].reason, cuts[i].value);
    metric(out, "libprof_stacks", "gauge", "Distinct call stacks held.", (double)s->stacks);
    metric(out, "libprof_self_memory_bytes", "gauge",
           "Memory mapped by libprof for its tables and for requests under way.",
           (double)s->memory_bytes);
    if (thread_is_ours && clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0)
        metric(out, "libprof_self_cpu_seconds_total", "counter",
               "CPU time of the thread that serves and symbolizes profiles.",
               (double)t.tv_sec + (double)t.tv_nsec / SECOND_NS);
    family(out, "libprof_build_info", "gauge", "How libprof was built; always 1.");
    prof__buffer_printf(out, "libprof_build_info{version=\"%s\",compiler=\"%s\"} 1\n",
                        prof_version(), compiler);
}

/* The rules are a fixed set, and written by whoever runs the program. */
static void add_captures(struct prof__buffer *out)
{
    static const char name[] = "libprof_captures_total";
    struct prof_capture_stats s = PROF_CAPTURE_STATS_INIT;
    struct prof_capture_rule rules[16];
    int64_t n = prof_capture_rules(rules, 16, sizeof(rules[0]));
    char dir[2] = "";

    if (prof_capture_dir(dir, sizeof(dir)) <= 0 || prof_capture_counts(&s) < 0)
        return;
    family(out, name, "counter", "Captures taken, by the rule that fired.");
    for (int64_t i = 0; i < n && i < 16; i++)
        prof__buffer_printf(out, "%s{rule=\"%s\"} %llu\n", name, rules[i].rule,
                            (unsigned long long)rules[i].fired);
    prof__buffer_printf(out, "%s{rule=\"now\"} %llu\n", name, (unsigned long long)s.on_demand);
    metric(out, "libprof_capture_failures_total", "counter",
           "Files of captures that could not be written.", (double)s.failed);
    metric(out, "libprof_captures_without_names_total", "counter",
           "Files of captures without names, as there was no time or memory for these.",
           (double)s.nameless);
}

static void add_requests(struct prof__buffer *out)
{
    static const char name[] = "libprof_http_requests_total";

    family(out, name, "counter", "Answers, by what was asked for and status.");
    for (size_t h = 0; h < HANDLERS; h++)
        for (size_t s = 0; s < STATUSES; s++)
            if (s == 0 || value_of(&requests[h][s]))
                prof__buffer_printf(out, "%s{handler=\"%s\",code=\"%u\"} %llu\n", name, handlers[h],
                                    statuses[s], value_of(&requests[h][s]));
}

static void add_bucket(struct prof__buffer *out, const char *name, const char *profile,
                       const char *bound, unsigned long long n)
{
    prof__buffer_printf(out, "%s_bucket{profile=\"%s\",le=\"%s\"} %llu\n", name, profile, bound, n);
}

/* The handlers that write profiles are those with a name of their own in the index. */
static bool writes_profile(const char *handler)
{
    static const char *const others[] = { "captures", "cmdline", "index", "metrics", "other",
                                          "rates",    "symbol",  "trace", "ui",      "vars" };

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strcmp(others[i], handler) == 0)
            return false;
    return true;
}

static void add_histograms(struct prof__buffer *out)
{
    static const char name[] = "libprof_profile_encode_seconds";

    family(out, name, "histogram", "Time to read, symbolize and encode a profile.");
    for (size_t h = 0; h < HANDLERS; h++) {
        unsigned long long n = 0;
        char labels[64];

        if (!writes_profile(handlers[h]))
            continue;
        for (size_t b = 0; b < BOUNDS; b++)
            add_bucket(out, name, handlers[h], bounds[b].name, n += value_of(&written[h].n[b]));
        add_bucket(out, name, handlers[h], "+Inf", n += value_of(&written[h].n[BOUNDS]));
        snprintf(labels, sizeof(labels), "%s_sum{profile=\"%s\"}", name, handlers[h]);
        sample(out, labels, (double)value_of(&written[h].sum_ns) / SECOND_NS);
        prof__buffer_printf(out, "%s_count{profile=\"%s\"} %llu\n", name, handlers[h], n);
    }
}

static void add_server(struct prof__buffer *out)
{
    metric(out, "libprof_http_requests_in_flight", "gauge",
           "Requests not yet answered in full, this one among them.",
           (double)atomic_load_explicit(&in_flight, memory_order_relaxed));
    family(out, "libprof_http_connections_rejected_total", "counter",
           "Connections ended because there were too many.");
    add_reason(out, "libprof_http_connections_rejected_total", "limit", value_of(&displaced));
}

static bool begin_writing(void)
{
    for (int tries = 0; tries < 100; tries++) {
        /* Acquire: what the last one left behind; pairs with the release in end_writing(). */
        if (!atomic_flag_test_and_set_explicit(&writing, memory_order_acquire))
            return true;
        poll(NULL, 0, 10);
    }
    return false;
}

static void end_writing(void)
{
    atomic_flag_clear_explicit(&writing, memory_order_release);
}

static int call_writers(struct prof__buffer *out)
{
    for (size_t i = 0; i < WRITERS_MAX; i++) {
        /* Acquire: pairs with the release in prof_metrics_add(). */
        prof_metrics_fn *write = atomic_load_explicit(&writers[i].write, memory_order_acquire);
        int r = write ? write(writers[i].arg, prof__buffer_add, out) : 0;

        if (r < 0)
            return prof_set_last_error(r, "a function given to prof_metrics_add() has failed");
        if (write && out->size && out->data[out->size - 1] != '\n')
            prof__buffer_puts(out, "\n");
    }
    return 0;
}

static int add_writers(struct prof__buffer *out)
{
    if (atomic_load_explicit(&writers_taken, memory_order_relaxed) == 0)
        return 0;
    if (!begin_writing())
        return prof_set_last_error(-EAGAIN, "a function given to prof_metrics_add() is still at "
                                            "work for another client");
    int r = call_writers(out);
    end_writing();
    return r;
}

int prof__metrics_write(struct prof__buffer *out, bool thread_is_ours)
{
    struct prof_stats s = PROF_STATS_INIT;

    prof_stats(&s);
    add_process(out);
    add_estimates(out, &s);
    add_deadlocks(out);
    add_settings(out);
    add_own(out, &s, thread_is_ours);
    add_captures(out);
    add_requests(out);
    add_histograms(out);
    add_server(out);
    int r = add_writers(out);
    return r < 0 ? r : prof__buffer_puts(out, ""); /* out of memory shows in the last one too */
}
