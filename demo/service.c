/*
 * service.c - a small service with a leak, to be found with libprof.
 *
 * Four workers handle requests: each parses one (allocates and frees again at once), looks
 * something up in a cache (allocated once, rightly kept) and does some arithmetic. And on the way
 * one function keeps a copy of every request for an audit that never comes. Another opens sessions
 * and forgets them: nothing points to those any more. So there are two leaks, and two questions:
 * who allocated (heap), and who still holds it, if anybody (leaks, holders).
 *
 *   service [ADDRESS]     default 127.0.0.1:0, any free port
 *
 * Prints where it serves its profiles, then a line for every 1000 requests; ends on SIGINT or
 * SIGTERM. It stops leaking at LEAK_MAX, so one that was forgotten does no harm.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <prof/http.h>
#include <prof/prof.h>

#define WORKERS       4
#define PAUSE_NS      1000000 /* of a worker, between requests */
#define CACHE_ENTRIES 512
#define ENTRY_BYTES   8192 /* 4 MiB of cache */
#define REQUEST_BYTES 8192
#define SESSION_BYTES 2048
#define SESSION_EVERY 8 /* requests */
#define LEAK_MAX      ((size_t)1 << 30)

struct audit {
    struct audit *next;
    char request[REQUEST_BYTES];
};

struct session {
    long number;
    char state[SESSION_BYTES];
};

static _Atomic(struct session *) current_session;
static atomic_size_t session_bytes;
static _Atomic(struct audit *) audit_log;
static atomic_size_t audit_bytes;
static char *cache[CACHE_ENTRIES];
static atomic_long requests;
static atomic_bool stopping;

/* Small enough that the compiler inlines it: profiles name it all the same. */
static inline char *buffer_new(size_t size, int fill)
{
    char *b = malloc(size);

    if (!b)
        abort();
    memset(b, fill, size);
    return b;
}

/* The leak. */
__attribute__((noinline)) static void audit_remember(const char *request)
{
    struct audit *a;

    if (atomic_fetch_add(&audit_bytes, sizeof(*a)) > LEAK_MAX)
        return;
    a = malloc(sizeof(*a));
    if (!a)
        return;
    memcpy(a->request, request, REQUEST_BYTES);
    a->next = atomic_load(&audit_log);
    while (!atomic_compare_exchange_weak(&audit_log, &a->next, a))
        ;
}

/* The other leak: whoever is current takes the place of the last one, which nobody closes. */
__attribute__((noinline)) static void session_open(long number)
{
    struct session *s;

    if (atomic_fetch_add(&session_bytes, sizeof(*s)) > LEAK_MAX / 8)
        return;
    s = calloc(1, sizeof(*s));
    if (!s)
        return;
    s->number = number;
    atomic_store(&current_session, s);
}

/* Churn: much is allocated here, nothing stays. */
__attribute__((noinline)) static unsigned parse(const char *request)
{
    unsigned sum = 0;

    for (size_t size = 64; size <= REQUEST_BYTES; size *= 2) {
        char *token = buffer_new(size, request[size - 1]);

        sum += (unsigned char)token[size / 2];
        free(token);
    }
    return sum;
}

/* Honest work: shows in a CPU profile, not in the heap. */
__attribute__((noinline)) static unsigned checksum(const char *data, size_t size)
{
    unsigned h = 2166136261u;

    for (size_t i = 0; i < size; i++)
        h = (h ^ (unsigned char)data[i]) * 16777619u;
    return h;
}

static unsigned handle_request(long number)
{
    char *request = buffer_new(REQUEST_BYTES, (int)(number % 95) + 32);
    unsigned h = parse(request);

    h ^= checksum(cache[(size_t)number % CACHE_ENTRIES], ENTRY_BYTES);
    audit_remember(request);
    if (number % SESSION_EVERY == 0)
        session_open(number);
    free(request);
    return h;
}

static void *work(void *unused)
{
    static atomic_uint result; /* so that nothing is optimized away */
    const struct timespec pause = { 0, PAUSE_NS };

    while (!atomic_load(&stopping)) {
        long number = atomic_fetch_add(&requests, 1) + 1;

        atomic_fetch_xor(&result, handle_request(number));
        if (number % 1000 == 0) {
            printf("handled %ld requests\n", number);
            fflush(stdout);
        }
        nanosleep(&pause, NULL);
    }
    return unused;
}

__attribute__((noinline)) static void cache_fill(void)
{
    for (size_t i = 0; i < CACHE_ENTRIES; i++)
        cache[i] = buffer_new(ENTRY_BYTES, (int)i);
}

int main(int argc, char **argv)
{
    const char *address = argc > 1 ? argv[1] : "127.0.0.1:0";
    pthread_t worker[WORKERS];
    char bound[256];
    sigset_t ending;
    int got, started = 0;

    if (argc > 2 || address[0] == '-') {
        fprintf(stderr, "usage: %s [ADDRESS]\n", argv[0]);
        return 2;
    }
    /* Blocked before any thread is made, so that only sigwait() below gets them. */
    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ending, NULL);

    /* Under profrun --http there may be a server already. */
    got = prof_http_start(address);
    if ((got < 0 && got != -EALREADY) || prof_http_address(bound, sizeof(bound)) < 0) {
        fprintf(stderr, "%s: cannot serve on %s: %s\n", argv[0], address, prof_last_error());
        return 1;
    }
    printf("serving on %s\n", bound);
    fflush(stdout);

    cache_fill();
    while (started < WORKERS && pthread_create(&worker[started], NULL, work, NULL) == 0)
        started++;
    if (started > 0)
        sigwait(&ending, &got);
    else
        fprintf(stderr, "%s: cannot start a thread\n", argv[0]);

    atomic_store(&stopping, true);
    for (int i = 0; i < started; i++)
        pthread_join(worker[i], NULL);
    prof_http_stop();
    return started == 0;
}
