/*
 * cpu_owner.c - signals that are the program's: its own SIGPROF handler, threads that block
 * signals, threads that wait for signals, a SIGSEGV handler that allocates and goes on, one that
 * hands out the memory that an action is in, and one that jumps out of the setting of an action.
 */
#include <errno.h>
#include <malloc.h>
#include <prof/prof.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "burn.h"
#include "check.h"
#include "span.h"
#include "text_profile.h"

static atomic_int stop, own_signals, foreign_signals, blocking;

static void on_own(int sig)
{
    atomic_fetch_add(&own_signals, 1);
}

static void test_a_handler_before_is_left_alone(void)
{
    struct sigaction own = { .sa_handler = on_own }, now;
    struct itimerval every = { { 0, 10000 }, { 0, 10000 } }, never = { { 0, 0 }, { 0, 0 } };
    struct prof_window *w = NULL;

    sigaction(SIGPROF, &own, NULL);
    setitimer(ITIMER_PROF, &every, NULL);
    CHECK_INT(prof_window_open("profile", &w), -EBUSY, "the program has a handler");
    CHECK(strstr(prof_last_error(), "SIGPROF") != NULL, "the reason is told: %s",
          prof_last_error());
    CHECK_INT(prof_cpu_start(text_profile_sink, NULL), -EBUSY, "the same");
    burn(0.2);
    setitimer(ITIMER_PROF, &never, NULL);
    sigaction(SIGPROF, NULL, &now);
    CHECK(now.sa_handler == on_own, "the handler is still there");
    CHECK(atomic_load(&own_signals) > 5, "and gets its signals");
    own.sa_handler = SIG_DFL;
    sigaction(SIGPROF, &own, NULL);
}

static void test_a_handler_that_comes_later_is_noticed(void)
{
    struct sigaction own = { .sa_handler = on_own };
    struct prof_window *w = NULL, *other = NULL;
    struct text_profile text;

    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    burn(0.3);
    atomic_store(&own_signals, 0);
    sigaction(SIGPROF, &own, NULL);
    burn(0.3);
    CHECK_INT(atomic_load(&own_signals), 0, "signals of ours that its handler got");
    CHECK_INT(text_profile_window(&text, w), 0, "the profile so far");
    CHECK_BETWEEN(text_profile_sum(&text, "burn"), 20, 45, "samples so far");
    CHECK(strstr(text.text, "SIGPROF") != NULL, "the profile says that it ended");
    text_profile_free(&text);
    CHECK_INT(prof_window_open("profile", &other), -EBUSY, "another reader meanwhile");
    prof_window_close(w);
    kill(getpid(), SIGPROF);
    CHECK_INT(atomic_load(&own_signals), 1, "its own signals arrive");

    own.sa_handler = SIG_IGN;
    sigaction(SIGPROF, &own, NULL);
    CHECK_INT(prof_window_open("profile", &w), 0, "an ignored signal is nobody's");
    own.sa_handler = SIG_DFL; /* whose effect is to end the process */
    sigaction(SIGPROF, &own, NULL);
    burn(0.3);
    prof_window_close(w);
    CHECK_INT(prof_window_open("profile", &w), 0, "and so is a default one");
    burn(0.05);
    prof_window_close(w);
    burn(0.05);
    kill(getpid(), SIGPROF); /* not of a timer; ours does not mind */
}

/* Each door by which a program sets an action, in the middle of a profile: no signal of ours comes
 * after it, neither to the handler nor to end the process. */
static void by_sigaction(void (*handler)(int))
{
    struct sigaction own = { .sa_handler = handler };

    sigaction(SIGPROF, &own, NULL);
}

#define BY(name)                                \
    static void by_##name(void (*handler)(int)) \
    {                                           \
        name(SIGPROF, handler);                 \
    }

void (*bsd_signal(int number, void (*handler)(int)))(int); /* no header has it any more */

/* clang-format off */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
BY(signal)
BY(ssignal)
BY(bsd_signal)
BY(__sysv_signal)
BY(sysv_signal)
BY(sigset)

static void by_sigignore(void (*handler)(int))
{
    if (handler != on_own)
        sigignore(SIGPROF);
    else
        by_sigaction(handler); /* as it takes none */
}
#pragma GCC diagnostic pop
/* clang-format on */

/* Who sets it: a thread as any, one that no profile shows, and one in a part that none does. */
enum who { ANY, HIDDEN, HIDING };

struct door {
    const char *name;
    void (*set)(void (*handler)(int));
    int has_code; /* of its own, and not that of another door */
};

struct setting {
    const struct door *door;
    void (*handler)(int);
};

static void *set_hidden(void *arg)
{
    const struct setting *s = arg;

    prof_thread_hide();
    s->door->set(s->handler);
    return NULL;
}

static void set(enum who who, struct setting s)
{
    struct prof_hiding hiding;
    pthread_t t;

    if (who == HIDDEN) {
        pthread_create(&t, NULL, set_hidden, &s);
        pthread_join(t, NULL);
    } else if (who == HIDING) {
        prof_hide_begin(&hiding);
        s.door->set(s.handler);
        prof_hide_end(&hiding);
    } else {
        s.door->set(s.handler);
    }
}

static void test_every_door_is_seen(void)
{
    static const struct door doors[] = {
        { "sigaction", by_sigaction, 1 },
        { "signal", by_signal, 1 },
        { "ssignal", by_ssignal, 0 },
        { "bsd_signal", by_bsd_signal, 0 },
        { "__sysv_signal", by___sysv_signal, 0 },
        { "sysv_signal", by_sysv_signal, 0 },
        { "sigset", by_sigset, 0 },
        { "sigignore", by_sigignore, 1 },
    };
    static const struct {
        enum who who;
        void (*handler)(int);
    } cases[] = { { ANY, on_own }, { ANY, SIG_DFL }, { HIDDEN, SIG_DFL }, { HIDING, SIG_DFL } };

    for (size_t i = 0; i < sizeof(doors) / sizeof(doors[0]); i++)
        for (size_t j = 0; j < sizeof(cases) / sizeof(cases[0]); j++) {
            struct prof_window *w = NULL;
            struct text_profile text;

            if (cases[j].who != ANY && !doors[i].has_code)
                continue;
            CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
            burn(0.11); /* libprof itself looks ten times a second */
            atomic_store(&own_signals, 0);
            set(cases[j].who, (struct setting) { &doors[i], cases[j].handler });
            burn(0.05);
            CHECK_INT(atomic_load(&own_signals), 0, doors[i].name);
            CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
            CHECK(strstr(text.text, "SIGPROF") != NULL, "%s: the profile ends", doors[i].name);
            text_profile_free(&text);
            prof_window_close(w);
            by_sigaction(SIG_DFL);
        }
}

/* --- threads that block or wait -------------------------------------------------------------- */

static void *busy_and_blocking(void *arg)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    atomic_fetch_add(&blocking, 1);
    while (!atomic_load(&stop))
        burn(0.01);
    return NULL;
}

/* Takes whatever signal comes, working now and then. */
static void *waits_for_signals(void *arg)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    atomic_fetch_add(&blocking, 1);
    while (!atomic_load(&stop)) {
        struct timespec t = { 0, 2000000 };
        int sig = sigtimedwait(&all, NULL, &t);

        if (sig > 0 && sig != SIGUSR1)
            atomic_fetch_add(&foreign_signals, 1);
        burn(0.0005);
    }
    return NULL;
}

static void *reads_signals(void *arg)
{
    struct signalfd_siginfo info;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    atomic_fetch_add(&blocking, 1);
    int fd = signalfd(-1, &all, SFD_NONBLOCK);
    while (!atomic_load(&stop)) {
        if (read(fd, &info, sizeof(info)) == sizeof(info) && info.ssi_signo != SIGUSR1)
            atomic_fetch_add(&foreign_signals, 1);
        burn(0.0005);
        usleep(2000);
    }
    close(fd);
    return NULL;
}

static void test_no_signal_of_ours_is_ever_waited_for(void)
{
    void *(*const work[])(void *) = { busy_and_blocking, waits_for_signals, reads_signals };
    struct prof_window *w = NULL;
    struct text_profile text;
    pthread_t before[3];

    for (int i = 0; i < 3; i++)
        pthread_create(&before[i], NULL, work[i], NULL);
    while (atomic_load(&blocking) < 3)
        usleep(1000);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    for (int i = 0; i < 40; i++) {
        CHECK_INT(text_profile_take(&text, "threads", 1), 0, prof_last_error());
        CHECK_INT(text_profile_sum(&text, NULL), 4, "threads");
        text_profile_free(&text);
        burn(0.01);
    }
    CHECK_INT(text_profile_window(&text, w), 0, "write");
    CHECK(strstr(text.text, "threads block SIGPROF") != NULL, "the profile says so: %.300s",
          text.text);
    CHECK_INT(text_profile_sum(&text, "busy_and_blocking"),
              text_profile_sum_of(&text, "[thread blocks SIGPROF]", "busy_and_blocking", 1),
              "time of a thread that blocks, without stacks");
    text_profile_free(&text);
    prof_window_close(w);
    atomic_store(&stop, 1);
    for (int i = 0; i < 3; i++)
        pthread_join(before[i], NULL);
    CHECK_INT(atomic_load(&foreign_signals), 0, "signals that the program did not send");
}

/* --- a thread whose work is to wait for all signals ------------------------------------------- */

enum { ROUNDS = 200 };

static pthread_mutex_t shared = PTHREAD_MUTEX_INITIALIZER;
static atomic_int taken[NSIG];

/* Until SIGTERM. */
static void *takes_signals(void *arg)
{
    sigset_t all;
    int sig;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    do {
        CHECK_INT(sigwait(&all, &sig), 0, "sigwait");
        pthread_mutex_lock(&shared);
        atomic_fetch_add(&taken[sig], 1);
        pthread_mutex_unlock(&shared);
        burn(0.0002); /* so that it is not always met asleep */
    } while (sig != SIGTERM);
    return NULL;
}

static void *locks(void *arg)
{
    while (!atomic_load(&stop)) {
        pthread_mutex_lock(&shared);
        burn(0.0002);
        pthread_mutex_unlock(&shared);
        usleep(200);
    }
    return NULL;
}

static void test_sigwait_gets_the_programs_signals_and_no_other(void)
{
    static const char *const dumps[] = { "threads", "mutex", "block" };
    struct prof_window *w = NULL;
    struct text_profile text;
    pthread_t taker, locker;
    int others = 0;
    sigset_t mine, before;

    atomic_store(&stop, 0);
    prof_set_mutex_fraction(1);
    prof_set_block_rate(1);
    sigemptyset(&mine);
    sigaddset(&mine, SIGUSR1);
    sigaddset(&mine, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &mine, &before); /* in all threads: what is for the process waits */
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    pthread_create(&taker, NULL, takes_signals, NULL);
    pthread_create(&locker, NULL, locks, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        int sig = i % 2 ? SIGUSR1 : SIGUSR2;

        CHECK_INT(i % 2 ? pthread_kill(taker, sig) : kill(getpid(), sig), 0, "send");
        if (i % 8 == 0) {
            CHECK_INT(text_profile_take(&text, dumps[i / 8 % 3], 1), 0, prof_last_error());
            text_profile_free(&text);
        }
        while (atomic_load(&taken[sig]) <= i / 2) /* alarm() ends a wait in vain */
            sched_yield();
    }
    pthread_kill(taker, SIGTERM);
    pthread_join(taker, NULL);
    clockid_t clock;
    pthread_getcpuclockid(locker, &clock);
    while (clock_of(clock) < 0.05) /* enough for some samples */
        usleep(1000);
    atomic_store(&stop, 1);
    pthread_join(locker, NULL);
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    CHECK(text_profile_sum(&text, "locks") > 0, "the thread beside it is sampled");
    text_profile_free(&text);
    prof_window_close(w);
    CHECK_INT(taken[SIGUSR1], ROUNDS / 2, "signals sent to the thread");
    CHECK_INT(taken[SIGUSR2], ROUNDS / 2, "signals sent to the process");
    CHECK_INT(taken[SIGTERM], 1, "the last signal");
    for (int i = 1; i < NSIG; i++)
        others += i == SIGUSR1 || i == SIGUSR2 || i == SIGTERM ? 0 : taken[i];
    CHECK_INT(others, 0, "signals that nobody of the program's sent");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    prof_set_mutex_fraction(0);
    prof_set_block_rate(0);
}

/* --- a handler of faults that allocates ------------------------------------------------------- */

/* A sanitizer has a malloc of its own, and a handler for faults. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

enum { PAGE = 4096, FAULTS = 100, BIG = 64 * PAGE };

static char *volatile forbidden; /* the page that faults */
static volatile int faults;
static void *kept[8 * FAULTS];

__attribute__((noinline)) static void *kept_by_handler(void)
{
    void *p = malloc(40);
    __asm__ volatile("" : "+r"(p));
    return p;
}

__attribute__((noinline)) static void *freed_by_handler(void)
{
    void *p = malloc(56);
    __asm__ volatile("" : "+r"(p));
    return p;
}

static void mend(int sig, siginfo_t *info, void *context)
{
    char *page = (char *)((uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1));

    if (page != forbidden) { /* a fault that is none of this test */
        signal(SIGSEGV, SIG_DFL);
        return;
    }
    mprotect(page, PAGE, PROT_READ | PROT_WRITE);
    forbidden = NULL;
    free(freed_by_handler());
    kept[faults++] = kept_by_handler();
}

static void forbid(void *p)
{
    forbidden = (char *)((uintptr_t)p & ~(uintptr_t)(PAGE - 1));
    CHECK_INT(mprotect(forbidden, PAGE, PROT_NONE), 0, "mprotect");
}

/* Big blocks are mappings of their own: libc holds no lock while it touches them. */
__attribute__((noinline)) static char *big_block(size_t size)
{
    char *p = malloc(size);
    __asm__ volatile("" : "+r"(p));
    return p;
}

__attribute__((noinline)) static char *bigger_block(char *old, size_t size)
{
    char *p = realloc(old, size);
    __asm__ volatile("" : "+r"(p));
    return p;
}

static void fault_everywhere(char *page, char **ret_left)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)page;

    forbid(page);
    *(volatile char *)(page + PAGE / 2) = 1; /* in the program's own code */
    CHECK(!forbidden, "a store faulted");

    forbid(page); /* in pthread_mutex_lock(), and in our hook around it */
    CHECK_INT(pthread_mutex_lock(lock), 0, "lock");
    CHECK(!forbidden, "a lock faulted");
    forbid(page);
    CHECK_INT(pthread_mutex_unlock(lock), 0, "unlock");
    CHECK(!forbidden, "an unlock faulted");

    char *gone = big_block(BIG); /* in free(), which looks at what stands before the block */
    *(volatile char *)gone = 1;
    forbid(gone);
    free(gone);
    CHECK(!forbidden, "a free faulted");

    char *grows = big_block(BIG); /* in realloc(): mremap() does not take two kinds of pages */
    memset(grows, 7, BIG);
    forbid(grows + BIG / 2);
    grows = bigger_block(grows, 2 * BIG);
    CHECK(!forbidden, "a realloc faulted");
    CHECK(grows[0] == 7 && grows[BIG / 2] == 7 && grows[BIG - 1] == 7, "its bytes have moved");
    *ret_left = grows;
}

/* Objects of the stacks with `name` in them, and without the handler unless it is asked for. */
static long objects(const char *type, const char *name)
{
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
    struct text_profile text = { NULL, 0 };
    long n = 0;

    o.folded = type;
    CHECK_INT(prof_profile_write(prof_lookup("heap"), &o, text_profile_sink, &text), 0,
              prof_last_error());
    for (char *line = text.text, *end; line && (end = strchr(line, '\n')); line = end + 1) {
        *end = '\0';
        if (strstr(line, name) && (strstr(name, "handler") || !strstr(line, ";mend")))
            n += atol(strrchr(line, ' '));
    }
    text_profile_free(&text);
    return n;
}

static void test_a_handler_of_faults_allocates(void)
{
    static char alternate[1 << 16];
    struct sigaction own = { .sa_sigaction = mend, .sa_flags = SA_SIGINFO }, before;
    stack_t stack = { .ss_sp = alternate, .ss_size = sizeof(alternate) };
    char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *left[FAULTS];
    struct prof_window *w = NULL;
    int64_t rate = prof_set_heap_rate(1);

    CHECK(page != MAP_FAILED, "mmap: %s", strerror(errno));
    pthread_mutex_init((pthread_mutex_t *)page, NULL);
    mallopt(M_MMAP_THRESHOLD, BIG / 2); /* for good: else it grows with what is freed */
    prof_set_mutex_fraction(1);
    prof_set_block_rate(1);
    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &own, &before);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    for (int i = 0; i < FAULTS; i++) {
        if (i == FAULTS / 2) {
            own.sa_flags |= SA_ONSTACK;
            sigaction(SIGSEGV, &own, NULL);
        }
        fault_everywhere(page, &left[i]);
        burn(0.001);
    }
    prof_window_close(w);
    sigaction(SIGSEGV, &before, NULL);
    CHECK_INT(faults, 5 * FAULTS, "faults");
    CHECK_INT(objects("inuse_objects", "kept_by_handler"), faults, "blocks the handler keeps");
    CHECK_INT(objects("inuse_objects", "freed_by_handler"), 0, "blocks the handler freed");
    CHECK_INT(objects("alloc_objects", "freed_by_handler"), faults, "blocks the handler had");
    CHECK_INT(objects("inuse_objects", "big_block"), 0, "blocks freed and grown in a fault");
    CHECK_INT(objects("alloc_objects", "big_block"), 2 * FAULTS, "such blocks there were");
    CHECK_INT(objects("inuse_objects", "bigger_block"), FAULTS, "what they have grown into");
    for (int i = 0; i < faults; i++)
        free(kept[i]);
    for (int i = 0; i < FAULTS; i++)
        free(left[i]);
    CHECK_INT(objects("inuse_objects", "by_handler"), 0, "kept by the handler, after all");
    CHECK_INT(objects("inuse_objects", "bigger_block"), 0, "left over, after all");
    munmap(page, PAGE);
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, NULL);
    prof_set_heap_rate(rate);
    prof_set_mutex_fraction(0);
    prof_set_block_rate(0);
}

#else

static void test_a_handler_of_faults_allocates(void)
{
}

#endif

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* their sigaction() locks */
static sigjmp_buf back;
static volatile sig_atomic_t jumps;

static void jump_out(int sig)
{
    jumps = jumps + 1;
    siglongjmp(back, sig);
}

/* sigaction() may be left by a jump; nobody is in it then. */
static void test_a_jump_out_of_setting_an_action(void)
{
    enum { JUMPS = 3000 };
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2 };
    struct itimerspec every = { { 0, 100000 }, { 0, 100000 } };
    struct sigaction action = { .sa_handler = jump_out }, none = { .sa_handler = SIG_DFL };
    struct prof_window *w = NULL;
    struct timespec begin, now;
    timer_t timer;

    sigaction(SIGUSR2, &action, NULL);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    CHECK_INT(timer_create(CLOCK_MONOTONIC, &event, &timer), 0, "a timer");
    if (sigsetjmp(back, 1) == 0)
        timer_settime(timer, 0, &every, NULL);
    do {
        sigaction(SIGPROF, &none, NULL);
        signal(SIGPROF, SIG_DFL);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (jumps < JUMPS && now.tv_sec - begin.tv_sec < 5);
    signal(SIGUSR2, SIG_IGN);
    timer_delete(timer);
    CHECK(jumps > 10, "jumps");
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    prof_window_close(w);
}
#else
static void test_a_jump_out_of_setting_an_action(void)
{
}
#endif

/* A program may hand its memory out page by page, as it is touched: by a handler of faults, which a
 * hook that touches such memory with signals held off would have it end. */
static char *lazy;
static volatile sig_atomic_t handed_out;

static void hand_out(int sig, siginfo_t *info, void *context)
{
    char *page = (char *)((uintptr_t)info->si_addr & ~(uintptr_t)4095);

    (void)context;
    if (page < lazy || page >= lazy + 2 * 4096 || mprotect(page, 4096, PROT_READ | PROT_WRITE) != 0)
        signal(sig, SIG_DFL);
    handed_out = handed_out + 1;
}

static void test_an_action_in_memory_that_is_handed_out_by_a_handler(void)
{
    struct sigaction action = { .sa_sigaction = hand_out, .sa_flags = SA_SIGINFO }, before;
    struct prof_window *w = NULL;

    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    lazy = mmap(NULL, 2 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(lazy != MAP_FAILED, "memory");
    sigaction(SIGSEGV, &action, &before);
    struct sigaction *set = (struct sigaction *)lazy, *was = (struct sigaction *)(lazy + 4096);
    CHECK_INT(sigaction(SIGUSR2, set, was), 0, "sigaction"); /* all zero: the default */
    CHECK(was->sa_handler == SIG_IGN || was->sa_handler == SIG_DFL, "what it was");
    CHECK_INT(handed_out, 2, "pages handed out");
    sigaction(SIGSEGV, &before, NULL);
    munmap(lazy, 2 * 4096);
    prof_window_close(w);
}

int main(void)
{
    alarm(100);
    test_a_handler_before_is_left_alone();
    test_a_handler_that_comes_later_is_noticed();
    test_every_door_is_seen();
    test_no_signal_of_ours_is_ever_waited_for();
    test_sigwait_gets_the_programs_signals_and_no_other();
    test_a_handler_of_faults_allocates();
    test_a_jump_out_of_setting_an_action();
    test_an_action_in_memory_that_is_handed_out_by_a_handler();
    return check_report();
}
