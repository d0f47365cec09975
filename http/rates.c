/*
 * rates.c - /debug/pprof/rates: how often samples are taken, and the one thing that a request can
 * change.
 *
 *   GET                                    "heap 524288", "block 0", "mutex 0", "cpu 100", a line
 * each POST ?heap=65536&block=10000           bytes, ns, 1 event in so many, and samples a second;
 *                                          those that are not named stay
 *
 * Only over the control socket, whose client the kernel has named as this process's user or root.
 * Either all are understood and set, or none is.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "handlers.h"

/* As they are in prof.h, by one signature. */
static int64_t set_cpu(int64_t hz)
{
    return prof_set_cpu_rate((int)hz);
}

static const struct rate {
    const char *name;
    int64_t (*set)(int64_t value); /* negative: tells only */
    int64_t min, max;
} rates[] = {
    { "heap", prof_set_heap_rate, 0, (int64_t)1 << 40 },
    { "block", prof_set_block_rate, 0, (int64_t)1 << 40 },
    { "mutex", prof_set_mutex_fraction, 0, INT_MAX },
    { "cpu", set_cpu, 1, 250 },
};
enum { RATES = sizeof(rates) / sizeof(rates[0]) };

static int read_rates(struct prof__exchange *x, int64_t ret[RATES])
{
    bool any = false;

    for (int i = 0; i < RATES; i++) {
        int64_t value = -1;
        int r = prof__param_int(x->target.query, rates[i].name, &value);

        if (r != -ENOENT && (r < 0 || value < rates[i].min || value > rates[i].max))
            return refused(x, -EINVAL,
                           "heap takes bytes, block nanoseconds, mutex a number n for 1 event in "
                           "n, 0 turns each off; cpu takes samples a second, 1 to 250");
        ret[i] = r == -ENOENT ? -1 : value;
        any |= r != -ENOENT;
    }
    return any ? 0 : refused(x, -EINVAL, "which? ?heap=, block=, mutex=, cpu=");
}

int prof__serve_rates(struct prof__exchange *x)
{
    int64_t value[RATES];

    if (x->post) {
        if (!x->is_owner)
            return refused(x, -EPERM,
                           "refused: rates are changed over the control socket only; \"profctl "
                           "rates\" does that");
        int r = read_rates(x, value);
        for (int i = 0; r == 0 && i < RATES; i++)
            if (value[i] >= 0 && rates[i].set(value[i]) < 0)
                r = refused(x, -EINVAL, "the rate is not one that can be set");
        if (r < 0)
            return r;
    }
    for (int i = 0; i < RATES; i++)
        prof__buffer_printf(&x->reply.body, "%s %lld\n", rates[i].name,
                            (long long)rates[i].set(-1));
    return text_reply(x);
}
