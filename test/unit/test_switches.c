/*
 * test_switches.c - a trace that cannot tell when threads ran says what is missing, so that who
 * reads it knows what to ask of whom; and is otherwise a trace.
 *
 * Class: something that is refused looks like something that did not happen.
 */
#include "trace/switches.h"

#include <errno.h>
#include <prof/trace.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "forbid.h"

static char why[200];

static const char *refused(int error, bool mapping, int paranoid)
{
    prof__switches_refused(error, mapping, paranoid, why, sizeof(why));
    return why;
}

static void test_each_reason_is_told(void)
{
    CHECK(strstr(refused(-EACCES, false, 3), "perf_event_paranoid is 3"), "the setting: %s", why);
    CHECK(strstr(refused(-EPERM, false, 4), "perf_event_paranoid is 4"), "the setting: %s", why);
    CHECK(strstr(refused(-EPERM, false, 2), "filter of system calls"), "not the setting: %s", why);
    CHECK(strstr(refused(-ENOSYS, false, 1), "filter of system calls"), "nor the kernel: %s", why);
    CHECK(strstr(refused(-ENOSYS, false, -1), "no perf_event_open()"), "the kernel: %s", why);
    CHECK(strstr(refused(-EPERM, true, 2), "perf_event_mlock_kb"), "locked memory: %s", why);
    CHECK(strstr(refused(-EMFILE, false, 2), "descriptor"), "descriptors: %s", why);
    CHECK(strstr(refused(-ENOMEM, false, 2), "out of memory"), "memory: %s", why);
    CHECK(strstr(refused(-EINVAL, false, 2), strerror(EINVAL)), "what else there is: %s", why);
    CHECK(strncmp(why, "no context switches: ", 21) == 0, "and what is missing: %s", why);
}

static char written[1 << 20];
static size_t size;

static int keep(void *arg, const void *data, size_t n)
{
    (void)arg;
    if (size + n > sizeof(written))
        return -ENOSPC;
    memcpy(written + size, data, n);
    size += n;
    return 0;
}

/* As in a container: by EPERM, as Docker's filter answers, or ENOSYS, as others do. */
static void trace_where_it_is_filtered(int error)
{
    struct prof_trace_options o = PROF_TRACE_OPTIONS_INIT;
    struct prof_trace *t;
    int paranoid = prof__switches_paranoid();

    if (forbid(SYS_perf_event_open, error) < 0) {
        printf("skipped: no filters of system calls here\n");
        _exit(0);
    }
    o.sched = 1;
    o.no_cpu = 1;
    CHECK_INT(prof_trace_start(&o, &t), 0, "it is begun all the same");
    prof_region_begin("seen");
    prof_region_end("seen");
    CHECK_INT(prof_trace_write(t, keep, NULL), 0, "and written");
    prof_trace_stop(t);
    CHECK(memmem(written, size, "seen", 4), "with what there is");
    refused(-error, false, paranoid);
    CHECK(memmem(written, size, why, strlen(why)), "and it says: %s", why);
}

int main(void)
{
    test_each_reason_is_told();
    for (int i = 0; i < 2; i++) {
        int status = -1;

        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            check_passed = check_failed = 0;
            trace_where_it_is_filtered(i == 0 ? EPERM : ENOSYS);
            fflush(stdout);
            _exit(check_failed != 0);
        }
        waitpid(child, &status, 0);
        CHECK_INT(status, 0, "where it is filtered");
    }
    return check_report();
}
