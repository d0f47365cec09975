/*
 * test_trace_ring.c - what is read from a ring is what was written to it, whole, and what is lost
 * is counted to the record; while it is being flooded, by handlers too; and rings of threads that
 * have ended go to others.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/task.h"
#include "check.h"
#include "table/trace_names.h"
#include "table/trace_ring.h"

static struct prof__trace_ring_copy copy;

/* The ring that the calling thread writes. */
static bool read_mine(struct prof__trace_ring_copy *ret)
{
    uint32_t tid = (uint32_t)prof__gettid();

    for (unsigned i = 0; i < prof__trace_rings(); i++)
        if (prof__trace_ring_written(i) && prof__trace_ring_read(i, ret) && ret->tid == tid)
            return true;
    return false;
}

static void test_flood_is_counted(void)
{
    enum { N = 3 * PROF__TRACE_RING_RECORDS + 7 };

    for (uint64_t i = 0; i < N; i++)
        prof__trace_write(PROF__TRACE_LABELS, 5, i + 1, i, ~i, (uint32_t)i);
    CHECK(read_mine(&copy), "the thread has a ring");
    CHECK_INT(copy.written, N + 1, "one more: whose the ring is");
    CHECK_INT(copy.first, N + 1 - PROF__TRACE_RING_RECORDS, "the latest are there");
    CHECK_INT(copy.n, PROF__TRACE_RING_RECORDS, "as many as there is room for");
    int bad = 0;
    for (size_t k = 0; k < copy.n; k++) {
        const struct prof__trace_record *r = &copy.record[k];
        uint64_t i = copy.first + k - 1;

        bad += r->kind != PROF__TRACE_LABELS || r->detail != 5 || r->time != i + 1 ||
               r->object != i || r->value != ~i || r->stack != (uint32_t)i;
    }
    CHECK_INT(bad, 0, "and each is what was written");
}

/* --- a reader beside a writer and its handlers ------------------------------------------------ */

static _Atomic bool stop;
static _Atomic uint64_t handled;

static void write_pair(uint64_t i)
{
    prof__trace_write(PROF__TRACE_LABELS, i & 0xff, i, i * 3, i * 7, (uint32_t)i);
}

static void on_signal(int number)
{
    (void)number;
    write_pair(1000000007 + atomic_fetch_add(&handled, 1));
}

static void *flood(void *arg)
{
    for (uint64_t i = 1; !atomic_load(&stop); i++)
        write_pair(i);
    *(uint32_t *)arg = (uint32_t)prof__gettid();
    return NULL;
}

static void test_reader_sees_whole_records(void)
{
    uint32_t tid = 0;
    uint64_t whole = 0, torn = 0, rounds = 0;
    pthread_t thread;
    struct timespec until, now;
    struct sigaction action = { .sa_handler = on_signal };

    sigaction(SIGUSR1, &action, NULL);
    pthread_create(&thread, NULL, flood, &tid);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    do {
        pthread_kill(thread, SIGUSR1);
        for (unsigned i = 0; i < 4; i++)
            if (prof__trace_ring_written(i) && prof__trace_ring_read(i, &copy))
                for (size_t k = 0; k < copy.n; k++) {
                    const struct prof__trace_record *r = &copy.record[k];

                    if (r->kind != PROF__TRACE_LABELS || r->detail == 5)
                        continue;
                    whole++;
                    torn += r->object != r->time * 3 || r->value != r->time * 7 ||
                            r->stack != (uint32_t)r->time || r->detail != (r->time & 0xff);
                }
        rounds++;
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec < until.tv_sec ||
             (now.tv_sec == until.tv_sec && now.tv_nsec < until.tv_nsec));
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    CHECK(whole > 1000, "%llu records in %llu rounds", (unsigned long long)whole,
          (unsigned long long)rounds);
    CHECK_INT(torn, 0, "none is half of one and half of another");
}

/* --- owners ----------------------------------------------------------------------------------- */

static void *write_one(void *arg)
{
    prof__trace_write(PROF__TRACE_CREATE, 9, 1, (uintptr_t)arg, 0, 0);
    return NULL;
}

/* Of threads that come one after the other the last are there, and none is lost for want of a
 * ring. */
static void test_rings_are_handed_on(void)
{
    enum { THREADS = 600 };
    bool seen[THREADS] = { false };
    uint64_t lost = prof__trace_lost();
    unsigned used = 0, latest = 0;

    for (uintptr_t i = 0; i < THREADS; i++) {
        pthread_t thread;

        pthread_create(&thread, NULL, write_one, (void *)i);
        pthread_join(thread, NULL);
    }
    CHECK_INT(prof__trace_lost(), lost, "records without a ring");
    for (unsigned i = 0; i < prof__trace_rings(); i++) {
        if (!prof__trace_ring_read(i, &copy))
            continue;
        used++;
        for (size_t k = 0; k < copy.n; k++)
            if (copy.record[k].kind == PROF__TRACE_CREATE)
                seen[copy.record[k].object] = true;
    }
    for (unsigned i = THREADS - 100; i < THREADS; i++)
        latest += seen[i];
    CHECK_INT(latest, 100, "of the last hundred threads");
    CHECK(used <= 130, "%u rings for two threads at a time", used);
}

static pthread_barrier_t all_here;

static void *write_and_stay(void *arg)
{
    write_one(arg);
    pthread_barrier_wait(&all_here);
    return NULL;
}

static void test_many_threads_have_rings(void)
{
    enum { THREADS = 2000 };
    static pthread_t thread[THREADS];
    uint64_t lost = prof__trace_lost();
    pthread_attr_t attr;
    unsigned made = 0;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 * 1024);
    pthread_barrier_init(&all_here, NULL, THREADS + 1);
    for (; made < THREADS; made++)
        if (pthread_create(&thread[made], &attr, write_and_stay, NULL) != 0)
            break;
    CHECK_INT(made, THREADS, "threads at once");
    if (made < THREADS)
        exit(check_report());
    pthread_barrier_wait(&all_here);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    CHECK_INT(prof__trace_lost(), lost, "records without a ring");
}

static void test_child_has_rings_of_its_own(void)
{
    pid_t child = fork();

    if (child == 0) {
        prof__trace_write(PROF__TRACE_LABELS, 11, 1, 2, 3, 4);
        bool ok = read_mine(&copy) && copy.n >= 1 &&
                  copy.record[copy.n - 1].kind == PROF__TRACE_LABELS &&
                  copy.record[copy.n - 1].detail == 11;
        _exit(ok ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_INT(status, 0, "the child's own record is in a ring of its own");
}

/* --- texts and names -------------------------------------------------------------------------- */

static void test_texts(void)
{
    static const size_t sizes[] = { 0, 1, 15, 16, 17, 40, 41, PROF__TRACE_TEXT_MAX, 1000 };
    char text[1000];

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('a' + i % 26);
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        size_t want = PROF_MIN(sizes[s], (size_t)PROF__TRACE_TEXT_MAX), got = 0;
        char back[PROF__TRACE_TEXT_MAX + 24] = "";

        prof__trace_write_text(text, sizes[s]);
        CHECK(read_mine(&copy), "a ring");
        size_t at = copy.n - 1;
        while (at > 0 && copy.record[at].kind == PROF__TRACE_MORE)
            at--;
        CHECK_INT(copy.record[at].kind, PROF__TRACE_LOG, "it begins so");
        CHECK_INT(copy.record[at].detail, copy.n - 1 - at, "and says how many follow");
        memcpy(back, &copy.record[at].object, 16);
        got = 16;
        for (size_t k = at + 1; k < copy.n; k++, got += 24) {
            uint64_t word[3] = { copy.record[k].time, copy.record[k].object, copy.record[k].value };
            memcpy(back + got, word, 24);
        }
        CHECK(strnlen(back, sizeof(back)) == want && memcmp(back, text, want) == 0,
              "%zu bytes come back as \"%s\"", sizes[s], back);
    }
}

static void test_names(void)
{
    char longer[PROF__TRACE_NAME_MAX + 10];
    uint32_t a = prof__trace_name("parse"), b = prof__trace_name("render");

    CHECK(a && b && a != b, "numbers of their own");
    CHECK_INT(prof__trace_name("parse"), a, "the same name, the same number");
    CHECK_STR(prof__trace_name_text(a), "parse", "and back");
    CHECK_STR(prof__trace_name_text(PROF__TRACE_NAME_OTHER), "[other]", "no room");
    memset(longer, 'x', sizeof(longer));
    memcpy(longer + PROF__TRACE_NAME_MAX - 1, "\xc3\xa4", 2); /* an umlaut across the limit */
    longer[sizeof(longer) - 1] = '\0';
    CHECK_INT(strlen(prof__trace_name_text(prof__trace_name(longer))), PROF__TRACE_NAME_MAX - 1,
              "cut between characters");
}

/* Names at one address that are not the same, among them one that is right for what never changes:
 * a name is what it says when it is told. */
static void test_names_that_change(void)
{
    static const char constant[] = "constant";
    static char global[] = "global";
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char stack[] = "stack";

    prof__trace_names_begin();
    strcpy(page, "page");
    for (int turn = 0; turn < 3; turn++) {
        char *changing[] = { global, stack, page };

        CHECK_STR(prof__trace_name_text(prof__trace_name(constant)), "constant", "what it is now");
        for (size_t i = 0; i < 3; i++) {
            changing[i][0] = (char)('A' + turn);
            CHECK_STR(prof__trace_name_text(prof__trace_name(changing[i])), changing[i],
                      "what it is now");
        }
        CHECK_INT(mprotect(page, 4096, PROT_READ), 0, "read only for now");
        CHECK_STR(prof__trace_name_text(prof__trace_name(page)), page, "what it is now");
        CHECK_INT(mprotect(page, 4096, PROT_READ | PROT_WRITE), 0, "and not");
    }
    const struct prof__trace_literal *l = prof__trace_literal_of(constant);
    CHECK(l->text == constant, "an address is enough for what never changes");
    l = prof__trace_literal_of(global);
    CHECK(l->text != global, "and not for what may");
    munmap(page, 4096);
}

int main(void)
{
    CHECK_INT(prof__trace_rings_begin(), 0, "memory");
    test_flood_is_counted();
    test_texts();
    test_names();
    test_names_that_change();
    test_child_has_rings_of_its_own();
    test_reader_sees_whole_records();
    test_rings_are_handed_on();
    test_many_threads_have_rings();
    return check_report();
}
