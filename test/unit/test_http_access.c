/*
 * test_http_access.c - tokens, users and browsers: access.c by itself, where the conformance suite
 * has it in a server.
 */
#include "access.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "hosts.h"

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
        const char *host, *list;
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
        { "b.example", "a.example, b.example", true },
        { "b.example.", "a.example,b.example,", true },
        { "a.example,b.example", "a.example,b.example", false },
        { "example", "a.example", false },
        { "x.svc", "*.svc", true },
        { "x.y.SVC:1", "*.svc", true },
        { "svc", "*.svc", false },
        { ".svc", "*.svc", false },
        { "xsvc", "*.svc", false },
        { "evil.example", "*", true },
        { "", "*", false },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        CHECK_INT(prof__hosts_match(cases[i].list, cases[i].host), cases[i].fine, cases[i].host);
}

static void test_lists_of_hosts(void)
{
    static const struct {
        const char *list;
        bool valid;
    } cases[] = {
        { "", true },        { "a", true },         { "a.example, b-c.example\td_e", true },
        { "*", true },       { "*.example", true }, { "a,,b,", true },
        { "a:6060", false }, { "http://a", false }, { "*a", false },
        { "*.", false },     { "a.*", false },      { "[::1]", false },
        { "a/b", false },
    };
    char name[256] = "", below[300];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        CHECK_INT(prof__hosts_valid(cases[i].list), cases[i].valid, cases[i].list);
    char *list = prof__hosts_list("devbox", "x.example y.example");
    if (!list)
        exit(2);
    gethostname(name, sizeof(name) - 1);
    snprintf(below, sizeof(below), "%s.evil.example", name);
    CHECK(prof__hosts_match(list, name), "the machine's name, %s, in %s", name, list);
    CHECK(!prof__hosts_match(list, below), "%s is not, in %s", below, list);
    CHECK(prof__hosts_match(list, "devbox:1"), "the server's, in %s", list);
    CHECK(prof__hosts_match(list, "y.example"), "the options', in %s", list);
    CHECK(!prof__hosts_match(list, "evil.example"), "no other, in %s", list);
    free(list);
}

static void test_order_of_rules(void)
{
    static const struct {
        const char *name, *token;
        struct prof__caller caller;
        int r;
    } cases[] = {
        { "remote, no Host", NULL, { .host = NULL }, 0 },
        { "remote, an address", NULL, { .host = "10.0.0.5:6060" }, 0 },
        { "remote, foreign Host", NULL, { .host = "any.example" }, -EPERM },
        { "remote, foreign Host, token",
          "t",
          { .host = "any.example", .authorization = "Bearer t" },
          0 },
        { "remote, Host of the list", NULL, { .host = "fine.example" }, 0 },
        { "Unix socket, any Host", NULL, { .unix_socket = true, .host = "any.example" }, 0 },
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
        int r = prof__access_check(cases[i].token, "fine.example", &cases[i].caller, &reason);

        CHECK_INT(r, cases[i].r, cases[i].name);
        CHECK((reason != NULL) == (cases[i].r != 0), "%s: a reason, or none", cases[i].name);
    }
}

int main(void)
{
    test_tokens();
    test_hosts();
    test_lists_of_hosts();
    test_order_of_rules();
    return check_report();
}
