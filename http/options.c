/*
 * options.c - read the options of a caller that may be older or newer than this library.
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
#define MOST_BYTES              4096 /* of the struct, in any version; more was never set */

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
    if (!given)
        known.token = secure_getenv("LIBPROF_HTTP_TOKEN");
    if (known.token && !*known.token) /* most likely a secret that was not filled in */
        return prof_set_last_error(-EINVAL, "the token is empty: %s",
                                   given ? "pass NULL for none"
                                         : "unset LIBPROF_HTTP_TOKEN for none");
    if (known.max_connections == 0)
        known.max_connections = DEFAULT_MAX_CONNECTIONS;
    if (known.max_connections > MOST_CONNECTIONS)
        return prof_set_last_error(-EINVAL, "max_connections is above %d", MOST_CONNECTIONS);
    given = known.hosts != NULL;
    if (!given)
        known.hosts = secure_getenv("LIBPROF_HTTP_HOSTS");
    if (known.hosts && !prof__hosts_valid(known.hosts))
        return prof_set_last_error(-EINVAL,
                                   "%s takes host names with commas between them, without "
                                   "ports, as \"app.example.com, *.svc\"",
                                   given ? "the option hosts" : "LIBPROF_HTTP_HOSTS");
    const char *source = secure_getenv("LIBPROF_UI_SOURCE");
    if (known.source == 0 && source && strcmp(source, "1") == 0)
        known.source = 1;
    *ret = known;
    return 0;
}
