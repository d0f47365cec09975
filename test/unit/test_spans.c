/*
 * test_spans.c - the longest region or task is told whatever has been written over its records:
 * once when it is over, and each time while it is under way.
 *
 * Times are given by the test, in ticks, as its own events have them.
 */
#include <prof/trace.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "record/collect_trace.h"
#include "table/spans.h"
#include "table/trace_names.h"
#include "table/trace_ring.h"

static struct prof__span span;

static bool longest(void)
{
    return prof__spans_longest(&span);
}

/* In ticks, from a first moment on. */
static uint64_t start;
static uint64_t ticks_of_ms(uint64_t ms)
{
    struct prof__trace_moment a, b;

    prof__trace_moment(&a);
    do
        prof__trace_moment(&b);
    while (b.ns - a.ns < 20000000);
    return (uint64_t)((double)(b.time - a.time) / (double)(b.ns - a.ns) * 1e6 * (double)ms);
}

static void test_what_is_over_is_told_once(void)
{
    uint32_t a = prof__trace_name("a"), b = prof__trace_name("b");
    uint64_t ms = ticks_of_ms(1);

    start = prof__trace_time();
    prof__span_region_begin(a, start);
    prof__span_region_begin(b, start + 10 * ms);
    prof__span_region_end(b, start + 60 * ms);
    prof__span_region_end(a, start + 3000 * ms);
    prof__span_region_begin(b, start);
    prof__span_region_end(b, start + 2000 * ms);
    CHECK(longest(), "there is one");
    CHECK_STR(span.name, "a", "the longest");
    CHECK(!span.under_way && !span.is_task, "a region that is over");
    CHECK_BETWEEN(span.ns / 1e6, 2900, 3100, "ms, by a rate measured in 20 ms or more");
    CHECK(!longest(), "told once");

    prof__span_task_begin(7, b, start);
    prof__span_task_begin(8, b, start);
    prof__span_task_end(8, a, start + 9000 * ms); /* of another name: never begun */
    prof__span_task_end(8, b, start + 4000 * ms);
    prof__span_task_end(8, b, start + 9000 * ms); /* twice */
    prof__span_task_end(7, b, start + 100 * ms);
    CHECK(longest(), "a task");
    CHECK(span.is_task && !span.under_way, "that is over");
    CHECK_BETWEEN(span.ns / 1e6, 3900, 4100, "ms of the longer of two with one name");
    CHECK(!longest(), "none is under way");
}

static void test_what_is_under_way_is_told_again(void)
{
    CHECK_INT(prof_region_begin("outer"), 0, "begin");
    CHECK_INT(prof_region_begin("inner"), 0, "begin");
    int64_t before = 0;
    for (int i = 0; i < 3; i++) {
        CHECK(longest() && span.under_way, "under way");
        CHECK_STR(span.name, "outer", "the outermost has been for longest");
        CHECK(span.ns > before, "and for longer now");
        before = span.ns;
    }
    prof_region_end("outer"); /* ends both */
    CHECK(longest() && !span.under_way, "over");
    CHECK_STR(span.name, "outer", "the longer");
    CHECK(!longest(), "none left");
    prof_task_begin(1, "request");
    CHECK(longest() && span.under_way && span.is_task, "a task under way");
    prof_task_end(1, "request");
    CHECK(longest() && !span.under_way && span.is_task, "and over");
}

/* What no ring could still tell. */
static void test_flood_hides_nothing(void)
{
    prof_region_begin("stalled");
    for (int i = 0; i < 3 * PROF__TRACE_RING_RECORDS; i++) {
        prof_region_begin("short");
        prof_region_end("short");
    }
    CHECK(longest() && span.under_way, "under way");
    CHECK_STR(span.name, "stalled", "its begin has long been written over");
    prof_region_end("stalled");
    for (int i = 0; i < 3 * PROF__TRACE_RING_RECORDS; i++)
        prof_trace_log("more");
    CHECK(longest(), "over");
    CHECK_STR(span.name, "stalled", "and so has its end");
}

static void test_too_deep_is_left_out(void)
{
    for (int i = 0; i < PROF__SPANS_DEPTH + 20; i++)
        prof_region_begin("deep");
    for (int i = 0; i < PROF__SPANS_DEPTH + 20; i++)
        prof_region_end("deep");
    CHECK(longest(), "the outer ones are there");
    CHECK(!longest(), "and all have ended");
}

static void *leave_one_open(void *arg)
{
    prof_region_begin("left open");
    return arg;
}

static void test_of_threads_that_ended_nothing_is_under_way(void)
{
    pthread_t thread;

    pthread_create(&thread, NULL, leave_one_open, NULL);
    pthread_join(thread, NULL);
    bool left = true;
    for (int i = 0; i < 1000 && left; i++) { /* the kernel has it for a moment longer */
        left = longest();
        usleep(left ? 10000 : 0);
    }
    CHECK(!left, "its region went with it");
}

static void test_each_trace_begins_with_nothing(void)
{
    prof_region_begin("old");
    prof_task_begin(3, "old");
    prof__trace_close(0);
    prof_region_end("old"); /* not seen */
    CHECK_INT(prof__trace_open(0, 0), 0, "again");
    CHECK(!longest(), "what began before is unknown");
    prof_region_begin("new");
    CHECK(longest() && span.under_way, "under way");
    CHECK_STR(span.name, "new", "the stack is a new one");
    prof_region_end("new");
    longest();
}

static void test_child_has_none_of_its_parents(void)
{
    int status = -1;

    prof_region_begin("the parent's");
    prof_task_begin(4, "the parent's");
    pid_t child = fork();
    if (child == 0) {
        bool told = longest();

        prof__trace_open(0, 0);
        told |= longest();
        prof_region_begin("the child's");
        told |= !longest() || !span.under_way || span.name[4] != 'c';
        _exit(told);
    }
    waitpid(child, &status, 0);
    CHECK_INT(status, 0, "in the child");
    CHECK(longest() && span.under_way, "the parent goes on");
    prof_region_end("the parent's");
    prof_task_end(4, "the parent's");
}

int main(void)
{
    CHECK(!longest(), "without a trace there is none");
    CHECK_INT(prof_region_begin("unseen"), 0, "nor is one kept");
    CHECK_INT(prof__trace_open(0, 0), 0, "memory");
    CHECK(!longest(), "as was said");
    test_what_is_over_is_told_once();
    test_what_is_under_way_is_told_again();
    test_flood_hides_nothing();
    test_too_deep_is_left_out();
    test_of_threads_that_ended_nothing_is_under_way();
    test_each_trace_begins_with_nothing();
    test_child_has_none_of_its_parents();
    return check_report();
}
