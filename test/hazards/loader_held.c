/*
 * loader_held.c - nothing that writes a profile or serves waits for the dynamic loader.
 *
 * Somebody may have its lock for as long as a plugin's constructor runs: then every profile, in
 * every form, is still written and served. And in a forked child somebody may have it for ever, as
 * the thread that loaded something stayed with the parent: the child can write, too.
 *
 *   loader_held PLUGIN      (loader_held_lib.c)
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <prof/http.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "long_run.h"

enum { OUTSIDE, INSIDE, LEAVE, LIMIT_S = 60 };

/* The plugin's constructor says that it is INSIDE, and stays until it may LEAVE. */
__attribute__((visibility("default"))) _Atomic uint32_t loader_gate;

static void await(uint32_t other_than)
{
    while (atomic_load(&loader_gate) == other_than)
        syscall(SYS_futex, &loader_gate, FUTEX_WAIT, other_than, NULL, NULL, 0);
}

static void *load(void *path)
{
    return dlopen(path, RTLD_NOW);
}

static int sink(void *bytes, const void *data, size_t size)
{
    *(size_t *)bytes += size;
    return 0;
}

static void write_all(const char *when)
{
    static const char *const names[] = { "heap",  "allocs",       "block",
                                         "mutex", "threadcreate", "threads" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        for (int debug = 0; debug <= 2; debug++) {
            struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
            size_t bytes = 0;

            o.debug = debug;
            CHECK_INT(prof_profile_write(prof_lookup(names[i]), &o, sink, &bytes), 0, names[i]);
            CHECK(bytes > 0, "%s: %s, debug %d", when, names[i], debug);
        }
}

static void ask(const char *page)
{
    char buf[4096], path[128];
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ssize_t n;

    CHECK(prof_http_address(path, sizeof(path)) > 0, "serving");
    strcpy(to.sun_path + 1, path + strlen("unix:@"));
    socklen_t size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(path + strlen("unix:@")));
    CHECK_INT(connect(fd, (struct sockaddr *)&to, size), 0, "connect");
    dprintf(fd, "GET /debug/pprof/%s HTTP/1.0\r\nHost: localhost\r\n\r\n", page);
    n = read(fd, buf, sizeof(buf) - 1);
    CHECK(n > 12 && strncmp(buf + 9, "200", 3) == 0, "%s: %.12s", page, n > 12 ? buf : "nothing");
    close(fd);
}

static void test_while_a_constructor_runs(char *plugin)
{
    char address[64];
    pthread_t thread;

    snprintf(address, sizeof(address), "unix:@loader-held-%d", (int)getpid());
    CHECK_INT(prof_http_start(address), 0, prof_last_error());
    pthread_create(&thread, NULL, load, plugin);
    await(OUTSIDE);
    write_all("constructor");
    ask("heap?debug=1");
    ask("goroutine?debug=2");
    ask("profile?seconds=1");
    ask("");
    CHECK_INT(atomic_load(&loader_gate), INSIDE, "and it runs still");
    atomic_store(&loader_gate, LEAVE);
    syscall(SYS_futex, &loader_gate, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    pthread_join(thread, NULL);
    prof_http_stop();
}

static atomic_int stop;

static void *loads(void *plugin)
{
    while (!atomic_load(&stop)) {
        void *h = dlopen(plugin, RTLD_NOW), *z = dlopen("libresolv.so.2", RTLD_NOW);

        if (z)
            dlclose(z);
        if (h)
            dlclose(h);
    }
    return NULL;
}

/* The gate is open by now, so that the plugin comes and goes. As many children as there is time
 * for; each has a limit of its own. */
static void test_in_a_child_of_a_loading_process(char *plugin)
{
    long n = long_run(40, 2000), children = 0, wrong = 0;
    time_t begin = time(NULL);
    pthread_t thread;

    pthread_create(&thread, NULL, loads, plugin);
    for (; children < n && long_run_goes_on(begin); children++) {
        int status = 0;

        alarm(2 * LIMIT_S);
        pid_t pid = fork();

        if (pid == 0) {
            alarm(LIMIT_S / 3);
            write_all("child");
            _exit(check_failed ? 3 : 0);
        }
        waitpid(pid, &status, 0);
        wrong += status != 0;
    }
    atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    CHECK(wrong == 0, "%ld of %ld children could not write", wrong, children);
    MEASURED("%ld children of a process that loads and unloads", children);
}

int main(int argc, char **argv)
{
    CHECK_INT(argc, 2, "the plugin is given");
    alarm(2 * LIMIT_S);
    prof_set_heap_rate(1);
    free(malloc(1 << 20));
    test_while_a_constructor_runs(argv[1]);
    test_in_a_child_of_a_loading_process(argv[1]);
    return check_report();
}
