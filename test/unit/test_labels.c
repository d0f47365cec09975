/*
 * test_labels.c - tests lib/table/labels.c: a thread's pile of labels, and what sets are made of.
 */
#include "table/labels.h"

#include <errno.h>
#include <prof/prof.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/slot.h"
#include "base/thread.h"
#include "check.h"

/* The current labels as "a=1,b=2". */
static const char *now(void)
{
    static char text[4096];
    struct prof__label_pair pair[PROF__LABELS_MAX];
    size_t n = prof__labels_get(prof__self.labels, pair, PROF__LABELS_MAX), at = 0;

    text[0] = '\0';
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s=%s", i ? "," : "", pair[i].key,
                               pair[i].value);
    return text;
}

static void test_push_overrides_and_pop_restores(void)
{
    CHECK_STR(now(), "", "a new thread has none");
    CHECK_INT(prof_labels_pop(), -EINVAL, "pop of nothing");
    CHECK_INT(prof_labels_push("b", "1"), 0, "push");
    CHECK_INT(prof_labels_push("a", "2"), 0, "push");
    CHECK_STR(now(), "a=2,b=1", "sorted by key");
    uint32_t both = prof__self.labels;
    CHECK_INT(prof_labels_push("b", "3"), 0, "push");
    CHECK_STR(now(), "a=2,b=3", "a key has one value, the last");
    CHECK_INT(prof_labels_push("b", "3"), 0, "push the same");
    CHECK_INT(prof_labels_pop(), 0, "pop");
    CHECK_INT(prof_labels_pop(), 0, "pop");
    CHECK_STR(now(), "a=2,b=1", "what it was before");
    CHECK_INT(prof__self.labels, both, "and under the same number");
    prof_labels_pop();
    prof_labels_pop();
    CHECK_STR(now(), "", "none");
    prof_labels_push("a", "2");
    prof_labels_push("b", "1");
    CHECK_INT(prof__self.labels, both, "the order of pushing makes no other set");
    prof_labels_pop();
    prof_labels_pop();
    CHECK_INT(prof_labels_pop(), -EINVAL, "pop of nothing");
}

static void test_each_push_wants_its_pop(void)
{
    CHECK_INT(prof_labels_push("k", "v"), 0, "push");
    CHECK_INT(prof_labels_push(NULL, "v"), -EINVAL, "no key");
    CHECK_INT(prof_labels_push("k", NULL), -EINVAL, "no value");
    CHECK_INT(prof_labels_push("", "v"), -EINVAL, "an empty key");
    CHECK_INT(prof_labels_push("pprof::base", "true"), -EINVAL, "a reserved key");
    CHECK_STR(now(), "k=v", "none of these changes anything");
    for (int i = 0; i < 4; i++)
        CHECK_INT(prof_labels_pop(), 0, "pop of one that failed");
    CHECK_STR(now(), "k=v", "nor does its pop");
    CHECK_INT(prof_labels_push("empty", ""), 0, "an empty value is one");
    prof_labels_pop();
    prof_labels_pop();

    char key[16];
    int depth = 0;
    for (; depth < 100; depth++) {
        snprintf(key, sizeof(key), "k%02d", depth);
        int r = prof_labels_push(key, "v");
        CHECK_INT(r, depth < PROF__SLOT_LEVELS ? 0 : -E2BIG, key);
    }
    struct prof__label_pair pair[PROF__LABELS_MAX];
    CHECK_INT(prof__labels_get(prof__self.labels, pair, PROF__LABELS_MAX), PROF__SLOT_LEVELS,
              "labels kept");
    while (depth-- > 1)
        CHECK_INT(prof_labels_pop(), 0, "pop");
    CHECK_STR(now(), "k00=v", "the first");
    prof_labels_pop();
    CHECK_STR(now(), "", "none");
}

static void test_long_ones_are_cut_between_characters(void)
{
    char key[1000], value[2000];
    struct prof__label_pair pair[2];

    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    /* U+20AC, three bytes each: 512 is not a multiple. */
    for (size_t i = 0; i + 3 < sizeof(value); i += 3)
        memcpy(value + i, "\xe2\x82\xac", 4);
    CHECK_INT(prof_labels_push(key, value), 0, "push");
    CHECK_INT(prof__labels_get(prof__self.labels, pair, 2), 1, "labels");
    CHECK_INT(strlen(pair[0].key), PROF__LABEL_KEY_MAX, "length of the key");
    CHECK_INT(strlen(pair[0].value), PROF__LABEL_VALUE_MAX / 3 * 3, "length of the value");
    prof_labels_pop();
    CHECK_INT(prof_labels_push("\xff\xfe", "\x80\x80\xc3"), 0, "not UTF-8 at all");
    prof_labels_pop();
}

static void *other_thread(void *arg)
{
    uint32_t set = *(uint32_t *)arg;

    CHECK_STR(now(), "", "not inherited without the hook");
    prof__labels_inherit(set);
    CHECK_STR(now(), "who=creator", "inherited");
    CHECK_INT(prof_labels_pop(), -EINVAL, "what was inherited is not this thread's to pop");
    CHECK_INT(prof_labels_push("who", "me"), 0, "push");
    CHECK_STR(now(), "who=me", "overridden");
    CHECK_INT(prof__slot_of((int)prof__slot_mine()->tid) == prof__slot_mine(), 1, "slot");
    CHECK_INT(prof__slot_mine()->labels, prof__self.labels, "others can see them");
    *(uint32_t *)arg = prof__slot_mine()->tid;
    return NULL;
}

static void test_threads(void)
{
    uint32_t word;
    pthread_t t;

    prof_labels_push("who", "creator");
    word = prof__self.labels;
    pthread_create(&t, NULL, other_thread, &word);
    pthread_join(t, NULL);
    CHECK_STR(now(), "who=creator", "ours");
    CHECK(prof__slot_of((int)word) == NULL, "an ended thread has no slot");
    prof_labels_pop();
}

enum { THREADS = 4, VALUES = 30000 };

struct crowd {
    unsigned number;
    long refused, wrong;
    pthread_t thread;
};

/* Distinct and equal values at once, until the table is full and beyond. */
static void *many(void *arg)
{
    struct crowd *c = arg;

    for (int i = 0; i < VALUES; i++) {
        struct prof__label_pair pair[1] = { { "", "" } };
        char value[64];

        snprintf(value, sizeof(value), "a value, number %d, of %u", i, i % 2 ? 0 : c->number);
        int r = prof_labels_push("many", value);
        size_t n = prof__labels_get(prof__self.labels, pair, 1);
        c->refused += r != 0;
        c->wrong += n != 1 || (r != 0 && r != -ENOSPC) || strcmp(pair[0].key, "many") != 0 ||
                    strcmp(pair[0].value, r == 0 ? value : "[other]") != 0;
        prof_labels_pop();
    }
    return NULL;
}

static void test_memory_is_bounded(void)
{
    struct crowd crowd[THREADS] = { 0 };
    long refused = 0, wrong = 0;

    for (unsigned i = 0; i < THREADS; i++) {
        crowd[i].number = i + 1;
        pthread_create(&crowd[i].thread, NULL, many, &crowd[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(crowd[i].thread, NULL);
        refused += crowd[i].refused;
        wrong += crowd[i].wrong;
    }
    CHECK_INT(wrong, 0, "labels that were not what was pushed, nor [other]");
    CHECK(refused > 0, "%d values should not fit", THREADS * VALUES);
    CHECK_INT(prof__labels_lost(), refused, "counted");
    CHECK_INT(prof_labels_push("another key", "x"), -ENOSPC, "still full");
    CHECK_STR(now(), "another key=[other]", "a key of its own even then");
    prof_labels_pop();
    CHECK_STR(now(), "", "none");
}

int main(void)
{
    test_push_overrides_and_pop_restores();
    test_each_push_wants_its_pop();
    test_long_ones_are_cut_between_characters();
    test_threads();
    test_memory_is_bounded();
    return check_report();
}
