/*
 * environment.c - once the program runs, libprof neither looks at the environment nor changes it:
 * another thread may be doing that, and libc does not make the one wait for the other.
 *
 * Linked and preloaded. These are the functions that libprof calls, being the program's.
 */
#include <dlfcn.h>
#include <prof/http.h>
#include <prof/prof.h>
#include <prof/vars.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "burn.h"
#include "check.h"
#include "text_profile.h"

extern char **environ;
static atomic_int is_running, calls;

__attribute__((noinline)) static void count(const void *caller)
{
    Dl_info info;

    if (atomic_load(&is_running) && dladdr(caller, &info) && info.dli_fname &&
        strstr(info.dli_fname, "libprof")) {
        printf("from %s, %s\n", info.dli_fname, info.dli_sname ? info.dli_sname : "?");
        atomic_fetch_add(&calls, 1);
    }
}

static char *value_of(const char *name)
{
    size_t n = strlen(name);

    for (char **e = environ; e && *e; e++)
        if (strncmp(*e, name, n) == 0 && (*e)[n] == '=')
            return *e + n + 1;
    return NULL;
}

char *getenv(const char *name)
{
    count(__builtin_return_address(0));
    return value_of(name);
}

char *secure_getenv(const char *name)
{
    count(__builtin_return_address(0));
    return value_of(name);
}

/* As far as libprof needs it: gone is what it names. */
int unsetenv(const char *name)
{
    char *value = value_of(name);

    count(__builtin_return_address(0));
    for (char **e = environ; value && *e; e++)
        if (*e + strlen(name) + 1 == value)
            for (char **at = e; (*at = at[1]); at++)
                ;
    return 0;
}

static void write_each_profile(void)
{
    static const char *const names[] = { "heap", "profile", "threads", "mutex" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct prof_window *w = NULL;
        struct text_profile text;

        CHECK_INT(prof_window_open(names[i], &w), 0, names[i]);
        burn(0.02);
        CHECK_INT(text_profile_window(&text, w), 0, names[i]);
        text_profile_free(&text);
        prof_window_close(w);
    }
}

static void *serve(void *unused)
{
    if (prof_http_stop() < 0) /* the one of LIBPROF_HTTP */
        CHECK(value_of("LIBPROF_HTTP") == NULL, "it is there");
    CHECK_INT(prof_http_start("unix:@environment"), 0, prof_last_error());
    CHECK_INT(prof_http_stop(), 0, "stop");
    return unused;
}

static int serves(pid_t pid)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "environment-%d", (int)pid);

    int r = connect(fd, (struct sockaddr *)&a,
                    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n));
    close(fd);
    return r == 0;
}

/* Where it is told so, a child serves after a moment, by a thread of libprof's. */
static void in_a_child(void)
{
    int status = -1;

    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; value_of("LIBPROF_HTTP") && !serves(getpid()) && i < 3000; i++)
            usleep(10000);
        fflush(stdout);
        _exit(atomic_load(&calls));
    }
    waitpid(pid, &status, 0);
    CHECK_INT(status, 0, "calls in a child");
}

int main(void)
{
    pthread_t t;

    atomic_store(&is_running, 1);
    prof_set_heap_rate(1);
    prof_set_mutex_fraction(1);
    in_a_child();
    write_each_profile();
    CHECK_INT(prof_vars_start(), 0, "numbers over time");
    prof_vars_stop();
    pthread_create(&t, NULL, serve, NULL);
    pthread_join(t, NULL);
    void *library = dlopen("/usr/lib/x86_64-linux-gnu/libm.so.6", RTLD_NOW | RTLD_DEEPBIND);
    if (library)
        dlclose(library);
    CHECK_INT(atomic_load(&calls), 0, "calls of libprof's");
    return check_report();
}
