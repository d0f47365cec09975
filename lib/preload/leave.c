/*
 * leave.c - the end of a process.
 *
 *   exit(), return from main()   atexit() functions, the libraries' destructors, and then ours
 *   _exit(), _Exit()             nothing of the program's, and not here: a handler may call it in
 *                                the middle of malloc, and a child of vfork() in its parent's
 *                                memory. So a thread of ours writes, and is waited for, a bounded
 *                                time (record/before_end.h); if nothing came of it, who ran
 *                                profrun is told. A socket of this process's own is removed
 *   SIGTERM, SIGINT              the same, where the program leaves them at default
 *   another signal that ends it  the kernel tells nobody
 */
#include "preload/leave.h"

#include <prof/prof.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/rawlog.h"
#include "record/before_end.h"

/* Of the process that they are for, both made ready before: _exit() itself only writes and unlinks.
 */
static struct {
    _Atomic pid_t pid;
    char text[640];
} told;
static struct {
    _Atomic pid_t pid;
    struct stat file; /* another of that name is somebody else's */
    char path[256];
} removed;

/* libc's, which takes functions of no library, too. Those of a library that is given are called
 * when that library is done for, which ours, being the first, is before all others. */
extern int __cxa_atexit(void (*f)(void *), void *arg, void *library);

int prof__leave_at_exit(void (*finish)(void *))
{
    /* Who registers first is called last. This is called before the program's libc has started,
     * and so before libc registers what calls all destructors. */
    return __cxa_atexit(finish, NULL, NULL);
}

/* Ours, before those of all libraries. What destructors free counts; what they allocate does not,
 * as those of the server's libraries would be among them. */
__attribute__((destructor)) static void record_no_more(void)
{
    prof_thread_hide();
}

void prof__leave_tell(const char *file)
{
    told.pid = 0;
    snprintf(told.text, sizeof(told.text),
             "profrun: process %d has left by _exit(), so there is no profile in %.500s\n",
             (int)getpid(), file);
    told.pid = getpid();
}

void prof__leave_remove(const char *path)
{
    removed.pid = 0;
    if (strlen(path) < sizeof(removed.path) && lstat(path, &removed.file) == 0) {
        strcpy(removed.path, path);
        removed.pid = getpid();
    }
}

static void __attribute__((noreturn)) leave(int status)
{
    pid_t pid = (pid_t)syscall(SYS_getpid);
    struct stat now;

    if (!prof__before_end() && told.pid == pid)
        prof__stderr_line(told.text, strlen(told.text));
    if (removed.pid == pid && lstat(removed.path, &now) == 0 && now.st_dev == removed.file.st_dev &&
        now.st_ino == removed.file.st_ino)
        unlink(removed.path);
    for (;;)
        syscall(SYS_exit_group, status);
}

PROF_SHARED void _exit(int status)
{
    leave(status);
}

PROF_SHARED void _Exit(int status)
{
    leave(status);
}
