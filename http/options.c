/*
 * options.c - read the options of a caller that may be older or newer than this library.
 *
 * What the environment says is kept from when the library is loaded: a server may be started by a
 * thread of libprof's, while one of the program's changes the environment.
 */
#include "options.h"

#include <errno.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "hosts.h"

#define DEFAULT_MAX_CONNECTIONS 64
#define MOST_CONNECTIONS        16384
#define MOST_TEXT               4096 /* of a variable */
#define MOST_BYTES              4096 /* of the struct, in any version; more was never set */

static struct variable {
    const char *name;
    bool is_set, is_long;
    char text[MOST_TEXT];
} token = { .name = "LIBPROF_HTTP_TOKEN" }, hosts = { .name = "LIBPROF_HTTP_HOSTS" },
  source = { .name = "LIBPROF_UI_SOURCE" }, control = { .name = "LIBPROF_CONTROL" };

static void keep(struct variable *v)
{
    const char *value = secure_getenv(v->name);

    v->is_set = value != NULL;
    v->is_long = value && strlen(value) >= sizeof(v->text);
    if (value && !v->is_long)
        strcpy(v->text, value);
}

__attribute__((constructor(101))) static void keep_all(void)
{
    keep(&token);
    keep(&hosts);
    keep(&source);
    keep(&control);
}

/* NULL: not set. */
static int value_of(const struct variable *v, const char **ret)
{
    if (v->is_long)
        return prof_set_last_error(-EINVAL, "%s is longer than %d bytes", v->name, MOST_TEXT - 1);
    *ret = v->is_set ? v->text : NULL;
    return 0;
}

int prof__options_read(const struct prof_http_options *opts, struct prof_http_options *ret)
{
    struct prof_http_options known = PROF_HTTP_OPTIONS_INIT;

    if (opts) {
        if (opts->size < sizeof(opts->size) || opts->size > MOST_BYTES ||
            opts->size % alignof(struct prof_http_options))
            return prof_set_last_error(-EINVAL, "the options were not initialized");
        for (size_t i = sizeof(known); i < opts->size; i++)
            if (((const char *)opts)[i])
                return prof_set_last_error(-E2BIG, "an option is set that this version of "
                                                   "libprof-http does not know");
        memcpy(&known, opts, opts->size < sizeof(known) ? opts->size : sizeof(known));
    }
    bool given = known.token != NULL;
    if (!given && value_of(&token, &known.token) < 0)
        return -EINVAL;
    if (known.token && !*known.token) /* most likely a secret that was not filled in */
        return prof_set_last_error(-EINVAL, "the token is empty: %s",
                                   given ? "pass NULL for none"
                                         : "unset LIBPROF_HTTP_TOKEN for none");
    if (known.max_connections == 0)
        known.max_connections = DEFAULT_MAX_CONNECTIONS;
    if (known.max_connections > MOST_CONNECTIONS)
        return prof_set_last_error(-EINVAL, "max_connections is above %d", MOST_CONNECTIONS);
    given = known.hosts != NULL;
    if (!given && value_of(&hosts, &known.hosts) < 0)
        return -EINVAL;
    if (known.hosts && !prof__hosts_valid(known.hosts))
        return prof_set_last_error(-EINVAL,
                                   "%s takes host names with commas between them, without "
                                   "ports, as \"app.example.com, *.svc\"",
                                   given ? "the option hosts" : "LIBPROF_HTTP_HOSTS");
    if (known.control == 0)
        known.control = control.is_set && strcmp(control.text, "0") == 0 ? -1 : 1;
    if (known.source == 0 && source.is_set && strcmp(source.text, "1") == 0)
        known.source = 1;
    *ret = known;
    return 0;
}
