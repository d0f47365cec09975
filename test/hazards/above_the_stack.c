/*
 * above_the_stack.c - a dump of all threads reads their stacks, and not what is mapped behind them.
 *
 * Here that is memory whose pages come by userfaultfd, as those of a virtual machine do while it is
 * moved: whoever reads there waits until somebody supplies a page. Nobody does, and each question
 * for one is seen. Exit status 77 where userfaultfd(2) may not be used.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <prof/prof.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "text_profile.h"

enum { STACK = 1 << 16, GUEST = 16 << 20, THREADS = 8, WATCHDOG_MS = 20000 };

static int never[2], written[2];
static atomic_int waiting;
static struct text_profile text;

__attribute__((noinline)) static char waits_at_the_edge(void)
{
    char c = 0;

    atomic_fetch_add(&waiting, 1);
    return read(never[0], &c, 1) == 1 ? c : 1;
}

static void *wait_there(void *arg)
{
    return waits_at_the_edge() ? NULL : arg;
}

static void *dump(void *arg)
{
    CHECK_INT(text_profile_take(&text, "threads", 1), 0, "threads");
    CHECK_INT(write(written[1], "x", 1), 1, "told");
    return arg;
}

static int guard(char *from, size_t size)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    struct uffdio_api api = { .api = UFFD_API };
    struct uffdio_register r = {
        .range = { (unsigned long)from, size },
        .mode = UFFDIO_REGISTER_MODE_MISSING,
    };

    if (fd < 0 || ioctl(fd, UFFDIO_API, &api) != 0 || ioctl(fd, UFFDIO_REGISTER, &r) != 0)
        return -1;
    return fd;
}

int main(void)
{
    struct pollfd fd[2 * THREADS];
    char *memory[THREADS];
    pthread_t thread[THREADS], dumper;

    if (pipe(never) != 0 || pipe(written) != 0)
        return 1;
    for (int i = 0; i < THREADS; i++) {
        pthread_attr_t attr;

        memory[i] =
            mmap(NULL, STACK + GUEST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        fd[i] = (struct pollfd) { .fd = guard(memory[i] + STACK, GUEST), .events = POLLIN };
        if (fd[i].fd < 0) {
            printf("skipped: userfaultfd: %s\n", strerror(errno));
            return 77;
        }
        pthread_attr_init(&attr);
        pthread_attr_setstack(&attr, memory[i], STACK);
        CHECK_INT(pthread_create(&thread[i], &attr, wait_there, NULL), 0, "a thread");
    }
    while (atomic_load(&waiting) < THREADS)
        sched_yield();
    fd[THREADS] = (struct pollfd) { .fd = written[0], .events = POLLIN };
    pthread_create(&dumper, NULL, dump, NULL);
    CHECK(poll(fd, THREADS + 1, WATCHDOG_MS) > 0, "neither written nor asked");
    int asked = 0;
    for (int i = 0; i < THREADS; i++) {
        asked += fd[i].revents != 0;
        munmap(memory[i] + STACK, GUEST); /* whoever waits for a page gets none */
    }
    CHECK_INT(asked, 0, "pages behind a stack that have been asked for");
    if (asked)
        return check_report();
    pthread_join(dumper, NULL);
    CHECK_INT(text_profile_sum(&text, "waits_at_the_edge"), THREADS, "stacks of those that wait");

    close(never[1]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    text_profile_free(&text);
    return check_report();
}
