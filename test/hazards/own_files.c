/*
 * own_files.c - the program's files stay its own, whatever the libraries in it remember.
 *
 * For own_files.py, under allocators of all kinds; it takes stacks with libunwind itself, too.
 *
 * libunwind has a pipe for the process and remembers the numbers of its two ends. Whoever closes
 * them, or calls it where these numbers mean something else, has it write into the program's files
 * and close them.
 */
#include <arpa/inet.h>
#include <libunwind.h>
#include <prof/http.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

enum { LINES = 200, FILES = 8, WORKERS = 2 };

static atomic_bool stop;
static volatile sig_atomic_t walks;

static void *allocate(void *arg)
{
    while (!atomic_load(&stop))
        for (size_t i = 0; i < 100; i++)
            free(malloc(1000 + 100 * i));
    return arg;
}

static void walk(void)
{
    unw_context_t context;
    unw_cursor_t cursor;

    unw_getcontext(&context);
    unw_init_local(&cursor, &context);
    while (unw_step(&cursor) > 0)
        walks++;
}

static void walk_in_handler(int signal)
{
    walk();
}

static bool answered(const struct sockaddr_in *to)
{
    char buf[65536];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t n;

    if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) != 0 ||
        dprintf(fd, "GET /debug/pprof/heap?debug=1 HTTP/1.0\r\n\r\n") < 0) {
        close(fd);
        return false;
    }
    n = read(fd, buf, sizeof(buf));
    bool good = n > 15 && strncmp(buf, "HTTP/1.", 7) == 0;
    while (n > 0)
        n = read(fd, buf, sizeof(buf));
    close(fd);
    return good;
}

static struct sockaddr_in serve(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    char address[256] = "";
    int r = prof_http_start("127.0.0.1:0");

    CHECK_INT(r, 0, "the server");
    prof_http_address(address, sizeof(address));
    const char *colon = strrchr(address, ':');
    to.sin_port = htons((uint16_t)(colon ? strtoul(colon + 1, NULL, 10) : 0));
    return to;
}

int main(void)
{
    char line[64];
    FILE *file[FILES];
    pthread_t worker[WORKERS];
    unsigned answers = 0, strange = 0;
    off_t size = 0;

    signal(SIGUSR1, walk_in_handler);
    for (int i = 0; i < FILES; i++)
        file[i] = tmpfile();
    walk(); /* after them: they have the lowest numbers that were free */
    raise(SIGUSR1);
    struct sockaddr_in to = serve();
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&worker[i], NULL, allocate, NULL);
    for (int i = 0; i < LINES; i++) {
        int n = snprintf(line, sizeof(line), "line %d\n", i);

        if (i % 10 == 0) {
            answers += answered(&to);
            raise(SIGUSR1);
        }
        for (int k = 0; k < FILES; k++)
            strange += write(fileno(file[k]), line, (size_t)n) != n;
        size += n;
    }
    atomic_store(&stop, true);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(worker[i], NULL);

    CHECK_INT(answers, LINES / 10, "requests answered");
    CHECK(walks > 0, "libunwind has walked");
    for (int i = 0; i < FILES; i++) {
        struct stat st = { 0 };

        fstat(fileno(file[i]), &st);
        strange += !S_ISREG(st.st_mode) || st.st_size != size;
    }
    CHECK_INT(strange, 0, "writes and files that are not as they should be");
    return check_report();
}
