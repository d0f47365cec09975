/*
 * test_window.c - snapshots and their differences: nothing that counts falls out.
 */
#include <errno.h>
#include <prof/prof.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "profile/snapshot.h"
#include "table/tables.h"
#include "text_profile.h"

/* --- what went away --------------------------------------------------------------------------- */

static sem_t go, here;

__attribute__((noinline)) static void *leaver(void *arg)
{
    sem_post(&here);
    sem_wait(&go);
    return arg;
}

__attribute__((noinline)) static void *comer(void *arg)
{
    sem_post(&here);
    sem_wait(&go);
    return arg;
}

/* The sum of the lines of a window's folded text that have `word` in them. */
static int64_t folded_sum(struct prof_window *w, const char *word)
{
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
    struct text_profile t = { 0 };
    int64_t sum = 0;

    o.folded = "";
    CHECK_INT(prof_window_write(w, &o, text_profile_sink, &t), 0, "written");
    for (char *line = t.text ? strtok(t.text, "\n") : NULL; line; line = strtok(NULL, "\n"))
        if (strstr(line, word))
            sum += strtoll(strrchr(line, ' '), NULL, 10);
    text_profile_free(&t);
    return sum;
}

static void wait_for(int n)
{
    for (int i = 0; i < n; i++)
        sem_wait(&here);
}

static void test_threads_that_end_are_below_zero(void)
{
    struct prof_window *w;
    pthread_t t[3];

    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, leaver, NULL);
    wait_for(2);
    CHECK_INT(prof_window_open("threads", &w), 0, "window");
    for (int i = 0; i < 2; i++)
        sem_post(&go);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    pthread_create(&t[2], NULL, comer, NULL);
    wait_for(1);
    CHECK_INT(folded_sum(w, "leaver"), -2, "threads that ended");
    CHECK_INT(folded_sum(w, "comer"), 1, "a thread that began");
    CHECK_INT(folded_sum(w, "test_threads_that_end"), 0, "this one, which was there all the time");
    prof_window_close(w);
    sem_post(&go);
    pthread_join(t[2], NULL);
}

/* --- the row of the lost ---------------------------------------------------------------------- */

enum { TABLE = PROF__TABLE_CUSTOM + 7 };

static _Atomic bool stop;

static void *make_rows(void *arg)
{
    for (uint32_t labels = 1; !stop; labels++)
        prof__rows_get(TABLE, 1, labels, 0);
    return arg;
}

static bool has_lost(const struct prof__snapshot *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (prof__rows_is_lost(s->sample[i].row))
            return true;
    return false;
}

/* When memory was out for a moment, rows are lost and others made after. */
static void test_the_lost_are_in_every_snapshot(void)
{
    pthread_t t;

    prof__rows_set_limit(4096);
    for (uint32_t i = 0; i < 1000; i++)
        prof__row_add(prof__rows_at(prof__rows_get(TABLE, 2, i, 0)), 0, 1);
    CHECK(prof__rows_lost() > 0, "rows are lost");
    prof__rows_set_limit((size_t)4 << 20); /* few, for slow sanitizers */
    pthread_create(&t, NULL, make_rows, NULL);
    for (int i = 0; i < 50; i++) {
        struct prof__snapshot s = { 0 };

        CHECK_INT(prof__snapshot_take(TABLE, &s), 0, "snapshot");
        CHECK(has_lost(&s), "snapshot %d, of %zu rows, has the row of the lost", i, s.n);
        prof__snapshot_free(&s);
    }
    stop = true;
    pthread_join(t, NULL);
}

/* --- their memory ----------------------------------------------------------------------------- */

static int in_a_child_of_all_these(void)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        struct prof_window *w;

        _exit(prof_window_open("heap", &w) == 0 ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    return status;
}

static void test_windows_are_bounded(void)
{
    enum { MANY = 400 };
    static struct prof_window *w[MANY];
    struct prof_stats stats = PROF_STATS_INIT;
    int n = 0, r = 0;

    prof__rows_set_limit((size_t)8 << 20);
    for (uint32_t labels = 1; labels <= 20000; labels++)
        prof__rows_get(PROF__TABLE_HEAP, 1, labels, 0);
    while (n < MANY && (r = prof_window_open("heap", &w[n])) == 0)
        n++;
    CHECK_BETWEEN(n, 5, MANY - 1, "windows");
    CHECK_INT(r, -EAGAIN, "one more");
    CHECK(strstr(prof_last_error(), "hold"), "why: %s", prof_last_error());
    CHECK_INT(in_a_child_of_all_these(), 0, "a forked child has none of them open");
    prof_stats(&stats);
    CHECK_BETWEEN(stats.memory_bytes, 1 << 20, 160 << 20, "memory of libprof's, tables and all");
    prof_window_close(w[--n]);
    CHECK_INT(prof_window_open("heap", &w[n]), 0, "there is room again");
    for (n++; n > 0;)
        prof_window_close(w[--n]);
}

int main(void)
{
    sem_init(&go, 0, 0);
    sem_init(&here, 0, 0);
    test_threads_that_end_are_below_zero();
    test_the_lost_are_in_every_snapshot();
    test_windows_are_bounded();
    return check_report();
}
