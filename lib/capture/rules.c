/*
 * rules.c - a parser by hand: one position, one function for each line of the grammar.
 *
 * The first thing that is wrong ends it, with its column, since one message that is right helps
 * more than three that follow from each other.
 */
#include "capture/rules.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SECOND_MS ((int64_t)1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS   (60 * MINUTE_MS)

enum {
    SECONDS_MAX = 600, /* of a profile's window */
    KEEP_MAX = 100,
};

struct parser {
    const char *text, *at;
    struct prof__rules *rules;
    bool (*is_profile)(const char *name);
    struct prof__rules_error *error;
    bool cooldown_set[PROF__CLAUSES_MAX]; /* by the clause itself */
    int64_t cooldown_ms;                  /* of all others */
    bool exec_all;
};

struct unit {
    const char *name;
    double factor;
};

static const struct unit sizes[] = {
    { "b", 1 },        { "k", 1 << 10 },   { "kb", 1 << 10 },  { "kib", 1 << 10 },
    { "m", 1 << 20 },  { "mb", 1 << 20 },  { "mib", 1 << 20 }, { "g", 1 << 30 },
    { "gb", 1 << 30 }, { "gib", 1 << 30 }, { "t", 0x1p40 },    { "tb", 0x1p40 },
    { "tib", 0x1p40 }, { NULL, 0 },
};
static const struct unit times[] = {
    { "ms", 1 },      { "s", SECOND_MS },    { "m", MINUTE_MS }, { "min", MINUTE_MS },
    { "h", HOUR_MS }, { "d", 24 * HOUR_MS }, { NULL, 0 },
};
static const struct unit none[] = { { NULL, 0 } };

static const struct {
    const char *name;
    bool bytes, percent, number, time; /* what its amounts may be */
} quantities[PROF__QUANTITIES] = {
    [PROF__QUANTITY_MEM] = { "mem", true, true },
    [PROF__QUANTITY_RSS] = { "rss", true, true },
    [PROF__QUANTITY_SWAP] = { "swap", true, true },
    [PROF__QUANTITY_HEAP] = { "heap", true, true },
    [PROF__QUANTITY_ALLOC] = { "alloc", true, false },
    [PROF__QUANTITY_THREADS] = { "threads", false, false, true },
    [PROF__QUANTITY_CPU] = { "cpu", false, true },
    [PROF__QUANTITY_PEAK] = { "peak", true, true },
    [PROF__QUANTITY_STALL] = { "stall", .time = true },
    [PROF__QUANTITY_LOW] = { "events.low", false, false, true },
    [PROF__QUANTITY_HIGH] = { "events.high", false, false, true },
    [PROF__QUANTITY_MAX] = { "events.max", false, false, true },
    [PROF__QUANTITY_OOM] = { "events.oom", false, false, true },
    [PROF__QUANTITY_KILL] = { "events.oom_kill", false, false, true },
    [PROF__QUANTITY_TERM] = { "term", false, false },
};

bool prof__quantity_is_bytes(enum prof__quantity q)
{
    return quantities[q].bytes;
}

/* --- words ------------------------------------------------------------------------------------ */

static int fail(struct parser *p, const char *at, const char *format, ...) PROF_PRINTF(3, 4);

static int fail(struct parser *p, const char *at, const char *format, ...)
{
    va_list args;

    p->error->column = (unsigned)(at - p->text) + 1;
    va_start(args, format);
    vsnprintf(p->error->sentence, sizeof(p->error->sentence), format, args);
    va_end(args);
    return -EINVAL;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void skip_blanks(struct parser *p)
{
    while (is_blank(*p->at))
        p->at++;
}

static bool take(struct parser *p, const char *sign)
{
    skip_blanks(p);
    if (strncmp(p->at, sign, strlen(sign)) != 0)
        return false;
    p->at += strlen(sign);
    skip_blanks(p);
    return true;
}

static size_t word_length(const char *at)
{
    size_t n = 0;

    while (is_letter(at[n]))
        n++;
    return n;
}

static bool is_word(const char *at, size_t n, const char *word)
{
    return n == strlen(word) && strncmp(at, word, n) == 0;
}

/* The next word if it is this one. */
static bool take_word(struct parser *p, const char *word)
{
    skip_blanks(p);
    if (!is_word(p->at, word_length(p->at), word))
        return false;
    p->at += strlen(word);
    skip_blanks(p);
    return true;
}

/* --- numbers ---------------------------------------------------------------------------------- */

/* "80", "1.5", without sign or exponent. */
static bool number(struct parser *p, double *ret)
{
    double n = 0, place = 1;

    if (!is_digit(*p->at))
        return false;
    for (; is_digit(*p->at); p->at++)
        n = n * 10 + (*p->at - '0');
    if (*p->at == '.' && is_digit(p->at[1]))
        for (p->at++; is_digit(*p->at); p->at++)
            n += (*p->at - '0') * (place /= 10);
    *ret = n;
    return true;
}

static bool unit(struct parser *p, const struct unit *units, double *ret_factor)
{
    size_t n = word_length(p->at);

    for (; units->name; units++)
        if (strlen(units->name) == n && strncasecmp(p->at, units->name, n) == 0) {
            p->at += n;
            *ret_factor = units->factor;
            return true;
        }
    return n == 0;
}

static int time_ms(struct parser *p, int64_t *ret)
{
    const char *from = p->at;
    double n, factor = 0;

    if (!number(p, &n) || !word_length(p->at) || !unit(p, times, &factor))
        return fail(p, from, "here a time is wanted: 30s, 10m, 2h");
    n *= factor;
    if (n > 30.0 * 24 * HOUR_MS)
        return fail(p, from, "a time of at most 30 days is wanted");
    *ret = (int64_t)n;
    skip_blanks(p);
    return 0;
}

/* What an amount of `q` may be is wanted where it is not. */
static int amount(struct parser *p, enum prof__quantity q, bool grows, struct prof__amount *ret)
{
    const char *from = p->at;
    bool percent = quantities[q].percent || grows, bytes = quantities[q].bytes;
    bool time = quantities[q].time, plain = bytes || time || quantities[q].number;
    double n, factor = 1;

    if (number(p, &n)) {
        if (*p->at == '%') {
            p->at++;
            if (percent) {
                *ret = (struct prof__amount) { n, true };
                skip_blanks(p);
                return 0;
            }
        } else if (plain && (!time || word_length(p->at)) &&
                   unit(p,
                        bytes  ? sizes
                        : time ? times
                               : none,
                        &factor)) {
            *ret = (struct prof__amount) { n * factor, false };
            skip_blanks(p);
            return 0;
        }
    }
    return fail(p, from, "here %s's amount is wanted: %s", quantities[q].name,
                bytes && percent ? "a size such as 512m or 2g, or a percentage such as 80%"
                : time           ? "a time such as 200ms or 2s"
                : bytes          ? "a size such as 512m or 2g"
                : plain
                    ? (percent ? "a number such as 2000, or a percentage" : "a number such as 2000")
                    : "a percentage such as 90%");
}

static int count(struct parser *p, unsigned most, unsigned *ret)
{
    const char *from = p->at;
    double n;

    if (!number(p, &n) || n > most || n != floor(n))
        return fail(p, from, "here a number up to %u is wanted", most);
    *ret = (unsigned)n;
    skip_blanks(p);
    return 0;
}

/* To the end of its clause or action; what a shell or a line of text would trip over is none. */
static int path(struct parser *p, const char *of, bool blanks, char *ret, size_t size)
{
    const char *from = p->at, *end = from;

    while (*end && *end != ';' && *end != ',' && (blanks || !is_blank(*end)))
        end++;
    const char *next = end;
    while (end > from && is_blank(end[-1]))
        end--;
    size_t n = (size_t)(end - from);
    if (*from != '/')
        return fail(p, from, "here %s's path is wanted, which begins with a slash", of);
    if (n >= size)
        return fail(p, from, "%s's path is longer than %zu bytes", of, size - 1);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)from[i] < ' ' || from[i] == 0x7f)
            return fail(p, from + i, "a path has no such character");
    memcpy(ret, from, n);
    ret[n] = '\0';
    p->at = next;
    skip_blanks(p);
    return 0;
}

/* --- conditions ------------------------------------------------------------------------------- */

static int quantity(struct parser *p, enum prof__quantity *ret)
{
    size_t n = 0;

    while (is_letter(p->at[n]) || p->at[n] == '.' || p->at[n] == '_')
        n++;

    for (unsigned q = 0; q < PROF__QUANTITIES; q++)
        if (is_word(p->at, n, quantities[q].name)) {
            p->at += n;
            *ret = (enum prof__quantity)q;
            return 0;
        }
    return fail(p, p->at,
                "here a rule or a setting begins: mem, rss, swap, heap, alloc, threads, cpu, "
                "peak, stall, events.high (or low, max, oom, oom_kill) or term; cooldown, warmup, "
                "baseline, keep, dir or exec");
}

static int window(struct parser *p, struct prof__rule *r)
{
    const char *from = p->at;
    int e;

    if (!take(p, "/")) {
        if (r->grows && r->what != PROF__QUANTITY_PEAK)
            return fail(p, p->at, "here /TIME is wanted: grown over the mean of which time?");
        r->window_ms = r->what == PROF__QUANTITY_CPU ? 10 * SECOND_MS : 0;
        return 0;
    }
    if (r->what == PROF__QUANTITY_PEAK)
        return fail(p, from, "a peak has no time: it grows over the last one");
    from = p->at;
    if ((e = time_ms(p, &r->window_ms)) < 0)
        return e;
    if (r->window_ms < SECOND_MS || r->window_ms > 24 * HOUR_MS)
        return fail(p, from, "a mean is over one second at least and one day at most");
    return 0;
}

static int cut_off(struct parser *p, struct prof__rule *r)
{
    const char *from = p->at;
    int e;

    r->below.n = -1;
    if (!take(p, "<"))
        return 0;
    from = p->at;
    if ((e = amount(p, r->what, false, &r->below)) < 0)
        return e;
    if (!r->grows && r->below.percent == r->amount.percent && r->below.n <= r->amount.n)
        return fail(p, from, "with that cut-off the rule can never fire");
    return 0;
}

/* As it was written, less the blanks. */
static void keep_text(const char *from, const char *end, struct prof__rule *r)
{
    size_t n = 0;

    for (; from < end && n < sizeof(r->text) - 1; from++)
        if (!is_blank(*from))
            r->text[n++] = *from;
    r->text[n] = '\0';
}

static int add_rule(struct parser *p, const char *from, struct prof__rule *r)
{
    keep_text(from, p->at, r);
    for (unsigned i = 0; i < p->rules->n; i++)
        if (strcmp(p->rules->rule[i].text, r->text) == 0)
            return fail(p, from, "that rule is there already");
    p->rules->n++;
    return 0;
}

/* What took longer; there is no mean of it, nor a limit. */
static int stall(struct parser *p, const char *from, struct prof__rule *r)
{
    int e;

    if (!take(p, ">"))
        return fail(p, p->at, "here > is wanted: stall>200ms");
    if ((e = amount(p, r->what, false, &r->amount)) < 0)
        return e;
    r->below.n = -1;
    return add_rule(p, from, r);
}

static int condition(struct parser *p)
{
    const char *from = p->at;
    int e;

    if (p->rules->n == PROF__RULES_MAX)
        return fail(p, from, "there may be %d rules", PROF__RULES_MAX);
    struct prof__rule *r = &p->rules->rule[p->rules->n];
    *r = (struct prof__rule) { .clause = p->rules->n_clauses };
    if ((e = quantity(p, &r->what)) < 0)
        return e;
    if (r->what == PROF__QUANTITY_TERM) {
        r->below.n = -1;
        return add_rule(p, from, r);
    }
    if (r->what == PROF__QUANTITY_STALL)
        return stall(p, from, r);
    r->grows = take(p, "+");
    if (!r->grows && !take(p, ">"))
        return fail(p, p->at, "here > or + is wanted: %s>AMOUNT, or %s+AMOUNT%s",
                    quantities[r->what].name, quantities[r->what].name,
                    r->what == PROF__QUANTITY_PEAK ? "" : "/TIME");
    if (!r->grows && r->what == PROF__QUANTITY_PEAK)
        return fail(p, p->at - 1, "peak+AMOUNT is wanted; rss>AMOUNT is another rule");
    const char *at = p->at;
    if ((e = amount(p, r->what, r->grows, &r->amount)) < 0)
        return e;
    if (r->grows && r->amount.n <= 0)
        return fail(p, at, "growth is by more than nothing");
    if ((e = window(p, r)) < 0 || (e = cut_off(p, r)) < 0)
        return e;
    return add_rule(p, from, r);
}

/* --- actions ---------------------------------------------------------------------------------- */

static int exec_path(struct parser *p)
{
    char to[PROF__CAPTURE_PATH];
    const char *from = p->at;
    int e = path(p, "exec", false, to, sizeof(to));

    if (e < 0)
        return e;
    if (*p->rules->exec && strcmp(p->rules->exec, to) != 0)
        return fail(p, from, "all that run a program run the same one");
    strcpy(p->rules->exec, to);
    return 0;
}

static bool in_name(char c)
{
    return is_letter(c) || is_digit(c) || strchr("_-./", c);
}

static int action(struct parser *p, struct prof__clause *c)
{
    const char *from = p->at;
    size_t n = 0;
    int64_t ms;
    int e;

    if (take_word(p, "exec")) {
        c->exec = true;
        return exec_path(p);
    }
    while (from[n] && in_name(from[n]))
        n++;
    if (n == 0 || n >= PROF__PROFILE_NAME)
        return fail(p, from,
                    "here a profile's name is wanted: heap, threads, profile:10s, trace, or exec "
                    "/PATH");
    if (c->n == PROF__ACTIONS_MAX)
        return fail(p, from, "a rule takes at most %d profiles", PROF__ACTIONS_MAX);
    struct prof__wanted *w = &c->wanted[c->n];
    *w = (struct prof__wanted) { .seconds = 0 };
    memcpy(w->profile, from, n);
    bool cpu = strcmp(w->profile, "profile") == 0;
    bool trace = strcmp(w->profile, PROF__WANTED_TRACE) == 0;
    if (!cpu && !trace && p->is_profile && !p->is_profile(w->profile))
        return fail(p, from, "there is no profile \"%s\"", w->profile);
    p->at += n;
    if (take(p, ":")) {
        from = p->at;
        if (trace)
            return fail(p, from, "a trace is of what has been: LIBPROF_TRACE says how much");
        if ((e = time_ms(p, &ms)) < 0)
            return e;
        if (ms < SECOND_MS || ms > SECONDS_MAX * SECOND_MS)
            return fail(p, from, "a profile is of 1 second at least and 10 minutes at most");
        w->seconds = (int)(ms / SECOND_MS);
    } else if (cpu) {
        w->seconds = 10;
    }
    c->n++;
    skip_blanks(p);
    return 0;
}

static int cooldown(struct parser *p, int64_t *ret)
{
    const char *from = p->at;
    int e = time_ms(p, ret);

    return e < 0 ? e : *ret < 1000 ? fail(p, from, "a cooldown takes one second at least") : 0;
}

static int rule(struct parser *p)
{
    int e;

    if (p->rules->n_clauses == PROF__CLAUSES_MAX)
        return fail(p, p->at, "there may be %d clauses with rules", PROF__CLAUSES_MAX);
    unsigned index = p->rules->n_clauses, first = p->rules->n;
    struct prof__clause *c = &p->rules->clause[index];
    *c = (struct prof__clause) { .n = 0 };
    do {
        if ((e = condition(p)) < 0)
            return e;
    } while (take(p, "|"));
    if (take(p, "->"))
        do {
            if ((e = action(p, c)) < 0)
                return e;
        } while (take(p, ","));
    if (c->n == 0) { /* not even said, or only a program to run */
        strcpy(c->wanted[0].profile, "heap");
        c->n = 1;
    }
    if (take_word(p, "cooldown")) {
        int64_t ms;

        if ((e = cooldown(p, &ms)) < 0)
            return e;
        p->cooldown_set[index] = true;
        for (unsigned i = first; i < p->rules->n; i++)
            p->rules->rule[i].cooldown_ms = ms;
    }
    p->rules->n_clauses++;
    return 0;
}

/* --- settings --------------------------------------------------------------------------------- */

/* "1 first + 8 last, 64m", or parts of it. */
static int keep(struct parser *p)
{
    const char *from = p->at;
    unsigned n = 0;
    int e;

    if ((e = count(p, KEEP_MAX, &n)) < 0)
        return e;
    if (take_word(p, "first")) {
        p->rules->keep_first = n;
        if (take(p, "+")) {
            if ((e = count(p, KEEP_MAX, &n)) < 0)
                return e;
            if (!take_word(p, "last"))
                return fail(p, p->at, "here \"last\" is wanted: keep 1 first + 8 last, 64m");
            p->rules->keep_last = n;
        }
    } else if (take_word(p, "last")) {
        p->rules->keep_last = n;
    } else {
        return fail(p, p->at, "here \"first\" or \"last\" is wanted: keep 1 first + 8 last, 64m");
    }
    if (p->rules->keep_first + p->rules->keep_last == 0)
        return fail(p, from, "at least one capture is to be kept");
    if (take(p, ",")) {
        double bytes, factor = 1;

        from = p->at;
        if (!number(p, &bytes) || !unit(p, sizes, &factor) || bytes * factor < 1 << 20)
            return fail(p, from, "here a size of 1m at least is wanted: 64m, 1g");
        p->rules->keep_bytes = (uint64_t)(bytes * factor);
        skip_blanks(p);
    }
    return 0;
}

static int clause(struct parser *p)
{
    struct prof__rules *r = p->rules;

    if (take_word(p, "cooldown"))
        return cooldown(p, &p->cooldown_ms);
    if (take_word(p, "warmup"))
        return time_ms(p, &r->warmup_ms);
    if (take_word(p, "baseline"))
        return time_ms(p, &r->baseline_ms);
    if (take_word(p, "keep"))
        return keep(p);
    if (take_word(p, "dir"))
        return path(p, "dir", true, r->dir, sizeof(r->dir));
    if (take_word(p, "exec")) {
        p->exec_all = true;
        return exec_path(p);
    }
    return rule(p);
}

int prof__rules_parse(const char *text, bool (*is_profile)(const char *name),
                      struct prof__rules *ret, struct prof__rules_error *ret_error)
{
    struct parser p = {
        .text = text,
        .at = text,
        .rules = ret,
        .is_profile = is_profile,
        .error = ret_error,
        .cooldown_ms = 10 * MINUTE_MS,
    };

    *ret = (struct prof__rules) {
        .baseline_ms = 10 * SECOND_MS,
        .keep_first = 1,
        .keep_last = 8,
        .keep_bytes = (uint64_t)64 << 20,
    };
    *ret_error = (struct prof__rules_error) { .column = 0 };
    for (skip_blanks(&p); *p.at; skip_blanks(&p)) {
        if (take(&p, ";"))
            continue;
        int e = clause(&p);
        if (e < 0)
            return e;
        if (*p.at && *p.at != ';')
            return fail(&p, p.at, "here ; or the end is wanted");
    }
    for (unsigned i = 0; i < ret->n; i++)
        if (!p.cooldown_set[ret->rule[i].clause])
            ret->rule[i].cooldown_ms = p.cooldown_ms;
    for (unsigned i = 0; p.exec_all && i < ret->n_clauses; i++)
        ret->clause[i].exec = true;
    ret->exec_all = p.exec_all;
    return 0;
}
