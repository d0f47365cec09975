/*
 * capture.c - the public calls: starting, asking, and looking at what there is.
 *
 * What reads the shelf does so in the caller's thread and its descriptor table, by the directory's
 * path: the watch's own descriptors are nobody else's.
 */
#include <prof/capture.h>
#include <prof/trace.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fork.h"
#include "base/rawlog.h"
#include "base/thread.h"
#include "base/wait.h"
#include "capture/watch.h"
#include "record/before_end.h"

enum { LEAST_SIZE = sizeof(size_t), READ_BYTES = 64 * 1024 };

static struct prof__watch *const w = &prof__watch;
static _Atomic int state; /* of the calls that start and stop */
enum { OFF, STARTING, ON };

#define RECORDER_NS ((int64_t)10 * 1000000000)

static bool is_on(void)
{
    /* Acquire: what was set before the start. */
    return atomic_load_explicit(&state, memory_order_acquire) == ON;
}

/* Before the process is ended by SIGTERM and the like, if a rule says so. */
static struct prof__before_end before_end = { .ask = prof__watch_ask_end };
static bool has_before_end; /* once in a process */

static void ended(void)
{
    prof__before_end_done(&before_end);
}

/* A child is not watched. */
static void in_child(void)
{
    has_before_end = false;
    prof__guest_in_child(&prof__watch_guest);
    prof__lock_reset(&w->lock);
    for (unsigned i = 0; i < PROF__REQUESTS_MAX; i++)
        atomic_store_explicit(&w->request[i].state, PROF__REQUEST_FREE, memory_order_relaxed);
    atomic_store(&state, OFF);
}

PROF__AT_FORK(PROF__FORK_NO_LOCK, NULL, NULL, in_child)

static int leave(int timeout_ms)
{
    return prof__guest_leave(&prof__watch_guest, timeout_ms);
}

static int come_back(void)
{
    return prof__guest_come_back(&prof__watch_guest);
}

/* The environment is the program's to change later. "": not set. */
static char rules_set[4096], tmp[400];

static void remember(const char *name, char *buf, size_t size)
{
    const char *value = secure_getenv(name);

    if (value && strlen(value) < size)
        strcpy(buf, value);
    else if (value)
        prof__log("%s is longer than %zu bytes; ignored", name, size - 1);
}

__attribute__((constructor(102))) static void set_up(void)
{
    remember("LIBPROF_CAPTURE", rules_set, sizeof(rules_set));
    remember("TMPDIR", tmp, sizeof(tmp));
    prof_helper_can_leave(leave, come_back);
}

/* --- starting --------------------------------------------------------------------------------- */

/* A custom profile may come later, and has a path of its own in its name. */
static bool is_profile(const char *name)
{
    return prof_lookup(name) || strpbrk(name, "./");
}

static void choose_path(void)
{
    w->own_path = !*w->rules.dir;
    if (!w->own_path)
        snprintf(w->path, sizeof(w->path), "%s", w->rules.dir);
    else
        snprintf(w->path, sizeof(w->path), "%.399s/libprof-captures-%u", *tmp == '/' ? tmp : "/tmp",
                 (unsigned)geteuid());
}

static void begin_anew(const struct prof__rules *rules)
{
    prof__lock(&w->lock); /* who asks for the rules of before may still be at it */
    w->rules = *rules;
    memset(w->judgement, 0, sizeof(w->judgement));
    memset(w->fired_wall_ms, 0, sizeof(w->fired_wall_ms));
    prof__unlock(&w->lock);
    choose_path();
    w->since_s = prof__wall_ns() / 1000000000;
    w->start_ms = 0;
    w->has_baseline = false;
    atomic_store(&w->sources_error, 0);
}

/* What has just happened is only there if it was recorded. The program, or LIBPROF_TRACE, may have
 * seen to that. */
static bool recorder_is_ours;

static void start_recorder(const struct prof__rules *rules)
{
    bool wanted = false;

    for (unsigned c = 0; c < rules->n_clauses; c++)
        for (unsigned i = 0; i < rules->clause[c].n; i++)
            wanted |= strcmp(rules->clause[c].wanted[i].profile, PROF__WANTED_TRACE) == 0;
    for (unsigned i = 0; i < rules->n; i++)
        wanted |= rules->rule[i].what == PROF__QUANTITY_STALL;
    if (!wanted || prof_trace_record(-1) > 0)
        return;
    recorder_is_ours = prof_trace_record(RECORDER_NS) >= 0;
    if (!recorder_is_ours)
        prof__log("no flight recorder for captures: %s", prof_last_error());
}

/* With the state STARTING. */
static int start(const char *text, const char *from)
{
    static struct prof__rules rules;
    struct prof__rules_error wrong;
    int r = prof__rules_parse(text, is_profile, &rules, &wrong);

    if (r < 0)
        return prof_set_last_error(r, "%s, column %u: %s", from, wrong.column, wrong.sentence);
    if (!prof__guest_is_gone(&prof__watch_guest))
        return prof_set_last_error(-EAGAIN, "the captures that were stopped are still being "
                                            "written");
    begin_anew(&rules);
    w->ended = ended;
    start_recorder(&rules);
    r = prof__guest_start(&prof__watch_guest);
    if (r == 0 && prof__watch_wants_end() && !has_before_end) {
        prof__before_end_add(&before_end);
        has_before_end = true;
    }
    return r == -ENOMEM ? prof__error_memory("the thread that takes captures") : r;
}

int prof_capture_start(const char *text)
{
    const char *from = text ? "rules" : "LIBPROF_CAPTURE";
    int off = OFF;

    if (!text && !*(text = rules_set))
        return prof_set_last_error(-ENOENT, "LIBPROF_CAPTURE is not set");
    if (!atomic_compare_exchange_strong(&state, &off, STARTING))
        return prof_set_last_error(-EALREADY, "captures have been started already");
    int r = start(text, from);
    atomic_store(&state, r < 0 ? OFF : ON);
    if (r < 0 && from[0] == 'L') /* whoever set it does not see what this returns */
        prof__log("no captures: %s", prof_last_error());
    return r;
}

int prof_capture_stop(void)
{
    int on = ON;

    if (!atomic_compare_exchange_strong(&state, &on, STARTING))
        return prof_set_last_error(-EALREADY, "captures were not started");
    prof__guest_stop(&prof__watch_guest);
    if (recorder_is_ours)
        prof_trace_record(0);
    recorder_is_ours = false;
    atomic_store(&state, OFF);
    return 0;
}

/* --- asking ----------------------------------------------------------------------------------- */

/* Context: signal. */
static int ask(const char *profile, int seconds, const char *reason)
{
    int saved = errno;
    struct prof__request *q = NULL;

    if (!is_on())
        return -ENOTCONN;
    for (unsigned i = 0; !q && i < PROF__REQUESTS_MAX; i++) {
        uint32_t is_free = PROF__REQUEST_FREE;

        if (atomic_compare_exchange_strong(&w->request[i].state, &is_free, PROF__REQUEST_FILLING))
            q = &w->request[i];
    }
    if (!q)
        return -EAGAIN;
    size_t n = 0;
    for (const char *c = reason ? reason : ""; *c && n < 40; c++)
        q->reason[n++] = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                                 (*c >= '0' && *c <= '9') || *c == '-' || *c == '_'
                             ? *c
                             : '_';
    q->reason[n] = '\0';
    q->wanted = (struct prof__wanted) { .seconds = seconds };
    memcpy(q->wanted.profile, profile, strlen(profile) + 1);
    q->number = atomic_fetch_add(&w->numbers, 1) + 1;
    int number = (int)q->number;
    atomic_fetch_add_explicit(&w->on_demand, 1, memory_order_relaxed);
    /* Release: all of it. */
    atomic_store_explicit(&q->state, PROF__REQUEST_READY, memory_order_release);
    prof__guest_wake(&prof__watch_guest);
    errno = saved;
    return number;
}

int prof_capture_now(const char *reason)
{
    return ask("heap", 0, reason);
}

int prof_capture_profile(const char *profile, int seconds, const char *reason)
{
    bool cpu = profile && strcmp(profile, "profile") == 0;

    if (!profile || strlen(profile) >= PROF__PROFILE_NAME || seconds < 0 || seconds > 600 ||
        (!cpu && (!prof_lookup(profile) && (seconds || strcmp(profile, PROF__WANTED_TRACE) != 0))))
        return prof_set_last_error(-EINVAL, "prof_capture_profile() takes a profile's name, and "
                                            "at most 600 seconds");
    int r = ask(profile, cpu && !seconds ? 10 : seconds, reason);
    if (r == -ENOTCONN)
        return prof_set_last_error(r, "captures are off: LIBPROF_CAPTURE or prof_capture_start() "
                                      "has them taken");
    return r == -EAGAIN ? prof_set_last_error(r, "too many captures wait already") : r;
}

int prof_capture_wait(int number, int timeout_ms)
{
    int64_t until_ns = prof__monotonic_ns() + timeout_ms * (int64_t)1000000;

    if (number <= 0 || (unsigned)number > atomic_load(&w->numbers))
        return prof_set_last_error(-EINVAL, "there is no capture %d", number);
    for (;;) {
        uint32_t turn = atomic_load(&w->results);
        uint64_t result = atomic_load(&w->result[(unsigned)number % PROF__RESULTS]);

        if (result / 2 > (unsigned)number || result == (uint64_t)number * 2)
            return 0;
        if (result / 2 == (unsigned)number)
            return prof_set_last_error(-EIO, "the capture could not be written");
        if (prof__monotonic_ns() >= until_ns)
            return prof_set_last_error(-ETIMEDOUT, "the capture is not there yet");
        prof__word_wait(&w->results, turn, until_ns);
    }
}

/* --- what there is ---------------------------------------------------------------------------- */

static int open_shelf(void)
{
    if (!is_on())
        return prof_set_last_error(-ENOTCONN, "captures are off: LIBPROF_CAPTURE or "
                                              "prof_capture_start() has them taken");
    int dir = prof__shelf_look(w->path, w->own_path); /* it may be another by now */
    return dir < 0 ? prof_set_last_error(dir, "cannot open %.300s: %s", w->path, strerror(-dir))
                   : dir;
}

struct listing {
    int dir;
    struct prof_capture *item;
    size_t n, room;
};

/* Sorted in, the newest first. */
static void insert(struct listing *l, const struct prof_capture *c)
{
    size_t at = PROF_MIN(l->n, l->room - 1);

    if (l->n == l->room && l->item[at].time_ms >= c->time_ms)
        return;
    for (; at > 0; at--) {
        const struct prof_capture *before = &l->item[at - 1];

        if (before->time_ms > c->time_ms ||
            (before->time_ms == c->time_ms && before->number >= c->number))
            break;
        l->item[at] = *before;
    }
    l->item[at] = *c;
    l->n = PROF_MIN(l->n + 1, l->room);
}

static int add(const char *name, const struct prof__kept *k, void *arg)
{
    struct listing *l = arg;
    struct prof_capture c = {
        .time_ms = k->time_s * 1000,
        .pid = k->pid,
        .number = k->number,
    };
    struct stat st;

    if (strcmp(k->program, program_invocation_short_name) != 0 ||
        fstatat(l->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return 0;
    snprintf(c.name, sizeof(c.name), "%s", name);
    c.size_bytes = (uint64_t)st.st_size;
    c.own = k->pid == getpid() && k->time_s >= w->since_s;
    snprintf(c.rule, sizeof(c.rule), "%s", k->rule);
    snprintf(c.value, sizeof(c.value), "%s", k->value);
    snprintf(c.profile, sizeof(c.profile), "%s", k->profile);
    insert(l, &c);
    return 0;
}

/* What both sides know of an array's struct; what this version does not know becomes 0. */
static void give(void *out, size_t i, size_t item_size, const void *item, size_t size)
{
    char *to = (char *)out + i * item_size;

    memset(to, 0, item_size);
    memcpy(to, item, PROF_MIN(item_size, size));
}

int64_t prof_captures(struct prof_capture *out, size_t cap, size_t item_size)
{
    struct listing l = { .room = PROF_MIN(cap, (size_t)PROF__SHELF_MOST) };
    size_t bytes = l.room * sizeof(*l.item);

    if ((cap && !out) || item_size < LEAST_SIZE)
        return prof_set_last_error(-EINVAL, "prof_captures() takes a place for captures, and their "
                                            "size");
    if (!cap)
        return 0;
    l.dir = open_shelf();
    if (l.dir < 0)
        return l.dir;
    l.item = prof__pages_map(bytes);
    if (l.item)
        prof__shelf_each(l.dir, add, &l);
    close(l.dir);
    if (!l.item)
        return prof__error_memory("a list of captures");
    for (size_t i = 0; i < l.n; i++)
        give(out, i, item_size, &l.item[i], sizeof(l.item[i]));
    prof__pages_unmap(l.item, bytes);
    return (int64_t)l.n;
}

struct search {
    const char *name;
    bool found;
};

static int find(const char *name, const struct prof__kept *k, void *arg)
{
    struct search *s = arg;

    s->found |=
        strcmp(name, s->name) == 0 && strcmp(k->program, program_invocation_short_name) == 0;
    return s->found;
}

static int copy_out(int fd, prof_sink_fn *sink, void *arg)
{
    char *buf = prof__pages_map(READ_BYTES);
    ssize_t n = 0;
    int r = 0;

    if (!buf)
        return prof__error_memory("reading a capture");
    while (r >= 0 && (n = read(fd, buf, READ_BYTES)) != 0)
        r = n < 0 ? (errno == EINTR ? 0 : -errno) : sink(arg, buf, (size_t)n);
    prof__pages_unmap(buf, READ_BYTES);
    return r < 0 ? r : 0;
}

/* What is asked for is looked for among what is there, so no other file can be meant. */
int prof_capture_read(const char *name, prof_sink_fn *sink, void *arg)
{
    struct search s = { .name = name };

    if (!name || !sink)
        return prof_set_last_error(-EINVAL, "prof_capture_read() takes a name and a sink");
    int dir = open_shelf();
    if (dir < 0)
        return dir;
    prof__shelf_each(dir, find, &s);
    int fd = s.found ? openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
    int r = s.found && fd < 0 ? -errno : 0;
    close(dir);
    if (fd < 0)
        return prof_set_last_error(r ? r : -ENOENT, "there is no such capture");
    r = copy_out(fd, sink, arg);
    close(fd);
    return r;
}

/* --- what the rules see ----------------------------------------------------------------------- */

static void describe_takes(const struct prof__clause *c, char *buf, size_t size)
{
    size_t n = 0;

    buf[0] = '\0';
    for (unsigned i = 0; i < c->n && n < size; i++) {
        n += (size_t)snprintf(buf + n, size - n, "%s%s", i ? ", " : "", c->wanted[i].profile);
        if (c->wanted[i].seconds && n < size)
            n += (size_t)snprintf(buf + n, size - n, " for %d s", c->wanted[i].seconds);
    }
}

static void describe(unsigned i, struct prof_capture_rule *ret)
{
    const struct prof__rule *rule = &w->rules.rule[i];
    const struct prof__judgement *j = &w->judgement[i];

    *ret = (struct prof_capture_rule) { .fired = j->fired, .fired_ms = w->fired_wall_ms[i] };
    snprintf(ret->rule, sizeof(ret->rule), "%s", rule->text);
    describe_takes(&w->rules.clause[rule->clause], ret->takes, sizeof(ret->takes));
    if (j->why == PROF__WHY_NOT_LOOKED) {
        snprintf(ret->now, sizeof(ret->now), "unknown");
        snprintf(ret->limit, sizeof(ret->limit), "unknown");
    } else {
        prof__judge_value(rule->what, j->now, ret->now, sizeof(ret->now));
        prof__judge_value(rule->what, j->threshold, ret->limit, sizeof(ret->limit));
    }
    prof__judge_explain(rule, j, w->now_ms, ret->why, sizeof(ret->why));
}

int64_t prof_capture_rules(struct prof_capture_rule *out, size_t cap, size_t item_size)
{
    if ((cap && !out) || item_size < LEAST_SIZE)
        return prof_set_last_error(-EINVAL, "prof_capture_rules() takes a place for rules, and "
                                            "their size");
    if (!is_on())
        return 0;
    unsigned n = 1;
    for (unsigned i = 0; i < n; i++) {
        struct prof_capture_rule rule;

        prof__lock(&w->lock);
        n = w->rules.n;
        if (i < n)
            describe(i, &rule);
        prof__unlock(&w->lock);
        if (i < n && i < cap)
            give(out, i, item_size, &rule, sizeof(rule));
    }
    return n;
}

int prof_capture_counts(struct prof_capture_stats *ret)
{
    struct prof_capture_stats s = {
        .on_demand = w->on_demand,
        .failed = w->counts.failed,
        .nameless = w->counts.nameless,
        .unheard = w->counts.unheard,
    };

    if (!ret || !prof__struct_size(ret->size, sizeof(ret->size)))
        return prof_set_last_error(-EINVAL, "prof_capture_counts() takes a struct "
                                            "prof_capture_stats with its size filled in");
    s.size = ret->size;
    memset(ret, 0, s.size);
    memcpy(ret, &s, PROF_MIN(s.size, sizeof(s)));
    return 0;
}

int prof_capture_status(char *buf, size_t size)
{
    int error = w->sources_error, dir = w->counts.dir_error, hook = w->counts.hook_error;
    char one[300] = "", two[300] = "", three[200] = "";

    if (size && !buf)
        return prof_set_last_error(-EINVAL, "no buffer given to prof_capture_status()");
    if (!is_on())
        return snprintf(buf, size,
                        "Captures are off: LIBPROF_CAPTURE or prof_capture_start() has them "
                        "taken.\n");
    if (error < 0)
        return snprintf(buf, size,
                        "Nothing is watched: the thread that does can have no descriptor table of "
                        "its own (close_range: %s).\n",
                        strerror(-error));
    if (dir < 0)
        snprintf(one, sizeof(one), "Captures cannot be kept: %.200s: %s.\n", w->path,
                 strerror(-dir));
    if (hook < 0)
        snprintf(two, sizeof(two), "%.200s will not be run: a shell cannot be had: %s.\n",
                 w->rules.exec, strerror(-hook));
    if (w->counts.failed)
        snprintf(three, sizeof(three), "%llu files could not be written, the last time: %s.\n",
                 (unsigned long long)w->counts.failed, strerror(-w->counts.last_error));
    return snprintf(buf, size, "%s%s%s", one, two, three);
}

int prof_capture_dir(char *buf, size_t size)
{
    if (size && !buf)
        return prof_set_last_error(-EINVAL, "no buffer given to prof_capture_dir()");
    return snprintf(buf, size, "%s", is_on() ? w->path : "");
}
