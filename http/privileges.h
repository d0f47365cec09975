/*
 * privileges.h - the server's thread keeps nothing that the program has given up.
 */
#ifndef PROF_HTTP_PRIVILEGES_H
#define PROF_HTTP_PRIVILEGES_H

/* Give up what capabilities the process's main thread has given up: capset() is for one thread, and
 * without libprof-hooks nobody tells us of it. Never less than what the program can have itself, or
 * its setuid(), which is for all threads, would succeed there and fail here, which libc answers by
 * abort(). For the server's thread. */
void prof__privileges_follow(void);

#endif
