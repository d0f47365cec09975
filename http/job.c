/*
 * job.c - one thread a job, a few at a time; most wait for their turn inside libprof.
 *
 * Two own a job, the exchange and the thread, and who leaves last frees it.
 */
#include "job.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard.h"

enum { JOBS_MAX = 8, STACK_BYTES = 1024 * 1024 };

struct prof__job {
    atomic_uint owners;
    atomic_bool abandoned, done;
    struct prof_profile *profile;
    struct prof_write_options options;
    struct prof_scan_options scan;
    char site[300], folded[64], names[16];
    /* The thread's until it is done. */
    struct prof__buffer body;
    int result;
    char message[256];
};

static atomic_int jobs;

/* The process is to be without threads of ours for a moment (prof_helper_can_leave()): a scan
 * cannot be taken up again by another thread, so those under way end. */
static atomic_bool leaving;

static const char leaving_text[] =
    "the program has made a call that is for processes of one thread, "
    "and had to be rid of this one: ask again";

/* In a forked child there are none of the threads. */
static void forked(void)
{
    atomic_store(&jobs, 0);
    atomic_store(&leaving, false);
}

static int leave(int timeout_ms)
{
    atomic_store(&leaving, true);
    for (int ms = 0; atomic_load(&jobs) > 0 && ms < timeout_ms; ms++)
        poll(NULL, 0, 1);
    if (atomic_load(&jobs) == 0)
        return 0;
    atomic_store(&leaving, false);
    return -ETIMEDOUT;
}

static int come_back(void)
{
    atomic_store(&leaving, false);
    return 0;
}

__attribute__((constructor)) static void set_up(void)
{
    prof__guard_in_child(forked);
    prof_helper_can_leave(leave, come_back);
}

static void drop(struct prof__job *job)
{
    /* Acquire and release: the other's writes come before we free. */
    if (atomic_fetch_sub(&job->owners, 1) == 1) {
        prof__buffer_free(&job->body);
        free(job);
    }
}

static int is_abandoned(void *job)
{
    return atomic_load_explicit(&((struct prof__job *)job)->abandoned, memory_order_relaxed) ||
           atomic_load_explicit(&leaving, memory_order_relaxed);
}

static int take(void *arg, const void *data, size_t size)
{
    struct prof__job *job = arg;

    return is_abandoned(job) ? -ECANCELED : prof__buffer_add(&job->body, data, size);
}

static void *run(void *arg)
{
    struct prof__job *job = arg;

    prof_set_last_error(0, "%s", "");
    job->result = prof_profile_write(job->profile, &job->options, take, job);
    if (job->result == -ECANCELED && atomic_load(&leaving)) {
        job->result = -EAGAIN;
        snprintf(job->message, sizeof(job->message), "%s", leaving_text);
    } else if (job->result < 0) {
        snprintf(job->message, sizeof(job->message), "%s", prof_last_error());
    }
    /* Release: the answer is there for who sees it done. */
    atomic_store_explicit(&job->done, true, memory_order_release);
    drop(job);
    atomic_fetch_sub(&jobs, 1);
    return NULL;
}

int prof__job_start(struct prof__job **ret_job, struct prof_profile *p,
                    const struct prof_write_options *options, const struct prof_scan_options *scan)
{
    struct prof_helper helper = PROF_HELPER_INIT;
    struct prof__job *job = NULL;
    int r = -EAGAIN;

    int n = atomic_fetch_add(&jobs, 1); /* first: leave() waits for all that it counts */
    if (atomic_load(&leaving)) {
        atomic_fetch_sub(&jobs, 1);
        return prof_set_last_error(r, "%s", leaving_text);
    }
    if (n >= JOBS_MAX || !(job = calloc(1, sizeof(*job)))) {
        atomic_fetch_sub(&jobs, 1);
        return prof_set_last_error(r, "as many profiles of this kind are being written as may be: "
                                      "try again");
    }
    atomic_init(&job->owners, 2);
    job->profile = p;
    job->options = *options;
    job->options.scan = &job->scan;
    job->scan = *scan;
    job->scan.cancelled = is_abandoned;
    job->scan.cancel_arg = job;
    if (scan->site) {
        snprintf(job->site, sizeof(job->site), "%s", scan->site);
        job->scan.site = job->site;
    }
    if (options->names) {
        snprintf(job->names, sizeof(job->names), "%s", options->names);
        job->options.names = job->names;
    }
    if (options->folded) {
        snprintf(job->folded, sizeof(job->folded), "%s", options->folded);
        job->options.folded = job->folded;
    }
    helper.name = "prof-scan";
    helper.stack_bytes = STACK_BYTES;
    helper.run = run;
    helper.arg = job;
    helper.detached = 1;
    r = prof_helper_start(&helper, NULL);
    if (r < 0) {
        atomic_fetch_sub(&jobs, 1);
        free(job);
        return prof_set_last_error(r, "no thread for the scan: %s", strerror(-r));
    }
    *ret_job = job;
    return 0;
}

bool prof__job_done(struct prof__job *job, int *ret_result, char *message, size_t size,
                    struct prof__buffer *ret_body)
{
    /* Acquire: what the thread has written. */
    if (!atomic_load_explicit(&job->done, memory_order_acquire))
        return false;
    *ret_result = job->result;
    snprintf(message, size, "%s", job->message);
    *ret_body = job->body;
    job->body = (struct prof__buffer) { 0 };
    return true;
}

void prof__job_close(struct prof__job *job)
{
    if (!job)
        return;
    atomic_store_explicit(&job->abandoned, true, memory_order_relaxed);
    drop(job);
}
