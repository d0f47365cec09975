/*
 * cpu_fork.c - fork and exec while the CPU is profiled: children are whole, and no signal of ours
 * follows them.
 */
#include <errno.h>
#include <prof/prof.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "burn.h"
#include "check.h"
#include "text_profile.h"

enum { FORKS = 24 };

static atomic_int stop;
extern char **environ;

static void *busy(void *arg)
{
    prof_labels_push("worker", "busy");
    while (!atomic_load(&stop)) {
        free(malloc(100));
        burn(0.001);
    }
    prof_labels_pop();
    return NULL;
}

static atomic_int listed; /* in the child */

/* It is there until it has been seen, however late that is. */
static void *in_the_child(void *arg)
{
    burn(0.1);
    while (!atomic_load(&listed))
        usleep(1000);
    return NULL;
}

/* Names take the most time. */
static int write_text(struct text_profile *t, struct prof_window *w, int names)
{
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;

    o.debug = 1;
    o.no_symbols = !names;
    *t = (struct text_profile) { NULL, 0 };
    return w ? prof_window_write(w, &o, text_profile_sink, t)
             : prof_profile_write(prof_lookup("threads"), &o, text_profile_sink, t);
}

/* In a child: 0, or the number of what is wrong. */
static int child(struct prof_window *inherited, int names)
{
    struct prof_window *own = NULL;
    struct text_profile text;
    pthread_t t;
    FILE *timers = fopen("/proc/self/timers", "r");
    int result = 0;

    if (timers && fgetc(timers) != EOF)
        return 1;
    if (timers)
        fclose(timers);
    prof_labels_push("place", "child");
    if (prof_window_open("profile", &own) != 0)
        return 2;
    prof_window_close(inherited); /* the parent's, of which we have a copy: it must not end ours */
    prof_labels_push("thread", "new"); /* to be inherited */
    int r = pthread_create(&t, NULL, in_the_child, NULL);
    prof_labels_pop();
    if (r != 0)
        return 3;
    if (write_text(&text, NULL, names) != 0)
        return 4;
    if (text_profile_sum(&text, NULL) != 2)
        result = 5;
    text_profile_free(&text);
    atomic_store(&listed, 1);
    pthread_join(t, NULL);
    if (write_text(&text, own, names) != 0)
        return 6;
    long got = text_profile_sum(&text, "\"thread\":\"new\"");
    if (got < 7 || got > 13 || text_profile_sum(&text, "\"place\":\"child\"") < got)
        result = 7;
    /* A sanitizer puts a function of its own before those of threads. And on a machine that is
     * overloaded there may be no time for names, which is told. */
    if (names && !strstr(text.text, "names or lines are missing") &&
        text_profile_sum(&text, "in_the_child") + text_profile_sum(&text, "ended") < got)
        result = 8;
    if (text_profile_sum(&text, "busy") != 0)
        result = 9;
    text_profile_free(&text);
    prof_window_close(own);
    prof_labels_pop();
    return result;
}

static void test_children(void)
{
    struct prof_window *w = NULL;
    struct text_profile text;
    pthread_t t[4];
    int wrong = 0, last = 0;

    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, busy, NULL);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    for (int i = 0; i < FORKS; i++) {
        int status = 0;
        pid_t pid = fork();

        if (pid == 0) {
            alarm(100);
            _exit(child(w, i % 10 == 0));
        }
        waitpid(pid, &status, 0);
        if (status != 0) {
            wrong++;
            last = status;
        }
    }
    CHECK(wrong == 0, "%d of %d children went wrong, the last with status %#x", wrong, FORKS,
          (unsigned)last);
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    CHECK(text_profile_sum(&text, "\"worker\":\"busy\"") > 50, "the parent goes on");
    text_profile_free(&text);

    /* A new image must not be met by a signal whose action is to end it, vfork or not. */
    for (int i = 0; i < 20; i++) {
        char *const args[] = { "sh", "-c", "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done",
                               NULL };
        int status = -1;
        pid_t pid = 0;

        if (i % 2) {
            CHECK_INT(posix_spawn(&pid, "/bin/sh", NULL, NULL, args, environ), 0, "spawn");
        } else if ((pid = fork()) == 0) {
            execv("/bin/sh", args);
            _exit(127);
        }
        waitpid(pid, &status, 0);
        CHECK_INT(status, 0, "status of a program started while the CPU is profiled");
    }
    prof_window_close(w);
    atomic_store(&stop, 1);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
}

/* A child of vfork() shares our memory; what it does to its signals is none of our business. */
static void test_vfork(void)
{
    struct prof_window *w = NULL;
    struct text_profile text;
    int status = -1;

    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    pid_t pid = vfork();
    if (pid == 0) {
        signal(SIGPROF, SIG_DFL);
        execl("/bin/true", "true", (char *)NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    CHECK_INT(status, 0, "the child");
    burn(0.2);
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    CHECK_BETWEEN(text_profile_sum(&text, "burn"), 15, 25, "the parent's samples go on");
    CHECK(strstr(text.text, "SIGPROF") == NULL, "nobody has taken SIGPROF");
    text_profile_free(&text);
    prof_window_close(w);
}

int main(void)
{
    alarm(150);
    test_vfork();
    test_children();
    return check_report();
}
