/*
 * shelf.h - the directory where captures are kept: what their names tell, how one appears whole,
 * and which ones go.
 *
 * A file is PROGRAM.PID.TIME.NUMBER.RULE.VALUE.PROFILE.pb.gz, or .trace.pftrace.gz, so that a
 * listing tells all, also of a process that is gone. It is written under no name, or under one that
 * begins with a dot, and gets its name when it is complete: there is never half a capture, nor an
 * empty one. Descriptors are those of the calling thread's table. Nothing here takes memory.
 */
#ifndef PROF_CAPTURE_SHELF_H
#define PROF_CAPTURE_SHELF_H

#include <sys/types.h>

#include "base/compiler.h"

enum { PROF__SHELF_NAME = 256 };

struct prof__kept {
    char program[64];
    int pid;
    int64_t time_s;  /* since 1970 */
    unsigned number; /* of its process; 0: the baseline */
    char rule[64];   /* "mem>80%", "now: REASON", "baseline" */
    char value[32];  /* "212 MiB"; "": none */
    char profile[64];
};

/* The name of a file. Characters that a shell or a path would trip over become underscores. */
void prof__shelf_name(const struct prof__kept *k, char buf[PROF__SHELF_NAME]);

/* False: it is none of ours. */
bool prof__shelf_parse(const char *name, struct prof__kept *ret);

/* The directory, made with mode 0700 if it is not there, as its parents must be. `own`: it must be
 * this user's. A descriptor, or a negative errno. */
int prof__shelf_open(const char *path, bool own);

/* The same, to look at what is there: it is not made. */
int prof__shelf_look(const char *path, bool own);

/* Call `each` for every file of ours in it. A non-zero return stops and is returned. */
int prof__shelf_each(int dir, int (*each)(const char *name, const struct prof__kept *k, void *arg),
                     void *arg);

/* --- writing ---------------------------------------------------------------------------------- */

struct prof__shelf_file {
    int dir, fd;
    uint64_t size;
    char name[48]; /* the one with a dot; "": none */
};

/* A file without a name where the file system has such, so that one can be had in time: -EOPNOTSUP
 * else. */
int prof__shelf_prepare(int dir, struct prof__shelf_file *ret);

/* A new file, in any case. 0, or a negative errno. */
int prof__shelf_create(int dir, struct prof__shelf_file *ret);

/* A prof_sink_fn; `arg` is the file. */
int prof__shelf_write(void *arg, const void *data, size_t size);

/* Complete: it gets its name, and replaces what has it. Closed also on an error, and then gone. */
int prof__shelf_publish(struct prof__shelf_file *f, const char *name);
void prof__shelf_abandon(struct prof__shelf_file *f);

/* --- keeping ---------------------------------------------------------------------------------- */

struct prof__shelf_bounds {
    const char *program;
    int pid;
    int64_t since_s; /* when this process began: before that, the same pid was another */
    unsigned first, last;
    uint64_t bytes; /* of all of the program's files */
};

enum { PROF__SHELF_MOST = 512, PROF__SHELF_OTHERS = 200 };

struct prof__shelf_item {
    char name[PROF__SHELF_NAME];
    int64_t time_s;
    uint64_t bytes;
    unsigned number;
    bool own;
};

/* Remove what is too much: of this process all but the baseline, the first and the last captures;
 * of earlier ones of the program, the oldest, as long as there are more than PROF__SHELF_OTHERS
 * files or all take too many bytes; then this process's own, but never the newest. What processes
 * that died have left half done goes, too. `room` is for the work. How many went. */
unsigned prof__shelf_prune(int dir, const struct prof__shelf_bounds *b,
                           struct prof__shelf_item room[PROF__SHELF_MOST]);

#endif
