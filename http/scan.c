/*
 * scan.c - leaks, holders and memory: profiles that are written by a job (job.h) while the exchange
 * waits.
 */
#include <errno.h>
#include <string.h>

#include "clock.h"
#include "handlers.h"

#define LOOK_NS (SECOND_NS / 50) /* from one look at the job to the next */

/* A number up to `most`, into what stays as it is if there is none. */
static int count_param(const struct prof__exchange *x, const char *name, int64_t most, int *ret)
{
    int64_t value;
    int r = prof__param_int(x->target.query, name, &value);

    if (r == -ENOENT)
        return 0;
    if (r < 0 || value < 0 || value > most)
        return -EINVAL;
    *ret = (int)value;
    return 0;
}

static int read_params(struct prof__exchange *x)
{
    struct prof_scan_options *o = &x->scan;
    int64_t age = 0, exact = 0;
    int r;

    *o = (struct prof_scan_options)PROF_SCAN_OPTIONS_INIT;
    r = prof__param_duration(x->target.query, "age", &age);
    if (r == -EINVAL)
        return refused(x, r, "age is a time: 90, 90s, 10m, 2h, 1d");
    if (r == 0)
        o->age_s = age ? age : -1;
    r = prof__param_duration(x->target.query, "exact", &exact);
    if (r == -EINVAL || exact > 3600)
        return refused(x, -EINVAL, "exact is a time of up to an hour: 60, 60s, 10m");
    o->exact_s = (int)exact;
    if (count_param(x, "passes", 100, &o->passes) < 0 ||
        count_param(x, "cpu", 100, &o->cpu_percent) < 0 ||
        count_param(x, "depth", 64, &o->depth) < 0 || count_param(x, "swap", 1, &o->swap) < 0)
        return refused(x, -EINVAL,
                       "passes and cpu are numbers up to 100, depth up to 64, swap is 0 or 1");
    r = prof__param_text(x->target.query, "site", x->site, sizeof(x->site));
    if (r == -E2BIG)
        return refused(x, -EINVAL, "site is a regular expression of up to 256 bytes");
    if (r > 0)
        o->site = x->site;
    return 0;
}

static int look_at_job(struct prof__exchange *x)
{
    int r;

    if (!prof__job_done(x->job, &r, x->job_message, sizeof(x->job_message), &x->reply.body)) {
        x->wait_ns = LOOK_NS;
        return PROF__WAIT;
    }
    prof__job_close(x->job);
    x->job = NULL;
    return r < 0 ? refused(x, have_or_lack(r), x->job_message) : 0;
}

bool prof__is_scan(const char *name)
{
    return strcmp(name, "leaks") == 0 || strcmp(name, "holders") == 0 ||
           strcmp(name, "memory") == 0;
}

int prof__serve_scan(struct prof__exchange *x, struct prof_profile *p)
{
    int r = read_params(x);

    if (r < 0)
        return r;
    if (x->head) {
        x->reply.size_unknown = true;
        return 0;
    }
    r = prof__job_start(&x->job, p, &x->options, &x->scan);
    if (r < 0)
        return r;
    x->go_on = look_at_job;
    x->wait_ns = LOOK_NS;
    return PROF__WAIT;
}
