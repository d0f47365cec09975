/*
 * profctl_run.c - profctl run: profrun by another name.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool/ctl.h"

/* The profrun beside this profctl, or the one in PATH. All arguments are its own. */
static int run_run(const struct ctl_command *self, const struct ctl_options *o, char **argv,
                   int argc)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof("profrun"));
    char **args = calloc((size_t)argc + 2, sizeof(*args));

    (void)self;
    (void)o;
    if (!args)
        return ctl_no_memory();
    args[0] = (char *)"profrun";
    memcpy(args + 1, argv, (size_t)argc * sizeof(*args));
    if (n > 0) {
        path[n] = '\0';
        strcpy(strrchr(path, '/') + 1, "profrun");
        execv(path, args);
    }
    execvp("profrun", args);
    free(args);
    return ctl_say(CTL_FAILED, "profrun cannot be run: %s.", strerror(errno));
}

const struct ctl_command ctl_run_commands[] = {
    { "run", "[OPTION]... -- PROGRAM ...", CTL_TAKES_ANYTHING, 0, INT_MAX, run_run,
      "start a program with libprof in it: profrun", "\"profrun --help\" shows the options.\n" },
    { NULL, NULL, 0, 0, 0, NULL, NULL, NULL },
};
