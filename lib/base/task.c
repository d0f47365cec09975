/*
 * task.c - reading /proc/self/task.
 *
 * The formats are those of proc(5). A line is parsed from where its fixed part begins: a thread's
 * name may hold any byte, parentheses and newlines included.
 *
 * In a pid namespace whose /proc is still that of an outer one, as some sandboxes are, threads have
 * other ids there than those by which they know themselves. So do the names of their files; each
 * file "status" tells both. All others here use a thread's own.
 */
#include "base/task.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PROBE_NUMBERS = 8192, BLOCKS_TRIES = 4, STATUS_BYTES = 4096, OUTER_IDS = 4096 };

/* As getdents64(2) fills them. */
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t size;
    uint8_t type;
    char name[];
};

pid_t prof__gettid(void)
{
    return (pid_t)syscall(SYS_gettid);
}

static int open_path(const char *path, int flags)
{
    int fd;

    do
        fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_RDONLY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

/* read(2) and close(2) are points of cancellation; the system calls are not. */
static ssize_t read_fd(int fd, void *buf, size_t size)
{
    ssize_t n;

    do
        n = syscall(SYS_read, fd, buf, size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static pid_t number(const char *s)
{
    long n = 0;

    for (; *s >= '0' && *s <= '9' && n < 1L << 30; s++)
        n = n * 10 + (*s - '0');
    return *s ? 0 : (pid_t)n;
}

/* --- files, by the ids of /proc --------------------------------------------------------------- */

static int read_file(pid_t id, const char *name, char *buf, size_t size)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/task/%d/%s", (int)id, name);
    int r = open_path(path, 0);
    if (r >= 0) {
        int fd = r;
        ssize_t n = 0;

        r = 0;
        while ((size_t)r < size - 1 && (n = read_fd(fd, buf + r, size - 1 - (size_t)r)) > 0)
            r += (int)n;
        syscall(SYS_close, fd);
        if (n < 0)
            r = (int)n;
        else
            buf[r] = '\0';
    }
    return r;
}

static int each_entry(const char *buf, size_t size, int (*each)(pid_t tid, void *arg), void *arg)
{
    int r = 0;

    for (size_t at = 0; at < size && r == 0;) {
        const struct entry *e = (const struct entry *)(buf + at);
        pid_t tid = number(e->name);

        at += e->size;
        if (tid > 0)
            r = each(tid, arg);
    }
    return r;
}

static int each_id(int (*each)(pid_t id, void *arg), void *arg)
{
    char buf[4096] __attribute__((aligned(8)));
    int r = open_path("/proc/self/task", O_DIRECTORY);

    if (r >= 0) {
        int fd = r;
        long n;

        r = 0;
        while (r == 0 && (n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) != 0)
            r = n < 0 ? -errno : each_entry(buf, (size_t)n, each, arg);
        syscall(SYS_close, fd);
    }
    return r;
}

/* --- ids -------------------------------------------------------------------------------------- */

/* By a thread's own id modulo their number: that above, and its id in /proc. */
static _Atomic uint64_t outer_ids[OUTER_IDS];

/* Has /proc other ids? Asked once a process, and with `again`. */
static bool ids_differ(bool again)
{
    static _Atomic uint64_t asked; /* the process, above the answer */
    uint64_t pid = (uint64_t)getpid(), seen = atomic_load_explicit(&asked, memory_order_relaxed);
    char text[24];

    if (again || seen >> 1 != pid) {
#ifdef SYS_readlink /* a filter may know this one only */
        long n = syscall(SYS_readlink, "/proc/self", text, sizeof(text) - 1);
#else
        long n = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self", text, sizeof(text) - 1);
#endif

        text[PROF_MAX(n, 0)] = '\0';
        seen = pid << 1 | (n > 0 && number(text) != (pid_t)pid);
        atomic_store_explicit(&asked, seen, memory_order_relaxed);
    }
    return seen & 1;
}

/* What a thread calls itself: the last number of "NSpid:", which has one for each namespace. */
static pid_t own_id(pid_t id)
{
    char text[STATUS_BYTES], *line, *end;

    if (read_file(id, "status", text, sizeof(text)) < 0 || !(line = strstr(text, "\nNSpid:")) ||
        !(end = strchr(line + 1, '\n')))
        return 0;
    *end = '\0';
    return number(strrchr(line, '\t') + 1);
}

struct own_ids {
    int (*each)(pid_t tid, void *arg); /* NULL: only remember them */
    void *arg;
};

static int with_own_id(pid_t id, void *arg)
{
    const struct own_ids *o = arg;
    pid_t tid = own_id(id);

    if (tid == 0)
        return 0;
    atomic_store_explicit(&outer_ids[(uint32_t)tid % OUTER_IDS], (uint64_t)tid << 32 | (uint32_t)id,
                          memory_order_relaxed);
    return o->each ? o->each(tid, o->arg) : 0;
}

/* The id of a thread in /proc; 0: it is not there. */
static pid_t id_in_proc(pid_t tid)
{
    if (!ids_differ(false))
        return tid;
    for (int tries = 0; tries < 2; tries++) {
        uint64_t seen =
            atomic_load_explicit(&outer_ids[(uint32_t)tid % OUTER_IDS], memory_order_relaxed);

        /* It may be another's by now. */
        if (seen >> 32 == (uint32_t)tid && own_id((pid_t)(uint32_t)seen) == tid)
            return (pid_t)(uint32_t)seen;
        if (tries == 0)
            each_id(with_own_id, &(struct own_ids) { NULL, NULL });
    }
    return 0;
}

/* --- what others ask -------------------------------------------------------------------------- */

int prof__tasks_each(int (*each)(pid_t tid, void *arg), void *arg)
{
    int saved = errno;
    int r = ids_differ(true) ? each_id(with_own_id, &(struct own_ids) { each, arg })
                             : each_id(each, arg);

    errno = saved;
    return r;
}

int prof__tasks_probe(int (*each)(pid_t tid, void *arg), void *arg)
{
    int saved = errno, r = 0;
    pid_t pid = getpid();

    for (pid_t tid = pid; tid < pid + PROBE_NUMBERS && r == 0; tid++)
        if (syscall(SYS_tgkill, pid, tid, 0) == 0)
            r = each(tid, arg);
    errno = saved;
    return r;
}

int prof__task_read(pid_t tid, const char *name, char *buf, size_t size)
{
    int saved = errno;
    pid_t id = id_in_proc(tid);
    int r = id ? read_file(id, name, buf, size) : -ENOENT;

    errno = saved;
    return r;
}

static uint64_t parse_hex(const char **s)
{
    uint64_t n = 0;

    for (;; (*s)++) {
        char c = **s;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                                                : 16;
        if (digit == 16)
            return n;
        n = n << 4 | digit;
    }
}

/* "running", or "NUMBER ARGUMENT.. 0xSP 0xPC"; without a system call, "-1 0xSP 0xPC". */
void prof__task_position_parse(const char *line, struct prof__position *ret)
{
    uint64_t last = 0, before = 0;
    const char *s = line;
    unsigned n = 0;

    *ret = (struct prof__position) { .running = true, .system_call = -1 };
    if ((line[0] < '0' || line[0] > '9') && line[0] != '-')
        return;
    ret->running = false;
    if (line[0] != '-') {
        ret->system_call = 0;
        for (; *s >= '0' && *s <= '9'; s++)
            ret->system_call = ret->system_call * 10 + (*s - '0');
    }
    while ((s = strstr(s, "0x")) != NULL) {
        s += 2;
        before = last;
        last = parse_hex(&s);
        if (ret->system_call >= 0 && n < ARRAY_LEN(ret->argument))
            ret->argument[n++] = last;
    }
    ret->sp = before;
    ret->pc = last;
}

int prof__task_position(pid_t tid, struct prof__position *ret)
{
    char line[256];
    int r = prof__task_read(tid, "syscall", line, sizeof(line));

    if (r < 0)
        return r == -ESRCH ? -ENOENT : r;
    prof__task_position_parse(line, ret);
    return 0;
}

/* Of the field `to`, from *s in `from`, where it then is. 0: there is none. */
static uint64_t number_of_field(const char **s, int from, int to)
{
    uint64_t n = 0;

    for (; *s && from < to; from++)
        *s = strchr(*s + 1, ' ');
    for (const char *c = *s; c && c[1] >= '0' && c[1] <= '9'; c++)
        n = n * 10 + (uint64_t)(c[1] - '0');
    return n;
}

int prof__task_state_parse(const char *line, struct prof__task_state *ret)
{
    const char *open = strchr(line, '('), *close = strrchr(line, ')');

    if (!open || !close || close < open || close[1] != ' ')
        return -EPROTO;
    size_t n = PROF_MIN((size_t)(close - open - 1), sizeof(ret->name) - 1);
    memcpy(ret->name, open + 1, n);
    ret->name[n] = '\0';
    ret->state = close[2];
    const char *s = close + 2;
    ret->threads = (unsigned)number_of_field(&s, 3, 20);
    ret->start_ticks = number_of_field(&s, 20, 22);
    return 0;
}

int prof__task_state(pid_t tid, struct prof__task_state *ret)
{
    char line[512];
    int r = prof__task_read(tid, "stat", line, sizeof(line));

    if (r < 0)
        return r == -ESRCH ? -ENOENT : r;
    return prof__task_state_parse(line, ret);
}

/* "TIME-ON-CPU TIME-WAITING TIMES-RUN" */
uint64_t prof__task_switches(pid_t tid)
{
    char line[96];
    int n = prof__task_read(tid, "schedstat", line, sizeof(line));
    const char *s = n > 0 ? strrchr(line, ' ') : NULL;
    uint64_t runs = 0;

    for (; s && s[1] >= '0' && s[1] <= '9'; s++)
        runs = runs * 10 + (uint64_t)(s[1] - '0');
    return n > 0 ? runs + 1 : 0;
}

static int blocked_mask(pid_t tid, uint64_t *ret)
{
    char text[STATUS_BYTES];
    int r = prof__task_read(tid, "status", text, sizeof(text));

    if (r < 0)
        return r;
    const char *s = strstr(text, "\nSigBlk:\t");
    if (!s)
        return -EPROTO;
    s += strlen("\nSigBlk:\t");
    *ret = parse_hex(&s);
    return 0;
}

static bool waits_for_signals(pid_t tid, int *ret_error)
{
    struct prof__position at;

    *ret_error = prof__task_position(tid, &at);
    return *ret_error == 0 && !at.running && at.system_call == SYS_rt_sigtimedwait;
}

/*
 * While a thread sleeps in rt_sigtimedwait(2) the kernel shows the signals that it waits for as not
 * blocked. So a mask is believed only if the thread was not there before, nor is after, and has not
 * been there and back in between, which takes a sleep.
 */
int prof__task_blocks(pid_t tid, int signal)
{
    for (int tries = 0; tries < BLOCKS_TRIES; tries++) {
        uint64_t mask, switches = prof__task_switches(tid);
        int error, r;

        if (waits_for_signals(tid, &error))
            return 1;
        if ((r = blocked_mask(tid, &mask)) < 0)
            return r;
        if (mask >> (signal - 1) & 1)
            return 1;
        /* Of ourselves we know; and where positions cannot be seen the mask has to do. */
        if (error < 0 || tid == prof__gettid())
            return 0;
        if (waits_for_signals(tid, &error))
            return 1;
        if (prof__task_switches(tid) == switches)
            return 0;
    }
    return -EAGAIN;
}
