/*
 * test_hash.c - the hash spreads what tables are made of, and differently in each process, so that
 * nobody can prepare what meets.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/random.h"
#include "check.h"

enum { HEADS = 4096, VALUES = 3000 };

static unsigned load[HEADS];

static void count(uint64_t hash)
{
    load[hash % HEADS]++;
}

/* The fullest of HEADS places, and clear them. */
static unsigned fullest(void)
{
    unsigned most = 0;

    for (size_t i = 0; i < HEADS; i++)
        most = load[i] > most ? load[i] : most;
    memset(load, 0, sizeof(load));
    return most;
}

/* What an unkeyed hash would do with a label; anybody can compute it. */
static uint32_t known_hash(const char *bytes, size_t n)
{
    uint64_t h = n << 1;

    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    return (uint32_t)(prof__mix64(h) >> 32);
}

/* VALUES in HEADS places at random: 13 in one has a probability of less than 10^-7. */
static void test_prepared_labels_do_not_meet(void)
{
    char value[32];
    unsigned found = 0;

    for (unsigned long i = 0; found < VALUES; i++) {
        size_t n = (size_t)snprintf(value, sizeof(value), "t%lx", i) + 1;

        if (known_hash(value, n) % HEADS != 7)
            continue;
        found++;
        count(prof__hash_bytes(value, n));
    }
    CHECK(fullest() < 13, "values that were prepared for another hash");
}

/* Words in steps come out more even than at random, by design, so the same bound holds. */
static void test_words_spread(void)
{
    static const unsigned step[] = { 1, 8, 16, 48, 64, 4096, 65536, 1 << 20 };

    for (size_t k = 0; k < ARRAY_LEN(step); k++) {
        for (uint64_t i = 0; i < VALUES; i++)
            count(prof__hash(0x7f0000000000 + i * step[k]));
        CHECK(fullest() < 20, "addresses in steps of %u", step[k]);
        for (uint64_t i = 0; i < VALUES; i++)
            count(prof__hash_more(prof__hash(7), i * step[k]));
        CHECK(fullest() < 20, "second words in steps of %u", step[k]);
    }
}

static void test_every_word_counts(void)
{
    uintptr_t words[40] = { 0 };
    uint64_t all_zero[40];

    for (size_t n = 0; n < 40; n++) {
        all_zero[n] = prof__hash_words(words, n);
        for (size_t k = 0; k < n; k++) {
            CHECK(all_zero[k] != all_zero[n], "%zu words are not %zu", k, n);
            words[k] = 1;
            CHECK(prof__hash_words(words, n) != all_zero[n], "word %zu of %zu", k, n);
            words[k] = 0;
        }
    }
    CHECK(prof__hash_bytes("abcdefgh", 8) != prof__hash_bytes("abcdefgh\0", 9), "bytes");
    CHECK(prof__hash_bytes("abcdefghi", 9) != prof__hash_bytes("abcdefghj", 9), "the last byte");
}

/* Another process of the same program, asked for one hash. */
static unsigned long long in_another(const char *self)
{
    char command[4096];
    unsigned long long hash = 0;

    snprintf(command, sizeof(command), "'%s' print", self);
    FILE *f = popen(command, "r");
    CHECK(f && fscanf(f, "%llu", &hash) == 1, "the other process answers");
    if (f)
        pclose(f);
    return hash;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        printf("%llu\n", (unsigned long long)prof__hash(42));
        return 0;
    }
    test_prepared_labels_do_not_meet();
    test_words_spread();
    test_every_word_counts();
    CHECK(in_another(argv[0]) != in_another(argv[0]), "each process has its own hash");
    return check_report();
}
