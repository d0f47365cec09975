/*
 * test_capture_shelf.c - captures appear whole, tell by their names what they are, and the right
 * ones go.
 */
#include "capture/shelf.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "check.h"
#include "temp_dir.h"

static void test_names_tell_all(void)
{
    static const struct prof__kept cases[] = {
        { "redis-server", 4711, 1764332686, 3, "mem>80%", "212 MiB", "heap" },
        { "app.v2", 1, 0, 0, "baseline", "", "threads" },
        { "a", 9, 1764332686, 12, "cpu>90%/30s<98%", "93 %", "profile" },
        { "a", 9, 1764332686, 1000, "mem+25%/10m", "1.5 GiB", "heap" },
        { "a", 9, 1764332686, 4, "alloc>1.5m", "2 MiB/s", "heap" },
        { "a", 9, 1764332686, 5, "threads>2000", "2001", "threads" },
        { "a", 9, 1764332686, 7, "stall>200ms", "312 ms", "trace" },
        { "a", 9, 1764332686, 6, "now: before-reload", "", "heap" },
    };
    char name[PROF__SHELF_NAME];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct prof__kept k;

        prof__shelf_name(&cases[i], name);
        CHECK(!strpbrk(name, "<>%/ +&;|"), "nothing that a shell trips over: %s", name);
        CHECK(prof__shelf_parse(name, &k), "%s", name);
        CHECK_STR(k.program, cases[i].program, name);
        CHECK_INT(k.pid, cases[i].pid, name);
        CHECK_INT(k.time_s, cases[i].time_s, name);
        CHECK_INT(k.number, cases[i].number, name);
        CHECK_STR(k.rule, cases[i].rule, name);
        CHECK_STR(k.value, cases[i].value, name);
        CHECK_STR(k.profile, cases[i].profile, name);
    }
    struct prof__kept evil = { "../../etc/x", 1, 0, 1, "now: ../a b\n'", "", "/etc/passwd" };
    prof__shelf_name(&evil, name);
    CHECK(!strchr(name, '/') && !strchr(name, '\'') && !strchr(name, '\n'), "%s", name);
    memset(evil.program, 'x', sizeof(evil.program) - 1);
    memset(evil.rule, '>', sizeof(evil.rule) - 1);
    prof__shelf_name(&evil, name);
    CHECK(strlen(name) < PROF__SHELF_NAME, "no longer than a name may be");
}

static void test_others_files_are_left_alone(void)
{
    static const char *const names[] = {
        "",
        ".",
        "..",
        "a.pb.gz",
        "core",
        "app.1.20251128T122446Z.001.x.y.pb.gz",
        "app.x.20251128T122446Z.001.x.y.heap.pb.gz",
        "app.1.20251128.001.x.y.heap.pb.gz",
        "app.1.20251128T122446Z.x.x.y.heap.pb.gz",
        ".1.20251128T122446Z.1.x.y.heap.pb.gz",
        "app.1.20251128T122446Z.001.x.y.heap.pb",
        "app.1.20251128T122446Z.001.x.y.trace.pb.gz",
        "app.1.20251128T122446Z.001.x.y.heap.pftrace.gz",
        "......pb.gz",
        ".pb.gz",
    };
    struct prof__kept k;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        CHECK(!prof__shelf_parse(names[i], &k), "%s", names[i]);
}

static int count(const char *name, const struct prof__kept *k, void *n)
{
    (void)name;
    (void)k;
    ++*(int *)n;
    return 0;
}

static int files(int dir)
{
    int n = 0;

    prof__shelf_each(dir, count, &n);
    return n;
}

static void put(int dir, const struct prof__kept *k, size_t bytes)
{
    char name[PROF__SHELF_NAME], block[1000] = "";
    struct prof__shelf_file f;

    CHECK_INT(prof__shelf_create(dir, &f), 0, "create");
    for (; bytes; bytes -= bytes < sizeof(block) ? bytes : sizeof(block))
        CHECK_INT(prof__shelf_write(&f, block, bytes < sizeof(block) ? bytes : sizeof(block)), 0,
                  "write");
    prof__shelf_name(k, name);
    CHECK_INT(prof__shelf_publish(&f, name), 0, "publish");
}

static void test_a_capture_appears_whole_or_not_at_all(void)
{
    struct prof__kept k = { "app", 1, 1764332686, 1, "mem>80%", "1 MiB", "heap" };
    int dir = prof__shelf_open(temp_dir, true);
    struct prof__shelf_file f;
    char name[PROF__SHELF_NAME];
    struct stat st;

    CHECK(dir >= 0, "open");
    prof__shelf_name(&k, name);
    prof__shelf_create(dir, &f);
    prof__shelf_write(&f, "half", 4);
    CHECK_INT(files(dir), 0, "not before it is complete");
    prof__shelf_abandon(&f);
    CHECK_INT(files(dir), 0, "nor when it is given up");
    put(dir, &k, 10);
    CHECK_INT(files(dir), 1, "then it is there");
    CHECK(fstatat(dir, name, &st, 0) == 0 && st.st_size == 10, "all of it");
    CHECK_INT(st.st_mode & 07777, 0600, "mode");
    put(dir, &k, 20);
    CHECK(fstatat(dir, name, &st, 0) == 0 && st.st_size == 20, "a better one takes its place");
    CHECK_INT(files(dir), 1, "and that of no other");
    unlinkat(dir, name, 0);
    close(dir);
}

/* A file system without nameless files: by a name for the moment. */
static void test_names_for_the_moment_do_not_stay(void)
{
    struct prof__shelf_file f = { .fd = -1 };
    int dir = prof__shelf_open(temp_dir, true);
    struct stat st;

    f.dir = dir;
    strcpy(f.name, ".1.x.tmp");
    f.fd = openat(dir, f.name, O_CREAT | O_WRONLY | O_EXCL, 0600);
    prof__shelf_write(&f, "all", 3);
    CHECK_INT(prof__shelf_publish(&f, "app.1.20251128T122446Z.001.x.y.heap.pb.gz"), 0, "publish");
    CHECK(fstatat(dir, ".1.x.tmp", &st, 0) < 0, "the name for the moment is gone");
    CHECK_INT(files(dir), 1, "the file is there");
    unlinkat(dir, "app.1.20251128T122446Z.001.x.y.heap.pb.gz", 0);
    close(dir);
}

/* A full disk, as a limit on the size of files: the same error by the same way. */
static void test_a_full_disk_leaves_nothing(void)
{
    struct rlimit was, little = { 1000, 1000 };
    int dir = prof__shelf_open(temp_dir, true), r = 0;
    struct prof__shelf_file f;
    char block[600] = "";

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &was);
    little.rlim_max = was.rlim_max;
    setrlimit(RLIMIT_FSIZE, &little);
    prof__shelf_create(dir, &f);
    for (int i = 0; i < 3 && r == 0; i++)
        r = prof__shelf_write(&f, block, sizeof(block));
    CHECK_INT(r, -EFBIG, "it is told");
    prof__shelf_abandon(&f);
    setrlimit(RLIMIT_FSIZE, &was);
    CHECK_INT(files(dir), 0, "nothing");
    close(dir);
}

struct found {
    unsigned number[64];
    int pid[64], n;
};

static int note(const char *name, const struct prof__kept *k, void *arg)
{
    struct found *f = arg;

    (void)name;
    f->pid[f->n] = k->pid;
    f->number[f->n++] = k->number;
    return 0;
}

static bool has(const struct found *f, int pid, unsigned number)
{
    for (int i = 0; i < f->n; i++)
        if (f->pid[i] == pid && f->number[i] == number)
            return true;
    return false;
}

static void test_the_first_and_the_last_stay(void)
{
    static struct prof__shelf_item room[PROF__SHELF_MOST];
    struct prof__shelf_bounds b = { "app", 7, 1000, 2, 3, 64 << 20 };
    struct prof__kept k = { "app", 7, 1000, 0, "baseline", "", "heap" };
    int dir = prof__shelf_open(temp_dir, true);
    struct found f = { .n = 0 };

    put(dir, &k, 10);
    for (k.number = 1; k.number <= 10; k.number++) {
        k.time_s = 1000 + k.number / 3; /* several in one second */
        strcpy(k.profile, "heap");
        put(dir, &k, 10);
        strcpy(k.profile, "threads"); /* of one capture */
        put(dir, &k, 10);
    }
    k = (struct prof__kept) { "app", 6, 900, 1, "mem>80%", "", "heap" };
    put(dir, &k, 10); /* an earlier process's */
    k = (struct prof__kept) { "app", 7, 800, 5, "mem>80%", "", "heap" };
    put(dir, &k, 10); /* one that had the same number */
    k = (struct prof__kept) { "other", 7, 2000, 5, "mem>80%", "", "heap" };
    put(dir, &k, 10);
    CHECK_INT(prof__shelf_prune(dir, &b, room), 10, "five captures of two files");
    prof__shelf_each(dir, note, &f);
    CHECK_INT(f.n, 1 + 10 + 3, "what stays");
    for (unsigned n = 0; n <= 10; n++)
        CHECK(has(&f, 7, n) == (n <= 2 || n >= 8 || n == 5), "number %u", n);
    CHECK(has(&f, 6, 1), "an earlier process's");

    /* By bytes: the earlier first, then its own but for the newest. */
    b.bytes = 100;
    CHECK_INT(prof__shelf_prune(dir, &b, room), 3, "130 bytes of the program's");
    f.n = 0;
    prof__shelf_each(dir, note, &f);
    CHECK(!has(&f, 6, 1), "the oldest goes first");
    CHECK(has(&f, 7, 0) && has(&f, 7, 10), "the baseline and the newest stay");
    b.bytes = 0;
    prof__shelf_prune(dir, &b, room);
    f.n = 0;
    prof__shelf_each(dir, note, &f);
    CHECK(has(&f, 7, 0) && has(&f, 7, 10), "however little is allowed");
    close(dir);
}

static void test_a_directory_of_others_is_refused(void)
{
    char path[PATH_MAX + 16];

    CHECK_INT(prof__shelf_open("/nowhere/at/all", false), -ENOENT, "no parents");
    snprintf(path, sizeof(path), "%s/made", temp_dir);
    int dir = prof__shelf_open(path, true);
    CHECK(dir >= 0, "made");
    fchmod(dir, 0722);
    close(dir);
    CHECK_INT(prof__shelf_open(path, true), -EPERM, "others may write there");
    dir = prof__shelf_open(path, false);
    CHECK(dir >= 0, "but who names it, means it");
    close(dir);
    rmdir(path);
    if (symlink("/tmp", path) == 0)
        CHECK(prof__shelf_open(path, true) < 0, "a link is not followed");
    unlink(path);
}

int main(void)
{
    temp_dir_make();
    test_names_tell_all();
    test_others_files_are_left_alone();
    test_a_capture_appears_whole_or_not_at_all();
    test_names_for_the_moment_do_not_stay();
    test_a_full_disk_leaves_nothing();
    test_the_first_and_the_last_stay();
    test_a_directory_of_others_is_refused();
    temp_dir_remove();
    return check_report();
}
