/*
 * leaks_forked.c - leaks in a forked child, whose heap is its parent's and what it has added.
 *
 * The kernel shows the two as neighbouring mappings, which servers of many processes have in each.
 */
#include <errno.h>
#include <prof/prof.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { BLOCKS = 20000 };

struct block {
    struct block *next;
    char pad[100];
};

static struct block *kept;
static void *volatile large[8];

/* With a name of its own in every stack: not inlined, folded or left by a jump. */
#define DEFINE_ALLOCATOR(name)                                \
    __attribute__((noinline)) static struct block *name(void) \
    {                                                         \
        struct block *b = calloc(1, sizeof(*b));              \
                                                              \
        __asm__ volatile("# " #name : : "r"(b) : "memory");   \
        return b;                                             \
    }
DEFINE_ALLOCATOR(block_that_is_held)
DEFINE_ALLOCATOR(block_that_is_lost)

__attribute__((noinline)) static void keep_and_lose(void)
{
    for (int i = 0; i < BLOCKS; i++) {
        struct block *b = block_that_is_held();

        if (!b || !block_that_is_lost())
            abort();
        b->next = kept;
        kept = b;
    }
}

struct text {
    char data[1 << 16];
    size_t n;
};

static int take(void *arg, const void *data, size_t n)
{
    struct text *t = arg;

    if (n > sizeof(t->data) - 1 - t->n)
        return -ENOSPC;
    memcpy(t->data + t->n, data, n);
    t->n += n;
    return 0;
}

static void look(const char *who)
{
    static struct text text;
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
    struct prof_scan_options scan = PROF_SCAN_OPTIONS_INIT;

    memset(&text, 0, sizeof(text));
    scan.age_s = -1;
    scan.interval_ms = 10;
    o.debug = 1;
    o.scan = &scan;
    CHECK_INT(prof_profile_write(prof_lookup("leaks"), &o, take, &text), 0, who);
    CHECK(strstr(text.data, "along glibc's heap") != NULL, "%s: %.300s", who, text.data);
    CHECK(strstr(text.data, "block_that_is_lost") != NULL, "%s: %.300s", who, text.data);
    CHECK(strstr(text.data, "block_that_is_held") == NULL, "%s: %.300s", who, text.data);
}

int main(void)
{
    int status = 0;

    prof_set_heap_rate(200);
    keep_and_lose();
    pid_t child = fork();
    if (child < 0)
        return 1;
    if (child == 0) {
        for (int i = 0; i < 8;
             i++) /* one of these is on the border, the next chunk far behind it */
            large[i] = malloc(60000);
        keep_and_lose();
        look("the child");
        int r = check_report();

        fflush(stdout);
        _exit(r);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status), "the child has ended");
    CHECK_INT(WEXITSTATUS(status), 0, "what the child has checked");
    look("the parent");
    return check_report();
}
