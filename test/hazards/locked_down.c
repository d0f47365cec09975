/*
 * locked_down.c - where the kernel, a filter or a limit refuses what libprof would like to have:
 * the program goes on, what cannot be had is told, and the rest works.
 *
 * Each case runs in a child of its own, since most of these restrictions cannot be taken back.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <prof/prof.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "burn.h"
#include "check.h"
#include "forbid.h"
#include "proc.h"
#include "text_profile.h"

static atomic_int stop;

static void *waits(void *arg)
{
    while (!atomic_load(&stop))
        poll(NULL, 0, 20);
    return NULL;
}

/* Told by labels: names may need what is refused. */
static void *works(void *arg)
{
    prof_labels_push("who", "works");
    while (!atomic_load(&stop))
        burn(0.01);
    return NULL;
}

/* A mount namespace of our own: as root, or as root of a user namespace. */
static int own_mounts(void)
{
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return -errno;
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 ? 0 : -errno;
}

static void heap_still_works(void)
{
    struct text_profile text;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* have a malloc of their own \
                                                                     */
    enum { BLOCKS = 50 };
    void *block[BLOCKS];
    int64_t rate = prof_set_heap_rate(1);

    CHECK_INT(text_profile_take(&text, "heap", 1), 0, prof_last_error());
    long before = text_profile_sum(&text, NULL);
    text_profile_free(&text);
    for (int i = 0; i < BLOCKS; i++)
        block[i] = malloc(1000);
    CHECK_INT(text_profile_take(&text, "heap", 1), 0, prof_last_error());
    CHECK(text_profile_sum(&text, NULL) >= before + BLOCKS, "%ld blocks, before %ld",
          text_profile_sum(&text, NULL), before);
    text_profile_free(&text);
    for (int i = 0; i < BLOCKS; i++)
        free(block[i]);
    prof_set_heap_rate(rate);
#endif
    CHECK_INT(text_profile_take(&text, "heap", 1), 0, prof_last_error());
    text_profile_free(&text);
}

/* What is seen of two threads more than main. */
static void threads_are(long whole, long all)
{
    struct text_profile text;
    pthread_t a;

    pthread_create(&a, NULL, waits, NULL);
    for (int i = 0; i < 200; i++) { /* until it has come to where it waits, and is met there */
        usleep(50000);
        CHECK_INT(text_profile_take(&text, "threads", 1), 0, prof_last_error());
        if (i == 199 || text_profile_sum(&text, "waits") == whole)
            break;
        text_profile_free(&text);
    }
    CHECK_INT(text_profile_sum(&text, NULL), all, "threads");
    CHECK_INT(text_profile_sum(&text, "waits"), whole, "threads with a whole stack");
    text_profile_free(&text);
    atomic_store(&stop, 1);
    pthread_join(a, NULL);
    atomic_store(&stop, 0);
}

static void cpu_works(const char *but)
{
    struct prof_window *w = NULL;
    struct text_profile text;

    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    if (!w)
        return;
    prof_labels_push("who", "main");
    burn(0.2);
    prof_labels_pop();
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    CHECK_BETWEEN(text_profile_sum(&text, "\"who\":\"main\""), 17, 23, "samples");
    if (but)
        CHECK(text.text && strstr(text.text, but) != NULL, "told: %s: %.400s", but, text.text);
    text_profile_free(&text);
    prof_window_close(w);
}

/* --- the cases ------------------------------------------------------------------------------- */

/* A thread that runs cannot be asked for its stack; those that wait are whole all the same. */
static void running_cannot_be_asked(const char *told)
{
    struct text_profile text;
    pthread_t t;

    pthread_create(&t, NULL, works, NULL);
    CHECK_INT(text_profile_take(&text, "threads", 1), 0, prof_last_error());
    CHECK_INT(text_profile_sum(&text, NULL), 2, "threads");
    CHECK_INT(text_profile_sum(&text, "[no answer]"), 1, "running threads");
    CHECK(strstr(text.text, "cannot be asked") && strstr(text.text, told), "told: %.300s",
          text.text);
    text_profile_free(&text);
    threads_are(1, 3); /* and the first may have been told to stop */
    atomic_store(&stop, 1);
    pthread_join(t, NULL);
    atomic_store(&stop, 0);
}

static void no_timer_create(void)
{
    struct prof_window *w = NULL;

    CHECK_INT(forbid(SYS_timer_create, EPERM), 0, "filter");
    CHECK_INT(prof_window_open("profile", &w), -EPERM, "no timers");
    CHECK(strstr(prof_last_error(), "timers") != NULL, "told: %s", prof_last_error());
    burn(0.05);
    heap_still_works();
    threads_are(1, 2);
    running_cannot_be_asked("Operation not permitted");
}

static void no_process_vm_readv(void)
{
    CHECK_INT(forbid(SYS_process_vm_readv, EPERM), 0, "filter");
    threads_are(1, 2);
    cpu_works(NULL);
}

/* How libprof's own threads sleep; libc's wait by other numbers of futex(2). Whether the thread
 * that looks after a CPU profile does, and does not run all the time, the kernel counts. */
static void no_futex_wait(void)
{
    enum { SLEEPS = 5, WATCHDOG_MS = 10000 };
    struct prof_window *w = NULL;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FUTEX_WAIT_BITSET_PRIVATE, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };
    long first = -1, slept = -1;
    char path[64];
    pid_t tid = 0;

    CHECK_INT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0, "prctl");
    CHECK_INT(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0, "filter");
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    for (int ms = 0; slept < first + SLEEPS && ms < WATCHDOG_MS; ms += 10) {
        usleep(10000);
        if (!tid && proc_threads_named("prof-cpu", &tid) == 0)
            continue;
        snprintf(path, sizeof(path), "/proc/self/task/%d/status", (int)tid);
        slept = proc_status_of(path, "voluntary_ctxt_switches:");
        first = first < 0 ? slept : first;
    }
    CHECK(first >= 0 && slept >= first + SLEEPS, "it sleeps: %ld times, then %ld", first, slept);
    prof_window_close(w);
    cpu_works(NULL);
    heap_still_works();
}

/* Our threads go without a name. */
static void no_prctl(void)
{
    CHECK_INT(forbid(SYS_prctl, EPERM), 0, "filter");
    CHECK(prctl(PR_GET_DUMPABLE) == -1 && errno == EPERM, "it is refused");
    threads_are(1, 2);
    cpu_works(NULL);
    heap_still_works();
}

/* What profilers like to use; of these, libprof uses the last two, and perf_event_open() for a
 * trace that is to tell when threads ran. */
static void none_of_what_profilers_use(void)
{
    static const int refused[] = {
        SYS_mincore,        SYS_perf_event_open,   SYS_ptrace,           SYS_bpf,  SYS_userfaultfd,
        SYS_timerfd_create, SYS_process_vm_writev, SYS_process_vm_readv, SYS_prctl
    };

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        CHECK_INT(forbid(refused[i], EPERM), 0, "filter");
    CHECK(syscall(SYS_mincore, NULL, 0, NULL) == -1 && errno == EPERM, "mincore is refused");
    threads_are(1, 2);
    cpu_works(NULL);
    heap_still_works();
}

static void no_signals_left(void)
{
    struct rlimit none = { 0, 0 };
    struct prof_window *w = NULL;

    CHECK_INT(setrlimit(RLIMIT_SIGPENDING, &none), 0, "limit");
    int r = prof_window_open("profile", &w);
    CHECK(r == -EAGAIN, "%d: %s", r, prof_last_error());
    CHECK(strstr(prof_last_error(), "RLIMIT_SIGPENDING") != NULL, "told: %s", prof_last_error());
    prof_window_close(w);
    threads_are(1, 2);
    heap_still_works();
    running_cannot_be_asked("RLIMIT_SIGPENDING");
}

/* Other processes of the user count, and theirs come and go: so be a user who has none, if that may
 * be; and what is left over is tried out. */
static void few_signals_left(void)
{
    struct prof_window *w = NULL;
    struct text_profile text;
    struct rlimit limit;
    pthread_t t[6];
    uid_t nobody_else = 200000000 + (uid_t)getpid();

    if (getuid() == 0 && setresuid(nobody_else, nobody_else, nobody_else) == 0)
        prctl(PR_SET_DUMPABLE, 1);
    for (int i = 0; i < 6; i++)
        pthread_create(&t[i], NULL, works, NULL);
    getrlimit(RLIMIT_SIGPENDING, &limit);
    for (limit.rlim_cur = 1; limit.rlim_cur < 4096 && !w; limit.rlim_cur++) {
        CHECK_INT(setrlimit(RLIMIT_SIGPENDING, &limit), 0, "limit");
        prof_window_open("profile", &w);
    }
    CHECK(w != NULL, "opened with one timer: %s", prof_last_error());
    burn(0.1);
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    CHECK(text.text && strstr(text.text, "threads are not sampled: no timer to be had") != NULL,
          "told: %.400s", text.text);
    text_profile_free(&text);
    prof_window_close(w);
    atomic_store(&stop, 1);
    for (int i = 0; i < 6; i++)
        pthread_join(t[i], NULL);
}

static void without_proc(void)
{
    struct text_profile text;
    pthread_t a;

    pthread_create(&a, NULL, works, NULL);
    CHECK_INT(text_profile_take(&text, "threads", 1), -ENOENT, "threads");
    CHECK(strstr(prof_last_error(), "/proc") != NULL, "told: %s", prof_last_error());
    text_profile_free(&text);
    CHECK_INT(prof_profile_count(prof_lookup("threads")) < 0, 1, "count");
    cpu_works("/proc");
    struct prof_window *w = NULL;
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    burn(0.1);
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    CHECK(text_profile_sum(&text, "\"who\":\"works\"") > 3, "threads are found without /proc");
    text_profile_free(&text);
    prof_window_close(w);
    atomic_store(&stop, 1);
    pthread_join(a, NULL);
    atomic_store(&stop, 0);
    heap_still_works();
}

static void no_proc(void)
{
    int r = own_mounts();

    if (r < 0 || mount("none", "/proc", "tmpfs", 0, NULL) != 0) {
        printf("skipped: /proc cannot be hidden here: %s\n", strerror(r < 0 ? -r : errno));
        return;
    }
    without_proc();
}

/* A pid namespace of our own whose /proc is still the outer one's, where threads have other ids. */
static void outer_proc(void)
{
    int status = 0;

    if (unshare(CLONE_NEWPID) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) {
        printf("skipped: no pid namespace of our own here: %s\n", strerror(errno));
        return;
    }
    fflush(stdout);
    pid_t child = fork(); /* who is in it */
    if (child == 0) {
        struct text_profile text;
        char self[16] = "";
        pthread_t t;

        CHECK(getpid() == 1 && readlink("/proc/self", self, sizeof(self)) > 0 && atoi(self) != 1,
              "two ids: %d, %s", getpid(), self);
        pthread_create(&t, NULL, works, NULL);
        CHECK_INT(text_profile_take(&text, "threads", 1), 0, prof_last_error());
        CHECK_INT(text_profile_sum(&text, NULL), 2, "threads");
        CHECK_INT(text_profile_sum(&text, "["), 0, "threads with something missing");
        text_profile_free(&text);
        threads_are(1, 3);
        atomic_store(&stop, 0);
        cpu_works(NULL);
        atomic_store(&stop, 1);
        pthread_join(t, NULL);
        fflush(stdout);
        _exit(check_failed || !check_passed);
    }
    waitpid(child, &status, 0);
    CHECK_INT(status, 0, "status of who is in it");
}

/* An empty root that cannot be written: no /proc, no /tmp, and none of the program's own files. */
static void empty_root(void)
{
    int r = own_mounts();

    if (r < 0 || mount("none", "/proc", "tmpfs", MS_RDONLY, NULL) != 0 || chroot("/proc") != 0 ||
        chdir("/") != 0) {
        printf("skipped: no root of our own here: %s\n", strerror(r < 0 ? -r : errno));
        return;
    }
    CHECK(open("/file", O_WRONLY | O_CREAT, 0600) == -1 && errno == EROFS, "%s", strerror(errno));
    CHECK(access("/tmp", F_OK) == -1 && access("/proc", F_OK) == -1, "nothing is there");
    without_proc();
    CHECK(rmdir("/file") == -1 && errno == EROFS, "nothing was written: %s", strerror(errno));
}

static void not_dumpable(void)
{
    struct text_profile text;
    pthread_t a;

    CHECK_INT(prctl(PR_SET_DUMPABLE, 0), 0, "prctl");
    if (getuid() == 0 && setresuid(65534, 65534, 65534) != 0)
        return;
    prctl(PR_SET_DUMPABLE, 0);
    pthread_create(&a, NULL, waits, NULL);
    int r = text_profile_take(&text, "threads", 1);
    for (int i = 0; i < 200 && r == 0; i++) { /* until it has come to where it waits */
        if (text_profile_sum(&text, "waits") == 1 || strstr(text.text, "cannot be read"))
            break;
        text_profile_free(&text);
        usleep(50000);
        r = text_profile_take(&text, "threads", 1);
    }
    if (r == 0) {
        CHECK_INT(text_profile_sum(&text, NULL), 2, "threads");
        CHECK(text_profile_sum(&text, "waits") == 1 || strstr(text.text, "cannot be read") != NULL,
              "whole, or told: %.400s", text.text);
        text_profile_free(&text);
    } else {
        CHECK(*prof_last_error(), "told: %d", r);
    }
    struct prof_window *w = NULL;
    if (prof_window_open("profile", &w) == 0) {
        burn(0.1);
        CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
        CHECK_BETWEEN(text_profile_sum(&text, "burn"), 7, 13, "samples");
        text_profile_free(&text);
        prof_window_close(w);
    } else {
        CHECK(*prof_last_error(), "told");
    }
    atomic_store(&stop, 1);
    pthread_join(a, NULL);
}

static void few_descriptors(void)
{
    struct rlimit few = { 8, 8 };
    struct text_profile text;

    CHECK_INT(setrlimit(RLIMIT_NOFILE, &few), 0, "limit");
    while (open("/dev/null", O_RDONLY) >= 0)
        ;
    CHECK_INT(text_profile_take(&text, "threads", 1), -EMFILE, "no descriptor left");
    CHECK(*prof_last_error(), "told: %s", prof_last_error());
    text_profile_free(&text);
    cpu_works("/proc");
    close(7);
    threads_are(1, 2);
}

/* A tight RLIMIT_AS: enough, then ever less; what there is no room for is refused with a reason,
 * and what the program asks for it gets while there is room. */
__attribute__((unused)) static void little_address_space(void)
{
    static const size_t rooms[] = { 64 << 20, 16 << 20, 4 << 20, 1 << 20, 64 << 10 };
    static const char *const names[] = { "heap", "threads", "mutex", "threadcreate" };
    static char block[4000]; /* no memory is to be had for this */
    struct rlimit limit;
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    CHECK(f && fscanf(f, "%lu", &pages) == 1, "the size of this process");
    if (f)
        fclose(f);
    size_t used = pages * (size_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        int refused = 0;

        limit = (struct rlimit) { used + rooms[i], RLIM_INFINITY };
        CHECK_INT(setrlimit(RLIMIT_AS, &limit), 0, "limit");
        if (i == 0) {
            cpu_works(NULL);
            threads_are(1, 2);
            heap_still_works();
        }
        for (size_t j = 0; j < sizeof(names) / sizeof(names[0]); j++) {
            struct text_profile text;
            int r = text_profile_take(&text, names[j], 1);

            refused += r < 0;
            CHECK(r == 0 || *prof_last_error(), "%s is refused without a reason: %d", names[j], r);
            text_profile_free(&text);
        }
        CHECK(i > 0 || refused == 0, "%d refused with %zu bytes", refused, rooms[i]);
        char *p = malloc(sizeof(block));
        CHECK(p != NULL, "the program's own block, with %zu bytes left", rooms[i]);
        if (p)
            memcpy(p, block, sizeof(block));
        free(p);
    }
    limit.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_AS, &limit);
    threads_are(1, 2);
    heap_still_works();
}

static void no_more_threads(void)
{
    struct rlimit none = { 0, 0 };
    struct prof_window *w = NULL;
    struct text_profile text;

    if (getuid() == 0 && setresuid(65534, 65534, 65534) != 0)
        return;
    CHECK_INT(setrlimit(RLIMIT_NPROC, &none), 0, "limit");
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    burn(0.1);
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    CHECK_BETWEEN(text_profile_sum(&text, "burn"), 7, 13, "samples");
    CHECK(text.text && strstr(text.text, "no thread could be made") != NULL, "told: %.300s",
          text.text);
    text_profile_free(&text);
    prof_window_close(w);
}

/* What libprof makes of its own accord, as docs/contexts.md has it, and libc for it or for this
 * program. All else ends the process. */
#define CALL(name)        \
    {                     \
#name, SYS_##name \
    }
static const struct {
    const char *name;
    int number;
} calls[] = {
    CALL(arch_prctl),
    CALL(brk),
    CALL(clock_gettime),
    CALL(clock_nanosleep),
    CALL(clone),
    CALL(clone3),
    CALL(close),
    CALL(exit),
    CALL(exit_group),
    CALL(fstat),
    CALL(futex),
    CALL(getdents64),
    CALL(getpid),
    CALL(getrandom),
    CALL(get_robust_list),
    CALL(getrusage),
    CALL(gettid),
    CALL(lseek),
    CALL(madvise),
    CALL(mmap),
    CALL(mprotect),
    CALL(munmap),
    CALL(newfstatat),
    CALL(openat),
    CALL(poll),
    CALL(prctl),
    CALL(pread64),
    CALL(process_vm_readv),
    CALL(read),
    CALL(readlink),
    CALL(rseq),
    CALL(rt_sigaction),
    CALL(rt_sigprocmask),
    CALL(rt_sigreturn),
    CALL(rt_sigtimedwait),
    CALL(sched_yield),
    CALL(set_robust_list),
    CALL(tgkill),
    CALL(timer_create),
    CALL(timer_delete),
    CALL(timer_gettime),
    CALL(timer_settime),
    CALL(write),
};

__attribute__((unused)) static void only_listed_calls(void)
{
    enum { CALLS = sizeof(calls) / sizeof(calls[0]) };
    struct sock_filter code[2 * CALLS + 2] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    struct sock_fprog program = { 2 * CALLS + 2, code };
    struct text_profile text;
    pthread_t t;

    for (size_t i = 0; i < CALLS; i++) {
        code[2 * i + 1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                                                       (unsigned)calls[i].number, 0, 1);
        code[2 * i + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    code[2 * CALLS + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    CHECK_INT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0, "prctl");
    CHECK_INT(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0, "filter");

    pthread_create(&t, NULL, works, NULL);
    CHECK_INT(text_profile_take(&text, "threads", 2), 0, prof_last_error());
    text_profile_free(&text);
    cpu_works(NULL);
    atomic_store(&stop, 1);
    pthread_join(t, NULL);
    atomic_store(&stop, 0);
    threads_are(1, 2);
    heap_still_works();
    static const char *const names[] = { "allocs", "mutex", "block", "threadcreate" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        CHECK_INT(text_profile_take(&text, names[i], 0), 0, prof_last_error());
        text_profile_free(&text);
    }
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* make calls of their own */
    { "only the calls that are listed", only_listed_calls },
    { "a tight RLIMIT_AS", little_address_space },
#endif
    { "no timer_create", no_timer_create },
    { "no process_vm_readv", no_process_vm_readv },
    { "no prctl", no_prctl },
    { "no futex that waits", no_futex_wait },
    { "none of what profilers use", none_of_what_profilers_use },
    { "RLIMIT_SIGPENDING 0", no_signals_left },
    { "RLIMIT_SIGPENDING used up", few_signals_left },
    { "no /proc", no_proc },
    { "the /proc of an outer pid namespace", outer_proc },
    { "an empty root, not to be written", empty_root },
    { "not dumpable, nobody", not_dumpable },
    { "8 descriptors", few_descriptors },
    { "no more threads", no_more_threads },
};

/* Each call stands in the text between `ticks`. */
static void test_the_list_is_documented(const char *path)
{
    static char text[64 * 1024];
    FILE *f = fopen(path, "r");

    CHECK(f && fread(text, 1, sizeof(text) - 1, f) > 0, "%s: %s", path, strerror(errno));
    if (f)
        fclose(f);
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        char name[64];

        snprintf(name, sizeof(name), "`%s`", calls[i].name);
        CHECK(strstr(text, name) != NULL, "%s does not have %s", path, name);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        test_the_list_is_documented(argv[1]);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int status = 0;

        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            alarm(100);
            check_passed = check_failed = 0;
            printf("%s\n", cases[i].name);
            cases[i].run();
            fflush(stdout);
            _exit(check_failed ? 1 : check_passed ? 0 : 77);
        }
        waitpid(child, &status, 0);
        CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77),
              "%s: status %#x", cases[i].name, (unsigned)status);
    }
    return check_report();
}
