/*
 * test_symbol_kept.c - debug information that had to be unpacked is kept for who asks again soon,
 * and for nobody else; never taken for another file's; and given back.
 *
 *   test_symbol_kept PACKED OTHER
 *
 * symbolize_sample.c with compressed debug information, and the same under other names.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "check.h"
#include "symbol/dwarf_image.h"
#include "symbol/dwarf_kept.h"
#include "symbol/symbolize.h"
#include "symbol_fixture.h"
#include "temp_dir.h"

#define SECOND_NS INT64_C(1000000000)

enum { IMAGE_LEAST = 32 << 10, READ_LEAST = 200 };

static struct prof__module module;
static uint64_t next; /* an address that nobody has asked for */

/* What debug information calls the function at an address that is asked for the first time. */
static const char *ask(void)
{
    static struct prof__arena a;
    struct prof__code_address lookup = { &module, next++ };
    struct prof__symbols s;

    prof__arena_free(&a);
    CHECK_INT(prof__symbolize(&a, &lookup, 1, &s), 0, "symbolize");
    return s.n && s.line[s.n - 1].file && s.line[s.n - 1].function ? s.line[s.n - 1].function : "";
}

/* A copy of its own of a file, so that nothing is known of it. */
static const char *begin(const char *file, const char *name)
{
    const char *path = temp_path(name);

    CHECK(copy_file(file, path), "copy to %s", path);
    module = module_of(path, path);
    next = address_in(path, "sample_walk");
    return path;
}

/* Bytes this process has read from files so far; -1: the kernel does not say. */
static long bytes_read(void)
{
    char text[256] = "";
    long n = -1;
    int fd = open("/proc/self/io", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -1;
    if (read(fd, text, sizeof(text) - 1) <= 0 || sscanf(text, "rchar: %ld", &n) != 1)
        n = -1;
    close(fd);
    return n;
}

static void test_what_is_asked_again_is_not_unpacked_again(const char *file)
{
    long at[4];

    begin(file, "again");
    prof__symbolize_tend(true);
    for (int i = 0; i < 4; i++) {
        at[i] = bytes_read();
        CHECK_STR(ask(), "sample_walk", "function");
        CHECK(prof__dwarf_kept_any() == (i > 0), "time %d: kept by then", i);
    }
    long unpacked = at[2] - at[1], kept = at[3] - at[2];
    CHECK(at[0] < 0 || kept + READ_LEAST < unpacked, "%ld bytes read to unpack it, then %ld",
          unpacked, kept);

    size_t held = prof__pages_total();
    prof__symbolize_tend(false);
    CHECK(!prof__dwarf_kept_any() && held - prof__pages_total() >= IMAGE_LEAST,
          "%zu bytes given back", held - prof__pages_total());
    CHECK_STR(ask(), "sample_walk", "function, later");
}

static void test_it_is_given_back_when_it_is_not_needed(const char *file)
{
    begin(file, "due");
    prof__symbolize_tend(true);
    ask();
    ask();
    int64_t now_ns = prof__monotonic_ns();
    prof__dwarf_kept_tended(now_ns + 30 * SECOND_NS);
    prof__dwarf_kept_trim(now_ns + 30 * SECOND_NS);
    CHECK(prof__dwarf_kept_any(), "it stays as long as a collector may come again");
    prof__dwarf_kept_trim(now_ns + 50 * SECOND_NS);
    CHECK(prof__dwarf_kept_any() == false, "who looked after it is gone, or nobody needed it");

    prof__symbolize_tend(true);
    ask();
    CHECK(prof__dwarf_kept_any(), "needed again");
    prof__dwarf_kept_tended(now_ns + 600 * SECOND_NS);
    prof__dwarf_kept_trim(now_ns + 600 * SECOND_NS);
    CHECK(!prof__dwarf_kept_any(), "nobody needed it for long");
    prof__symbolize_tend(false);
}

static void test_nothing_is_kept_where_nobody_gives_it_back(const char *file)
{
    begin(file, "untended");
    for (int i = 0; i < 3; i++) {
        CHECK_STR(ask(), "sample_walk", "function");
        CHECK(!prof__dwarf_kept_any(), "time %d", i);
    }
}

/* Into the file that is there: a new one may well get another inode. */
static bool overwrite(const char *path, const char *from)
{
    size_t size;
    char *bytes = read_whole(from, &size);
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    bool ok = bytes && fd >= 0 && write(fd, bytes, size) == (ssize_t)size;

    if (fd >= 0)
        close(fd);
    free(bytes);
    return ok;
}

static void test_a_file_that_was_overwritten_is_another(const char *file, const char *other)
{
    const char *path = begin(file, "overwritten");
    struct timespec tick = { .tv_nsec = 20000000 };

    prof__symbolize_tend(true);
    ask();
    CHECK_STR(ask(), "sample_walk", "function");
    CHECK(prof__dwarf_kept_any(), "kept");
    nanosleep(&tick, NULL); /* the kernel stamps files by its tick */
    CHECK(overwrite(path, other), "overwrite %s", path);
    CHECK_INT(module_of(path, path).inode, module.inode, "inode");
    CHECK_STR(ask(), "simple_walk", "function");
    prof__symbolize_tend(false);
}

static void test_a_forked_child_unpacks_its_own(const char *file)
{
    int status = -1;

    begin(file, "forked");
    prof__symbolize_tend(true);
    ask();
    ask();
    CHECK(prof__dwarf_kept_any(), "kept");
    pid_t child = fork();
    if (child == 0) {
        alarm(30);
        /* Also were it to believe in what it has of its parent. */
        _exit(!prof__dwarf_kept_any() && strcmp(ask(), "sample_walk") == 0 ? 0 : 1);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0, "status %#x", status);
    CHECK_STR(ask(), "sample_walk", "function, in the parent");
    prof__symbolize_tend(false);
}

/* Two images of one file, as where one leads to itself as to what it shares: one of them is kept.
 * Class: a place in a table that is filled anew without giving back what was in it. */
static void test_of_a_file_that_is_open_twice_one_image_is_kept(const char *file)
{
    const char *path = temp_path("twice");
    struct prof__dwarf_image first, second;
    struct prof__arena a = { 0 };
    struct prof__elf e;

    CHECK(copy_file(file, path), "copy to %s", path);
    CHECK_INT(prof__elf_open(&e, &a, path), 0, "open");
    size_t before = prof__pages_total();
    prof__dwarf_kept_tended(prof__monotonic_ns());
    for (int i = 0; i < 3; i++) {
        CHECK_INT(prof__dwarf_image_open(&first, &a, &e, false), 0, "first");
        CHECK_INT(prof__dwarf_image_open(&second, &a, &e, false), 0, "second");
        prof__dwarf_image_close(&first);
        prof__dwarf_image_close(&second);
    }
    CHECK(prof__dwarf_kept_any(), "kept");
    prof__symbolize_tend(false);
    CHECK_INT(prof__dwarf_kept_any(), false, "given back");
    prof__elf_close(&e);
    prof__arena_free(&a);
    CHECK(prof__pages_total() <= before, "%zu bytes are left", prof__pages_total() - before);
}

int main(int argc, char **argv)
{
    char file[PATH_MAX], other[PATH_MAX];

    if (argc != 3 || !realpath(argv[1], file) || !realpath(argv[2], other))
        return 2;
    temp_dir_make();
    test_what_is_asked_again_is_not_unpacked_again(file);
    test_it_is_given_back_when_it_is_not_needed(file);
    test_nothing_is_kept_where_nobody_gives_it_back(file);
    test_a_file_that_was_overwritten_is_another(file, other);
    test_a_forked_child_unpacks_its_own(file);
    test_of_a_file_that_is_open_twice_one_image_is_kept(file);
    temp_dir_remove();
    return check_report();
}
