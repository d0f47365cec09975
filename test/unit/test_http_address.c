/*
 * test_http_address.c - the address forms of http.h are read, and slips in them are told.
 */
#include "address.h"

#include <errno.h>
#include <prof/prof.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static void test_forms(void)
{
    static const struct {
        const char *text;
        enum prof__address_kind kind;
        const char *host;
        unsigned port;
        int fd;
    } cases[] = {
        { NULL, PROF__ADDRESS_HOST, "127.0.0.1", 6060, -1 },
        { ":6060", PROF__ADDRESS_ANY, "", 6060, -1 },
        { ":0", PROF__ADDRESS_ANY, "", 0, -1 },
        { "127.0.0.1:65535", PROF__ADDRESS_HOST, "127.0.0.1", 65535, -1 },
        { "localhost:1", PROF__ADDRESS_HOST, "localhost", 1, -1 },
        { "[::1]:6060", PROF__ADDRESS_HOST, "::1", 6060, -1 },
        { "[fe80::1%eth0]:1", PROF__ADDRESS_HOST, "fe80::1%eth0", 1, -1 },
        { "a-host.example:8080", PROF__ADDRESS_HOST, "a-host.example", 8080, -1 },
        { "unix:/run/x.sock", PROF__ADDRESS_UNIX, "/run/x.sock", 0, -1 },
        { "unix:x", PROF__ADDRESS_UNIX, "x", 0, -1 },
        { "unix:/a:b", PROF__ADDRESS_UNIX, "/a:b", 0, -1 },
        { "unix:/100%", PROF__ADDRESS_UNIX, "/100%", 0, -1 },
        { "unix:@name", PROF__ADDRESS_ABSTRACT, "name", 0, -1 },
        { "fd:3", PROF__ADDRESS_FD, "", 0, 3 },
        { "fd:0", PROF__ADDRESS_FD, "", 0, 0 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *what = cases[i].text ? cases[i].text : "NULL";
        struct prof__address a = { 0 };

        CHECK_INT(prof__address_parse(cases[i].text, &a), 0, what);
        CHECK_INT(a.kind, cases[i].kind, what);
        CHECK_STR(a.host, cases[i].host, what);
        CHECK_INT(a.port, cases[i].port, what);
        CHECK_INT(a.fd, cases[i].fd, what);
    }
}

static void test_process_id_in_paths(void)
{
    struct prof__address a = { 0 };
    char want[64];

    snprintf(want, sizeof(want), "/tmp/%d-%d.sock", (int)getpid(), (int)getpid());
    CHECK_INT(prof__address_parse("unix:/tmp/%p-%p.sock", &a), 0, "%p");
    CHECK_STR(a.host, want, "%p");
    snprintf(want, sizeof(want), "x%d", (int)getpid());
    CHECK_INT(prof__address_parse("unix:@x%p", &a), 0, "%p in an abstract name");
    CHECK_STR(a.host, want, "%p in an abstract name");
}

static void test_slips(void)
{
    static const char *const cases[] = {
        "",
        "6060",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "1.2.3.4:-1",
        ":",
        ":x",
        ":6060x",
        ": 6060",
        "a b:1",
        "::1:6060",
        "[::1:60",
        "[::1]6060",
        "[]:1",
        "[:1",
        "]:1",
        "[a]b]:1",
        "unix:",
        "unix:@",
        "fd:",
        "fd:-1",
        "fd:3x",
        "fd:99999999999",
        "a/b:1",
        "user@h:1",
        "http://1.2.3.4:1",
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct prof__address a = { .port = 77 };

        prof_set_last_error(0, "%s", "");
        CHECK_INT(prof__address_parse(cases[i], &a), -EINVAL, cases[i]);
        CHECK(strlen(prof_last_error()) > 10, "\"%s\" is told why", cases[i]);
        CHECK_INT(a.port, 77, "nothing is written on an error");
    }
}

static void test_lengths(void)
{
    struct prof__address a;
    char text[2048];

    /* sun_path has 108 bytes, one for a NUL, before or after. */
    for (int n = 100; n < 120; n++) {
        snprintf(text, sizeof(text), "unix:%0*d", n, 0);
        CHECK_INT(prof__address_parse(text, &a), n <= 107 ? 0 : -ENAMETOOLONG, "path");
        snprintf(text, sizeof(text), "unix:@%0*d", n, 0);
        CHECK_INT(prof__address_parse(text, &a), n <= 106 ? 0 : -ENAMETOOLONG, "abstract name");
    }
    strcpy(text, "unix:");
    for (int i = 0; i < 500; i++)
        strcat(text, "%p");
    CHECK_INT(prof__address_parse(text, &a), -ENAMETOOLONG, "500 process ids");
    snprintf(text, sizeof(text), "%0*d:1", 255, 0);
    CHECK_INT(prof__address_parse(text, &a), 0, "a host of 255 bytes");
    snprintf(text, sizeof(text), "%0*d:1", 256, 0);
    CHECK_INT(prof__address_parse(text, &a), -EINVAL, "a host of 256 bytes");
    snprintf(text, sizeof(text), "%0*d:1", 2000, 0);
    CHECK_INT(prof__address_parse(text, &a), -EINVAL, "a host of 2,000 bytes");
}

int main(void)
{
    test_forms();
    test_process_id_in_paths();
    test_slips();
    test_lengths();
    return check_report();
}
