/*
 * test_http_access.c - tokens, users and browsers: access.c by itself, where the conformance suite
 * has it in a server.
 */
#include "access.h"

#include <errno.h>

#include "check.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static void test_tokens(void)
{
    static const struct {
        const char *token, *header;
        bool right;
    } cases[] = {
        { "t", "Bearer t", true },
        { "t", "BEARER t", true },
        { "t", "Bearer t ", true },
        { "t", "Bearer  t", true },
        { "t", "Bearert", false },
        { "t", "Bearer tt", false },
        { "t", "Bearer T", false },
        { "tt", "Bearer t", false },
        { "tt", "Bearer tttt", false },
        { "t", "Bearer", false },
        { "t", "", false },
        { "t", NULL, false },
        { "t", "t", false },
        { "a b", "Bearer a b", true },
        { "t", "Basic Onk=", false }, /* :y */
        { "t", "Basic OnQ=", true },  /* :t */
        { "t", "Basic OnQ", true },   /* without its padding */
        { "t", "Basic  OnQ= ", true },
        { "t", "Basic dTp0", true },       /* u:t */
        { "t:u", "Basic dTp0OnU=", true }, /* u:t:u */
        { "t", "Basic dA==", false },      /* t */
        { "t", "Basic dDo=", false },      /* t: */
        { "t", "Basic OnQ=x", false },
        { "t", "Basic On-=", false },
        { "t", "Basic =", false },
        { "\xc3\xa9", "Basic OsOp", true }, /* in UTF-8 */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        CHECK_INT(prof__access_token(cases[i].token, cases[i].header), cases[i].right,
                  cases[i].header ? cases[i].header : "NULL");
}

static void test_hosts(void)
{
    static const struct {
        const char *host, *own_name;
        bool fine;
    } cases[] = {
        { "localhost", NULL, true },
        { "localhost:6060", NULL, true },
        { "LocalHost.", NULL, true },
        { "a.localhost", NULL, true },
        { "a.b.localhost.:1", NULL, true },
        { ".localhost", NULL, false },
        { "xlocalhost", NULL, false },
        { "127.0.0.1", NULL, true },
        { "8.8.8.8:53", NULL, true },
        { "127.1", NULL, false },
        { "2130706433", NULL, false },
        { "[::1]", NULL, true },
        { "[::1]:1", NULL, true },
        { "[::1%lo]:1", NULL, true },
        { "[::1]x", NULL, false },
        { "[::1", NULL, false },
        { "[]", NULL, false },
        { "", NULL, false },
        { ":", NULL, false },
        { ":1", NULL, false },
        { "evil.example", NULL, false },
        { "evil.example", "devbox", false },
        { "devbox:6060", "devbox", true },
        { "DEVBOX", "devbox", true },
        { "devbox.example", "devbox", false },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        CHECK_INT(prof__access_host(cases[i].host, cases[i].own_name), cases[i].fine,
                  cases[i].host);
}

static void test_order_of_rules(void)
{
    static const struct {
        const char *name, *token;
        struct prof__caller caller;
        int r;
    } cases[] = {
        { "remote, no token", NULL, { .host = "any.example" }, 0 },
        { "remote, a browser's own page", NULL, { .fetch_site = "same-origin" }, 0 },
        { "remote, another site", NULL, { .fetch_site = "cross-site" }, 0 },
        { "loopback, no Host", NULL, { .loopback = true }, 0 },
        { "loopback, foreign Host", NULL, { .loopback = true, .host = "x.example" }, -EPERM },
        { "loopback, foreign Host, token",
          "t",
          { .loopback = true, .host = "x.example", .authorization = "Bearer t" },
          0 },
        { "loopback, foreign Host, no token given",
          "t",
          { .loopback = true, .host = "x.example" },
          -EACCES },
        { "loopback, another site, token",
          "t",
          { .loopback = true, .fetch_site = "cross-site", .authorization = "Bearer t" },
          -EPERM },
        { "another user", NULL, { .foreign_user = true }, -EPERM },
        { "another user with the token",
          "t",
          { .foreign_user = true, .authorization = "Bearer t" },
          0 },
        { "another user without it", "t", { .foreign_user = true }, -EACCES },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *reason = NULL;
        int r = prof__access_check(cases[i].token, NULL, &cases[i].caller, &reason);

        CHECK_INT(r, cases[i].r, cases[i].name);
        CHECK((reason != NULL) == (cases[i].r != 0), "%s: a reason, or none", cases[i].name);
    }
}

int main(void)
{
    test_tokens();
    test_hosts();
    test_order_of_rules();
    return check_report();
}
