/*
 * fork_orders.c - fork handlers of a library that is there before libprof, as an allocator's may
 * be: they run as if libprof's were not there. The program's signals are not blocked meanwhile, nor
 * in the threads that they start, and a lock that they take may be one under which libprof is
 * called.
 */
#include <errno.h>
#include <prof/prof.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { FORKS = 100, HANG_S = 60 };

extern void (*fork_orders_handler[3])(void);

static const char *const place[] = { "prepare", "in the parent", "in the child" };
static struct prof_profile *profile;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int stop, calls;

/* No alarm(): who hangs may have its signals blocked. */
static void *end_on_hang(void *unused)
{
    static const char text[] = "a fork does not end\n";

    sleep(HANG_S);
    _exit(write(STDOUT_FILENO, text, sizeof(text) - 1) < 0 ? 2 : 1);
}

static int end_of_child(pid_t pid)
{
    int status = -1;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

/* --- signals --------------------------------------------------------------------------------- */

static int blocked[3], blocked_in_thread[3];

/* How many of the signals are blocked that a program can block. */
static int count_blocked(void)
{
    sigset_t set;
    int n = 0;

    pthread_sigmask(SIG_BLOCK, NULL, &set);
    for (int i = 1; i < 32; i++)
        n += sigismember(&set, i) == 1;
    return n;
}

static void *count_in_thread(void *ret)
{
    *(int *)ret = count_blocked();
    return NULL;
}

static void look(int i)
{
    pthread_t t;

    blocked[i] = count_blocked();
    blocked_in_thread[i] = -1;
    if (pthread_create(&t, NULL, count_in_thread, &blocked_in_thread[i]) == 0)
        pthread_join(t, NULL);
}

static void look_before(void)
{
    look(0);
}

static void look_in_parent(void)
{
    look(1);
}

static void look_in_child(void)
{
    look(2);
}

static void check(int i)
{
    CHECK_INT(blocked[i], 1, place[i]);
    CHECK_INT(blocked_in_thread[i], 1, place[i]);
}

static void test_signals_are_as_they_were(void)
{
    sigset_t one, before;

    sigemptyset(&one);
    sigaddset(&one, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &one, &before);
    fork_orders_handler[0] = look_before;
    fork_orders_handler[1] = look_in_parent;
    fork_orders_handler[2] = look_in_child;

    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        check(2);
        fflush(stdout);
        _exit(check_failed);
    }
    CHECK_INT(end_of_child(pid), 0, place[2]);
    check(0);
    check(1);
    CHECK_INT(count_blocked(), 1, "after all");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* --- locks ----------------------------------------------------------------------------------- */

static void take(void)
{
    pthread_mutex_lock(&lock);
}

static void give(void)
{
    pthread_mutex_unlock(&lock);
}

/* Each door behind which libprof takes a lock that it takes for a fork, too. */
static void *call_with_the_lock(void *unused)
{
    static char root[100];

    for (uintptr_t key = 1; !atomic_load(&stop); key++) {
        take();
        prof_profile_add(profile, (const void *)key, 0);
        prof_profile_remove(profile, (const void *)key);
        prof_lookup("heap");
        prof_heap_root(root, sizeof(root));
        prof_heap_root_remove(root);
        give();
        atomic_fetch_add(&calls, 1);
    }
    return NULL;
}

static void test_locks_in_the_handlers_order(void)
{
    int wrong = 0;
    pthread_t t;

    fork_orders_handler[0] = take;
    fork_orders_handler[1] = fork_orders_handler[2] = give;
    pthread_create(&t, NULL, call_with_the_lock, NULL);
    while (atomic_load(&calls) == 0)
        ;
    for (int i = 0; i < FORKS; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            prof_profile_add(profile, &pid, 0);
            _exit(prof_profile_remove(profile, &pid) == 0 ? 7 : 8);
        }
        wrong += end_of_child(pid) != 7 << 8;
    }
    atomic_store(&stop, 1);
    pthread_join(t, NULL);
    CHECK_INT(wrong, 0, "children that did not end as they should");
}

int main(void)
{
    pthread_t watchdog;

    pthread_create(&watchdog, NULL, end_on_hang, NULL);
    CHECK_INT(prof_profile_new("held", &profile), 0, "a profile");
    test_signals_are_as_they_were();
    test_locks_in_the_handlers_order();
    return check_report();
}
