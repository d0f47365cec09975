/*
 * test_memory_refused.c - whatever there is no memory for while a profile is written: it is
 * written, or refused with -ENOMEM and a sentence that says so.
 *
 * Each request of the writers for memory fails in turn, the first alone and all from there on. What
 * can be left out may be, as names; but the frames of a thread's stack, in which a search for leaks
 * looks for pointers, are all there or it is said that they are not.
 */
#include <prof/prof.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

#include "base/arena.h"
#include "base/task.h"
#include "check.h"
#include "profile/thread_stacks.h"
#include "text_profile.h"

enum { FOR_EVER = 1 << 30, FEW = 24, MOST = 1 << 20 };

static int left = FOR_EVER; /* requests that are granted */
static bool only_one;       /* is refused */
static int refused;

void *__real_prof__arena_alloc(struct prof__arena *a, size_t size);
void *__wrap_prof__arena_alloc(struct prof__arena *a, size_t size);
void *__real_prof__arena_array(struct prof__arena *a, size_t n, size_t size);
void *__wrap_prof__arena_array(struct prof__arena *a, size_t n, size_t size);

static bool is_refused(void)
{
    bool no = only_one ? left == 0 : left <= 0;

    left--;
    refused += no;
    return no;
}

void *__wrap_prof__arena_alloc(struct prof__arena *a, size_t size)
{
    return is_refused() ? NULL : __real_prof__arena_alloc(a, size);
}

void *__wrap_prof__arena_array(struct prof__arena *a, size_t n, size_t size)
{
    return is_refused() ? NULL : __real_prof__arena_array(a, n, size);
}

/* --- every profile ---------------------------------------------------------------------------- */

static int write_profile(const char *name, int debug)
{
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;

    o.debug = debug;
    o.no_symbols = 1;
    prof_set_last_error(0, "%s", "");
    return prof_profile_write(prof_lookup(name), &o, text_profile_drop, NULL);
}

static void refuse_in_turn(const char *name, int debug)
{
    int n = 0, said = 0;

    CHECK_INT(write_profile(name, debug), 0, name);
    for (refused = 1; refused && n < MOST; n += n < FEW ? 1 : 1 + n / 4) {
        left = n;
        refused = 0;
        int r = write_profile(name, debug);
        left = FOR_EVER;
        CHECK(r == 0 || (r == -ENOMEM && strstr(prof_last_error(), "memory")),
              "%s, debug %d, request %d refused%s: %d, \"%s\"", name, debug, n,
              only_one ? "" : " and all after it", r, prof_last_error());
        CHECK(r == 0 || refused, "%s, debug %d: refused for no reason", name, debug);
        said += r < 0;
    }
    CHECK(said > 0 && n < MOST, "%s, debug %d: %d of %d tries refused", name, debug, said, n);
}

static void test_every_profile(void)
{
    static const char *const names[] = { "heap",         "allocs",  "block",  "mutex",
                                         "threadcreate", "threads", "profile" };

    for (int one = 0; one < 2; one++)
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) - 1; i++)
            for (int debug = 0; debug <= 2; debug++) {
                only_one = one;
                refuse_in_turn(names[i], debug);
            }
    only_one = false;
    left = 0;
    prof_set_last_error(0, "%s", "");
    int r = prof_deadlocks(NULL, 0);
    left = FOR_EVER;
    CHECK(r == -ENOMEM && strstr(prof_last_error(), "memory"), "deadlocks: %d, %s", r,
          prof_last_error());
}

/* --- frames ----------------------------------------------------------------------------------- */

static sem_t begun, gate;

static void *wait_deep(void *arg)
{
    sem_post(&begun);
    sem_wait(&gate);
    return arg;
}

/* 0, and whether each thread but this has frames; or the error. */
static int take_places(bool *ret_all)
{
    struct prof__arena a = { 0 };
    struct prof__thread_stack *t;
    size_t n;
    int r = prof__threads_take_places(&a, &t, &n);

    *ret_all = true;
    for (size_t i = 0; r == 0 && i < n; i++)
        if (t[i].tid != prof__gettid() && (!t[i].place || t[i].place->n_frames == 0))
            *ret_all = false;
    left = FOR_EVER;
    prof__arena_free(&a);
    return r;
}

static void test_frames(void)
{
    pthread_t thread;
    bool all;
    int n = 0, said = 0;

    sem_init(&begun, 0, 0);
    sem_init(&gate, 0, 0);
    pthread_create(&thread, NULL, wait_deep, NULL);
    sem_wait(&begun);
    for (all = false; !all && n < MOST; n++) /* until it waits */
        CHECK_INT(take_places(&all), 0, "places");
    only_one = true;
    for (refused = 1, n = 0; refused && n < MOST; n++) {
        left = n;
        refused = 0;
        int r = take_places(&all);
        CHECK(r == -ENOMEM || (r == 0 && all), "request %d refused: %d, %s", n, r,
              all ? "all frames are there" : "frames are missing");
        said += r < 0;
    }
    CHECK(said > 0 && n < MOST, "%d of %d tries refused", said, n);
    sem_post(&gate);
    pthread_join(thread, NULL);
}

int main(void)
{
    test_frames();
    test_every_profile();
    return check_report();
}
