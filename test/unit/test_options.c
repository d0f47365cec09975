/*
 * test_options.c - structs that older and newer callers pass: lib/process/write.c,
 * lib/profile/stats.c and http/options.c.
 *
 * Each struct lies at the very end of a page, with nothing behind it, so that reading or writing
 * past its size would be the end of the test.
 */
#include <errno.h>
#include <prof/http.h>
#include <prof/prof.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "check.h"

#define PAGE         4096
#define UNTOUCHED    0x5a
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static char *page_end;

/* `size` bytes of the struct, or, if it has less, those and zeros. */
static void *at_page_end(const void *of, size_t of_size, size_t size)
{
    char *p = page_end - size;

    memset(page_end - PAGE, UNTOUCHED, PAGE);
    memset(p, 0, size);
    memcpy(p, of, size < of_size ? size : of_size);
    memcpy(p, &size, sizeof(size));
    return p;
}

static const size_t never_set[] = { 0, 1, 7, 9, 12, 23, 4097, 8192, SIZE_MAX / 2, SIZE_MAX - 7 };

/* --- prof_write_options ----------------------------------------------------------------------- */

static size_t written;

static int count(void *arg, const void *data, size_t size)
{
    if (written == 0)
        memcpy(arg, data, size < 16 ? size : 16);
    written += size;
    return 0;
}

static int write_with(const struct prof_write_options *o, char head[16])
{
    memset(head, 0, 16);
    written = 0;
    return prof_profile_write(prof_lookup("heap"), o, count, head);
}

static void test_write_options(void)
{
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
    char head[16];

    o.debug = 1;
    for (size_t size = 16; size <= PAGE; size += 8) {
        CHECK_INT(write_with(at_page_end(&o, sizeof(o), size), head), 0, prof_last_error());
        CHECK(memcmp(head, "heap profile", 12) == 0, "debug of a struct of %zu bytes", size);
    }
    for (size_t size = sizeof(o) + 8; size <= PAGE; size += 8) {
        char *p = at_page_end(&o, sizeof(o), size);

        p[size - 1 - size % 3] = 1;
        CHECK_INT(write_with((void *)p, head), -E2BIG, "an option this version does not know");
        CHECK(strstr(prof_last_error(), "does not know"), "%s", prof_last_error());
        CHECK_INT(written, 0, "bytes written");
    }
    for (size_t i = 0; i < ARRAY_LEN(never_set); i++) {
        struct prof_write_options *p = at_page_end(&o, sizeof(o), sizeof(o));

        p->size = never_set[i];
        CHECK_INT(write_with(p, head), -EINVAL, "size was never set");
        CHECK(strstr(prof_last_error(), "PROF_WRITE_OPTIONS_INIT"), "%s", prof_last_error());
    }
    CHECK_INT(write_with(NULL, head), 0, "no options");
    CHECK(memcmp(head, "\x1f\x8b", 2) == 0, "no options");
}

/* --- prof_stats ------------------------------------------------------------------------------- */

static void test_stats(void)
{
    struct prof_stats all = PROF_STATS_INIT, blank = PROF_STATS_INIT;
    static const char block[1000];

    prof_set_heap_rate(1);
    CHECK_INT(prof_heap_alloc(block, sizeof(block)), 0, "fed");
    CHECK_INT(prof_stats(&all), 0, prof_last_error());
    CHECK(all.heap_inuse_bytes >= sizeof(block), "in use: %llu",
          (unsigned long long)all.heap_inuse_bytes);
    for (size_t size = sizeof(size_t); size <= PAGE; size += 8) {
        struct prof_stats *s = at_page_end(&blank, sizeof(blank), size);
        const unsigned char *before = (unsigned char *)s - 1, *tail = (unsigned char *)s;
        size_t known = size < sizeof(all) ? size : sizeof(all), of_newer = 0;

        if (size > sizeof(all))
            memset((char *)s + sizeof(all), 1, size - sizeof(all));
        CHECK_INT(prof_stats(s), 0, prof_last_error());
        CHECK_INT(s->size, size, "size is the caller's");
        if (known > offsetof(struct prof_stats, heap_inuse_bytes))
            CHECK_INT(s->heap_inuse_bytes, all.heap_inuse_bytes, "a field both know");
        for (size_t i = known; i < size; i++)
            of_newer |= tail[i];
        CHECK_INT(of_newer, 0, "what this version does not know");
        if (size < PAGE)
            CHECK_INT(*before, UNTOUCHED, "the byte before");
    }
    for (size_t i = 0; i < ARRAY_LEN(never_set); i++) {
        struct prof_stats *s = at_page_end(&blank, sizeof(blank), sizeof(blank));

        s->size = never_set[i];
        CHECK_INT(prof_stats(s), -EINVAL, "size was never set");
    }
    CHECK_INT(prof_stats(NULL), -EINVAL, "nothing to fill");
    prof_heap_free(block);
}

/* --- prof_http_options ------------------------------------------------------------------------ */

static int start_both(const struct prof_http_options *o)
{
    int r = prof_http_handler_start(o);

    if (r == 0)
        CHECK_INT(prof_http_handler_stop(), 0, "stop");
    int server = prof_http_start_options("127.0.0.1:0", o);
    CHECK_INT(server, r, "the server and the handler answer alike");
    if (server == 0)
        CHECK_INT(prof_http_stop(), 0, "stop");
    return r;
}

static void test_http_options(void)
{
    struct prof_http_options o = PROF_HTTP_OPTIONS_INIT;
    static const size_t sizes[] = { 8, 16, sizeof(o), sizeof(o) + 8, PAGE };

    o.token = ""; /* refused where it is read */
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        size_t size = sizes[i];

        CHECK_INT(start_both(at_page_end(&o, sizeof(o), size)), size > 8 ? -EINVAL : 0,
                  "an empty token");
    }
    o.token = "secret";
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        size_t size = sizes[i];

        CHECK_INT(start_both(at_page_end(&o, sizeof(o), size)), 0, prof_last_error());
        if (size <= sizeof(o))
            continue;
        char *p = at_page_end(&o, sizeof(o), size);
        p[size - 1] = 1;
        CHECK_INT(start_both((void *)p), -E2BIG, "an option this version does not know");
        CHECK(strstr(prof_last_error(), "does not know"), "%s", prof_last_error());
    }
    for (size_t i = 0; i < ARRAY_LEN(never_set); i++) {
        struct prof_http_options *p = at_page_end(&o, sizeof(o), sizeof(o));

        p->size = never_set[i];
        CHECK_INT(start_both(p), -EINVAL, "size was never set");
        CHECK(strstr(prof_last_error(), "initialized"), "%s", prof_last_error());
    }
}

int main(void)
{
    char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (pages == MAP_FAILED || mprotect(pages + PAGE, PAGE, PROT_NONE) != 0)
        return 1;
    page_end = pages + PAGE;
    test_write_options();
    test_stats();
    test_http_options();
    return check_report();
}
