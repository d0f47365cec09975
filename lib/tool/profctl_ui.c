/*
 * profctl_ui.c - the viewer, for a process that serves nothing a browser could reach, and for
 * files.
 *
 * Of a process, its own server has the viewer, and the relay leads there. For files profctl opens
 * libprof-http and serves the viewer itself, on a socket of its own behind the same relay.
 */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "tool/ctl.h"
#include "tool/relay.h"

enum { FILES_MAX = 16 };

/* Beside the libraries of where this program is, or wherever the loader looks. */
static void *open_http(void)
{
    static const char *const places[] = { "../../http", PROFCTL_LIB_RELATIVE };
    char self[PATH_MAX], path[2 * PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    void *http = NULL;

    if (n > 0) {
        self[n] = '\0';
        *strrchr(self, '/') = '\0';
        for (size_t i = 0; !http && i < ARRAY_LEN(places); i++) {
            snprintf(path, sizeof(path), "%s/%s/libprof-http.so.0", self, places[i]);
            http = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
        }
    }
    return http ? http : dlopen("libprof-http.so.0", RTLD_LAZY | RTLD_LOCAL);
}

/* Serve the viewer in this process. */
static int serve_viewer(struct target *ret)
{
    int (*start)(const char *address) = NULL;
    void *http;

    setenv("LIBPROF_CONTROL", "0", 1); /* this is no process to be looked at */
    setenv("LIBPROF_VARS", "0", 1);
    unsetenv("LIBPROF_HTTP_TOKEN");
    http = open_http();
    if (http)
        start = (__typeof__(start))(uintptr_t)dlsym(http, "prof_http_start");
    if (!start)
        return ctl_say(CTL_FAILED,
                       "The viewer comes with libprof-http, which cannot be loaded: %s.",
                       dlerror());
    *ret = (struct target) { .kind = TARGET_ADDRESS, .text = "the viewer" };
    snprintf(ret->host, sizeof(ret->host), "unix:@profctl-ui-%d", (int)getpid());
    if (start(ret->host) < 0)
        return ctl_say(CTL_FAILED, "The viewer cannot be served.");
    return CTL_OK;
}

/* What a URL can have in it, of the file's name; distinct. */
static char *name_of(const char *path, size_t i)
{
    char *name = NULL;

    if (asprintf(&name, "file%zu-%s", i + 1, prof__base_name(path)) < 0)
        return NULL;
    for (char *c = name; *c; c++)
        if (!((*c >= '0' && *c <= '9') || ((*c | 32) >= 'a' && (*c | 32) <= 'z') || *c == '.' ||
              *c == '-'))
            *c = '-';
    return name;
}

static int run_files(const struct ctl_options *o, char **argv, int argc)
{
    struct relay_file file[FILES_MAX];
    struct target t;
    char page[512];

    if (argc > FILES_MAX)
        return ctl_say(CTL_USAGE, "profctl ui takes up to %d files.", FILES_MAX);
    for (int i = 0; i < argc; i++) {
        int r = target_find(argv[i], &t);

        if (r != CTL_OK)
            return r;
        if (t.kind != TARGET_FILE)
            return ctl_say(CTL_USAGE, "profctl ui takes one process, or files; %s is no profile.",
                           argv[i]);
        file[i] = (struct relay_file) { name_of(argv[i], (size_t)i), argv[i] };
        if (!file[i].name)
            return ctl_no_memory();
    }
    int r = serve_viewer(&t);
    if (r != CTL_OK)
        return r;
    snprintf(page, sizeof(page), "ui/#%s", file[0].name);
    return relay_run(&t, file, (size_t)argc, o->port, page);
}

static int run_ui(const struct ctl_command *self, const struct ctl_options *o, char **argv,
                  int argc)
{
    struct target t;
    int r = target_find(argv[0], &t);

    (void)self;
    if (r != CTL_OK)
        return r;
    if (t.kind == TARGET_FILE)
        return run_files(o, argv, argc);
    if (argc > 1)
        return ctl_say(CTL_USAGE, "profctl ui shows one process at a time.");
    if (t.kind == TARGET_CORE)
        return ctl_say(CTL_USAGE,
                       "\"profctl heap %s -o FILE\" makes a profile of the core, and "
                       "\"profctl ui FILE\" shows that.",
                       argv[0]);
    int fd = target_connect(&t, false);
    if (fd < 0)
        return -fd;
    close(fd);
    return relay_run(&t, NULL, 0, o->port, "ui/");
}

const struct ctl_command ctl_ui_commands[] = {
    { "ui", "PID|FILE...", CTL_TAKES_PORT, 1, INT_MAX, run_ui,
      "the viewer in a browser, served here until Ctrl-C",
      "  Only who has the URL that is printed can look, on this machine. From another one:\n"
      "  ssh -L 8000:127.0.0.1:8000 HOST profctl ui PID --port 8000\n" },
    { NULL, NULL, 0, 0, 0, NULL, NULL, NULL },
};
