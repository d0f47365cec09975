/*
 * faults.c - a program that uses all of libprof, while the nth call of some kind that libprof makes
 * fails (fault_lib.c); then nothing fails any more, and it does all of it again.
 *
 *   faults FOLDER [SECONDS]
 *
 * stdout has what the program itself has done and what its calls returned; whatever befalls
 * libprof, that is the same. FOLDER gets each answer, the whole of it: faulty-HEAP and the like,
 * and sound-HEAP from the second time. What can be judged here is, on stderr: a call of libprof
 * fails with a reason or not at all, the second time works, no descriptor and no memory is lost.
 *
 * Without fault_lib.so it runs as well.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <prof/http.h>
#include <prof/prof.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { BLOCKS = 200, KEPT = 120, BLOCK_BYTES = 1000, THREADS = 3, WATCHDOG_S = 100, LIMIT_S = 20 };

void fault_mine(int more) __attribute__((weak));
void fault_arm(const char *what) __attribute__((weak));
uint64_t fault_injected(void) __attribute__((weak));

/* A call of libprof's interface. */
#define LIBPROF(call)                             \
    ({                                            \
        if (fault_mine)                           \
            fault_mine(1);                        \
        __typeof__(call) libprof_result = (call); \
        if (fault_mine)                           \
            fault_mine(-1);                       \
        libprof_result;                           \
    })

static const char *folder, *phase;

/* To stderr: stdout is the program's own. */
#define JUDGE(condition, ...)                                                                 \
    do {                                                                                      \
        __atomic_fetch_add((condition) ? &check_passed : &check_failed, 1, __ATOMIC_RELAXED); \
        if (!(condition)) {                                                                   \
            fprintf(stderr, "%s: not true: %s: ", phase, #condition);                         \
            fprintf(stderr, __VA_ARGS__);                                                     \
            fprintf(stderr, "\n");                                                            \
        }                                                                                     \
    } while (0)

/* A call that may fail only for a reason; the second time round not at all. */
static int told(int r, const char *what)
{
    bool sound = strcmp(phase, "sound") == 0;

    JUDGE(r >= 0 || !sound, "%s: %d %s", what, r, prof_last_error());
    JUDGE(r >= 0 || *prof_last_error(), "%s: %d without a reason", what, r);
    return r;
}

/* --- what the program does ------------------------------------------------------------------- */

static void *kept[BLOCKS];

__attribute__((noinline)) static void *keep_block(size_t size)
{
    errno = 77;
    void *p = malloc(size);
    int after = errno;

    if (!p || after != 77)
        printf("malloc %p errno %d\n", p, after);
    __asm__ volatile("" : "+r"(p));
    return p;
}

static void allocate(void)
{
    for (size_t i = 0; i < BLOCKS; i++)
        kept[i] = keep_block(BLOCK_BYTES);
    for (size_t i = KEPT; i < BLOCKS; i++) {
        errno = 78;
        free(kept[i]);
        if (errno != 78)
            printf("free errno %d\n", errno);
        kept[i] = NULL;
    }
    for (size_t i = 0; i < KEPT; i += 10) {
        errno = 79;
        kept[i] = realloc(kept[i], BLOCK_BYTES);
        if (!kept[i] || errno != 79)
            printf("realloc %p errno %d\n", kept[i], errno);
    }
    void *aligned = NULL;
    printf("posix_memalign %d\n", posix_memalign(&aligned, 64, 5000));
    free(aligned);
    free(calloc(10, 100));
}

static void give_back(void)
{
    for (size_t i = 0; i < BLOCKS; i++)
        free(kept[i]);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static sem_t ready;
static int turn;

static volatile unsigned long burnt;

static void burn_ms(long ms)
{
    struct timespec t;
    long long end;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    end = t.tv_sec * 1000000000LL + t.tv_nsec + ms * 1000000LL;
    do {
        for (int i = 0; i < 1000; i++)
            burnt += (unsigned long)i;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    } while (t.tv_sec * 1000000000LL + t.tv_nsec < end);
}

/* Each waits for its turn, so that there is waiting whatever the machine does. */
static void *work(void *arg)
{
    int number = (int)(intptr_t)arg, wrong = 0;

    told(LIBPROF(prof_labels_push("worker", number == 1 ? "one" : "other")), "prof_labels_push");
    for (int i = 0; i < 20; i++) {
        void *p = malloc(200 + (size_t)i);
        wrong += !p;
        free(p);
    }
    burn_ms(2);
    wrong += sem_post(&ready) != 0;
    wrong += pthread_mutex_lock(&mutex) != 0;
    while (turn != number)
        wrong += pthread_cond_wait(&changed, &mutex) != 0;
    turn++;
    wrong += pthread_cond_broadcast(&changed) != 0;
    wrong += pthread_mutex_unlock(&mutex) != 0;
    LIBPROF(prof_labels_pop());
    return (void *)(intptr_t)wrong;
}

static void run_threads(void)
{
    pthread_t thread[THREADS];

    turn = -1;
    sem_init(&ready, 0, 0);
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < THREADS; i++)
        printf("pthread_create %d\n", pthread_create(&thread[i], NULL, work, (void *)(intptr_t)i));
    for (int i = 0; i < THREADS; i++)
        sem_wait(&ready);
    usleep(2000); /* so that some of them wait for the mutex */
    turn = 0;
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < THREADS; i++) {
        void *wrong;

        printf("pthread_join %d", pthread_join(thread[i], &wrong));
        printf(" wrong %d\n", (int)(intptr_t)wrong);
    }
    sem_destroy(&ready);
}

static void load_and_unload(void)
{
    void *library = dlopen("libpcprofile.so", RTLD_NOW | RTLD_LOCAL); /* of libc6 itself */

    if (!library)
        library = dlopen("libm.so.6", RTLD_NOW | RTLD_LOCAL);
    printf("dlopen %d", library != NULL);
    printf(" dlclose %d\n", library ? dlclose(library) : 0);
}

static void run_child(void)
{
    int status = -1;

    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        void *p = malloc(3000);

        free(p);
        _exit(p ? 7 : 8);
    }
    waitpid(pid, &status, 0);
    printf("fork %d status %d\n", pid > 0, WEXITSTATUS(status));
}

/* --- what it asks of libprof ------------------------------------------------------------------ */

static void own_profile(void)
{
    static int key[10];
    struct prof_profile *p = prof_lookup("example.org/things");

    if (!p && told(LIBPROF(prof_profile_new("example.org/things", &p)), "prof_profile_new") < 0)
        return;
    for (size_t i = 0; i < 10; i++)
        told(LIBPROF(prof_profile_add(p, &key[i], 0)), "prof_profile_add");
    for (size_t i = 0; i < 10; i++)
        told(LIBPROF(prof_profile_remove(p, &key[i])), "prof_profile_remove");
}

static int count_bytes(void *arg, const void *data, size_t size)
{
    *(size_t *)arg += size;
    return 0;
}

static void own_window(void)
{
    struct prof_window *window = NULL;
    size_t bytes = 0;

    if (told(LIBPROF(prof_window_open("profile", &window)), "prof_window_open") < 0)
        return;
    burn_ms(10);
    told(LIBPROF(prof_window_write(window, NULL, count_bytes, &bytes)), "prof_window_write");
    LIBPROF((prof_window_close(window), 0));
}

static void own_file(void)
{
    char path[300];

    snprintf(path, sizeof(path), "%s/%s-file", folder, phase);
    int r = told(LIBPROF(prof_write_heap(path)), "prof_write_heap");
    JUDGE((access(path, F_OK) == 0) == (r == 0), "prof_write_heap %d, and the file", r);
}

static int connect_to(const char *address)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval limit = { LIMIT_S, 0 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    at.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int ask(const char *address, const char *path)
{
    char text[512];
    int fd = connect_to(address);
    int n = snprintf(text, sizeof(text),
                     "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);

    if (fd >= 0 && send(fd, text, (size_t)n, MSG_NOSIGNAL) != n) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool deaf; /* nobody has answered, so there is no use in asking on */

/* The whole answer, into a file. */
static void answer(int fd, const char *name)
{
    char path[300], buf[16384];
    ssize_t n = 0;

    if (deaf) {
        close(fd);
        return;
    }

    snprintf(path, sizeof(path), "%s/%s-%s", folder, phase, name);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    while (fd >= 0 && ((n = recv(fd, buf, sizeof(buf), 0)) > 0 || (n < 0 && errno == EINTR)))
        if (n > 0 && write(file, buf, (size_t)n) != n)
            abort();
    if (n < 0 && errno == EAGAIN)
        deaf = true;
    else
        JUDGE(fd < 0 || n == 0 || errno == ECONNRESET, "%s: %s", name, strerror(errno));
    close(file);
    close(fd);
}

static void requests(const char *address, const char *seconds)
{
    static const struct {
        const char *name, *path;
    } all[] = {
        { "index", "/debug/pprof/" },
        { "heap", "/debug/pprof/heap" },
        { "heap.text", "/debug/pprof/heap?debug=1" },
        { "heap.folded", "/debug/pprof/heap?format=folded&type=inuse_objects" },
        { "allocs", "/debug/pprof/allocs?symbolize=0" },
        { "threads", "/debug/pprof/threads" },
        { "threads.text", "/debug/pprof/threads?debug=2" },
        { "threadcreate", "/debug/pprof/threadcreate" },
        { "mutex", "/debug/pprof/mutex" },
        { "block", "/debug/pprof/block?debug=1" },
        { "cmdline", "/debug/pprof/cmdline" },
        { "metrics", "/metrics" },
        { "ui", "/debug/pprof/ui/" },
        { "source", "/debug/pprof/ui/source?address=%p&depth=0" },
        { "symbol", "/debug/pprof/symbol?%p" },
    };
    char path[200];

    deaf = false;
    for (size_t i = 0; i < sizeof(all) / sizeof(*all) && !deaf; i++) {
        snprintf(path, sizeof(path), all[i].path, (void *)((char *)keep_block + 8));
        answer(ask(address, path), all[i].name);
    }
    /* These wait, together. */
    snprintf(path, sizeof(path), "/debug/pprof/profile?seconds=%s", seconds);
    int cpu = deaf ? -1 : ask(address, path);
    snprintf(path, sizeof(path), "/debug/pprof/heap?seconds=%s", seconds);
    int heap = deaf ? -1 : ask(address, path);
    burn_ms(15);
    answer(cpu, "profile");
    answer(heap, "heap.delta");
}

static void use_libprof(const char *seconds)
{
    char address[100] = "";
    int r = told(LIBPROF(prof_http_start("127.0.0.1:0")), "prof_http_start");

    if (r == 0)
        r = told(LIBPROF(prof_http_address(address, sizeof(address))), "prof_http_address");
    own_profile();
    own_window();
    own_file();
    if (r > 0 && strrchr(address, ':'))
        requests(address, seconds);
    if (*address)
        told(LIBPROF(prof_http_stop()), "prof_http_stop");
}

/* --- what must not be lost -------------------------------------------------------------------- */

static int descriptors(void)
{
    struct stat st;
    int n = 0;

    for (int fd = 0; fd < 1000; fd++)
        n += fstat(fd, &st) == 0;
    return n;
}

/* libprof's own, for the driver to compare. */
static uint64_t memory(void)
{
    struct prof_stats s = { .size = sizeof(s) };

    return prof_stats(&s) == 0 ? s.memory_bytes : 0;
}

static void everything(const char *name, const char *seconds)
{
    int before = descriptors();

    phase = name;
    printf("%s\n", name);
    allocate();
    run_threads();
    load_and_unload();
    run_child();
    use_libprof(seconds);
    give_back();
    JUDGE(descriptors() == before, "%d descriptors, before %d", descriptors(), before);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const char *seconds = argc > 2 ? argv[2] : "1";

    if (argc < 2)
        return 2;
    folder = argv[1];
    alarm(WATCHDOG_S);
    everything("faulty", seconds);
    if (fault_arm)
        fault_arm(NULL);
    fprintf(stderr, "injected %" PRIu64 "\n", fault_injected ? fault_injected() : 0);
    everything("sound", seconds);
    fprintf(stderr, "held %" PRIu64 "\n", memory());
    fprintf(stderr, "%d passed, %d failed\n", check_passed, check_failed);
    return check_failed ? 3 : 0;
}
