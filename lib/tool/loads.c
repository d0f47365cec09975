/*
 * loads.c - does the dynamic loader find what a library needs?
 *
 * Where it does not, it ends a program before the program has begun. So it is asked, as ldd(1) asks
 * it: with LD_TRACE_LOADED_OBJECTS a program's loader lists what it would load, and runs nothing.
 * The program that it is asked about is this one.
 */
#include "tool/loads.h"

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* profrun with the loader's variables set; what it says can be read from the result. */
static pid_t start(const char *library, FILE **ret_said)
{
    char *argv[] = { (char *)"profrun", NULL };
    posix_spawn_file_actions_t files;
    pid_t pid = -1;
    int fds[2];

    if (pipe(fds) < 0)
        return -1;
    char *before = getenv("LD_PRELOAD") ? strdup(getenv("LD_PRELOAD")) : NULL;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, fds[1], 1);
    posix_spawn_file_actions_adddup2(&files, fds[1], 2);
    posix_spawn_file_actions_addclose(&files, fds[0]);
    setenv("LD_PRELOAD", library, 1);
    setenv("LD_TRACE_LOADED_OBJECTS", "1", 1);
    if (posix_spawn(&pid, "/proc/self/exe", &files, NULL, argv, environ) != 0)
        pid = -1;
    unsetenv("LD_TRACE_LOADED_OBJECTS");
    unsetenv("LD_PRELOAD");
    if (before)
        setenv("LD_PRELOAD", before, 1);
    free(before);
    posix_spawn_file_actions_destroy(&files);
    close(fds[1]);
    *ret_said = fdopen(fds[0], "r");
    if (!*ret_said)
        close(fds[0]);
    return pid;
}

bool loads_check(const char *library, char *why, size_t size)
{
    char *line = NULL;
    size_t room = 0;
    bool found = true;
    int status = 0;
    FILE *said = NULL;
    pid_t pid = start(library, &said);

    while (said && getline(&line, &room, said) > 0) {
        const char *from = line + strspn(line, " \t");
        const char *error = strstr(from, "error while loading shared libraries: ");

        if (!error && !strstr(from, "=> not found"))
            continue;
        from = error ? strchr(error, ':') + 2 : from;
        snprintf(why, size, "%.*s", (int)strcspn(from, "\n"), from);
        found = false;
        break;
    }
    free(line);
    if (said)
        fclose(said);
    if (pid > 0)
        waitpid(pid, &status, 0);
    return found;
}
