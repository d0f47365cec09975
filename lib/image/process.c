/*
 * process.c - the image of another process, which goes on meanwhile.
 *
 *   read      process_vm_readv(2); where a filter forbids that, /proc/PID/mem
 *   presence  /proc/PID/pagemap
 *   maps      /proc/PID/maps
 *   threads   /proc/PID/task/TID/syscall: where one that waits has its stack
 *   held      /proc/PID/fdinfo, /proc/PID/timers
 *
 * Asked to (prof__image_process_stop), each refresh() stops all threads for their registers:
 * PTRACE_SEIZE and PTRACE_INTERRUPT send no signal, and the kernel lets all go on by itself should
 * the tool be killed meanwhile. They go on as soon as the registers are read.
 */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <prof/prof.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/task.h"
#include "image/foreign.h"
#include "image/headroom.h"
#include "image/held.h"
#include "image/pagemap.h"
#include "symbol/elf_file.h"

enum {
    STOP_NS = 100 * 1000 * 1000,
    HOLD_MS = 1000,
    KEPT_REGISTERS = 6, /* rbx, rbp, r12 to r15 */
    STACK_MAX = 256 * 1024,
    RED_ZONE = 128,
};

struct process {
    pid_t pid;
    char proc[32], root[48], maps[48], pagemap_file[48], exe[48], program[4096];
    int mem; /* /proc/PID/mem; -1: not needed so far */
    bool stop;
    int64_t stopped_ns;
    struct prof__pagemap pagemap;
};

/* --- reading --------------------------------------------------------------------------------- */

static size_t read_by_file(struct process *p, uint64_t from, void *to, size_t n)
{
    char path[48];

    if (p->mem < 0) {
        snprintf(path, sizeof(path), "%s/mem", p->proc);
        p->mem = open(path, O_RDONLY | O_CLOEXEC);
    }
    ssize_t r = p->mem < 0 ? -1 : pread(p->mem, to, n, (off_t)from);
    return r > 0 ? (size_t)r : 0;
}

static size_t process_read(struct prof__image *image, uint64_t from, void *to, size_t n)
{
    struct process *p = image->backend;
    struct iovec local = { to, n }, remote = { (void *)(uintptr_t)from, n };

    if (p->mem >= 0)
        return read_by_file(p, from, to, n);
    ssize_t r = process_vm_readv(p->pid, &local, 1, &remote, 1, 0);
    if (r < 0 && (errno == ENOSYS || errno == EPERM))
        return read_by_file(p, from, to, n);
    return r > 0 ? (size_t)r : 0;
}

/* Where pagemap may not be read all is taken to be there. */
static void presence(struct prof__image *image, uint64_t from, size_t n, uint8_t *ret_state)
{
    struct process *p = image->backend;
    size_t told = prof__pagemap_read(&p->pagemap, p->pagemap_file, from, n, ret_state);

    if (told < n) {
        image->presence_unknown = true;
        memset(ret_state + told, PROF__PAGE_PRESENT, n - told);
    }
}

/* --- threads --------------------------------------------------------------------------------- */

static int read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    int e = errno;

    if (fd >= 0)
        close(fd);
    text[PROF_MAX(n, 0)] = '\0';
    return n < 0 ? -e : (int)n;
}

/* "NSpid:\t4242\t17": one for each namespace, the innermost last. */
static pid_t last_id(char *status)
{
    char *line = strstr(status, "\nNSpid:"), *end = line ? strchr(line + 1, '\n') : NULL;

    if (!end)
        return 0;
    *end = '\0';
    return (pid_t)atoi(strrchr(line, '\t') ? strrchr(line, '\t') + 1 : "0");
}

static void look_at_thread(struct prof__image *image, struct prof__image_thread *t)
{
    struct process *p = image->backend;
    struct prof__task_state state;
    struct prof__position at;
    char path[64], text[4096];

    snprintf(path, sizeof(path), "%s/task/%d/stat", p->proc, (int)t->tid);
    if (read_text(path, text, sizeof(text)) > 0 && prof__task_state_parse(text, &state) == 0) {
        memcpy(t->name, state.name, sizeof(t->name));
        t->state = state.state;
    }
    snprintf(path, sizeof(path), "%s/task/%d/wchan", p->proc, (int)t->tid);
    if (read_text(path, text, sizeof(text)) > 0 && strcmp(text, "0") != 0)
        snprintf(t->waits_in, sizeof(t->waits_in), "%.*s", (int)sizeof(t->waits_in) - 1, text);
    snprintf(path, sizeof(path), "%s/task/%d/status", p->proc, (int)t->tid);
    if (read_text(path, text, sizeof(text)) > 0)
        t->own_tid = last_id(text);
    t->hidden_regs = KEPT_REGISTERS;
    t->system_call = -1;
    snprintf(path, sizeof(path), "%s/task/%d/syscall", p->proc, (int)t->tid);
    int r = read_text(path, text, sizeof(text));
    if (r <= 0) {
        image->threads_unreadable += r != -ENOENT && r != -ESRCH;
        return;
    }
    prof__task_position_parse(text, &at);
    t->running = at.running;
    t->sp = at.sp;
    t->pc = at.pc;
    t->system_call = at.system_call;
    for (size_t i = 0; i < ARRAY_LEN(t->argument); i++)
        t->argument[i] = at.argument[i];
}

/* The ids of all threads, in the arena. */
static int list_threads(struct prof__image *image)
{
    struct process *p = image->backend;
    size_t room = 0;
    char path[48];

    snprintf(path, sizeof(path), "%s/task", p->proc);
    DIR *d = opendir(path);
    if (!d)
        return errno == ENOENT ? prof_set_last_error(-ESRCH, "process %d has ended", (int)p->pid)
                               : prof_set_last_error(-errno, "%s: %s", path, strerror(errno));
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        pid_t tid = (pid_t)atoi(e->d_name);

        if (tid <= 0)
            continue;
        if (image->n_threads == room) {
            struct prof__image_thread *more;

            room = room ? room * 2 : 64;
            more = prof__arena_array(&image->arena, room, sizeof(*more));
            if (!more) {
                closedir(d);
                return -ENOMEM;
            }
            if (image->n_threads)
                memcpy(more, image->thread, image->n_threads * sizeof(*more));
            image->thread = more;
        }
        image->thread[image->n_threads++] = (struct prof__image_thread) { .tid = tid };
    }
    closedir(d);
    return 0;
}

/* --- stopping -------------------------------------------------------------------------------- */

/* Shared with a child of ours that does it: whatever becomes of the child, all go on when it ends.
 */
struct stop {
    int64_t stopped_ns;
    size_t n;
    struct stopped {
        pid_t tid;
        int status; /* of the stop, waitpid(2) */
        enum { NONE, REFUSED, SEIZED, STOPPED, GONE } how;
        struct user_regs_struct regs;
    } thread[];
};

/* Until it has stopped, or `until_ns`. */
static void wait_for_stop(struct stopped *t, int64_t until_ns)
{
    int status;

    while (t->how == SEIZED) {
        pid_t r = waitpid(t->tid, &status, __WALL | WNOHANG);

        if (r == t->tid && WIFSTOPPED(status)) {
            t->status = status;
            t->how = STOPPED;
        } else if (r == t->tid || (r < 0 && errno != EINTR)) {
            t->how = GONE;
        } else if (prof__monotonic_ns() > until_ns) {
            return;
        } else {
            usleep(20);
        }
    }
}

/* A signal that was about to be delivered goes on its way. */
static void let_go(const struct stopped *t)
{
    int signal = t->status >> 16 == 0 ? WSTOPSIG(t->status) : 0;

    ptrace(PTRACE_DETACH, t->tid, NULL, (void *)(intptr_t)signal);
}

/* In the child: all stopped, `go` told, and let go when it is closed or a second has passed. */
static void hold_threads(struct stop *s, int ready, int go)
{
    int64_t start = prof__monotonic_ns(), until = start + STOP_NS;
    struct pollfd done = { .fd = go, .events = POLLIN };

    for (size_t i = 0; i < s->n; i++)
        if (ptrace(PTRACE_SEIZE, s->thread[i].tid, NULL, NULL) == 0)
            s->thread[i].how = SEIZED;
        else
            s->thread[i].how = errno == ESRCH ? GONE : REFUSED;
    start = prof__monotonic_ns();
    for (size_t i = 0; i < s->n; i++)
        if (s->thread[i].how == SEIZED)
            ptrace(PTRACE_INTERRUPT, s->thread[i].tid, NULL, NULL);
    for (size_t i = 0; i < s->n; i++) {
        struct stopped *t = &s->thread[i];

        wait_for_stop(t, until);
        if (t->how == STOPPED && ptrace(PTRACE_GETREGS, t->tid, NULL, &t->regs) != 0)
            t->regs.rsp = 0;
    }
    close(ready);
    poll(&done, 1, HOLD_MS);
    for (size_t i = 0; i < s->n; i++)
        if (s->thread[i].how == STOPPED)
            let_go(&s->thread[i]);
    s->stopped_ns = prof__monotonic_ns() - start;
    _exit(0);
}

/* What of the stack is in use and fits, as it is while its thread stands still. */
static void copy_stack(struct prof__image *image, struct prof__image_thread *t)
{
    const struct prof__image_map *m = prof__image_map_of(image, t->sp);
    uint64_t from = t->sp - PROF_MIN(t->sp, (uint64_t)RED_ZONE);

    if (!m || from < m->start)
        return;
    size_t n = PROF_MIN(m->end - from, (uint64_t)STACK_MAX);
    t->stack = prof__arena_alloc(&image->arena, n);
    t->stack_from = from;
    t->stack_n = t->stack ? process_read(image, from, t->stack, n) : 0;
}

static int stop_threads(struct prof__image *image)
{
    struct process *p = image->backend;
    size_t size = sizeof(struct stop) + image->n_threads * sizeof(struct stopped);
    struct stop *s = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int ready[2], go[2], status;
    char byte;

    if (s == MAP_FAILED)
        return -ENOMEM;
    s->n = image->n_threads;
    for (size_t i = 0; i < s->n; i++)
        s->thread[i].tid = image->thread[i].tid;
    if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0)
        return prof_set_last_error(-errno, "pipe: %s", strerror(errno));
    pid_t child = fork();
    if (child == 0) {
        close(ready[0]);
        close(go[1]);
        hold_threads(s, ready[1], go[0]);
    }
    close(ready[1]);
    close(go[0]);
    while (child > 0 && read(ready[0], &byte, 1) < 0 && errno == EINTR)
        ;
    for (size_t i = 0; i < s->n; i++) {
        struct prof__image_thread *t = &image->thread[i];

        image->threads_unreadable += s->thread[i].how == REFUSED;
        image->threads_silent += s->thread[i].how == SEIZED;
        if (s->thread[i].how == STOPPED && s->thread[i].regs.rsp) {
            prof__image_take_registers(t, &s->thread[i].regs);
            t->hidden_regs = 0;
            t->running = false;
            copy_stack(image, t);
        }
    }
    close(go[1]);
    close(ready[0]);
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    p->stopped_ns = s->stopped_ns;
    munmap(s, size);
    return child < 0 ? prof_set_last_error(-EAGAIN, "fork: no process could be made") : 0;
}

/* --- operations ------------------------------------------------------------------------------ */

/* "VmSwap:     0 kB" */
static bool has_swapped(struct process *p)
{
    char path[48], text[4096];

    snprintf(path, sizeof(path), "%s/status", p->proc);
    const char *line = read_text(path, text, sizeof(text)) > 0 ? strstr(text, "\nVmSwap:") : NULL;
    return !line || strspn(line + 8, " \t0") < strcspn(line + 8, "k");
}

static int refresh(struct prof__image *image)
{
    struct process *p = image->backend;
    struct prof__image_held *held;
    int r;

    prof__arena_free(&image->arena);
    image->map = NULL;
    image->thread = NULL;
    image->n_maps = image->n_threads = image->n_held = 0;
    image->threads_unreadable = image->threads_silent = 0;
    p->pagemap.n = 0;
    if ((r = prof__held_read(p->proc, &image->arena, &held, &image->n_held,
                             &image->descriptors_unreadable)) < 0 ||
        (r = list_threads(image)) < 0)
        return r;
    image->held = held;
    for (size_t i = 0; i < image->n_threads; i++)
        look_at_thread(image, &image->thread[i]);
    if ((r = prof__image_take_maps(image, p->maps)) < 0)
        return r;
    if (p->stop)
        r = stop_threads(image);
    image->swapped = has_swapped(p);
    return r;
}

static int look_again(struct prof__image *image, struct prof__image *ret)
{
    struct process *p = image->backend;

    *ret = (struct prof__image) { .backend = p, .root = p->root };
    return prof__image_take_maps(ret, p->maps);
}

static uint64_t headroom(struct prof__image *image)
{
    (void)image;
    return prof__memory_headroom();
}

static void process_close(struct prof__image *image)
{
    struct process *p = image->backend;

    if (p->mem >= 0)
        close(p->mem);
    free(p);
}

static const struct prof__image_ops ops = {
    .refresh = refresh,
    .read = process_read,
    .presence = presence,
    .look_again = look_again,
    .blocks = prof__image_given_blocks,
    .now_s = prof__image_last_birth,
    .function = prof__image_function,
    .headroom = headroom,
    .close = process_close,
};

/* A program whose file was replaced, as an update does, is still there to be read. */
static void find_program(struct prof__image *image)
{
    static const char suffix[] = " (deleted)";
    struct process *p = image->backend;

    snprintf(p->exe, sizeof(p->exe), "%s/exe", p->proc);
    ssize_t n = readlink(p->exe, p->program, sizeof(p->program) - 1);
    if (n < (ssize_t)sizeof(suffix) || strcmp(p->program + n - (sizeof(suffix) - 1), suffix) != 0)
        return;
    p->program[n - (ssize_t)(sizeof(suffix) - 1)] = '\0';
    image->program = p->program;
    image->program_file = p->exe;
}

/* --- opening --------------------------------------------------------------------------------- */

/* Is its program one that we can read? */
static int check_program(struct process *p)
{
    char path[48];
    Elf64_Ehdr h = { 0 };

    snprintf(path, sizeof(path), "%s/exe", p->proc);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == EACCES || errno == EPERM))
        return prof__image_refused(p->pid);
    ssize_t n = fd < 0 ? 0 : read(fd, &h, sizeof(h));
    if (fd >= 0)
        close(fd);
    if (n == (ssize_t)sizeof(h) && memcmp(h.e_ident, ELFMAG, SELFMAG) == 0 &&
        !prof__elf_is_ours(&h))
        return prof_set_last_error(-ENOTSUP,
                                   h.e_ident[EI_CLASS] == ELFCLASS32
                                       ? "process %d is a 32-bit program: profctl reads x86-64"
                                       : "process %d is a program for another processor: profctl "
                                         "reads x86-64",
                                   (int)p->pid);
    return 0;
}

/* Can it be read at all? */
static int try_reading(struct prof__image *image)
{
    struct process *p = image->backend;
    uint64_t word;
    int r = prof__image_take_maps(image, p->maps);

    if (r == -EACCES || r == -EPERM)
        return prof__image_refused(p->pid);
    if (r == -ENOENT || r == -ESRCH)
        return prof_set_last_error(-ESRCH, "there is no process %d", (int)p->pid);
    if (r < 0)
        return r;
    if (image->n_maps == 0)
        return prof_set_last_error(-ESRCH,
                                   "process %d has no memory: it has ended, or is a thread of the "
                                   "kernel",
                                   (int)p->pid);
    for (size_t i = 0; i < image->n_maps; i++)
        if (image->map[i].readable && !image->map[i].untouchable &&
            prof__image_word(image, image->map[i].start, &word))
            return 0;
    return prof__image_refused(p->pid);
}

int prof__image_process(struct prof__image *ret, pid_t pid)
{
    struct process *p = calloc(1, sizeof(*p));
    int r;

    *ret = (struct prof__image) { 0 };
    if (!p)
        return -ENOMEM;
    *p = (struct process) { .pid = pid, .mem = -1 };
    snprintf(p->proc, sizeof(p->proc), "/proc/%d", (int)pid);
    snprintf(p->root, sizeof(p->root), "%s/root", p->proc);
    snprintf(p->maps, sizeof(p->maps), "%s/maps", p->proc);
    snprintf(p->pagemap_file, sizeof(p->pagemap_file), "%s/pagemap", p->proc);
    *ret = (struct prof__image) { .ops = &ops, .backend = p, .root = p->root };
    if (access(p->proc, F_OK) < 0)
        r = prof_set_last_error(-ESRCH, "there is no process %d", (int)pid);
    else if ((r = check_program(p)) == 0)
        r = try_reading(ret);
    if (r < 0)
        prof__image_close(ret);
    else
        find_program(ret);
    return r;
}

void prof__image_process_stop(struct prof__image *image, bool stop)
{
    ((struct process *)image->backend)->stop = stop;
}

int64_t prof__image_process_stopped_ns(const struct prof__image *image)
{
    return ((const struct process *)image->backend)->stopped_ns;
}
