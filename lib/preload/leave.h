/*
 * leave.h - the end of a process.
 */
#ifndef PROF_PRELOAD_LEAVE_H
#define PROF_PRELOAD_LEAVE_H

/* Call `finish` when exit() has called everything else. For a constructor of the preload. */
int prof__leave_at_exit(void (*finish)(void *));

/* If this process leaves by _exit(), say on stderr that `file` has not been written. */
void prof__leave_tell(const char *file);

/* If it does, remove this file, a socket with the process id in its name. */
void prof__leave_remove(const char *path);

#endif
