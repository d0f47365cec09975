/*
 * hook.h - a program to run after a capture, started by a process that was made at the start.
 *
 * A process of gigabytes, near its limit, with locks held by whoever, is no place to fork from. So
 * a shell waits from the start, with nothing of the program's but its working directory and user,
 * for lines that say what has been captured:
 *
 *   the program            FILE <tab> RULE <tab> VALUE <tab> PID
 *     `- [shell] sh        ---------------------------------->  PATH FILE RULE VALUE PID
 *
 * It is no child that the program could find by wait(): it is made by a child that has ended. It
 * ends when the thread that holds the other end of the pipe does. Programs run one after the other;
 * when the pipe is full, those that are not told are counted.
 */
#ifndef PROF_CAPTURE_HOOK_H
#define PROF_CAPTURE_HOOK_H

#include "base/compiler.h"

struct prof__hook {
    int pipe; /* -1: there is none */
};

/* By a thread with a descriptor table of its own. 0, or a negative errno: no program will run. */
int prof__hook_start(struct prof__hook *ret, const char *path);
void prof__hook_stop(struct prof__hook *h);

/* False: it could not be told. Waits for nobody. */
bool prof__hook_tell(const struct prof__hook *h, const char *file, const char *rule,
                     const char *value);

#endif
