/*
 * cpu_interposed.c - something else stands between libprof and the threads that it makes.
 *
 * The program has a pthread_create() of its own, as an interposer has, in which each new thread
 * first puts the action for every signal right, SIGPROF too, and takes a lock that the caller of
 * libprof may have. Whoever opens a profile must not wait, with a lock of libprof's, for a thread
 * that waits for just that lock; nor without end for anything.
 */
#include <dlfcn.h>
#include <prof/prof.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "burn.h"
#include "check.h"
#include "text_profile.h"

typedef int create_fn(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

struct start {
    void *(*function)(void *arg);
    void *arg;
};

static atomic_int sets_actions, takes_lock, started;
static pthread_mutex_t shared = PTHREAD_MUTEX_INITIALIZER;

static void *begin(void *arg)
{
    struct start s = *(struct start *)arg;

    free(arg);
    for (int i = 1; i < NSIG && atomic_load(&sets_actions); i++)
        if (i == SIGPROF || i == SIGURG || i == SIGUSR2)
            signal(i, SIG_DFL);
    if (atomic_load(&takes_lock)) {
        pthread_mutex_lock(&shared);
        pthread_mutex_unlock(&shared);
    }
    atomic_fetch_add(&started, 1);
    return s.function(s.arg);
}

__attribute__((visibility("default"))) int pthread_create(pthread_t *thread,
                                                          const pthread_attr_t *attr,
                                                          void *(*function)(void *arg), void *arg)
{
    create_fn *next;
    void *found = dlsym(RTLD_NEXT, "pthread_create");
    struct start *s = malloc(sizeof(*s));

    memcpy(&next, &found, sizeof(next));
    *s = (struct start) { function, arg };
    return next(thread, attr, begin, s);
}

static void test_a_new_thread_sets_actions(void)
{
    struct prof_window *w = NULL;
    struct text_profile text;

    atomic_store(&sets_actions, 1);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    while (atomic_load(&started) < 1)
        usleep(1000);
    burn(0.05);
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    CHECK(strstr(text.text, "SIGPROF") != NULL, "the profile says that it ended: %.300s",
          text.text);
    text_profile_free(&text);
    prof_window_close(w);
    atomic_store(&sets_actions, 0);
}

static void test_a_new_thread_waits_for_the_caller(void)
{
    struct prof_window *w = NULL;
    struct text_profile text;

    atomic_store(&takes_lock, 1);
    pthread_mutex_lock(&shared);
    CHECK_INT(prof_window_open("profile", &w), 0, prof_last_error());
    burn(0.1);
    pthread_mutex_unlock(&shared);
    CHECK_INT(text_profile_window(&text, w), 0, prof_last_error());
    CHECK(text_profile_sum(&text, "burn") >= 8, "its samples are there: %.300s", text.text);
    text_profile_free(&text);
    prof_window_close(w);
    atomic_store(&takes_lock, 0);
}

int main(void)
{
    alarm(60); /* ends a wait in vain */
    test_a_new_thread_sets_actions();
    test_a_new_thread_waits_for_the_caller();
    return check_report();
}
