/*
 * no_memory.c - RLIMIT_AS is used up while every block is sampled: malloc() answers as it would
 * without libprof, what could not be recorded is counted and told, and a heap profile asked for at
 * that moment is written, without names at worst; a window is opened or refused.
 *
 * Each case is a child of its own, in which nothing has been looked up before.
 */
#include <errno.h>
#include <fcntl.h>
#include <prof/prof.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "long_run.h"

enum { BLOCK = 4000, LIMIT_S = 60, KIB = 1024, ENOUGH = 24 << 20, FINE = 1 << 20 };

/* Bytes of address space in use; without stdio, which may allocate. */
static size_t address_space(void)
{
    char text[128] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    close(fd);
    return n > 0 ? strtoull(text, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE) : 0;
}

static void limit_to(size_t bytes)
{
    struct rlimit limit;

    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = bytes;
    CHECK_INT(setrlimit(RLIMIT_AS, &limit), 0, "setrlimit");
}

struct block {
    struct block *next;
    size_t number;
    char rest[BLOCK - sizeof(void *) - sizeof(size_t)];
};

__attribute__((noinline)) static struct block *new_block(void)
{
    errno = 0;
    struct block *b = malloc(sizeof(*b));
    __asm__ volatile("" : "+r"(b));
    return b;
}

/* All that malloc gives, in a list. */
static struct block *take_all(size_t *ret_n)
{
    struct block *all = NULL, *b;

    *ret_n = 0;
    while ((b = new_block()) != NULL) {
        b->next = all;
        b->number = (*ret_n)++;
        memset(b->rest, (int)b->number, sizeof(b->rest));
        all = b;
    }
    CHECK_INT(errno, ENOMEM, "errno of the malloc() that failed");
    return all;
}

static void give_all_back(struct block *all, size_t n)
{
    bool intact = true;
    int after_free = 5;

    while (all) {
        struct block *next = all->next;

        intact &= all->number == --n && all->rest[0] == (char)n &&
                  all->rest[sizeof(all->rest) - 1] == (char)n;
        errno = 5;
        free(all);
        after_free = errno == 5 ? after_free : errno;
        all = next;
    }
    CHECK(intact && n == 0, "blocks are as they were written");
    CHECK_INT(after_free, 5, "errno after free()");
}

struct text {
    size_t size;
    char data[1 << 20];
};

static int append(void *arg, const void *data, size_t size)
{
    struct text *t = arg;

    if (size > sizeof(t->data) - 1 - t->size)
        return -ENOSPC;
    memcpy(t->data + t->size, data, size);
    t->size += size;
    t->data[t->size] = '\0';
    return 0;
}

/* Objects of the stacks in a folded profile that have `word` in them. */
static long long objects(const char *folded, const char *word)
{
    long long n = 0;

    for (const char *line = folded; *line;) {
        const char *end = strchr(line, '\n'), *found = strstr(line, word);
        const char *value = end;

        if (!end)
            break;
        while (value > line && value[-1] != ' ')
            value--;
        if (found && found < end)
            n += atoll(value);
        line = end + 1;
    }
    return n;
}

static struct text text; /* static: there is no memory for it later */

static int write_profile(const char *type)
{
    struct prof_write_options options = PROF_WRITE_OPTIONS_INIT;

    options.folded = type;
    text.size = 0;
    text.data[0] = '\0';
    int r = prof_profile_write(prof_lookup("heap"), &options, append, &text);
    CHECK(r == 0, "%d %s", r, prof_last_error());
    return r;
}

static int count(void *bytes, const void *data, size_t size)
{
    (void)data;
    *(size_t *)bytes += size;
    return 0;
}

/* As a program does that has caught std::bad_alloc; and the other forms. */
static void write_file(void)
{
    struct prof_write_options options = PROF_WRITE_OPTIONS_INIT;
    char path[] = "/tmp/libprof-no-memory-XXXXXX";
    int fd = mkstemp(path);
    off_t size = 0;

    CHECK_INT(prof_write_heap(path), 0, prof_last_error());
    close(fd);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        size = lseek(fd, 0, SEEK_END);
    close(fd);
    unlink(path);
    CHECK(size > 100, "%ld bytes in the file", (long)size);
    for (options.debug = 0; options.debug < 2; options.debug++) {
        size_t bytes = 0;
        int r = prof_profile_write(prof_lookup("heap"), &options, count, &bytes);

        CHECK(r == 0 && bytes > 100, "debug=%d: %d %s, %zu bytes", options.debug, r,
              prof_last_error(), bytes);
    }
}

/* Tables that are full, of which a hundredth would fill the reserve. */
__attribute__((noinline)) static void deep(unsigned path, int left)
{
    if (left == 0)
        prof_heap_alloc((void *)(uintptr_t)(0x10000 + path * 16), 100 + path % 7 * 1000);
    else if (path >> (left - 1) & 1) { /* two places to return to, or all paths are one */
        deep(path, left - 1);
        __asm__ volatile("nop");
    } else {
        deep(path, left - 1);
        __asm__ volatile("nop; nop");
    }
}

static void full_tables(long room_kib)
{
    enum { DEPTH = 18 };
    struct prof_stats stats = { .size = sizeof(stats) };
    size_t n;

    for (unsigned path = 0; path < 1U << DEPTH; path++)
        deep(path, DEPTH);
    prof_stats(&stats);
    CHECK(stats.lost_stacks > 0, "%llu stacks, none lost", (unsigned long long)stats.stacks);
    limit_to(address_space() + (size_t)room_kib * KIB);
    struct block *all = take_all(&n);
    text.size = 0;
    CHECK_INT(prof_profile_write(prof_lookup("heap"), NULL, append, &text), 0, prof_last_error());
    write_file();
    limit_to(RLIM_INFINITY);
    give_all_back(all, n);
}

static void fill_up(long room_kib)
{
    struct prof_stats stats = { .size = sizeof(stats) };
    size_t n, again;

    limit_to(address_space() + (size_t)room_kib * KIB);
    struct block *all = take_all(&n);
    write_profile("inuse_objects");
    prof_stats(&stats);
    /* All that could be recorded are there, whatever they are called. */
    CHECK(objects(text.data, "") + (long long)stats.lost_live_blocks >= (long long)n,
          "%zu blocks: %lld without memory, %llu missing", n, objects(text.data, ""),
          (unsigned long long)stats.lost_live_blocks);
    write_file();
    limit_to(RLIM_INFINITY);

    CHECK_INT(write_profile("inuse_objects"), 0, "with memory again");
    long long named = objects(text.data, "new_block"), lost = objects(text.data, "[lost");
    prof_stats(&stats);
    /* Each block is under its stack, or under the one for what is lost, or counted as missing. */
    CHECK(named + lost + (long long)stats.lost_live_blocks >= (long long)n,
          "%zu blocks: %lld, %lld lost, %llu missing", n, named, lost,
          (unsigned long long)stats.lost_live_blocks);
    char status[1024];
    prof_profile_status(prof_lookup("heap"), status, sizeof(status));
    CHECK(named >= (long long)n || strstr(status, "missing") || strstr(status, "lost"),
          "%lld of %zu, and the status is \"%s\"", named, n, status);
    give_all_back(all, n);
    limit_to(address_space());
    all = take_all(&again);
    give_all_back(all, again);
}

static int ignore_name(void *arg, uint64_t address, const char *name)
{
    (void)arg, (void)address, (void)name;
    return 0;
}

/* Whatever is refused says why. */
static void call_everything(void)
{
    static char name[32];
    static unsigned turn;
    struct prof_profile *p = NULL;
    struct prof_window *w = NULL;
    uint64_t address = (uint64_t)(uintptr_t)call_everything;
    size_t bytes = 0;

#define CALL(call)                                                       \
    do {                                                                 \
        prof_set_last_error(0, "%s", "");                                \
        long call_r = (call);                                            \
        CHECK(call_r >= 0 || *prof_last_error(), #call ": %ld", call_r); \
    } while (0)
    snprintf(name, sizeof(name), "p%u", turn++);
    CALL(prof_profile_new(name, &p));
    if (p) {
        CALL(prof_profile_add(p, &bytes, 0));
        CALL(prof_profile_write(p, NULL, count, &bytes));
    }
    CALL(prof_symbols(&address, 1, ignore_name, NULL));
    CALL(prof_symbol(address, NULL, 0));
    CALL(prof_source_file(address, 0, NULL, 0));
    CALL(prof_window_open("heap", &w));
    if (w)
        CALL(prof_window_write(w, NULL, count, &bytes));
    prof_window_close(w);
    for (const char *const *other =
             (const char *const[]) { "threads", "block", "mutex", "allocs", "threadcreate", NULL };
         *other; other++)
        CALL(prof_profile_write(prof_lookup(*other), NULL, count, &bytes));
    CALL(prof_deadlocks(NULL, 0));
    CALL(prof_labels_push("key", name));
    prof_labels_pop();
    CALL(prof_heap_alloc(name, 10));
    prof_heap_free(name);
}

/* malloc has nothing left, and what the kernel gives grows from nothing to enough: so each thing
 * that a profile takes is the first that is not there. */
static void ask_with_more_and_more(long step_kib)
{
    struct block *first = new_block(), *all;
    size_t n;

    limit_to(address_space());
    all = take_all(&n);
    size_t used = address_space();
    for (size_t room = 0; room < ENOUGH; room += (size_t)step_kib * KIB * (room < FINE ? 1 : 64)) {
        limit_to(used + room);
        write_profile("inuse_objects");
        call_everything();
    }
    limit_to(RLIM_INFINITY);
    CHECK_INT(write_profile("inuse_objects"), 0, "with memory again");
    CHECK(objects(text.data, "new_block") > 0, "names are there, now that there is memory");
    give_all_back(all, n);
    free(first);
}

static void ask_with_little(long room_kib)
{
    struct prof_window *window = NULL;

    free(new_block());
    limit_to(address_space() + (size_t)room_kib * KIB);
    write_profile("");
    int r = prof_window_open("profile", &window);
    CHECK(r == 0 || *prof_last_error(), "%d without a reason", r);
    if (r == 0) {
        text.size = 0;
        r = prof_window_write(window, NULL, append, &text);
        CHECK(r == 0 || r == -ENOMEM, "%d %s", r, prof_last_error());
    }
    prof_window_close(window);
    limit_to(RLIM_INFINITY);
    CHECK_INT(write_profile("alloc_objects"), 0, "with memory again");
    CHECK_INT(objects(text.data, "new_block"), 1, "names are there, now that there is memory");
}

static void run(void (*act)(long room_kib), long room_kib, const char *name)
{
    int status = -1;

    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(LIMIT_S);
        check_failed = 0;
        act(room_kib);
        fflush(stdout);
        _exit(check_failed ? 1 : 0);
    }
    waitpid(pid, &status, 0);
    CHECK(status == 0, "%s, %ld KiB: status %#x", name, room_kib, status);
}

int main(void)
{
    static const long rooms_kib[] = { 0,    4,     64,    200,   1024,  1500,  3000,
                                      5000, 10000, 16384, 17000, 18000, 20000, 40000 };

    prof_set_heap_rate(1);
    for (size_t i = 0; i < sizeof(rooms_kib) / sizeof(*rooms_kib); i++) {
        run(fill_up, rooms_kib[i], "fill_up");
        run(ask_with_little, rooms_kib[i], "ask_with_little");
    }
    run(full_tables, 0, "full_tables");
    run(full_tables, 20000, "full_tables");
    run(ask_with_more_and_more, long_run(8, 4), "ask_with_more_and_more");
    return check_report();
}
