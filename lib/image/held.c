/*
 * held.c - the data of epoll sets, and of timers that send a pointer along.
 *
 * A server may keep its connections nowhere but in the kernel: epoll_ctl() takes a pointer and
 * epoll_wait() gives it back. /proc/PID/fdinfo/N of an epoll descriptor has a line for each watched
 * one, proc(5):
 *
 *   tfd:        5 events:       19 data:     55d0c0ffee40  pos:0 ino:61 sdev:5
 *
 * and /proc/PID/timers, where the kernel has it, a line "signal: 10/00007fff12345678".
 *
 * The descriptors are the program's, so they are looked up under the number of the process, whose
 * table is that of its first thread, whatever table the caller has. Files are opened for a moment,
 * one at a time.
 */
#include "image/held.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/task.h"
#include "image/lines.h"

enum { HELD_MAX = 1 << 20 };

/* As getdents64(2) fills them. */
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t size;
    uint8_t type;
    char name[];
};

struct list {
    struct prof__arena *arena;
    struct prof__image_held *held;
    size_t n, room;
    int fd; /* whose file is read */
    bool out_of_memory;
    unsigned unreadable;
};

static void add(struct list *list, uint64_t value, int by, int number)
{
    if (value == 0 || list->n == HELD_MAX)
        return;
    if (list->n == list->room) {
        size_t room = list->room ? list->room * 2 : 256;
        struct prof__image_held *more = prof__arena_array(list->arena, room, sizeof(*more));

        if (!more) {
            list->out_of_memory = true;
            return;
        }
        if (list->n)
            memcpy(more, list->held, list->n * sizeof(*more));
        list->held = more;
        list->room = room;
    }
    list->held[list->n++] = (struct prof__image_held) { value, by, number };
}

static uint64_t hex(const char *s)
{
    uint64_t v = 0;

    for (;; s++) {
        char c = *s;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                                                : 16;
        if (digit == 16)
            return v;
        v = v << 4 | digit;
    }
}

static void epoll_line(char *line, void *arg)
{
    struct list *list = arg;
    const char *data = strstr(line, " data:");

    if (strncmp(line, "tfd:", 4) == 0 && data)
        add(list, hex(data + 6 + strspn(data + 6, " ")), PROF__HELD_EPOLL, list->fd);
}

static void timer_line(char *line, void *arg)
{
    struct list *list = arg;
    const char *slash = strchr(line, '/');

    if (strncmp(line, "signal:", 7) == 0 && slash)
        add(list, hex(slash + 1), PROF__HELD_TIMER, (int)list->n);
}

static int open_file(const char *path, int flags)
{
    int fd;

    do
        fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_RDONLY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* One descriptor of the program's, which may be closed by now. */
static void look_at(struct list *list, const char *folder, const char *name)
{
    char path[96], target[64];
    ssize_t n;

    if (name[0] < '0' || name[0] > '9')
        return;
    snprintf(path, sizeof(path), "%s/fd/%.16s", folder, name);
    n = syscall(SYS_readlinkat, AT_FDCWD, path, target, sizeof(target) - 1);
    if (n < 0) {
        list->unreadable += errno != ENOENT;
        return;
    }
    target[n] = '\0';
    if (strcmp(target, "anon_inode:[eventpoll]") != 0)
        return;
    snprintf(path, sizeof(path), "%s/fdinfo/%.16s", folder, name);
    list->fd = atoi(name);
    int r = prof__lines_each(path, epoll_line, list);
    if (r < 0 && r != -ENOENT)
        list->unreadable++;
}

static bool look_at_all(struct list *list, const char *folder)
{
    char buf[4096] __attribute__((aligned(8))), path[64];
    bool any = false;
    long n;

    snprintf(path, sizeof(path), "%s/fd", folder);
    int fd = open_file(path, O_DIRECTORY);
    if (fd < 0)
        return false;
    while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0)
        for (long at = 0; at < n;) {
            const struct entry *e = (const struct entry *)(buf + at);

            at += e->size;
            any = true;
            look_at(list, folder, e->name);
        }
    syscall(SYS_close, fd);
    return any;
}

static int try_thread(pid_t tid, void *arg)
{
    char folder[48];

    snprintf(folder, sizeof(folder), "/proc/self/task/%d", (int)tid);
    return look_at_all(arg, folder);
}

int prof__held_read(const char *proc, struct prof__arena *a, struct prof__image_held **ret_held,
                    size_t *ret_n, unsigned *ret_unreadable)
{
    struct list list = { .arena = a };
    char timers[48];
    int saved = errno;

    /* A first thread that has ended shows no descriptors; then those of the next that does. */
    if (!look_at_all(&list, proc) && strcmp(proc, "/proc/self") == 0)
        prof__tasks_each(try_thread, &list);
    snprintf(timers, sizeof(timers), "%.32s/timers", proc);
    prof__lines_each(timers, timer_line, &list);
    errno = saved;
    *ret_held = list.held;
    *ret_n = list.n;
    *ret_unreadable = list.unreadable;
    return list.out_of_memory ? -ENOMEM : 0;
}
