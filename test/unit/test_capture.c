/*
 * test_capture.c - captures are taken by rules and on demand, by a thread of ours; who asks, reads
 * and forks.
 */
#include <prof/capture.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "check.h"
#include "temp_dir.h"
#include "text_profile.h"

static struct prof_capture item[64];

static const char *rules_in(const char *rules)
{
    static char text[PATH_MAX + 400];

    snprintf(text, sizeof(text), "%.300s; dir %.4000s", rules, temp_dir);
    return text;
}

static int captures(void)
{
    return (int)prof_captures(item, 64, sizeof(item[0]));
}

/* The one of that rule, waited for half a minute; NULL: there is none. */
static const struct prof_capture *wait_for(const char *rule, const char *profile)
{
    for (int ms = 0; ms < 30000; ms += 10) {
        int n = captures();

        for (int i = 0; i < n; i++)
            if (strcmp(item[i].rule, rule) == 0 && strcmp(item[i].profile, profile) == 0)
                return &item[i];
        poll(NULL, 0, 10);
    }
    return NULL;
}

static void empty(void)
{
    DIR *d = opendir(temp_dir);

    for (struct dirent *e; (e = readdir(d)) != NULL;)
        unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
}

struct got {
    unsigned char head[2];
    size_t size;
};

static int get(void *arg, const void *data, size_t size)
{
    struct got *g = arg;

    if (g->size == 0 && size >= 2)
        memcpy(g->head, data, 2);
    g->size += size;
    return 0;
}

static void test_wrong_calls(void)
{
    char status[300];

    CHECK_INT(prof_capture_stop(), -EALREADY, "a stop without a start");
    CHECK_INT(prof_capture_now("x"), -ENOTCONN, "nobody to ask");
    CHECK_INT(prof_capture_profile("heap", 0, NULL), -ENOTCONN, "nobody to ask");
    CHECK_INT(prof_capture_wait(1, 0), -EINVAL, "no such number");
    CHECK_INT(captures(), -ENOTCONN, "no directory");
    CHECK_INT(prof_capture_rules(NULL, 0, sizeof(struct prof_capture_rule)), 0, "no rules");
    CHECK(prof_capture_status(status, sizeof(status)) > 0, "it says so");
    setenv("LIBPROF_CAPTURE", "mem>80%", 1);
    CHECK_INT(prof_capture_start(NULL), -ENOENT, "nothing was set when libprof was loaded");
    unsetenv("LIBPROF_CAPTURE");
    CHECK_INT(prof_capture_start("mem>80% -> heep"), -EINVAL, "no such profile");
    CHECK(strstr(prof_last_error(), "rules, column 12: "), "%s", prof_last_error());
    CHECK_INT(prof_capture_start("mem>80%; dir /nowhere/at/all"), 0, "a directory shows later");
    CHECK_INT(prof_capture_start("mem>80%"), -EALREADY, "twice");
    int n = prof_capture_now("x");
    CHECK_INT(prof_capture_wait(n, 30000), -EIO, "no directory to write to");
    CHECK(prof_capture_status(status, sizeof(status)) > 0 && strstr(status, "/nowhere/at/all"),
          "%s", status);
    CHECK_INT(prof_capture_profile("heep", 0, NULL), -EINVAL, "no such profile");
    CHECK_INT(prof_capture_profile("heap", 601, NULL), -EINVAL, "too long");
    CHECK_INT(prof_capture_stop(), 0, "stop");
}

static void test_on_demand(void)
{
    struct prof_capture_stats stats = PROF_CAPTURE_STATS_INIT;
    struct got got = { .size = 0 };
    struct stat st;
    char path[PATH_MAX + 300];

    empty();
    CHECK_INT(prof_capture_start(rules_in("baseline 0s")), 0, "no rules, only on demand");
    int n = prof_capture_now("before reload/x");
    CHECK(n > 0, "a number");
    CHECK_INT(prof_capture_wait(n, 30000), 0, "it is there");
    const struct prof_capture *c = wait_for("now: before_reload_x", "heap");
    CHECK(c, "in the list");
    if (c) {
        CHECK_INT(c->number, n, "its number");
        CHECK_INT(c->own, 1, "this process's");
        CHECK_INT(c->pid, getpid(), "pid");
        snprintf(path, sizeof(path), "%s/%s", temp_dir, c->name);
        CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600 && st.st_size > 0, "%s", path);
        CHECK_INT(c->size_bytes, st.st_size, "size");
        CHECK_INT(prof_capture_read(c->name, get, &got), 0, "read");
        CHECK(got.size == c->size_bytes && got.head[0] == 0x1f && got.head[1] == 0x8b, "gzip");
    }
    CHECK(wait_for("baseline", "heap"), "a baseline is kept");
    CHECK_INT(prof_capture_read("../../etc/passwd", get, &got), -ENOENT, "only what is listed");
    CHECK_INT(prof_capture_read("/etc/passwd", get, &got), -ENOENT, "only what is listed");
    n = prof_capture_profile("profile", 1, "cpu");
    CHECK_INT(prof_capture_wait(n, 0), -ETIMEDOUT, "it takes a second");
    CHECK_INT(prof_capture_wait(n, 60000), 0, "then it is there");
    CHECK(wait_for("now: cpu", "profile"), "in the list");
    CHECK_INT(prof_capture_counts(&stats), 0, "counts");
    CHECK_BETWEEN(stats.on_demand, 3, 3, "asked for, with the one that failed");
    CHECK_INT(prof_capture_stop(), 0, "stop");
    CHECK_INT(captures(), -ENOTCONN, "it is over");
}

/* RSS is above a byte at once: it fires, once, with all that is wanted. */
static void test_by_a_rule(void)
{
    struct prof_capture_rule rule[2];

    empty();
    CHECK_INT(prof_capture_start(rules_in("rss>1 | threads>100000 -> heap, threads, profile:1s; "
                                          "cooldown 1h")),
              0, "start");
    CHECK(wait_for("rss>1", "heap"), "fired");
    CHECK(wait_for("rss>1", "threads"), "of all that is wanted");
    CHECK(wait_for("rss>1", "profile"), "also what takes a second");
    CHECK_INT(prof_capture_rules(rule, 2, sizeof(rule[0])), 2, "rules");
    CHECK_STR(rule[0].rule, "rss>1", "as written");
    CHECK_STR(rule[0].takes, "heap, threads, profile for 1 s", "what it takes");
    CHECK_INT(rule[0].fired, 1, "once");
    CHECK(strstr(rule[0].why, "cooling down") || strstr(rule[0].why, "just now"), "%s",
          rule[0].why);
    CHECK_INT(rule[1].fired, 0, "the other has not");
    CHECK(strstr(rule[1].why, "is not above 100000"), "%s", rule[1].why);
    prof_capture_stop();
    int before = 0;
    for (int i = 0, n = captures(); i < n; i++)
        before += strcmp(item[i].rule, "rss>1") == 0;
    CHECK_INT(before, 0, "nothing is listed when it is off");
}

/* An allocation that rings: from rest, long before the next look would come. */
static void test_growth_between_two_looks_is_seen(void)
{
    enum { BLOCKS = 300, BYTES = 1 << 20 };
    static char *block[BLOCKS];
    char text[200];
    int64_t rate = prof_set_heap_rate(1);

    empty();
    snprintf(text, sizeof(text), "heap>%dm -> heap", BLOCKS / 2);
    CHECK_INT(prof_capture_start(rules_in(text)), 0, "start");
    struct prof_capture_rule rule;
    do /* the first look is over */
        poll(NULL, 0, 1);
    while (prof_capture_rules(&rule, 1, sizeof(rule)) == 1 && strstr(rule.why, "nothing has been"));
    for (int i = 0; i < BLOCKS; i++) { /* fed, as there are no hooks here */
        block[i] = malloc(BYTES);
        prof_heap_alloc(block[i], BYTES);
        poll(NULL, 0, 2);
    }
    snprintf(text, sizeof(text), "heap>%dm", BLOCKS / 2);
    const struct prof_capture *c = wait_for(text, "heap");
    CHECK(c, "it is captured");
    if (c)
        CHECK(atof(c->value) < BLOCKS, "before it is all: %s", c->value);
    for (int i = 0; i < BLOCKS; i++) {
        prof_heap_free(block[i]);
        free(block[i]);
    }
    prof_capture_stop();
    prof_set_heap_rate(rate);
}

/* --- a full disk ------------------------------------------------------------------------------ */

static void test_a_full_disk_is_survived_and_counted(void)
{
    struct prof_capture_stats stats = PROF_CAPTURE_STATS_INIT, later = PROF_CAPTURE_STATS_INIT;
    struct rlimit was, little;

    empty();
    prof_capture_counts(&stats);
    getrlimit(RLIMIT_FSIZE, &was);
    little = was;
    little.rlim_cur = 10;
    CHECK_INT(prof_capture_start(rules_in("baseline 1h")), 0, "start");
    setrlimit(RLIMIT_FSIZE, &little);
    CHECK_INT(prof_capture_wait(prof_capture_now("full"), 30000), -EIO, "it says so");
    setrlimit(RLIMIT_FSIZE, &was);
    prof_capture_counts(&later);
    CHECK_INT(later.failed, stats.failed + 1, "it is counted");
    CHECK_INT(captures(), 0, "nothing, and no part of it");
    CHECK_INT(prof_capture_wait(prof_capture_now("again"), 30000), 0, "and the next is there");
    CHECK_INT(captures(), 1, "whole");
    prof_capture_stop();
}

/* --- handlers, forks, a program --------------------------------------------------------------- */

static volatile int asked;

static void on_signal(int s)
{
    (void)s;
    asked = prof_capture_now("handler");
}

static void test_from_a_handler(void)
{
    empty();
    prof_capture_start(rules_in("baseline 1h"));
    signal(SIGTERM, on_signal);
    raise(SIGTERM);
    CHECK(asked > 0, "asked");
    CHECK_INT(prof_capture_wait(asked, 30000), 0, "there");
    signal(SIGTERM, SIG_DFL);
    int most = 0;
    for (int i = 0; i < 100 && most == 0; i++)
        most = prof_capture_now("many") < 0;
    CHECK(true, "more than can wait are refused, or served in time: %d", most);
    prof_capture_stop();
}

#ifndef __SANITIZE_THREAD__ /* a child of several threads may begin none under it */
static void test_a_forked_child_begins_without(void)
{
    int status;

    empty();
    prof_capture_start(rules_in("baseline 1h"));
    pid_t child = fork();
    if (child == 0) {
        int ok = prof_capture_now("child") == -ENOTCONN &&
                 prof_capture_start(rules_in("baseline 1h")) == 0 &&
                 prof_capture_wait(prof_capture_now("child"), 30000) == 0;

        prof_capture_stop();
        _exit(ok ? 0 : 1);
    }
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child's own");
    CHECK_INT(prof_capture_wait(prof_capture_now("parent"), 30000), 0, "the parent's goes on");
    const struct prof_capture *c = wait_for("now: child", "heap");
    CHECK(c && !c->own && c->pid == child, "another process's is listed, as that");
    prof_capture_stop();
}
#endif

/* The program is told the file, the rule, the value and the process, in a process that is nobody's
 * child here. */
static void test_a_program_is_run(void)
{
    char rules[PATH_MAX + 100], line[1000] = "";
    const char *script = temp_path("hook"), *out = temp_path("out");

    empty();
    FILE *f = fopen(script, "w");
    fprintf(f, "#!/bin/sh\necho \"$1|$2|$3|$4|$LIBPROF_CAPTURE\" >%s.new\nmv %s.new %s\n", out, out,
            out);
    fclose(f);
    chmod(script, 0700);
    setenv("LIBPROF_CAPTURE", "mem>1%", 1);
    snprintf(rules, sizeof(rules), "rss>1 -> heap, exec %s; baseline 1h", script);
    CHECK_INT(prof_capture_start(rules_in(rules)), 0, rules);
    for (int ms = 0; ms < 30000 && access(out, F_OK) < 0; ms += 10)
        poll(NULL, 0, 10);
    f = fopen(out, "r");
    CHECK(f && fgets(line, sizeof(line), f), "it has run");
    if (f)
        fclose(f);
    char pid[40];
    snprintf(pid, sizeof(pid), "|%d|\n", (int)getpid());
    CHECK(strncmp(line, temp_dir, strlen(temp_dir)) == 0 && strstr(line, ".pb.gz|rss>1|"), "%s",
          line);
    CHECK(strstr(line, pid), "pid, and nothing of this environment: %s", line);
    CHECK(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "no child of the program's");
    prof_capture_stop();
    unlink(script);
    unlink(out);
}

/* --- the directory that is chosen for it ------------------------------------------------------ */

/* In a process whose TMPDIR is ours: in the place of the directory another one comes, in which all
 * may write. What lies there is nobody's capture. */
static int with_a_directory_of_others(void)
{
    static const char name[] = "1.20251128T122446Z.001.rss-over-1.1MiB.heap.pb.gz";
    char path[PATH_MAX], moved[PATH_MAX + 8], file[PATH_MAX + 200];

    CHECK_INT(prof_capture_start("mem>99%; baseline 1h"), 0, prof_last_error());
    prof_capture_dir(path, sizeof(path));
    CHECK(strncmp(path, temp_dir, strlen(temp_dir)) == 0, "%s", path);
    CHECK_INT(prof_capture_wait(prof_capture_now("first"), 30000), 0, prof_last_error());
    CHECK_INT(captures(), 1, "there is one");

    snprintf(moved, sizeof(moved), "%s.moved", path);
    CHECK_INT(rename(path, moved), 0, "moved away");
    mkdir(path, 0700);
    chmod(path, 0777);
    snprintf(file, sizeof(file), "%.*s/%.40s.%s", (int)sizeof(path) - 1, path,
             program_invocation_short_name, name);
    CHECK(write_whole(file, "secret", 6), "a file of somebody's");
    CHECK_INT(captures(), -EPERM, "is not listed");
    CHECK(strstr(prof_last_error(), path), "a sentence: %s", prof_last_error());
    CHECK_INT(prof_capture_read(strrchr(file, '/') + 1, text_profile_drop, NULL), -EPERM,
              "nor read");
    unlink(file);
    rmdir(path);
    rename(moved, path);
    CHECK_INT(captures(), 1, "and there it is again");
    prof_capture_stop();
    snprintf(temp_dir, sizeof(temp_dir), "%s", path);
    empty();
    rmdir(path);
    return check_report();
}

static void test_a_directory_of_others_is_not_looked_at(void)
{
    int status = -1;

    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        setenv("TMPDIR", temp_dir, 1);
        unsetenv("LIBPROF_CAPTURE");
        execl("/proc/self/exe", program_invocation_short_name, temp_dir, (char *)NULL);
        _exit(9);
    }
    waitpid(pid, &status, 0);
    CHECK_INT(status, 0, "in a process of its own");
}

int main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN);
    if (argc > 1) {
        snprintf(temp_dir, sizeof(temp_dir), "%s", argv[1]);
        return with_a_directory_of_others();
    }
    temp_dir_make();
    test_wrong_calls();
    test_on_demand();
    test_by_a_rule();
    test_growth_between_two_looks_is_seen();
    test_a_full_disk_is_survived_and_counted();
    test_from_a_handler();
#ifndef __SANITIZE_THREAD__
    test_a_forked_child_begins_without();
#endif
    test_a_program_is_run();
    test_a_directory_of_others_is_not_looked_at();
    temp_dir_remove();
    return check_report();
}
