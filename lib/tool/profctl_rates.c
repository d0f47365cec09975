/*
 * profctl_rates.c - how often samples are taken: the one thing that profctl changes in a process.
 *
 * Units are read here, and whole numbers sent. The process takes them only over its control socket,
 * from its own user or root.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool/client.h"
#include "tool/ctl.h"
#include "tool/term.h"

struct unit {
    const char *suffix;
    uint64_t factor;
};

static const struct unit bytes[] = {
    { "", 1 }, { "k", 1 << 10 }, { "m", 1 << 20 }, { "g", 1 << 30 }, { NULL, 0 }
};
static const struct unit times[] = {
    { "", 1 }, { "ns", 1 }, { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 }, { NULL, 0 },
};
static const struct unit plain[] = { { "", 1 }, { NULL, 0 } };

static const struct rate {
    const char *name;
    const struct unit *units;
    uint64_t most;
    const char *expected, *shown;
} rates[] = {
    { "heap", bytes, (uint64_t)1 << 40,
      "bytes between two samples, as 64k; 1 for every block, 0 for off",
      "mean bytes between two samples" },
    { "block", times, (uint64_t)1 << 40,
      "time between two samples, as 10us; 1 for every wait, 0 for off",
      "mean nanoseconds waited between two samples" },
    { "mutex", plain, INT32_MAX, "n, for 1 event in n; 0 for off", "1 event in so many" },
    { "cpu", plain, 250, "samples a second, 1 to 250", "samples a second, while it is profiled" },
};

static const struct rate *rate_of(const char *name, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(rates); i++)
        if (strlen(rates[i].name) == n && memcmp(rates[i].name, name, n) == 0)
            return &rates[i];
    return NULL;
}

static bool read_value(const struct rate *r, const char *text, uint64_t *ret)
{
    size_t digits = strspn(text, "0123456789");
    const struct unit *u = r->units;

    while (u->suffix && strcmp(u->suffix, text + digits) != 0)
        u++;
    if (digits == 0 || digits > 15 || !u->suffix)
        return false;
    uint64_t n = strtoull(text, NULL, 10);
    *ret = n * u->factor;
    return n <= r->most / u->factor;
}

/* heap=64k as &heap=65536 */
static int add_assignment(const char *text, char *path, size_t size)
{
    size_t name = strcspn(text, "="), used = strlen(path);
    const struct rate *r = rate_of(text, name);
    uint64_t value;

    if (!r || text[name] != '=')
        return ctl_say(CTL_USAGE, "%s: heap=, block=, mutex= or cpu= and a number, as heap=64k.",
                       text);
    if (!read_value(r, text + name + 1, &value))
        return ctl_say(CTL_USAGE, "%s: %s takes %s.", text, r->name, r->expected);
    snprintf(path + used, size - used, "%c%s=%llu", used == strlen("rates") ? '?' : '&', r->name,
             (unsigned long long)value);
    return CTL_OK;
}

static int show(const char *body, bool json)
{
    char name[32];
    long long value;
    bool first = true;

    for (const char *line = body; line && *line; line = strchr(line, '\n'), line += line != NULL) {
        if (sscanf(line, "%31s %lld", name, &value) != 2)
            continue;
        const struct rate *r = rate_of(name, strlen(name));
        if (json)
            printf("%s\"%s\":%lld", first ? "{" : ",", name, value);
        else
            printf("%-6s %10lld  %s%s%s\n", name, value, term_on(TERM_DIM),
                   value == 0 ? "off"
                   : r        ? r->shown
                              : "",
                   term_off());
        first = false;
    }
    if (json)
        puts(first ? "{}" : "}");
    return CTL_OK;
}

static int run_rates(const struct ctl_command *self, const struct ctl_options *o, char **argv,
                     int argc)
{
    char path[256] = "rates";
    struct target t;
    struct reply reply;
    int r = target_find(argv[0], &t);

    for (int i = 1; i < argc && r == CTL_OK; i++)
        r = add_assignment(argv[i], path, sizeof(path));
    if (r != CTL_OK)
        return r;
    if (t.kind == TARGET_CORE || t.kind == TARGET_FILE)
        return ctl_say(CTL_USAGE, "profctl %s is of a running process; %s is a file.", self->name,
                       t.text);
    struct ask ask = {
        .method = argc > 1 ? "POST" : "GET", .path = path, .token = o->token, .what = "rates"
    };
    r = client_ask(&t, &ask, &reply);
    if (r != CTL_OK)
        return r;
    r = show(reply.body, o->form == CTL_JSON);
    free(reply.body);
    return r;
}

const struct ctl_command ctl_rates_commands[] = {
    { "rates", "PID [heap=N] [block=N] ...", CTL_TAKES_JSON, 1, 5, run_rates,
      "how often samples are taken; change it",
      "  heap=64k   mean bytes between two samples; 1 every block, 0 off\n"
      "  block=10us mean time waited between two samples; 0 off\n"
      "  mutex=100  1 event in 100; 0 off\n"
      "  cpu=100    samples a second of a CPU profile, 1 to 250\n"
      "\n"
      "What is already counted stays right. Without any, the rates as they are.\n" },
    { NULL, NULL, 0, 0, 0, NULL, NULL, NULL },
};
