/*
 * test_jit_names.c - what runtimes write for perf names the code that they made.
 *
 * The files are those of this process, as a runtime would write them. What comes later in one
 * holds; what is damaged, endless or another user's harms nobody and names nothing.
 */
#include "symbol/jit_names.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "check.h"

enum { MUTATIONS = 3000 };

static char map_path[64], dump_path[128];

static void put_file(const char *path, const void *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    CHECK(fd >= 0 && write(fd, bytes, n) == (ssize_t)n, "%s", path);
    close(fd);
}

/* The name of one address; "" for none. */
static const char *name_of(struct prof__arena *a, uint64_t address)
{
    struct prof__jit_query q = { .address = address };

    prof__jit_names_find(a, &q, 1);
    return q.name ? q.name : "";
}

/* --- perf-PID.map ---------------------------------------------------------------------------- */

static void test_a_map_names_what_is_in_it(void)
{
    static const char text[] = "1000 100 first\n"
                               "0x2000 0x10 with 0x\n"
                               "3000 100 before\n"
                               "\n"
                               "nonsense\n"
                               "4000 10\n"
                               "4100 10 \n"
                               "5000 0 empty\n"
                               "3080 10 anew\n"
                               "6000 10 LazyCompile:*fib /tmp/a b.js:7:13\n"
                               "FFFFFFFFFFFFFF00 FFFFFFFFFFFFFFFF beyond\n"
                               "7000 10 \xff\xfe\n"
                               "8000 10 no newline";
    static const struct {
        uint64_t address;
        const char *name;
    } cases[] = {
        { 0xfff, "" },
        { 0x1000, "first" },
        { 0x10ff, "first" },
        { 0x1100, "" },
        { 0x2008, "with 0x" },
        { 0x307f, "before" },
        { 0x3080, "anew" },
        { 0x308f, "anew" },
        { 0x3090, "before" },
        { 0x4000, "" },
        { 0x4100, "" },
        { 0x5000, "" },
        { 0x6001, "LazyCompile:*fib /tmp/a b.js:7:13" },
        { 0x8000, "no newline" },
        { 0xffffffffffffff80, "beyond" },
    };
    struct prof__jit_query q[ARRAY_LEN(cases)] = { { 0 } };
    struct prof__arena a = { 0 };

    put_file(map_path, text, sizeof(text) - 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        q[i].address = cases[i].address;
    prof__jit_names_find(&a, q, ARRAY_LEN(cases));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CHECK_STR(q[i].name ? q[i].name : "", cases[i].name, "all at once");
        CHECK_STR(name_of(&a, cases[i].address), cases[i].name, "alone");
        CHECK(!q[i].file && !q[i].line, "no line of %s", cases[i].name);
    }
    const char *name = name_of(&a, 0x7000);
    CHECK(*name && (unsigned char)*name != 0xff, "what is no UTF-8 is made so");
    prof__arena_free(&a);
}

/* Lines lie across the pieces that the file is read in, at every place; one is longer than many. */
static void test_lines_across_pieces(void)
{
    enum { LONG = 300000, LINES = 20000 };
    char *text = malloc(LONG + LINES * 40);
    struct prof__arena a = { 0 };
    size_t n = 0;

    for (unsigned i = 0; i < LINES; i++) {
        n += (size_t)sprintf(text + n, "%x 10 function_%u\n", 0x10000 + i * 16, i);
        if (i == LINES / 2) {
            n += (size_t)sprintf(text + n, "1000 10 endless_");
            memset(text + n, 'x', LONG);
            memcpy(text + n + LONG - 20, "\0002000 10 not a line", 19);
            n += LONG;
            text[n++] = '\n';
        }
    }
    put_file(map_path, text, n);
    struct prof__jit_query *q = calloc(LINES, sizeof(*q));
    for (unsigned i = 0; i < LINES; i++)
        q[i].address = 0x10000 + i * 16 + i % 16;
    prof__jit_names_find(&a, q, LINES);
    unsigned wrong = 0;
    for (unsigned i = 0; i < LINES; i++) {
        char want[40];

        sprintf(want, "function_%u", i);
        wrong += !q[i].name || strcmp(q[i].name, want) != 0;
    }
    CHECK_INT(wrong, 0, "lines");
    const char *name = name_of(&a, 0x1000);
    CHECK(strncmp(name, "endless_xxx", 11) == 0 && strlen(name) < 2000, "the start of it");
    CHECK_STR(name_of(&a, 0x2000), "", "nothing in the middle of a line");
    free(text);
    free(q);
    prof__arena_free(&a);
}

/* Anybody may put a file into /tmp. */
static void test_only_a_file_of_ours_is_read(void)
{
    static const char text[] = "1000 100 planted\n";
    char other[] = "/tmp/libprof-jit-XXXXXX";
    struct prof__arena a = { 0 };
    int fd = mkstemp(other);

    put_file(map_path, text, sizeof(text) - 1);
    CHECK_STR(name_of(&a, 0x1000), "planted", "ours");
    if (geteuid() == 0) {
        CHECK_INT(chown(map_path, 65534, 65534), 0, "chown");
        CHECK_STR(name_of(&a, 0x1000), "", "another user's");
    }
    unlink(map_path);
    CHECK_STR(name_of(&a, 0x1000), "", "none");
    put_file(map_path, text, sizeof(text) - 1);
    struct timespec hour_ago[2] = { { time(NULL) - 3600, 0 }, { time(NULL) - 3600, 0 } };
    CHECK_INT(utimensat(AT_FDCWD, map_path, hour_ago, 0), 0, "utimensat");
    CHECK_STR(name_of(&a, 0x1000), "", "one of a process that had the number before");
    unlink(map_path);
    put_file(other, text, sizeof(text) - 1);
    CHECK_INT(symlink(other, map_path), 0, "symlink");
    CHECK_STR(name_of(&a, 0x1000), "", "a link");
    unlink(map_path);
    CHECK_INT(mkfifo(map_path, 0600), 0, "mkfifo");
    CHECK_STR(name_of(&a, 0x1000), "", "a pipe, which is not waited for");
    unlink(map_path);
    unlink(other);
    close(fd);
    prof__arena_free(&a);
}

/* --- jitdump --------------------------------------------------------------------------------- */

static char dump[1 << 16];
static size_t dump_size;

static void put(const void *bytes, size_t n)
{
    memcpy(dump + dump_size, bytes, n);
    dump_size += n;
}

static void put32(uint32_t v)
{
    put(&v, sizeof(v));
}

static void put64(uint64_t v)
{
    put(&v, sizeof(v));
}

static void put_head(uint32_t size)
{
    dump_size = 0;
    put32(0x4A695444);
    put32(1);
    put32(size);
    put32(62); /* EM_X86_64 */
    put32(0);
    put32((uint32_t)getpid());
    put64(1);
    put64(0);
    while (dump_size < size)
        put("", 1);
}

static void put_record(uint32_t type, uint32_t size)
{
    put32(type);
    put32(16 + size);
    put64(2);
}

static void put_load(uint64_t address, uint64_t size, uint64_t index, const char *name)
{
    put_record(0, (uint32_t)(40 + strlen(name) + 1 + size));
    put32((uint32_t)getpid());
    put32((uint32_t)getpid());
    put64(address);
    put64(address);
    put64(size);
    put64(index);
    put(name, strlen(name) + 1);
    memset(dump + dump_size, 0x90, size);
    dump_size += size;
}

static void put_move(uint64_t from, uint64_t to, uint64_t size, uint64_t index)
{
    put_record(1, 48);
    put32((uint32_t)getpid());
    put32((uint32_t)getpid());
    put64(to);
    put64(from);
    put64(to);
    put64(size);
    put64(index);
}

static void put_lines(uint64_t address)
{
    put_record(2, 16 + 3 * 16 + 5 + 2 + 5);
    put64(address);
    put64(3);
    put64(address);
    put32(10);
    put32(0);
    put("a.js", 5);
    put64(address + 8);
    put32(11);
    put32(0);
    put("\xff", 2);
    put64(address + 16);
    put32(5);
    put32(0);
    put("b.js", 5);
}

static void *mapped;

/* As its writer does. */
static void write_dump(void)
{
    put_file(dump_path, dump, dump_size);
    int fd = open(dump_path, O_RDWR);
    if (mapped)
        munmap(mapped, 4096);
    mapped = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    CHECK(mapped != MAP_FAILED, "mapped");
    close(fd);
}

static void fill_dump(void)
{
    put_head(48);
    put_load(0x1000, 32, 1, "first");
    put_lines(0x2000);
    put_load(0x2000, 32, 2, "with lines");
    put_load(0x3000, 32, 3, "replaced");
    put_load(0x3010, 16, 4, "anew");
    put_record(4, 8); /* unwind information */
    put64(0);
    put_move(0x1000, 0x5000, 32, 1);
    put_load(0x1000, 32, 5, "where it was");
    put_load(0x6000, 32, 6, "moved over");
    put_move(0x3010, 0x6000, 16, 4);
    put_record(3, 0); /* the end */
}

static void test_a_dump_names_what_is_in_it(void)
{
    static const struct {
        uint64_t address;
        const char *name, *file;
        uint32_t line;
    } cases[] = {
        { 0x1000, "where it was", NULL, 0 },  { 0x2000, "with lines", "a.js", 10 },
        { 0x2007, "with lines", "a.js", 10 }, { 0x2008, "with lines", "a.js", 11 },
        { 0x2018, "with lines", "b.js", 5 },  { 0x2020, "", NULL, 0 },
        { 0x3000, "replaced", NULL, 0 },      { 0x3010, "anew", NULL, 0 },
        { 0x5008, "first", NULL, 0 },         { 0x6000, "anew", NULL, 0 },
        { 0x6010, "moved over", NULL, 0 },
    };
    struct prof__jit_query q[ARRAY_LEN(cases)] = { { 0 } };
    struct prof__arena a = { 0 };

    fill_dump();
    write_dump();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        q[i].address = cases[i].address;
    prof__jit_names_find(&a, q, ARRAY_LEN(cases));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CHECK_STR(q[i].name ? q[i].name : "", cases[i].name, "name");
        CHECK_STR(q[i].file ? q[i].file : "", cases[i].file ? cases[i].file : "", "file");
        CHECK_INT(q[i].line, cases[i].line, "line");
    }
    /* Another file by that name is not what was mapped. */
    unlink(dump_path);
    CHECK_STR(name_of(&a, 0x2000), "", "gone");
    put_file(dump_path, dump, dump_size);
    CHECK_STR(name_of(&a, 0x2000), "", "another");
    prof__arena_free(&a);
}

static void test_a_damaged_dump_harms_nobody(void)
{
    uint64_t rng = 7;
    struct prof__arena a = { 0 };

    for (unsigned i = 0; i < MUTATIONS; i++) {
        fill_dump();
        for (unsigned k = 0; k < 1 + i % 4; k++)
            dump[prof__random(&rng) % dump_size] = (char)prof__random(&rng);
        if (i % 3 == 0)
            dump_size = prof__random(&rng) % dump_size;
        if (i % 16 == 0 || !mapped)
            write_dump();
        else
            put_file(dump_path, dump, dump_size);
        struct prof__jit_query q[] = { { .address = 0x1000 },
                                       { .address = 0x2010 },
                                       { .address = 0x5008 },
                                       { .address = UINT64_MAX } };
        prof__jit_names_find(&a, q, ARRAY_LEN(q));
        for (size_t k = 0; k < ARRAY_LEN(q); k++)
            if (q[k].name && strlen(q[k].name) > 4000)
                CHECK(false, "name of %zu", strlen(q[k].name));
        prof__arena_free(&a);
    }
    CHECK(true, "survived");
}

int main(void)
{
    char folder[] = "/tmp/libprof-jit-XXXXXX";

    CHECK(mkdtemp(folder) != NULL, "folder");
    snprintf(map_path, sizeof(map_path), "/tmp/perf-%ld.map", (long)getpid());
    snprintf(dump_path, sizeof(dump_path), "%s/jit-%ld.dump", folder, (long)getpid());
    test_a_map_names_what_is_in_it();
    test_lines_across_pieces();
    test_only_a_file_of_ours_is_read();
    test_a_dump_names_what_is_in_it();
    test_a_damaged_dump_harms_nobody();
    unlink(map_path);
    unlink(dump_path);
    rmdir(folder);
    return check_report();
}
