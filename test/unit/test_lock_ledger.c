/*
 * test_lock_ledger.c - every waited nanosecond and every waiter is charged exactly once.
 */
#include "table/lock_ledger.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "check.h"
#include "long_run.h"

static char locks[1 << 20];
static struct prof__lock_filter filter;

static const void *lock_at(size_t i)
{
    return &locks[i * 16];
}

static int64_t charged(const void *lock, int64_t now, uint32_t *ret_waiters)
{
    struct prof__debt d;
    bool any = prof__ledger_take(lock, now, &d);

    CHECK(any == (d.wait_ns || d.waiters), "something was owed");
    if (ret_waiters)
        *ret_waiters = d.waiters;
    return d.wait_ns;
}

static void give_up(uint32_t ref, int64_t now)
{
    struct prof__debt d;
    struct prof__heir h;

    CHECK(!prof__ledger_leave(ref, now, 0, &d, &h), "who gives up charges nobody");
}

static void test_a_release_is_charged_what_was_waited_until_then(void)
{
    const void *lock = lock_at(1);
    struct prof__debt d;
    struct prof__heir h;
    uint32_t waiters;

    CHECK(!prof__ledger_maybe(&filter, lock), "nobody waits");
    uint32_t ref = prof__ledger_arrive(lock, false, 1000);
    CHECK(ref && prof__ledger_maybe(&filter, lock), "now one does");
    CHECK_INT(charged(lock, 1100, &waiters), 100, "the first holder");
    CHECK_INT(waiters, 1, "who kept one waiting");
    CHECK_INT(charged(lock, 1150, &waiters), 50, "one that was faster than the waiter");
    CHECK_INT(waiters, 0, "who had been counted");
    prof__ledger_set_heir(lock, (struct prof__heir) { 7, 3 });
    CHECK(prof__ledger_leave(ref, 1170, 42, &d, &h), "what came after is the heir's");
    CHECK_INT(d.wait_ns, 20, "time to run again");
    CHECK_INT(h.row, 7, "row");
    CHECK_INT(h.factor, 3, "factor");
    CHECK(!prof__ledger_maybe(&filter, lock), "nothing is left");
    CHECK_INT(charged(lock, 2000, &waiters), 0, "nothing is owed");
}

static void test_without_an_heir_the_next_release_pays(void)
{
    const void *lock = lock_at(2);
    struct prof__debt d;
    struct prof__heir h;

    uint32_t ref = prof__ledger_arrive(lock, false, 1000);
    CHECK_INT(charged(lock, 1100, NULL), 100, "the holder");
    CHECK(!prof__ledger_leave(ref, 1130, 42, &d, &h), "its row is not known yet");
    CHECK(prof__ledger_maybe(&filter, lock), "so it stays");
    CHECK_INT(charged(lock, 9000, NULL), 30, "and does not grow");
    CHECK(!prof__ledger_maybe(&filter, lock), "nothing is left");
}

static void test_an_unsampled_release_has_its_rest_dropped(void)
{
    const void *lock = lock_at(3);
    struct prof__debt d;
    struct prof__heir h;

    uint32_t ref = prof__ledger_arrive(lock, false, 1000);
    CHECK_INT(charged(lock, 1100, NULL), 100, "the holder");
    prof__ledger_set_heir(lock, (struct prof__heir) { PROF__HEIR_NOBODY, 0 });
    CHECK(!prof__ledger_leave(ref, 1130, 42, &d, &h), "nobody is charged");
    CHECK(!prof__ledger_maybe(&filter, lock), "nothing is left");
}

/* As Go counts since 1.22: 5 waiters for a second are 5 s at the first unlock, and one contention
 * at each unlock that lets one of them in. */
static void test_each_release_ends_one_wait(void)
{
    const void *lock = lock_at(4);
    struct prof__heir heir = { 7, 1 }, got_heir;
    struct prof__debt debt;
    uint32_t ref[5], waiters;

    for (int i = 0; i < 5; i++)
        ref[i] = prof__ledger_arrive(lock, false, 1000 + i);
    for (int i = 0; i < 5; i++) {
        CHECK_INT(charged(lock, 2000 + i * 100, &waiters), i == 0 ? 5 * 1000 - 10 : (5 - i) * 90,
                  "all who wait");
        CHECK_INT(waiters, 1, "the one that is let in");
        prof__ledger_set_heir(lock, heir);
        CHECK(prof__ledger_leave(ref[i], 2010 + i * 100, 1, &debt, &got_heir), "it takes a while");
        CHECK_INT(debt.wait_ns, (5 - i) * 10, "for all");
        CHECK_INT(debt.waiters, 0, "who are counted where they are let in");
    }
    CHECK(!prof__ledger_maybe(&filter, lock), "nothing is left");
}

static void test_a_release_ends_the_waits_of_all_who_share(void)
{
    const void *lock = lock_at(4);
    uint32_t ref[5], waiters;

    for (int i = 0; i < 5; i++)
        ref[i] = prof__ledger_arrive(lock, true, 1000);
    uint32_t alone = prof__ledger_arrive(lock, false, 1000);
    CHECK_INT(charged(lock, 2000, &waiters), 6 * 1000, "time");
    CHECK_INT(waiters, 5, "all that are let in");
    for (int i = 0; i < 5; i++)
        give_up(ref[i], 2000);
    CHECK_INT(charged(lock, 2000, &waiters), 0, "the last of them lets go");
    CHECK_INT(waiters, 1, "and one is let in that does not share");
    give_up(alone, 2000);
    CHECK(!prof__ledger_maybe(&filter, lock), "nothing is left");
}

static void test_waits_that_were_given_up_end_at_the_next_release(void)
{
    const void *lock = lock_at(4);
    uint32_t ref[5], waiters;

    for (int i = 0; i < 5; i++)
        ref[i] = prof__ledger_arrive(lock, false, 1000);
    for (int i = 0; i < 3; i++)
        give_up(ref[i], 2000);
    CHECK_INT(charged(lock, 2000, &waiters), 5 * 1000, "together");
    CHECK_INT(waiters, 4, "three that did not get it, and one that does");
    for (int i = 3; i < 5; i++)
        give_up(ref[i], 2000);
    CHECK_INT(charged(lock, 2000, &waiters), 0, "no time");
    CHECK_INT(waiters, 1, "and the last");
    CHECK(!prof__ledger_maybe(&filter, lock), "nothing is left");
}

static void test_who_gives_up_is_charged_to_the_holder_all_the_same(void)
{
    const void *lock = lock_at(5);
    uint32_t waiters, ref = prof__ledger_arrive(lock, false, 1000);

    give_up(ref, 1500);
    CHECK_INT(charged(lock, 3000, &waiters), 500, "time");
    CHECK_INT(waiters, 1, "waiters");
}

static void test_who_was_refused_never_waited(void)
{
    const void *lock = lock_at(6);
    uint32_t other = prof__ledger_arrive(lock, false, 900), waiters;

    prof__ledger_retract(prof__ledger_arrive(lock, false, 1000), false, 1000);
    CHECK_INT(charged(lock, 1100, &waiters), 200, "the other's time");
    CHECK_INT(waiters, 1, "the other");
    give_up(other, 1100);
    prof__ledger_retract(prof__ledger_arrive(lock, false, 2000), false, 2000);
    CHECK(!prof__ledger_maybe(&filter, lock), "nothing is left");
}

static void test_a_failed_release_gives_back(void)
{
    const void *lock = lock_at(7);
    uint32_t ref = prof__ledger_arrive(lock, false, 1000), waiters;
    struct prof__debt d;

    CHECK(prof__ledger_take(lock, 1100, &d), "taken");
    prof__ledger_put_back(lock, &d);
    CHECK_INT(charged(lock, 1200, &waiters), 200, "all of it");
    CHECK_INT(waiters, 1, "waiters");
    give_up(ref, 1200);
}

static void test_the_owner_is_known_while_others_wait(void)
{
    const void *lock = lock_at(8);
    uint32_t first = prof__ledger_arrive(lock, false, 1000),
             second = prof__ledger_arrive(lock, false, 1010);
    struct prof__debt d;
    struct prof__heir h;

    CHECK_INT(prof__ledger_held_since(lock, 42), 0, "not known yet");
    prof__ledger_leave(first, 1100, 42, &d, &h);
    CHECK_INT(prof__ledger_held_since(lock, 42), 1100, "since it got the lock");
    CHECK_INT(prof__ledger_held_since(lock, 43), 0, "another thread");
    give_up(second, 1200);
    CHECK_INT(prof__ledger_held_since(lock, 42), 0, "nobody waits");
    charged(lock, 1200, NULL);
    uint32_t later = prof__ledger_arrive(lock, false, 5000);
    CHECK_INT(prof__ledger_held_since(lock, 42), 0, "it may have let go meanwhile");
    give_up(later, 5000);
    charged(lock, 5000, NULL);
}

static void test_what_is_forgiven_is_gone(void)
{
    const void *lock = lock_at(9);
    uint32_t ref = prof__ledger_arrive(lock, false, 1000), waiters;

    prof__ledger_forgive(5000);
    CHECK_INT(charged(lock, 5100, &waiters), 100, "only what came after");
    CHECK_INT(waiters, 0, "waiters");
    give_up(ref, 5100);
    CHECK(!prof__ledger_maybe(&filter, lock), "nothing is left");
}

/* Random events on eight locks at a logical clock, next to a model that adds up by hand. */
static void test_any_sequence_adds_up(void)
{
    enum { LOCKS = 8, WAITERS = 64, STEPS = 200000 };
    static struct {
        uint32_t ref;
        size_t lock;
        int64_t since;
    } waiter[WAITERS];
    int64_t now = 1, waited = 0, paid = 0, arrived = 0, counted = 0;
    uint64_t rng = 1;

    for (int step = 0; step < STEPS; step++) {
        size_t i = prof__random(&rng) % WAITERS, l = prof__random(&rng) % LOCKS;
        struct prof__debt d = { 0 };
        struct prof__heir h;

        now += (int64_t)(prof__random(&rng) % 1000);
        switch (prof__random(&rng) % 4) {
        case 0:
        case 1:
            if (waiter[i].ref) {
                uint32_t owner = prof__random(&rng) % 2 ? 42 : 0;

                if (prof__ledger_leave(waiter[i].ref, now, owner, &d, &h))
                    CHECK_INT(h.row, 5, "heir");
                waited += now - waiter[i].since;
                waiter[i].ref = 0;
            } else {
                waiter[i].ref = prof__ledger_arrive(lock_at(100 + l), false, now);
                waiter[i].lock = l;
                waiter[i].since = now;
                arrived++;
            }
            break;
        case 2:
            prof__ledger_take(lock_at(100 + l), now, &d);
            break;
        case 3:
            if (prof__random(&rng) % 2)
                prof__ledger_set_heir(lock_at(100 + l), (struct prof__heir) { 5, 1 });
            else if (prof__ledger_take(lock_at(100 + l), now, &d)) {
                prof__ledger_put_back(lock_at(100 + l), &d);
                d = (struct prof__debt) { 0 };
            }
        }
        paid += d.wait_ns;
        counted += d.waiters;
    }
    for (int i = 0; i < WAITERS; i++)
        if (waiter[i].ref) {
            give_up(waiter[i].ref, now);
            waited += now - waiter[i].since;
        }
    for (size_t l = 0; l < LOCKS; l++) {
        uint32_t n;

        paid += charged(lock_at(100 + l), now, &n);
        counted += n;
        CHECK(!prof__ledger_maybe(&filter, lock_at(100 + l)), "nothing is left");
    }
    CHECK_INT(paid, waited, "nanoseconds");
    CHECK_INT(counted, arrived, "waiters");
}

/* More locks at a time than there is room for: losses are counted, the rest is right. */
static void test_a_full_ledger_counts_what_it_loses(void)
{
    enum { LOCKS = 20000 };
    static uint32_t ref[LOCKS];
    uint64_t before = prof__ledger_lost(), kept = 0;

    for (size_t i = 0; i < LOCKS; i++) {
        ref[i] = prof__ledger_arrive(lock_at(1000 + i), false, 1000);
        kept += ref[i] != 0;
    }
    CHECK_INT(prof__ledger_lost() - before, LOCKS - kept, "lost");
    CHECK_BETWEEN(kept, 8192 * 0.9, 8192, "kept");
    for (size_t i = 0; i < LOCKS; i++) {
        CHECK_INT(charged(lock_at(1000 + i), 1100, NULL), ref[i] ? 100 : 0, "time");
        if (ref[i])
            give_up(ref[i], 1100);
        CHECK(!prof__ledger_maybe(&filter, lock_at(1000 + i)) || !ref[i], "nothing is left");
    }
    uint32_t again = prof__ledger_arrive(lock_at(1000), false, 2000);
    CHECK(again, "there is room again");
    give_up(again, 2000);
    charged(lock_at(1000), 2000, NULL);
}

/* Locks that nobody waits for any more, with something unpaid, make room. */
static void test_forgotten_debts_make_room(void)
{
    for (size_t i = 0; i < 60000; i++) {
        uint32_t ref = prof__ledger_arrive(lock_at(i % 60000), false, 1000);

        CHECK(ref, "room for lock %zu", i);
        if (ref)
            give_up(ref, 1010);
    }
    prof__ledger_forgive(2000);
    for (size_t i = 0; i < 60000; i++)
        if (prof__ledger_maybe(&filter, lock_at(i)))
            CHECK(false, "lock %zu is still open", i);
}

/* --- threads ---------------------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 100000, SHARED = 3 };
static _Atomic int64_t all_waited, all_paid, all_counted;

static void *wait_and_release(void *arg)
{
    uint64_t rng = (uintptr_t)arg + 1;

    for (int i = 0; i < ROUNDS; i++) {
        const void *lock = lock_at(200 + prof__random(&rng) % SHARED);
        struct prof__debt d;
        struct prof__heir h;
        int64_t since = prof__monotonic_ns(), end;
        uint32_t ref = prof__ledger_arrive(lock, false, since);

        if (prof__random(&rng) % 64 == 0)
            sched_yield();
        if (prof__ledger_take(lock, prof__monotonic_ns(), &d)) {
            all_paid += d.wait_ns;
            all_counted += d.waiters;
        }
        if (prof__random(&rng) % 2)
            prof__ledger_set_heir(lock, (struct prof__heir) { 5, 1 });
        end = prof__monotonic_ns();
        if (prof__ledger_leave(ref, end, prof__random(&rng) % 2 ? 42 : 0, &d, &h)) {
            all_paid += d.wait_ns;
            all_counted += d.waiters;
        }
        all_waited += end - since;
    }
    return NULL;
}

/* Clocks are read before the account is changed, so charges may overlap by what lies between; but
 * nothing may be lost or counted twice as a whole. */
static void test_threads_at_once_add_up(void)
{
    pthread_t t[THREADS];

    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, wait_and_release, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    for (size_t l = 0; l < SHARED; l++) {
        uint32_t n;

        all_paid += charged(lock_at(200 + l), prof__monotonic_ns(), &n);
        all_counted += n;
        CHECK(!prof__ledger_maybe(&filter, lock_at(200 + l)), "nothing is left");
    }
    CHECK_INT(all_counted, THREADS * ROUNDS, "waiters");
    CHECK(all_paid >= all_waited * 99 / 100, "%lld paid of %lld", (long long)all_paid,
          (long long)all_waited);
}

/* The first who wait for a lock come at once, and may make an account each: a release ends one wait
 * all the same. Class: what is bounded in an entry and is to hold for all of the lock's entries. */
enum { FIRSTS = 3, LOCKS_OF_FIRSTS = 2000 };
static _Atomic size_t lock_of_firsts, arrived_firsts;
static uint32_t ref_of_first[FIRSTS];

static void *arrive_first(void *arg)
{
    for (size_t i = 1; i <= LOCKS_OF_FIRSTS; i++) {
        while (lock_of_firsts < i)
            sched_yield();
        ref_of_first[(uintptr_t)arg] = prof__ledger_arrive(lock_at(i), false, 1000);
        arrived_firsts++;
    }
    return NULL;
}

static void test_a_release_ends_one_wait_of_those_that_came_at_once(void)
{
    pthread_t t[FIRSTS];
    size_t wrong = 0, twice = 0;

    for (uintptr_t i = 0; i < FIRSTS; i++)
        pthread_create(&t[i], NULL, arrive_first, (void *)i);
    for (size_t l = 1; l <= LOCKS_OF_FIRSTS; l++) {
        struct prof__heir heir;
        struct prof__debt debt;
        uint32_t waiters;

        arrived_firsts = 0;
        lock_of_firsts = l;
        while (arrived_firsts < FIRSTS)
            sched_yield();
        twice += ref_of_first[0] != ref_of_first[1] || ref_of_first[0] != ref_of_first[2];
        for (int i = 0; i < FIRSTS; i++) {
            charged(lock_at(l), 2000, &waiters);
            wrong += waiters != 1;
            prof__ledger_set_heir(lock_at(l), (struct prof__heir) { 7, 1 });
            prof__ledger_leave(ref_of_first[i], 2010, 1, &debt, &heir);
            wrong += debt.waiters != 0;
        }
        wrong += prof__ledger_maybe(&filter, lock_at(l));
    }
    for (int i = 0; i < FIRSTS; i++)
        pthread_join(t[i], NULL);
    MEASURED("%zu of %d locks had more than one account", twice, LOCKS_OF_FIRSTS);
    CHECK_INT(wrong, 0, "releases that end another number of waits than one");
}

/* A fork finds other threads between an account and its count. */
static void test_a_child_finds_nothing_counted(void)
{
    _Atomic uint16_t *half_way[] = { &filter.open[0], &filter.open[PROF__LOCK_FILTER - 1] };
    uint32_t ref = prof__ledger_arrive(lock_at(300), false, 1);

    *half_way[0] += 1;
    *half_way[1] -= 1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        unsigned counted = 0;

        for (size_t i = 0; i < PROF__LOCK_FILTER; i++)
            counted += filter.open[i] != 0;
        _exit(counted != 0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child, "a child");
    CHECK_INT(status, 0, "nobody waits there");
    *half_way[0] -= 1;
    *half_way[1] += 1;
    prof__ledger_retract(ref, false, 1);
    CHECK(!prof__ledger_maybe(&filter, lock_at(300)), "nothing is left");
}

int main(void)
{
    prof__ledger_keep_filter(&filter);
    test_a_release_is_charged_what_was_waited_until_then();
    test_without_an_heir_the_next_release_pays();
    test_an_unsampled_release_has_its_rest_dropped();
    test_each_release_ends_one_wait();
    test_a_release_ends_the_waits_of_all_who_share();
    test_waits_that_were_given_up_end_at_the_next_release();
    test_who_gives_up_is_charged_to_the_holder_all_the_same();
    test_who_was_refused_never_waited();
    test_a_failed_release_gives_back();
    test_the_owner_is_known_while_others_wait();
    test_what_is_forgiven_is_gone();
    test_any_sequence_adds_up();
    test_threads_at_once_add_up();
    test_a_release_ends_one_wait_of_those_that_came_at_once();
    test_a_full_ledger_counts_what_it_loses();
    test_forgotten_debts_make_room();
    test_a_child_finds_nothing_counted();
    return check_report();
}
