/*
 * test_modules.c - what is loaded, what was, and what the names of files may look like.
 *
 *     test_modules SAMPLE OTHER     two libraries of one size, with build ids
 */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "check.h"
#include "symbol/elf_file.h"
#include "symbol/module_history.h"
#include "symbol/modules.h"
#include "table/eras.h"
#include "temp_dir.h"

/* A child forked while another thread is inside AddressSanitizer's malloc may hang in it. */
#ifdef __SANITIZE_ADDRESS__
enum { FORKS = 0 };
#else
enum { FORKS = 100 };
#endif

enum { WATCHDOG_S = 60 };

static const char *sample, *other;

static struct prof__modules load(struct prof__arena *a)
{
    struct prof__modules m = { 0 };

    CHECK(prof__modules_load(a, &m) == 0, "loading");
    return m;
}

static const struct prof__module *module_at(const struct prof__modules *m, uint64_t address)
{
    return prof__modules_find_loaded(m, address);
}

static void *open_library(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    CHECK(library, "%s", dlerror());
    return library;
}

static void close_library(void *library)
{
    prof__modules_before_unload();
    dlclose(library);
    prof__modules_after_unload();
}

static uint64_t address_of(void *library, const char *symbol)
{
    return (uint64_t)(uintptr_t)dlsym(library, symbol);
}

/* --- what is loaded -------------------------------------------------------------------------- */

static void test_program_comes_first_then_by_address(void)
{
    struct prof__arena a = { 0 };
    struct prof__modules m = load(&a);
    const struct prof__module *main_module = module_at(&m, (uint64_t)(uintptr_t)load);
    const struct prof__module *libc =
        module_at(&m, (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, "gnu_get_libc_version"));
    char exe[PATH_MAX] = "";

    CHECK(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0, "exe");
    CHECK(main_module && main_module->is_main, "the program's code is the program's");
    CHECK(main_module == &m.module[0], "and comes first");
    CHECK_STR(main_module->path, exe, "path of the program");
    CHECK(libc && !libc->is_main && libc->is_elf && libc->path[0] == '/', "libc");
    for (size_t i = 2; i < m.n; i++)
        CHECK(m.module[i - 1].is_main || m.module[i - 1].start <= m.module[i].start, "order");
    CHECK(!module_at(&m, 4096), "nothing is mapped at 4096");
    prof__arena_free(&a);
}

static void test_build_ids_and_bias_agree_with_the_files(void)
{
    struct prof__arena a = { 0 };
    struct prof__modules m = load(&a);
    size_t compared = 0;

    for (size_t i = 0; i < m.n; i++) {
        const struct prof__module *x = &m.module[i];
        struct prof__elf e;

        if (x->path[0] != '/' || x->gone)
            continue;
        CHECK(prof__elf_open(&e, &a, x->file) == 0, "%s", x->path);
        CHECK(e.build_id_size == x->build_id_size &&
                  memcmp(e.build_id, x->build_id, e.build_id_size) == 0,
              "build id of %s", x->path);
        CHECK(e.inode == x->inode && !x->deleted, "%s", x->path);
        for (size_t j = 0; j < e.n_segments; j++)
            if (e.segment[j].p_type == PT_LOAD && e.segment[j].p_flags & PF_X)
                CHECK(x->bias + e.segment[j].p_vaddr >= x->start &&
                          x->bias + e.segment[j].p_vaddr < x->limit,
                      "bias of %s", x->path);
        compared++;
        prof__elf_close(&e);
    }
    CHECK(compared >= 3, "%zu files", compared);
    prof__arena_free(&a);
}

static void test_vdso_is_kept_vsyscall_is_not(void)
{
    struct prof__arena a = { 0 };
    struct prof__modules m = load(&a);
    uint64_t vdso = getauxval(AT_SYSINFO_EHDR);
    const struct prof__module *x = vdso ? module_at(&m, vdso) : NULL;

    CHECK(!vdso || (x && strcmp(x->path, "[vdso]") == 0 && x->is_elf && x->bias == vdso), "vdso");
    for (size_t i = 0; i < m.n; i++)
        CHECK(strcmp(m.module[i].path, "[vsyscall]") != 0, "vsyscall");
    prof__arena_free(&a);
}

static void test_code_without_a_file_is_anon(void)
{
    struct prof__arena a = { 0 };
    void *code = mmap(NULL, 8192, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct prof__modules m = load(&a);
    const struct prof__module *x = module_at(&m, (uint64_t)(uintptr_t)code + 100);

    CHECK(x && strcmp(x->path, "[anon]") == 0 && !x->is_elf && x->build_id_size == 0, "anon");
    munmap(code, 8192);
    prof__arena_free(&a);
}

static void test_file_mapped_by_hand_is_known_by_its_headers(void)
{
    struct prof__arena a = { 0 };
    struct prof__elf e;
    uint64_t offset = 0, vaddr = 0, size = 0;

    CHECK(prof__elf_open(&e, &a, sample) == 0, "%s", sample);
    for (size_t i = 0; i < e.n_segments; i++)
        if (e.segment[i].p_type == PT_LOAD && e.segment[i].p_flags & PF_X) {
            offset = e.segment[i].p_offset;
            vaddr = e.segment[i].p_vaddr;
            size = e.segment[i].p_filesz;
        }
    char *code = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_PRIVATE, e.fd, (off_t)offset);
    struct prof__modules m = load(&a);
    const struct prof__module *x = module_at(&m, (uint64_t)(uintptr_t)code);

    CHECK(x && x->is_elf && x->bias + vaddr == (uint64_t)(uintptr_t)code, "bias");
    CHECK(x && x->build_id_size == e.build_id_size &&
              memcmp(x->build_id, e.build_id, e.build_id_size) == 0,
          "build id");
    munmap(code, size);
    prof__elf_close(&e);
    prof__arena_free(&a);
}

/* --- names of files -------------------------------------------------------------------------- */

static void test_names_of_files(void)
{
    static const struct {
        const char *name, *shown;
        bool unlink;
    } cases[] = {
        { "plain.so", "plain.so", false },
        { "a b (deleted)", "a b (deleted)", false },
        { "a b", "a b", true },
        { "gone (deleted)", "gone (deleted)", true },
        { "two\nlines", "two\nlines", false },
        { "not\xffutf8.so", "not\xef\xbf\xbdutf8.so", false },
        { "f\xc3\xbcr.so", "f\xc3\xbcr.so", true },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct prof__arena a = { 0 };
        const char *path = temp_path(cases[i].name);

        CHECK(copy_file(sample, path), "%s", path);
        void *library = open_library(path);
        uint64_t address = address_of(library, "sample_walk");
        if (cases[i].unlink)
            unlink(path);
        struct prof__modules m = load(&a);
        const struct prof__module *x = module_at(&m, address);
        CHECK(x && x->is_elf && x->build_id_size > 0, "%s", path);
        if (x) {
            CHECK_STR(x->path, temp_path(cases[i].shown), "shown");
            CHECK_STR(x->file, path, "bytes");
            CHECK_INT(x->deleted, cases[i].unlink, path);
        }
        close_library(library);
        unlink(path);
        prof__arena_free(&a);
    }
}

static void test_replaced_file_is_told(void)
{
    struct prof__arena a = { 0 };
    const char *path = temp_path("replaced.so");

    CHECK(copy_file(sample, path), "copy");
    void *library = open_library(path);
    uint64_t address = address_of(library, "sample_walk");
    CHECK(copy_file(other, path), "copy");
    struct prof__modules m = load(&a);
    const struct prof__module *x = module_at(&m, address);
    CHECK(x && x->deleted, "deleted");
    if (x)
        CHECK_STR(x->path, path, "without the kernel's suffix");
    close_library(library);
    prof__arena_free(&a);
}

static void test_relative_names_become_absolute(void)
{
    struct prof__arena a = { 0 };
    char before[PATH_MAX];

    CHECK(getcwd(before, sizeof(before)) && chdir(temp_dir) == 0, "chdir");
    CHECK(copy_file(sample, "relative.so"), "copy");
    void *library = open_library("./relative.so");
    uint64_t address = address_of(library, "sample_walk");
    uint64_t marked = prof__era_mark(address);
    close_library(library);
    CHECK(chdir(before) == 0, "chdir");
    struct prof__modules m = load(&a);
    const struct prof__module *x = prof__modules_find(&m, marked);
    CHECK(x, "kept");
    if (x)
        CHECK_STR(x->path, temp_path("relative.so"), "path");
    prof__arena_free(&a);
}

/* --- what was loaded ------------------------------------------------------------------------- */

static void test_eras_tell_libraries_at_one_address_apart(void)
{
    enum { ROUNDS = 6 };
    struct prof__arena a = { 0 };
    uint64_t address[ROUNDS], marked[ROUNDS], after[ROUNDS];
    size_t n = load(&a).n;
    void *library = NULL;

    for (int i = 0; i < ROUNDS; i++) {
        library = open_library(i % 2 ? other : sample);

        address[i] = address_of(library, i % 2 ? "simple_walk" : "sample_walk");
        marked[i] = prof__era_mark(address[i]); /* before anybody has told what came */
        load(&a);
        after[i] = prof__era_mark(address[i]);
        CHECK(address[i] == address[0], "the loader put them at different addresses");
        if (i < ROUNDS - 1)
            close_library(library);
    }
    struct prof__modules m = load(&a);
    for (int i = 0; i < ROUNDS; i++) {
        const struct prof__module *x = prof__modules_find(&m, marked[i]);

        CHECK(marked[i] == after[i], "round %d: known by its build id, and then told", i);
        CHECK(marked[i] == marked[i % 2], "round %d: what is back has the era that it had", i);
        CHECK(x, "round %d", i);
        if (x)
            CHECK_STR(x->path, i % 2 ? other : sample, "library");
        CHECK(!x || x->gone == (i % 2 == 0), "only the last is loaded");
    }
    CHECK(marked[0] != marked[1], "two objects");
    CHECK(m.n <= n + 4, "%zu modules for two libraries, before %zu", m.n, n);
    close_library(library);
    prof__arena_free(&a);
}

static void test_unloading_that_nobody_told_of_is_noticed(void)
{
    struct prof__arena a = { 0 };
    void *library = open_library(sample);
    uint64_t marked = prof__era_mark(address_of(library, "sample_walk"));

    load(&a);
    dlclose(library); /* no hook */
    struct prof__modules m = load(&a);
    const struct prof__module *x = prof__modules_find(&m, marked);
    CHECK(x && x->gone, "noticed");
    CHECK(!module_at(&m, prof__era_address(marked)), "there is nothing now");
    prof__arena_free(&a);
}

static void test_closing_what_stays_changes_nothing(void)
{
    struct prof__arena a = { 0 };
    void *library = open_library(sample);
    uint64_t address = address_of(library, "sample_walk");

    close_library(dlopen(sample, RTLD_NOW));
    struct prof__modules m = load(&a);
    CHECK(module_at(&m, address), "still there");
    close_library(library);
    m = load(&a);
    CHECK(!module_at(&m, address), "not any more");
    prof__arena_free(&a);
}

static void test_open_and_close_for_ever_takes_no_memory(void)
{
    struct prof__arena a = { 0 };
    size_t n = load(&a).n, bytes = prof__pages_total();

    for (int i = 0; i < 2000; i++)
        close_library(open_library(sample));
    CHECK(prof__pages_total() <= bytes, "%zu bytes more", prof__pages_total() - bytes);
    CHECK(load(&a).n <= n + 1, "%zu modules, before %zu", load(&a).n, n);
    prof__arena_free(&a);
}

static void test_ever_new_names_are_bounded(void)
{
    struct prof__arena a = { 0 };
    size_t bytes = prof__pages_total();
    char name[200];

    /* Links of one library: the loader knows each by its own name. */
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "link-%0150d.so", i);
        const char *path = temp_path(name);

        CHECK(symlink(sample, path) == 0, "%s", path);
        close_library(open_library(path));
        unlink(path);
    }
    CHECK(load(&a).n < 1100, "%zu modules", load(&a).n);
    prof__arena_free(&a);
    CHECK(prof__pages_total() < bytes + (2 << 20), "%zu bytes more", prof__pages_total() - bytes);
}

/* --- looking up ------------------------------------------------------------------------------ */

static void test_find_by_address_and_era(void)
{
    static const struct prof__module module[] = {
        { .start = 0x5000, .limit = 0x6000, .is_main = true },
        { .start = 0x1000, .limit = 0x9000, .gone = true },
        { .start = 0x2000, .limit = 0x3000, .era = 2, .gone = true },
        { .start = 0x2000, .limit = 0x4000, .era = 3 },
        { .start = 0xa000, .limit = 0xb000, .era = PROF__ERA_LAST },
    };
    static const struct {
        const char *name;
        uint64_t address;
        uint64_t era;
        int found; /* -1: none */
    } cases[] = {
        { "before all", 0xfff, 0, -1 },
        { "first byte", 0x1000, 0, 1 },
        { "last byte", 0x8fff, 0, 1 },
        { "past the end", 0x9000, 0, -1 },
        { "the program", 0x5800, 0, 0 },
        { "below later ones", 0x2800, 0, 1 },
        { "the second there", 0x2800, 2, 2 },
        { "the third", 0x2800, 3, 3 },
        { "of an era that is not known there", 0x1800, 2, -1 },
        { "after the numbers were used up", 0xa800, PROF__ERA_LAST, -1 },
    };
    struct prof__modules m = { .module = module, .n = ARRAY_LEN(module) };

    for (int known = 0; known < 2; known++, m.longest = 0x8000)
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            const struct prof__module *x =
                prof__modules_find(&m, cases[i].era << PROF__ERA_SHIFT | cases[i].address);

            CHECK_INT(x ? x - module : -1, cases[i].found, cases[i].name);
        }
    CHECK(!prof__modules_find(&(struct prof__modules) { 0 }, 1), "none loaded");
}

/* --- where it is called from ----------------------------------------------------------------- */

/* The status of a child that runs `f` and must end within the watchdog's time. */
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

static void without_proc(void)
{
    struct prof__arena a = { 0 };

    if (chroot(temp_dir) < 0)
        _exit(77);
    struct prof__modules m = load(&a);
    const struct prof__module *x = module_at(&m, (uint64_t)(uintptr_t)load);
    CHECK(m.n >= 3 && x == &m.module[0] && x->is_main && x->is_elf, "the program");
    x = module_at(&m, (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, "gnu_get_libc_version"));
    CHECK(x && x->is_elf && strstr(x->path, "libc"), "libc");
}

static void test_works_without_proc(void)
{
    int status = in_child(without_proc);

    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        printf("skipped: chroot() is not allowed, so /proc cannot be hidden\n");
    else
        CHECK_INT(status, 0, "child");
}

static _Atomic bool stop;

static void *load_for_ever(void *arg)
{
    (void)arg;
    while (!stop) {
        struct prof__arena a = { 0 };
        struct prof__modules m;

        prof__modules_load(&a, &m);
        prof__modules_before_unload();
        prof__arena_free(&a);
    }
    return NULL;
}

static void child_of_a_busy_program(void)
{
    struct prof__arena a = { 0 };

    prof__history_fork_child();
    load(&a);
    prof__modules_before_unload(); /* no dlopen(): that may hang in glibc itself */
    prof__modules_after_unload();
    load(&a);
}

static void test_child_of_a_busy_program_can_load(void)
{
    pthread_t thread;

    stop = false;
    pthread_create(&thread, NULL, load_for_ever, NULL);
    for (int i = 0; i < FORKS; i++)
        CHECK_INT(in_child(child_of_a_busy_program), 0, "child");
    stop = true;
    pthread_join(thread, NULL);
}

static int load_within(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct prof__arena a = { 0 };

    (void)info, (void)size, (void)arg;
    load(&a);
    prof__arena_free(&a);
    return 0;
}

/* The loader's lock and ours, taken in either order by different threads. */
static void callbacks_and_loads(void)
{
    pthread_t thread;

    stop = false;
    pthread_create(&thread, NULL, load_for_ever, NULL);
    for (int i = 0; i < 100; i++) {
        dl_iterate_phdr(load_within, NULL);
        close_library(open_library(sample));
    }
    stop = true;
    pthread_join(thread, NULL);
}

static void test_loading_within_a_loader_callback_does_not_hang(void)
{
    CHECK_INT(in_child(callbacks_and_loads), 0, "child");
}

static int callback_pipe[2];

static int hold_the_lock(struct dl_phdr_info *info, size_t size, void *arg)
{
    char c = 0;

    (void)info, (void)size, (void)arg;
    if (write(callback_pipe[1], &c, 1) == 1) /* the lock is held */
        while (!stop)
            sched_yield();
    return 1;
}

static void *hold_the_loader(void *arg)
{
    dl_iterate_phdr(hold_the_lock, NULL);
    return arg;
}

static void load_in_child(void)
{
    struct prof__arena a = { 0 };

    prof__history_fork_child();
    test_program_comes_first_then_by_address();
    test_build_ids_and_bias_agree_with_the_files();
    test_vdso_is_kept_vsyscall_is_not();
    test_file_mapped_by_hand_is_known_by_its_headers();
    prof__modules_before_unload();
    prof__modules_after_unload();
    load(&a);
}

/* In the child that lock is never given back: glibc does not see to it. */
static void test_child_loads_though_the_loader_was_locked(void)
{
    pthread_t thread;
    char c;

    stop = false;
    CHECK(pipe(callback_pipe) == 0, "pipe");
    pthread_create(&thread, NULL, hold_the_loader, NULL);
    CHECK(read(callback_pipe[0], &c, 1) == 1, "the lock is held");
    CHECK_INT(in_child(load_in_child), 0, "child");
    stop = true;
    pthread_join(thread, NULL);
}

static void unload_in_child(void)
{
    prof__history_fork_child();
    test_eras_tell_libraries_at_one_address_apart();
    test_unloading_that_nobody_told_of_is_noticed();
    test_closing_what_stays_changes_nothing();
    test_relative_names_become_absolute();
}

static void test_history_goes_on_in_a_child(void)
{
    CHECK_INT(in_child(unload_in_child), 0, "child");
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    sample = realpath(argv[1], NULL);
    other = realpath(argv[2], NULL);
    temp_dir_make();
    test_program_comes_first_then_by_address();
    test_build_ids_and_bias_agree_with_the_files();
    test_vdso_is_kept_vsyscall_is_not();
    test_code_without_a_file_is_anon();
    test_file_mapped_by_hand_is_known_by_its_headers();
    test_names_of_files();
    test_replaced_file_is_told();
    test_relative_names_become_absolute();
    test_eras_tell_libraries_at_one_address_apart();
    test_unloading_that_nobody_told_of_is_noticed();
    test_closing_what_stays_changes_nothing();
    test_open_and_close_for_ever_takes_no_memory();
    test_find_by_address_and_era();
    test_works_without_proc();
    test_child_of_a_busy_program_can_load();
    test_child_loads_though_the_loader_was_locked();
    test_history_goes_on_in_a_child();
    test_loading_within_a_loader_callback_does_not_hang();
    test_ever_new_names_are_bounded();
    temp_dir_remove();
    return check_report();
}
