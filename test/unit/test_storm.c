/*
 * test_storm.c - stacks of code interrupted anywhere: in prologues and epilogues, in stubs of the
 * dynamic linker, in hand-written assembly. A timer interrupts some work every 300 us, and the
 * handler compares with libunwind, which may be called there because the program has one thread and
 * loads nothing meanwhile.
 */
#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <regex.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <zlib.h>

#include "check.h"
#include "oracle.h"
#include "unwind/stack.h"

enum { SAMPLES = 5000, INTERVAL_NS = 300 * 1000, ORACLE_MAX = 200, SHOWN = 5 };

static volatile sig_atomic_t samples, equal, shown;
static volatile sig_atomic_t ended[PROF__PC_PSEUDO_END - PROF__PC_LOST];
static volatile size_t sink;

static void compare_stacks(void *context)
{
    uintptr_t got[PROF__STACK_MAX], want[ORACLE_MAX];

    if (samples >= SAMPLES)
        return;
    samples++;
    size_t n = prof__stack_interrupted(context, got, PROF__STACK_MAX);
    size_t n_want = oracle_interrupted(context, want, ORACLE_MAX);

    if (prof__pc_is_pseudo(got[n - 1]))
        ended[got[n - 1] - PROF__PC_LOST]++;
    if (n == n_want && memcmp(got, want, n * sizeof(got[0])) == 0) {
        equal++;
    } else if (shown++ < SHOWN) {
        printf("sample %d: %zu frames, libunwind has %zu\n", (int)samples, n, n_want);
        for (size_t i = 0; i < n || i < n_want; i++) {
            Dl_info where = { 0 };
            dladdr((void *)(i < n ? got[i] : want[i]), &where);
            printf("  %#lx %#lx %s %s\n", i < n ? got[i] : 0, i < n_want ? want[i] : 0,
                   where.dli_sname ? where.dli_sname : "", where.dli_fname ? where.dli_fname : "");
        }
    }
}

static void on_timer(int sig, siginfo_t *info, void *context)
{
    int saved = errno;

    compare_stacks(context);
    errno = saved;
}

/* --- work ------------------------------------------------------------------------------------- */

static int by_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void sort_and_format(void)
{
    double values[200];
    char text[64];

    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        values[i] = sin((double)i * 12.9898) * 43758.5453;
    qsort(values, ARRAY_LEN(values), sizeof(values[0]), by_double);
    for (size_t i = 0; i < ARRAY_LEN(values); i += 10) {
        snprintf(text, sizeof(text), "%.12g %zu %s", values[i], i, "x");
        sink += (size_t)strtod(text, NULL);
    }
}

static void match(void)
{
    regex_t re;

    if (regcomp(&re, "^([a-z]+[0-9]*)*(foo|bar)+$", REG_EXTENDED) != 0)
        return;
    sink += (size_t)regexec(&re, "abc123def456foobarfoobar", 0, NULL, 0);
    regfree(&re);
}

static void deflate_some(void)
{
    static unsigned char in[20000], out[30000];
    uLongf size = sizeof(out);

    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (unsigned char)(i * i >> 7);
    compress(out, &size, in, sizeof(in));
    sink += size;
}

static struct {
    unsigned char *(*sha1)(const unsigned char *, size_t, unsigned char *);
    unsigned char *(*sha256)(const unsigned char *, size_t, unsigned char *);
    unsigned char *(*sha512)(const unsigned char *, size_t, unsigned char *);
    void *(*bn_new)(void);
    void *(*bn_ctx_new)(void);
    int (*bn_set_word)(void *, unsigned long);
    int (*bn_mod_exp)(void *, const void *, const void *, const void *, void *);
    int (*bn_lshift)(void *, const void *, int);
    int (*bn_add_word)(void *, unsigned long);
    void *base, *power, *modulus, *result, *ctx;
} crypto;

/* Assembly by hand. Not there: the rest is work enough. */
static void crypto_load(void)
{
    void *lib = dlopen("libcrypto.so.3", RTLD_NOW);
    const struct {
        const char *name;
        void *to;
    } functions[] = {
        { "SHA1", &crypto.sha1 },
        { "SHA256", &crypto.sha256 },
        { "SHA512", &crypto.sha512 },
        { "BN_new", &crypto.bn_new },
        { "BN_CTX_new", &crypto.bn_ctx_new },
        { "BN_set_word", &crypto.bn_set_word },
        { "BN_mod_exp", &crypto.bn_mod_exp },
        { "BN_lshift", &crypto.bn_lshift },
        { "BN_add_word", &crypto.bn_add_word },
    };

    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        void *f = lib ? dlsym(lib, functions[i].name) : NULL;
        if (!f) {
            printf("without libcrypto.so.3\n");
            crypto.sha1 = NULL;
            return;
        }
        memcpy(functions[i].to, &f, sizeof(f));
    }
    crypto.base = crypto.bn_new();
    crypto.power = crypto.bn_new();
    crypto.modulus = crypto.bn_new();
    crypto.result = crypto.bn_new();
    crypto.ctx = crypto.bn_ctx_new();
    crypto.bn_set_word(crypto.base, 0x123456789);
    crypto.bn_lshift(crypto.power, crypto.base, 300);
    crypto.bn_lshift(crypto.modulus, crypto.base, 470);
    crypto.bn_add_word(crypto.modulus, 7);
}

static void encrypt(void)
{
    static unsigned char data[8192];
    unsigned char digest[64];

    if (!crypto.sha1)
        return;
    crypto.sha1(data, sizeof(data), digest);
    crypto.sha256(data, sizeof(data), digest);
    crypto.sha512(data, sizeof(data), digest);
    crypto.bn_mod_exp(crypto.result, crypto.base, crypto.power, crypto.modulus, crypto.ctx);
    sink += digest[0];
}

static void allocate(void)
{
    void *p[50];

    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        p[i] = malloc(i * i * 10 + 1);
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        free(p[i]);
}

int main(void)
{
    struct sigaction action = { .sa_sigaction = on_timer, .sa_flags = SA_SIGINFO | SA_RESTART };
    struct itimerspec every = { { 0, INTERVAL_NS }, { 0, INTERVAL_NS } }, never = { 0 };
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGPROF };
    timer_t timer;

    crypto_load();
    prof__stack_init();
    sort_and_format();
    match();
    deflate_some();
    encrypt();
    sigaction(SIGPROF, &action, NULL);
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
        timer_settime(timer, 0, &every, NULL) != 0) {
        CHECK(false, "no timer");
        return check_report();
    }
    time_t start = time(NULL);
    while (samples < SAMPLES && time(NULL) - start < 60) {
        sort_and_format();
        match();
        deflate_some();
        encrypt();
        allocate();
    }
    timer_settime(timer, 0, &never, NULL);

    CHECK(samples >= SAMPLES / 5, "%d samples", (int)samples);
    CHECK((double)equal >= 0.995 * samples, "%d of %d stacks are equal", (int)equal, (int)samples);
    for (size_t i = 0; i < ARRAY_LEN(ended); i++)
        if (ended[i])
            printf("%d stacks end in pseudo frame %zu\n", (int)ended[i], PROF__PC_LOST + i);
    printf("%d of %d stacks are equal\n", (int)equal, (int)samples);
    return check_report();
}
