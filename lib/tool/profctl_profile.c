/*
 * profctl_profile.c - commands that show one profile of one process, or of a file.
 *
 *   heap, cpu, ...      asked for as protobuf, whatever it is to be shown as: one reader for all
 *   leaks, memory, ...  have a text of their own, which says more than a table of functions could
 *
 * A process without libprof, one in which nobody listens, and a core file go to outside.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool/client.h"
#include "tool/ctl.h"
#include "tool/output.h"
#include "tool/outside.h"
#include "tool/profile_of.h"
#include "tool/read_profile.h"
#include "tool/show.h"
#include "tool/term.h"

/* --- where a profile comes from -----------------------------------------------------------------
 */

int profile_load_file(const char *path, char **ret_data, size_t *ret_size)
{
    struct stat st;
    FILE *f = fopen(path, "re");

    if (!f || fstat(fileno(f), &st) < 0 || S_ISDIR(st.st_mode)) {
        if (f)
            fclose(f);
        return ctl_say(CTL_NOT_FOUND, "%s cannot be read: %s.", path,
                       f ? "it is a directory" : strerror(errno));
    }
    size_t size = 0, room = 65536;
    char *data = malloc(room);
    while (data) {
        size_t n = fread(data + size, 1, room - size, f);

        size += n;
        if (n == 0)
            break;
        if (size == room) {
            char *more = realloc(data, room *= 2);

            if (!more)
                free(data);
            data = more;
        }
    }
    fclose(f);
    if (!data)
        return ctl_no_memory();
    *ret_data = data;
    *ret_size = size;
    return CTL_OK;
}

/* A value in a query. */
static void add_escaped(char *out, size_t size, const char *value)
{
    size_t n = strlen(out);

    for (; *value && n + 4 < size; value++) {
        if (strchr("-_.~", *value) || (*value >= '0' && *value <= '9') ||
            ((*value | 32) >= 'a' && (*value | 32) <= 'z'))
            out[n++] = *value;
        else
            n += (size_t)sprintf(out + n, "%%%02X", (unsigned char)*value);
    }
    out[n] = '\0';
}

/* The page of that name, with what the options want of the server; `query` begins it. */
static void page_of(const char *name, const char *query, const struct ctl_options *o, char *buf,
                    size_t size)
{
    size_t n = (size_t)snprintf(buf, size, "%s%s%snames=%s", name, query, *query ? "&" : "?",
                                o->names ? o->names : "short");

    if (o->age > 0)
        n += (size_t)snprintf(buf + n, size - n, "&%s=%.0f",
                              strcmp(name, "leaks") == 0 ? "age" : "min_age", o->age);
    if (o->site) {
        snprintf(buf + n, size - n, "&site=");
        add_escaped(buf, size, o->site);
    }
}

int profile_ask(const struct target *t, const char *name, const struct ctl_options *o,
                double seconds, struct reply *ret)
{
    char query[64] = "", path[1024];

    if (seconds > 0)
        snprintf(query, sizeof(query), "?seconds=%.0f", seconds < 1 ? 1 : seconds);
    page_of(name, query, o, path, sizeof(path));
    struct ask ask = { .path = path, .token = o->token, .seconds = seconds, .what = name };
    return client_ask(t, &ask, ret);
}

int profile_parse(const char *data, size_t size, const char *from, const struct ctl_options *o,
                  struct prof__arena *a, struct prof__report *ret)
{
    int error = profile_read(data, size, a, ret);

    if (error == -ENOMEM)
        return ctl_no_memory();
    if (error < 0)
        return ctl_say(CTL_FAILED, "%s is no profile, or a damaged one.", from);
    if (profile_choose(ret, o->type) < 0) {
        fprintf(stderr, "profctl: the profile has no values of the type \"%s\". It has", o->type);
        for (size_t i = 0; i < ret->n_values; i++)
            fprintf(stderr, " %s", ret->value_type[i].type);
        fputs(".\n", stderr);
        return CTL_NOT_FOUND;
    }
    return CTL_OK;
}

void profile_title(const struct target *t, const char *name, char *buf, size_t size)
{
    if (t->kind == TARGET_PROCESS)
        snprintf(buf, size, "%s of %s (%d)", name, t->proc.name, (int)t->proc.pid);
    else
        snprintf(buf, size, "%s of %s", name, t->text);
}

/* --- showing it --------------------------------------------------------------------------------
 */

/* Bytes as they are, or laid out. */
static int put(const char *data, size_t size, const char *title, const char *from,
               const struct ctl_options *o)
{
    struct prof__arena a = { 0 };
    struct prof__report report;
    struct output out;
    bool as_is = o->form == CTL_PPROF || (o->form == CTL_FORM_DEFAULT && o->output);
    int r;

    if (as_is && !o->output && term_is_terminal())
        return ctl_say(CTL_USAGE, "protobuf is no text for a terminal: say where to with -o FILE.");
    r = as_is ? CTL_OK : profile_parse(data, size, from, o, &a, &report);
    if (r == CTL_OK)
        r = output_open(o, &out);
    if (r == CTL_OK) {
        if (!as_is)
            r = show_report(&report, title, o, out.file);
        else if (fwrite(data, 1, size, out.file) != size)
            r = CTL_FAILED;
        r = output_close(&out, r);
    }
    prof__arena_free(&a);
    return r;
}

/* What each command asks for. */
static const struct what {
    const char *command, *profile; /* on the server */
    const char *text;              /* its own text, after the profile's name; NULL: a table */
    const char *json;              /* its own JSON */
    double seconds;                /* if none are said; 0: now */
    bool has_windows;
} whats[] = {
    { "heap", "heap", NULL, NULL, 0, true },
    { "allocs", "allocs", NULL, NULL, 0, true },
    { "cpu", "profile", NULL, NULL, 10, true },
    { "block", "block", NULL, NULL, 0, true },
    { "mutex", "mutex", NULL, NULL, 0, true },
    { "mmap", "mmap", NULL, NULL, 0, true },
    { "threads", "threads", "?debug=2", NULL, 0, false },
    { "leaks", "leaks", "?debug=1", NULL, 0, false },
    { "holders", "holders", "?debug=1", NULL, 0, false },
    { "memory", "memory", "?debug=1", "?format=json", 0, false },
    { "captures", "captures", "?format=text", "?format=json", 0, false },
    { "metrics", "metrics", "", NULL, 0, false },
    { "vars", "vars", "?format=text", "?format=json", 0, false },
};

static const struct what *what_of(const char *command)
{
    const struct what *w = whats;

    while (strcmp(w->command, command) != 0)
        w++;
    return w;
}

/* A process that has given up root may not look at threads of its own that wait. Root may, and
 * whoever else the kernel lets. */
static bool seen_better_from_outside(const struct target *t, const struct what *w,
                                     const struct reply *reply)
{
    static const char unreadable[] = "[unreadable stack]";
    char path[64], byte;

    if (t->kind != TARGET_PROCESS || strcmp(w->command, "threads") != 0 ||
        !memmem(reply->body, reply->size, unreadable, sizeof(unreadable) - 1))
        return false;
    snprintf(path, sizeof(path), "/proc/%d/syscall", (int)t->proc.pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool can = fd >= 0 && read(fd, &byte, 1) == 1;

    if (fd >= 0)
        close(fd);
    return can;
}

/* Text of the server's own, as it is. */
static int show_own(const struct target *t, const struct what *w, const char *query,
                    const struct ctl_options *o)
{
    char path[1024];
    struct output out;
    struct reply reply;

    page_of(w->profile, query, o, path, sizeof(path));
    struct ask ask = { .path = path, .token = o->token, .what = w->command };
    int r = client_ask(t, &ask, &reply);
    if (r != CTL_OK)
        return r;
    if (seen_better_from_outside(t, w, &reply)) {
        free(reply.body);
        return outside_run(w->command, t, o);
    }
    r = output_open(o, &out);
    if (r == CTL_OK) {
        for (size_t i = 0; i < reply.size; i++) /* names of a stranger's making */
            if ((unsigned char)reply.body[i] < ' ' && !strchr("\n\t", reply.body[i]))
                reply.body[i] = '?';
        fwrite(reply.body, 1, reply.size, out.file);
        r = output_close(&out, CTL_OK);
    }
    free(reply.body);
    return r;
}

static int run_file(const char *name, const struct target *t, const struct ctl_options *o)
{
    char title[512], *data;
    size_t size;
    int r = profile_load_file(t->text, &data, &size);

    if (r != CTL_OK)
        return r;
    profile_title(t, name, title, sizeof(title));
    r = put(data, size, title, t->text, o);
    free(data);
    return r;
}

static int run_profile(const struct ctl_command *self, const struct ctl_options *o, char **argv,
                       int argc)
{
    const struct what *w = what_of(self->name);
    struct target t;
    struct reply reply;
    char title[512];
    int r = target_find(argv[0], &t);

    (void)argc;
    if (r != CTL_OK)
        return r;
    if (t.kind == TARGET_FILE)
        return run_file(self->name, &t, o);
    if (t.kind == TARGET_CORE || (t.kind == TARGET_PROCESS && !target_answers(&t)))
        return outside_run(self->name, &t, o);
    if (o->diff > 0 || o->stop)
        return ctl_say(CTL_USAGE, "--diff and --stop are for processes without libprof; of this "
                                  "one, --seconds tells what has come.");
    if (w->json && o->form == CTL_JSON)
        return show_own(&t, w, w->json, o);
    if (w->text && !o->seconds &&
        (o->form == CTL_TEXT || (o->form == CTL_FORM_DEFAULT && !o->output)))
        return show_own(&t, w, w->text, o);
    if (o->seconds > 0 && !w->has_windows)
        return ctl_say(CTL_USAGE, "profctl %s shows this moment: it takes no --seconds.",
                       self->name);
    r = profile_ask(&t, w->profile, o, o->seconds > 0 ? o->seconds : w->seconds, &reply);
    if (r != CTL_OK)
        return r;
    profile_title(&t, self->name, title, sizeof(title));
    r = put(reply.body, reply.size, title, t.text, o);
    free(reply.body);
    return r;
}

static int run_core(const struct ctl_command *self, const struct ctl_options *o, char **argv,
                    int argc)
{
    struct target t;
    int r = target_find(argv[0], &t);

    if (r == CTL_OK && t.kind != TARGET_CORE)
        return ctl_say(CTL_USAGE, "%s is no core file.", argv[0]);
    return r == CTL_OK ? outside_run(argc > 1 ? argv[1] : self->name, &t, o) : r;
}

/* Without forms: plain text. */
static int run_text(const struct ctl_command *self, const struct ctl_options *o, char **argv,
                    int argc)
{
    const struct what *w = what_of(self->name);
    struct target t;
    int r = target_find(argv[0], &t);

    (void)argc;
    if (r != CTL_OK)
        return r;
    if (t.kind == TARGET_FILE)
        return ctl_say(CTL_USAGE, "profctl %s is of a running process; %s is a file.", self->name,
                       t.text);
    if (t.kind == TARGET_CORE || (t.kind == TARGET_PROCESS && !target_answers(&t)))
        return outside_run(self->name, &t, o);
    return show_own(&t, w, o->form == CTL_JSON && w->json ? w->json : w->text, o);
}

/* A timeline: bytes for a viewer, not to be read here. */
static int run_trace(const struct ctl_command *self, const struct ctl_options *o, char **argv,
                     int argc)
{
    double seconds = o->seconds > 0 ? o->seconds : 1;
    struct target t;
    struct reply reply;
    struct output out;
    char path[128];
    int r = target_find(argv[0], &t);

    (void)argc;
    if (r != CTL_OK)
        return r;
    if (t.kind == TARGET_FILE || t.kind == TARGET_CORE)
        return ctl_say(CTL_USAGE, "profctl %s is of a running process; %s is a file.", self->name,
                       t.text);
    if (t.kind == TARGET_PROCESS && target_is_prepared(&t) == 0)
        return ctl_say(CTL_NOT_FOUND,
                       "%s has no libprof in it, and only that can tell who woke whom.", t.text);
    if (!o->output && term_is_terminal())
        return ctl_say(CTL_USAGE, "a trace is no text for a terminal: say where to with -o FILE, "
                                  "and open that at https://ui.perfetto.dev.");
    if (o->last)
        seconds = 0;
    snprintf(path, sizeof(path), "trace?%s=%.3f%s%s%s", o->last ? "last=1&seconds" : "seconds",
             seconds, o->form == CTL_JSON ? "&format=json" : "", o->io ? "&io=1" : "",
             o->sched ? "&sched=1" : "");
    struct ask ask = { .path = path, .token = o->token, .seconds = seconds, .what = self->name };
    r = client_ask(&t, &ask, &reply);
    if (r != CTL_OK)
        return r;
    r = output_open(o, &out);
    if (r == CTL_OK)
        r = output_close(
            &out, fwrite(reply.body, 1, reply.size, out.file) == reply.size ? CTL_OK : CTL_FAILED);
    free(reply.body);
    return r;
}

/* --- differences ------------------------------------------------------------------------------ */

/* A file, or the heap of a process as it is now. */
static int load_side(const char *text, const struct ctl_options *o, char **ret_data,
                     size_t *ret_size)
{
    struct target t;
    struct reply reply;
    int r = target_find(text, &t);

    if (r != CTL_OK)
        return r;
    if (t.kind == TARGET_CORE)
        return ctl_say(CTL_USAGE,
                       "%s is a core: \"profctl heap %s -o FILE\" makes a profile of it "
                       "first.",
                       text, text);
    if (t.kind == TARGET_FILE)
        return profile_load_file(text, ret_data, ret_size);
    r = profile_ask(&t, "heap", o, 0, &reply);
    if (r == CTL_OK) {
        *ret_data = reply.body;
        *ret_size = reply.size;
    }
    return r;
}

static int run_diff(const struct ctl_command *self, const struct ctl_options *o, char **argv,
                    int argc)
{
    struct prof__report side[2], difference;
    struct prof__arena a = { 0 };
    char *data[2] = { NULL, NULL }, title[1024];
    size_t size[2];
    struct output out;
    int r = CTL_OK;

    (void)self;
    (void)argc;
    for (int i = 0; i < 2 && r == CTL_OK; i++) {
        r = load_side(argv[i], o, &data[i], &size[i]);
        if (r == CTL_OK)
            r = profile_parse(data[i], size[i], argv[i], o, &a, &side[i]);
    }
    if (r == CTL_OK) {
        int error = profile_subtract(&side[1], &side[0], &a, &difference);

        r = error == 0 ? CTL_OK
            : error == -EINVAL
                ? ctl_say(CTL_USAGE, "%s and %s are profiles of different kinds.", argv[0], argv[1])
                : ctl_no_memory();
    }
    if (r == CTL_OK)
        r = output_open(o, &out);
    if (r == CTL_OK) {
        snprintf(title, sizeof(title), "%s minus %s", argv[1], argv[0]);
        difference.has_own_lines = !o->all_code;
        if (o->form == CTL_PPROF || (o->form == CTL_FORM_DEFAULT && o->output))
            r = show_pprof(&difference, &a, out.file);
        else
            r = show_report(&difference, title, o, out.file);
        r = output_close(&out, r);
    }
    free(data[0]);
    free(data[1]);
    prof__arena_free(&a);
    return r;
}

/* -------------------------------------------------------------------------------------------- */

enum {
    FORMS = CTL_TAKES_OUTPUT | CTL_TAKES_FORMS | CTL_TAKES_JSON | CTL_TAKES_TABLE,
    WINDOWS = FORMS | CTL_TAKES_SECONDS,
    OUTSIDE = CTL_TAKES_STOP | CTL_TAKES_DIFF | CTL_TAKES_CORE,
};

const struct ctl_command ctl_profile_commands[] = {
    { "heap", "PID|FILE|CORE", WINDOWS | OUTSIDE | CTL_TAKES_BLOCKS | CTL_TAKES_AGE, 1, 1,
      run_profile, "memory in use, by who allocated it", NULL },
    { "allocs", "PID|FILE|CORE", WINDOWS, 1, 1, run_profile, "all that was allocated, freed or not",
      NULL },
    { "cpu", "PID|FILE", WINDOWS, 1, 1, run_profile, "processor time, of 10 seconds", NULL },
    { "block", "PID|FILE|CORE", WINDOWS, 1, 1, run_profile, "time spent waiting, by who waited",
      NULL },
    { "mutex", "PID|FILE|CORE", WINDOWS, 1, 1, run_profile,
      "time others waited for locks, by who held them", NULL },
    { "mmap", "PID|FILE", WINDOWS, 1, 1, run_profile, "mappings alive, by who made them", NULL },
    { "threads", "PID|CORE", FORMS | OUTSIDE, 1, 1, run_profile,
      "stacks of all threads now, deadlocks named", NULL },
    { "leaks", "PID|CORE", FORMS | OUTSIDE | CTL_TAKES_BLOCKS | CTL_TAKES_AGE, 1, 1, run_profile,
      "memory in use that nothing points to", NULL },
    { "core", "CORE [PROFILE]", FORMS | CTL_TAKES_CORE, 1, 2, run_core,
      "what a core file is of, and where it ended",
      "With PROFILE one that libprof kept in the program, such as threadcreate or the\n"
      "program's own; the names are in what \"profctl core CORE\" shows." },
    { "holders", "PID|CORE", FORMS | OUTSIDE | CTL_TAKES_BLOCKS | CTL_TAKES_SITE, 1, 1, run_profile,
      "who still points at memory in use", NULL },
    { "memory", "PID|CORE", CTL_TAKES_OUTPUT | CTL_TAKES_JSON | CTL_TAKES_STOP, 1, 1, run_text,
      "where all of its memory is", NULL },
    { "captures", "PID", CTL_TAKES_OUTPUT | CTL_TAKES_JSON, 1, 1, run_text,
      "captures that were taken, and rules that wait", NULL },
    { "metrics", "PID", CTL_TAKES_OUTPUT, 1, 1, run_text, "its numbers, as Prometheus reads them",
      NULL },
    { "vars", "PID", CTL_TAKES_OUTPUT | CTL_TAKES_JSON, 1, 1, run_text, "its numbers over time",
      NULL },
    { "trace", "PID", CTL_TAKES_OUTPUT | CTL_TAKES_SECONDS | CTL_TAKES_JSON | CTL_TAKES_TRACE, 1, 1,
      run_trace, "a timeline of a second, for ui.perfetto.dev", NULL },
    { "diff", "A B", FORMS, 2, 2, run_diff, "B minus A: files, or a process's heap", NULL },
    { NULL, NULL, 0, 0, 0, NULL, NULL, NULL },
};
