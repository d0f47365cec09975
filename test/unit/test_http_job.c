/*
 * test_http_job.c - of profiles that take seconds so many are written at once and no more: whoever
 * asks for one beyond that is refused with a sentence, and has lost nothing.
 */
#include "job.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>

#include "check.h"

enum { MOST = 100, ENOUGH = 2, SOME = 64, WATCHDOG_MS = 20000 };

static atomic_int writing;
static atomic_bool may_end;

/* A profile that takes its time. */
int __wrap_prof_profile_write(struct prof_profile *p, const struct prof_write_options *opts,
                              prof_sink_fn *sink, void *arg);

int __wrap_prof_profile_write(struct prof_profile *p, const struct prof_write_options *opts,
                              prof_sink_fn *sink, void *arg)
{
    (void)p;
    atomic_fetch_add(&writing, 1);
    while (!atomic_load(&may_end) && !opts->scan->cancelled(opts->scan->cancel_arg))
        poll(NULL, 0, 1);
    atomic_fetch_sub(&writing, 1);
    return sink(arg, "done", 4);
}

static int start(struct prof__job **ret)
{
    struct prof_write_options options = PROF_WRITE_OPTIONS_INIT;
    struct prof_scan_options scan = PROF_SCAN_OPTIONS_INIT;

    prof_set_last_error(0, "%s", "");
    return prof__job_start(ret, prof_lookup("heap"), &options, &scan);
}

/* As many as there may be; then it is -EAGAIN. */
static int start_all(struct prof__job *job[])
{
    int n = 0, r = 0;

    while (n < MOST && (r = start(&job[n])) == 0)
        n++;
    CHECK_INT(r, -EAGAIN, "one too many");
    CHECK(strstr(prof_last_error(), "try again"), "a sentence: %s", prof_last_error());
    return n;
}

static int wait_for(struct prof__job *job, char *ret_text)
{
    struct prof__buffer body;
    char message[256];
    int result = -ETIMEDOUT;

    for (int ms = 0; ms < WATCHDOG_MS; ms++, poll(NULL, 0, 1))
        if (prof__job_done(job, &result, message, sizeof(message), &body)) {
            snprintf(ret_text, 8, "%.*s", (int)body.size, body.data);
            prof__buffer_free(&body);
            break;
        }
    prof__job_close(job);
    return result;
}

static void test_no_more_than_so_many(void)
{
    static struct prof__job *job[MOST];
    char text[8] = "";
    int n = start_all(job);

    CHECK(n >= ENOUGH && n <= SOME, "%d at once", n);
    for (int ms = 0; atomic_load(&writing) < n && ms < WATCHDOG_MS; ms++)
        poll(NULL, 0, 1);
    CHECK_INT(writing, n, "are being written");
    atomic_store(&may_end, true);
    for (int i = 0; i < n; i++) {
        CHECK_INT(wait_for(job[i], text), 0, "one of those that were let in");
        CHECK_STR(text, "done", "and what it is");
    }
}

/* Whose client has left make room for others. */
static void test_room_for_others(void)
{
    static struct prof__job *job[MOST];
    struct prof__job *next = NULL;
    char text[8] = "";
    int r = -EAGAIN;

    atomic_store(&may_end, false);
    for (int ms = 0; atomic_load(&writing) > 0 && ms < WATCHDOG_MS; ms++)
        poll(NULL, 0, 1);
    int n = start_all(job);
    for (int i = 0; i < n; i++)
        prof__job_close(job[i]);
    for (int ms = 0; r == -EAGAIN && ms < WATCHDOG_MS; ms++, poll(NULL, 0, 1))
        r = start(&next);
    CHECK_INT(r, 0, prof_last_error());
    atomic_store(&may_end, true);
    if (r == 0)
        CHECK_INT(wait_for(next, text), 0, "the next one");
}

int main(void)
{
    test_no_more_than_so_many();
    test_room_for_others();
    return check_report();
}
