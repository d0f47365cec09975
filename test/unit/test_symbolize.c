/*
 * test_symbolize.c - which file is believed, what is kept, and who may be interrupted.
 *
 *     test_symbolize SAMPLE OTHER PLAIN
 *
 * SAMPLE and OTHER: symbolize_sample.c under different names, with build ids; PLAIN: SAMPLE without
 * one. That names, files and lines are right is for test/integration/symbolize.py.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/random.h"
#include "base/thread.h"
#include "check.h"
#include "symbol/elf_symbols.h"
#include "symbol/symbolize.h"
#include "symbol_fixture.h"
#include "table/eras.h"
#include "temp_dir.h"

/* A child forked while another thread is inside AddressSanitizer's malloc may hang in it. */
#ifdef __SANITIZE_ADDRESS__
enum { FORKS = 0 };
#else
enum { FORKS = 100 };
#endif

enum { WATCHDOG_S = 60, CACHE_MAX = 32 << 20 };

static const char *sample, *other, *plain;

/* One address; what is found is valid until the next call. */
static struct prof__symbols look_up(const struct prof__module *m, uint64_t address)
{
    static struct prof__arena a;
    struct prof__code_address lookup = { .module = m, .address = address };
    struct prof__symbols s;

    prof__arena_free(&a);
    CHECK_INT(prof__symbolize(&a, &lookup, 1, &s), 0, "symbolize");
    return s;
}

static const char *function_at(const struct prof__module *m, uint64_t address)
{
    struct prof__symbols s = look_up(m, address);

    return s.n && s.line[s.n - 1].function ? s.line[s.n - 1].function : "";
}

/* --- what is found --------------------------------------------------------------------------- */

static void test_own_function_has_name_file_and_lines(void)
{
    struct prof__arena a = { 0 };
    struct prof__modules modules;

    CHECK(prof__modules_load(&a, &modules) == 0, "modules");
    const struct prof__module *m = prof__modules_find(&modules, (uint64_t)(uintptr_t)function_at);
    struct prof__symbols s = look_up(m, (uint64_t)(uintptr_t)function_at);
    CHECK_INT(s.n, 1, "frames");
    if (s.n) {
        CHECK_STR(s.line[0].function, "function_at", "function");
        CHECK(s.line[0].file && s.line[0].file[0] == '/' &&
                  strstr(s.line[0].file, "/test_symbolize.c"),
              "file %s", s.line[0].file);
        CHECK(s.line[0].line >= s.line[0].start_line && s.line[0].start_line > 40, "lines %u, %u",
              s.line[0].line, s.line[0].start_line);
    }
    prof__arena_free(&a);
}

static void test_vdso_is_read_from_memory(void)
{
    struct prof__arena a = { 0 };
    struct prof__modules modules;
    void *vdso = dlopen("linux-vdso.so.1", RTLD_NOW | RTLD_NOLOAD);
    void *f = vdso ? dlvsym(vdso, "__vdso_clock_gettime", "LINUX_2.6") : NULL;

    CHECK(prof__modules_load(&a, &modules) == 0, "modules");
    if (!f) {
        printf("skipped: no vDSO here\n");
    } else {
        const struct prof__module *m = prof__modules_find(&modules, (uint64_t)(uintptr_t)f);

        CHECK_STR(function_at(m, (uint64_t)(uintptr_t)f), "__vdso_clock_gettime", "function");
    }
    prof__arena_free(&a);
}

static void test_addresses_without_an_answer(void)
{
    struct prof__module m = module_of(sample, sample), not_elf = m, relocated = m;
    struct prof__symbols s[6];
    struct prof__arena a = { 0 };
    uint64_t walk = address_in(sample, "sample_walk");

    not_elf.is_elf = false;
    relocated.bias = 0x10000000;
    struct prof__code_address lookup[] = {
        { NULL, 0x1234 },   { &not_elf, walk },   { &m, 0 },
        { &m, UINT64_MAX }, { &relocated, walk }, { &relocated, relocated.bias + walk },
    };
    CHECK_INT(prof__symbolize(&a, lookup, ARRAY_LEN(lookup), s), 0, "symbolize");
    for (size_t i = 0; i + 1 < ARRAY_LEN(lookup); i++)
        CHECK_INT(s[i].n, 0, "frames");
    CHECK(s[5].n && strcmp(s[5].line[s[5].n - 1].function, "sample_walk") == 0, "relocated");
    CHECK_INT(prof__symbolize(&a, NULL, 0, NULL), 0, "nothing to do");
    prof__arena_free(&a);
}

/* 400 lookups of 40 addresses in no order: each answer stands where its question did. */
static void test_answers_match_their_questions(void)
{
    enum { N = 400, DISTINCT = 40 };
    struct prof__module m[2] = { module_of(sample, sample), module_of(other, other) };
    uint64_t base = address_in(sample, "sample_walk"), seed = 3;
    struct prof__code_address lookup[N];
    struct prof__symbols s[N];
    struct prof__arena a = { 0 };

    for (size_t i = 0; i < N; i++)
        lookup[i] = (struct prof__code_address) { &m[prof__random(&seed) % 2],
                                                  base + prof__random(&seed) % DISTINCT };
    CHECK_INT(prof__symbolize(&a, lookup, N, s), 0, "symbolize");
    for (size_t i = 0; i < N; i++) {
        struct prof__symbols one = look_up(lookup[i].module, lookup[i].address);

        CHECK_INT(s[i].n, one.n, "frames");
        for (size_t j = 0; j < one.n && j < s[i].n; j++) {
            CHECK_STR(s[i].line[j].function, one.line[j].function, "function");
            CHECK_STR(s[i].line[j].file, one.line[j].file, "file");
            CHECK_INT(s[i].line[j].line, one.line[j].line, "line");
        }
    }
    prof__arena_free(&a);
}

static void test_names_are_valid_utf8(void)
{
    const char *path = temp_path("bytes.so");
    uint64_t walk = address_in(plain, "sample_walk");
    size_t size;
    char *bytes = read_whole(plain, &size), *at = bytes;

    while (at && (at = memmem(at, size - (size_t)(at - bytes), "sample_walk", 11)) != NULL)
        at[6] = '\xff';
    CHECK(bytes && write_whole(path, bytes, size), "%s", path);
    struct prof__module m = module_of(path, path);
    CHECK_STR(function_at(&m, walk), "sample\xef\xbf\xbdwalk", "function");
    free(bytes);
}

/* --- which file is believed ------------------------------------------------------------------ */

static void test_file_with_another_build_id_is_never_used(void)
{
    const char *path = temp_path("replaced.so");
    uint64_t walk = address_in(sample, "sample_walk");

    CHECK(copy_file(other, path), "copy");
    struct prof__module m = module_of(path, sample);
    m.build_id[0] ^= 0x55; /* of no file, nor in the cache */
    CHECK_STR(function_at(&m, walk), "", "another build id");
    m = module_of(path, sample);
    m.build_id_size--;
    CHECK_STR(function_at(&m, walk), "", "half a build id");
    m = module_of(path, plain);
    CHECK_STR(function_at(&m, walk), "", "none in memory");
    CHECK(copy_file(plain, path), "copy");
    m = module_of(path, sample);
    m.build_id[1] ^= 0x55;
    CHECK_STR(function_at(&m, walk), "", "none in the file");
}

static void test_without_build_ids_the_inode_decides(void)
{
    const char *path = temp_path("plain.so");
    uint64_t walk = address_in(plain, "sample_walk");

    CHECK(copy_file(plain, path), "copy");
    struct prof__module m = module_of(path, path);
    m.inode++;
    CHECK_STR(function_at(&m, walk), "", "another inode");
    m.inode = 0;
    CHECK_STR(function_at(&m, walk), "", "unknown inode");
    m = module_of(path, path);
    CHECK_STR(function_at(&m, walk), "sample_walk", "the same inode");
}

static void test_only_absolute_paths_to_regular_files_are_opened(void)
{
    const char *fifo = temp_path("fifo");
    uint64_t walk = address_in(plain, "sample_walk");
    char before[PATH_MAX];

    CHECK(copy_file(plain, temp_path("here.so")), "copy");
    struct prof__module m = module_of("here.so", temp_path("here.so"));
    CHECK(getcwd(before, sizeof(before)) && chdir(temp_dir) == 0, "chdir");
    CHECK_STR(function_at(&m, walk), "", "relative");
    m.file = "./here.so";
    CHECK_STR(function_at(&m, walk), "", "relative");
    CHECK(chdir(before) == 0, "chdir");

    CHECK(mkfifo(fifo, 0600) == 0, "fifo");
    static const char *const irregular[] = { NULL, "/", "/dev/zero", "/dev/tty", "/nowhere", "" };
    for (size_t i = 0; i < ARRAY_LEN(irregular); i++) {
        m.file = m.path = irregular[i] ? irregular[i] : fifo;
        alarm(WATCHDOG_S); /* opening a FIFO would wait */
        CHECK_STR(function_at(&m, walk), "", m.path);
        alarm(0);
    }
}

static void test_loaded_library_whose_file_is_gone_keeps_exported_names(void)
{
    struct prof__arena a = { 0 };
    struct prof__modules modules;
    const char *path = temp_path("gone.so");

    CHECK(copy_file(plain, path), "copy");
    void *library = dlopen(path, RTLD_NOW);
    uint64_t walk = (uint64_t)(uintptr_t)dlsym(library, "sample_walk");
    CHECK(copy_file(other, path), "something else in its place");
    CHECK(prof__modules_load(&a, &modules) == 0, "modules");
    const struct prof__module *m = prof__modules_find(&modules, walk);
    CHECK(m && m->deleted, "deleted");
    CHECK_STR(function_at(m, walk + 3), "sample_walk", "function");

    /* Not by way of /proc/self/map_files, which needs privileges. */
    struct prof__query q = { .address = walk + 3 - m->bias };
    CHECK_INT(prof__loaded_symbols(m->bias, &a, &q, 1), 0, "loaded symbols");
    CHECK_STR(q.symbol, "sample_walk", "from memory");
    dlclose(library);
    memset(&q, 0, sizeof(q));
    q.address = walk + 3 - m->bias;
    CHECK(prof__loaded_symbols(m->bias, &a, &q, 1) < 0 && !q.symbol, "unloaded: no crash");
    prof__arena_free(&a);
}

static void test_libraries_at_one_address_are_told_apart(void)
{
    static const char *const name[] = { "sample_walk", "simple_walk" };
    struct prof__arena a = { 0 };
    struct prof__modules modules;
    uint64_t address[2], marked[2];

    CHECK(prof__modules_load(&a, &modules) == 0, "modules"); /* so that only what follows is news */
    for (int i = 0; i < 2; i++) {
        void *library = dlopen(i ? other : sample, RTLD_NOW);

        address[i] = (uint64_t)(uintptr_t)dlsym(library, name[i]);
        marked[i] = prof__era_mark(address[i]);
        prof__modules_before_unload();
        dlclose(library);
        prof__modules_after_unload();
    }
    CHECK(address[0] == address[1], "the loader put them at different addresses");
    CHECK(prof__modules_load(&a, &modules) == 0, "modules");
    for (int i = 0; i < 2; i++)
        CHECK_STR(function_at(prof__modules_find(&modules, marked[i]), address[i] + 2), name[i],
                  "function");
    prof__arena_free(&a);
}

/* --- what is kept ---------------------------------------------------------------------------- */

static void test_second_time_needs_no_file(void)
{
    const char *path = temp_path("once.so");
    uint64_t walk = address_in(plain, "sample_walk");

    CHECK(copy_file(plain, path), "copy");
    struct prof__module m = module_of(path, path);
    CHECK_STR(function_at(&m, walk), "sample_walk", "first time");
    size_t cached = prof__symbolize_cached();
    CHECK(cached > 0, "something is cached");
    unlink(path);
    CHECK_STR(function_at(&m, walk), "sample_walk", "second time");
    CHECK_INT(prof__symbolize_cached(), cached, "cached bytes");
}

static void test_what_could_not_be_read_is_tried_again(void)
{
    const char *path = temp_path("later.so");
    uint64_t walk = address_in(sample, "sample_walk");
    size_t size, cached = prof__symbolize_cached();
    char *bytes = read_whole(sample, &size);
    struct prof__module m = module_of(path, sample);
    char *id = memmem(bytes, size, m.build_id, m.build_id_size);

    id[3] ^= 0x21; /* a build id of its own */
    m.build_id[3] ^= 0x21;
    CHECK_STR(function_at(&m, walk), "", "no file");
    CHECK_INT(prof__symbolize_cached(), cached, "cached bytes");
    CHECK(write_whole(path, bytes, size), "%s", path);
    CHECK_STR(function_at(&m, walk), "sample_walk", "there it is");
    free(bytes);
}

static void test_cache_is_bounded(void)
{
    enum { FILES = 48, LOOKUPS = 20000 };
    struct prof__code_address *lookup = calloc(LOOKUPS, sizeof(*lookup));
    struct prof__symbols *s = calloc(LOOKUPS, sizeof(*s));
    uint64_t walk = address_in(plain, "sample_walk");
    struct prof__module m;
    char name[32];
    size_t bytes = prof__pages_total();

    for (int i = 0; i < FILES; i++) {
        struct prof__arena a = { 0 };

        snprintf(name, sizeof(name), "%d.so", i);
        const char *path = temp_path(name);
        CHECK(copy_file(plain, path), "%s", path);
        m = module_of(path, path);
        for (size_t j = 0; j < LOOKUPS; j++)
            lookup[j] = (struct prof__code_address) { &m, walk + j };
        CHECK_INT(prof__symbolize(&a, lookup, LOOKUPS, s), 0, "symbolize");
        prof__arena_free(&a);
        unlink(path);
        CHECK(prof__symbolize_cached() <= CACHE_MAX, "%zu bytes", prof__symbolize_cached());
        CHECK_STR(function_at(&m, walk), "sample_walk", "the latest is kept");
    }
    CHECK(prof__symbolize_cached() > CACHE_MAX / 2, "the bound was reached");
    /* Each object's arena may be twice what is used of it. */
    CHECK(prof__pages_total() - bytes < (size_t)CACHE_MAX * 3, "%zu bytes mapped",
          prof__pages_total() - bytes);
    free(lookup);
    free(s);
}

static size_t descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;

    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

static void test_nothing_is_left_open_or_changed(void)
{
    size_t open_before = descriptors(), i;
    struct prof__module m;
    char name[32];

    for (i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "open-%zu.so", i);
        CHECK(copy_file(i % 2 ? sample : plain, temp_path(name)), "copy");
        m = module_of(temp_path(name), temp_path(name));
        m.build_id[0] = (uint8_t)(m.build_id[0] ^ (m.build_id_size ? i : 0));
        look_up(&m, address_in(plain, "sample_walk"));
    }
    CHECK_INT(descriptors(), open_before, "descriptors");
    CHECK_INT(prof__self.busy, 0, "not busy");
    prof__self.busy = PROF__HIDDEN; /* as the server's thread is */
    look_up(&m, 0x1234);
    CHECK(prof__self.busy == PROF__HIDDEN, "still hidden");
    prof__self.busy = 0;
}

/* --- interruptions --------------------------------------------------------------------------- */

static int in_child(void (*f)(void))
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        alarm(WATCHDOG_S);
        check_failed = 0;
        f();
        fflush(stdout);
        _exit(check_failed != 0);
    }
    waitpid(pid, &status, 0);
    return status;
}

static _Atomic bool stop;
static _Atomic uint64_t rounds;

/* New addresses each time, so that the file is read. */
static void *symbolize_for_ever(void *arg)
{
    const char *path = arg;
    struct prof__module m = module_of(path, path);

    for (uint64_t i = 0; !stop; i++) {
        struct prof__code_address lookup[64];
        struct prof__symbols s[64];
        struct prof__arena a = { 0 };

        for (size_t j = 0; j < ARRAY_LEN(lookup); j++)
            lookup[j] = (struct prof__code_address) { &m, 0x1000 + i * 64 + j };
        prof__symbolize(&a, lookup, ARRAY_LEN(lookup), s);
        prof__arena_free(&a);
        atomic_fetch_add(&rounds, 1);
    }
    return NULL;
}

static void child_symbolizes(void)
{
    prof__symbolize_fork_child();
    struct prof__module m = module_of(plain, plain);
    CHECK_STR(function_at(&m, address_in(plain, "sample_walk")), "sample_walk", "in a child");
}

static void test_child_of_a_symbolizing_program_starts_afresh(void)
{
    pthread_t thread;

    stop = false;
    pthread_create(&thread, NULL, symbolize_for_ever, (void *)(uintptr_t)plain);
    for (int i = 0; i < FORKS; i++)
        CHECK_INT(in_child(child_symbolizes), 0, "child");
    stop = true;
    pthread_join(thread, NULL);
}

/* The thread ends between two rounds, never within one, or the lock would stay held. */
static void test_cancelled_thread_finishes_first(void)
{
    struct prof__module m = module_of(plain, plain);

    for (int i = 0; i < 50; i++) {
        pthread_t thread;
        uint64_t seen = rounds;
        void *result;

        stop = false;
        pthread_create(&thread, NULL, symbolize_for_ever, (void *)(uintptr_t)plain);
        while (rounds == seen)
            sched_yield();
        stop = true; /* there is no other cancellation point in its loop */
        pthread_cancel(thread);
        pthread_join(thread, &result);
        alarm(WATCHDOG_S);
        CHECK_STR(function_at(&m, address_in(plain, "sample_walk")), "sample_walk", "after");
        alarm(0);
    }
}

static void *truncate_for_ever(void *arg)
{
    const char *path = arg;
    size_t size = 0;
    char *bytes = read_whole(plain, &size);
    int fd = open(path, O_RDWR | O_CLOEXEC);

    while (!stop && bytes)
        if (ftruncate(fd, 100) < 0 || pwrite(fd, bytes, size, 0) < 0)
            break;
    close(fd);
    free(bytes);
    return NULL;
}

static void test_file_cut_short_meanwhile_is_no_bus_error(void)
{
    const char *path = temp_path("cut.so");
    uint64_t walk = address_in(plain, "sample_walk");
    size_t named = 0, unnamed = 0;
    pthread_t cutter;

    CHECK(copy_file(plain, path), "copy");
    struct prof__module m = module_of(path, path);
    stop = false;
    pthread_create(&cutter, NULL, truncate_for_ever, (void *)(uintptr_t)path);
    for (int i = 0; i < 100000 && (i < 500 || !named || !unnamed); i++) {
        prof__symbolize_fork_child(); /* nothing cached */
        if (*function_at(&m, walk))
            named++;
        else
            unnamed++;
    }
    stop = true;
    pthread_join(cutter, NULL);
    CHECK(named && unnamed, "%zu times whole, %zu times cut", named, unnamed);
}

static void with_little_memory(void)
{
    struct rlimit limit;
    struct prof__module m = module_of(sample, sample);
    uint64_t walk = address_in(sample, "sample_walk");
    int last = -ENOMEM;

    prof__symbolize_fork_child(); /* nothing cached */
    for (rlim_t extra = 0; extra < (64 << 20); extra += 96 << 10) {
        struct prof__arena a = { 0 };
        struct prof__code_address lookup = { &m, walk };
        struct prof__symbols s;
        size_t pages = 0;
        FILE *f = fopen("/proc/self/statm", "re");

        CHECK(f && fscanf(f, "%zu", &pages) == 1, "statm");
        fclose(f);
        limit.rlim_cur = pages * 4096 + extra;
        limit.rlim_max = RLIM_INFINITY;
        setrlimit(RLIMIT_AS, &limit);
        last = prof__symbolize(&a, &lookup, 1, &s);
        CHECK(last == 0 || last == -ENOMEM, "error %d", last);
        limit.rlim_cur = RLIM_INFINITY;
        setrlimit(RLIMIT_AS, &limit);
        prof__arena_free(&a);
    }
    CHECK_INT(last, 0, "enough in the end");
}

static void test_little_memory_is_an_error_at_most(void)
{
    CHECK_INT(in_child(with_little_memory), 0, "child");
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    sample = realpath(argv[1], NULL);
    other = realpath(argv[2], NULL);
    plain = realpath(argv[3], NULL);
    temp_dir_make();
    test_own_function_has_name_file_and_lines();
    test_vdso_is_read_from_memory();
    test_addresses_without_an_answer();
    test_answers_match_their_questions();
    test_names_are_valid_utf8();
    test_file_with_another_build_id_is_never_used();
    test_without_build_ids_the_inode_decides();
    test_only_absolute_paths_to_regular_files_are_opened();
    test_loaded_library_whose_file_is_gone_keeps_exported_names();
    test_libraries_at_one_address_are_told_apart();
    test_second_time_needs_no_file();
    test_what_could_not_be_read_is_tried_again();
    test_nothing_is_left_open_or_changed();
    test_child_of_a_symbolizing_program_starts_afresh();
    test_cancelled_thread_finishes_first();
    test_file_cut_short_meanwhile_is_no_bus_error();
    test_little_memory_is_an_error_at_most();
    test_cache_is_bounded();
    temp_dir_remove();
    return check_report();
}
