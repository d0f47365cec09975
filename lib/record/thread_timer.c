#include "record/thread_timer.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec) { .tv_sec = (time_t)(ns / 1000000000),
                               .tv_nsec = (long)(ns % 1000000000) };
}

bool prof__thread_time(pid_t tid, uint64_t *ret_ns)
{
    struct timespec t;

    if (clock_gettime(prof__thread_clock(tid), &t) != 0)
        return false;
    *ret_ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
    return true;
}

int prof__thread_timer_make(pid_t tid, int signal, void *value)
{
    struct sigevent event;
    int timer, r;

    memset(&event, 0, sizeof(event));
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = signal;
    event.sigev_value.sival_ptr = value;
    event.sigev_notify_thread_id = tid;
    if (syscall(SYS_timer_create, prof__thread_clock(tid), &event, &timer) == 0)
        return timer;
    r = -errno;
    /* So the kernel says it of a thread that is no more. */
    return r == -EINVAL && syscall(SYS_tgkill, getpid(), tid, 0) != 0 && errno == ESRCH ? -ESRCH
                                                                                        : r;
}

int prof__thread_timer_set(int timer, uint64_t first_ns, uint64_t every_ns)
{
    struct itimerspec when = { timespec_of(every_ns), timespec_of(first_ns) };

    return syscall(SYS_timer_settime, timer, 0, &when, NULL) == 0 ? 0 : -errno;
}

bool prof__thread_timer_is_dead(int timer)
{
    struct itimerspec left;

    return syscall(SYS_timer_gettime, timer, &left) != 0 ||
           (left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0);
}

void prof__thread_timer_delete(int *timer)
{
    if (*timer != PROF__NO_TIMER)
        syscall(SYS_timer_delete, *timer);
    *timer = PROF__NO_TIMER;
}
