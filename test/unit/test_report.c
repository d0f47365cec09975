/*
 * test_report.c - what a profile has to say about itself is in its comments whole, or it is said
 * that there is more. And a reader is sent only to files that can have the names it lacks.
 */
#include "profile/report.h"

#include <prof/prof.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "profile/registry.h"

static int sentences;

static int say(char *buf, size_t size)
{
    int n = 0;

    for (int i = 0; i < sentences; i++)
        n += snprintf(size > (size_t)n ? buf + n : NULL, size > (size_t)n ? size - (size_t)n : 0,
                      "%d %0200d\n", i, 0);
    return n;
}

static void test_comments(void)
{
    static const struct {
        int sentences;
        size_t comments;
        const char *last;
    } cases[] = {
        { 1, 1, "0 0000" },
        { 6, 6, "5 0000" }, /* more than 1,024 bytes */
        { 14, 14, "13 000" },
        { 30, 14, "there is more to be said" },
    };
    const struct prof_profile p = {
        .name = "talkative",
        .description = "",
        .table = PROF__TABLE_CUSTOM,
        .n_values = 1,
        .value_type = { { "talkative", "count" } },
        .period_type = { "talkative", "count" },
        .status = say,
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct prof__arena a = { 0 };
        struct prof__snapshot s = { 0 };
        struct prof__report r;

        sentences = cases[i].sentences;
        CHECK_INT(prof__report_build(&p, &s, &(struct prof__report_options) { 0 }, &a, &r), 0,
                  cases[i].last);
        CHECK_INT(r.n_comments, cases[i].comments, cases[i].last);
        CHECK(r.n_comments &&
                  strncmp(r.comment[r.n_comments - 1], cases[i].last, strlen(cases[i].last)) == 0,
              "the last: %s", r.n_comments ? r.comment[r.n_comments - 1] : "none");
        prof__arena_free(&a);
    }
}

#ifdef __x86_64__
static struct prof_profile *made;

static void add(void)
{
    CHECK_INT(prof_profile_add(made, &made, 0), 0, prof_last_error());
}

/* Erlang's runtime has its code in a memfd, SBCL in the image that it maps: of such a mapping pprof
 * would look for names in the file, and warn that it cannot. */
static void test_code_in_a_file_that_is_no_object(void)
{
    /* push %rbp; mov %rsp, %rbp; call *%rdi; pop %rbp; ret */
    static const uint8_t code[] = { 0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3 };
    enum { BEFORE = 64 }; /* where a sanitizer looks for what kind of function it is */
    void (*run)(void (*)(void));
    int fd = memfd_create("image", MFD_CLOEXEC);
    struct prof__arena a = { 0 };
    struct prof__snapshot s = { 0 };
    struct prof__report r;
    int found = 0;

    CHECK_INT(pwrite(fd, code, sizeof(code), BEFORE), sizeof(code), "the code");
    uint8_t *at = mmap(NULL, BEFORE + sizeof(code), PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    CHECK(at != MAP_FAILED, "mapped");
    CHECK_INT(prof_profile_new("generated", &made), 0, prof_last_error());
    at += BEFORE;
    memcpy(&run, &at, sizeof(run));
    run(add);
    CHECK_INT(prof__snapshot_take(made->table, &s), 0, "its rows");
    CHECK_INT(prof__report_build(made, &s, &(struct prof__report_options) { 0 }, &a, &r), 0, "");
    for (size_t i = 0; i < r.n_mappings; i++)
        if (strstr(r.mapping[i].file, "memfd:image")) {
            CHECK(r.mapping[i].has_functions, "nobody is sent to %s", r.mapping[i].file);
            found++;
        }
    CHECK_INT(found, 1, "mappings of the code");
    prof__snapshot_free(&s);
    prof__arena_free(&a);
}
#endif

int main(void)
{
    test_comments();
#ifdef __x86_64__
    test_code_in_a_file_that_is_no_object();
#endif
    return check_report();
}
