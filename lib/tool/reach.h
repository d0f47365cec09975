/*
 * reach.h - a connection to what was named: a process, an address, or nothing, and why.
 *
 * A process opens unix:@libprof-PID, PID as it sees itself, in its own network namespace. That name
 * is nobody's property: who answers to it is only believed when the kernel says that the socket is
 * that of the process meant. Where there is none, what else the process serves is looked for. Into
 * another network namespace a child of ours goes, connects there, and hands the connection back.
 */
#ifndef PROF_TOOL_REACH_H
#define PROF_TOOL_REACH_H

#include "tool/proc.h"

enum target_kind {
    TARGET_PROCESS,
    TARGET_ADDRESS, /* http://host:port/..., unix:/path, unix:@name */
    TARGET_CORE,    /* an ELF core file */
    TARGET_FILE,    /* any other file: a profile */
};

struct target {
    enum target_kind kind;
    const char *text; /* as given */
    struct proc proc; /* of a process */
    char host[256];   /* of an address; or "unix:..." */
    char port[16];
    char prefix[256]; /* "/debug/pprof/" */
    char user[256];   /* "user:password" of a URL; "" */
};

/* Which one is meant: a process id, a name that one process has, an address, a file. Else an exit
 * status of ctl.h's, told. */
int target_find(const char *text, struct target *ret);

/* Connect. A descriptor, or minus an exit status of ctl.h's, told unless `quiet`. */
int target_connect(const struct target *t, bool quiet);

/* Does it answer, as far as can be known without asking it: has it libprof in it? 1, 0, or a
 * negative errno. */
int target_is_prepared(const struct target *t);

/* Is there somebody to ask? False: it has no libprof, or nobody in it listens, as in a forked
 * child; then it can only be looked at from outside. */
bool target_answers(const struct target *t);

#endif
