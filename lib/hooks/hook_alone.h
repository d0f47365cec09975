/*
 * hook_alone.h - libc's functions that are for processes of one thread, or change only one.
 */
#ifndef PROF_HOOKS_HOOK_ALONE_H
#define PROF_HOOKS_HOOK_ALONE_H

#include <grp.h>
#include <sched.h>
#include <sys/types.h>
#include <unistd.h>

/* In libc, but in no header of its own. */
int capset(void *header, const void *data);

/* clang-format off */
/* X(name, parameters, arguments): libc repeats these in every thread, and ends the process where
 * the results differ. */
#define PROF__ALONE_IDS(X)                                                      \
    X(setuid, (uid_t uid), (uid))                                               \
    X(setgid, (gid_t gid), (gid))                                               \
    X(seteuid, (uid_t uid), (uid))                                              \
    X(setegid, (gid_t gid), (gid))                                              \
    X(setreuid, (uid_t uid, uid_t euid), (uid, euid))                           \
    X(setregid, (gid_t gid, gid_t egid), (gid, egid))                           \
    X(setresuid, (uid_t uid, uid_t euid, uid_t suid), (uid, euid, suid))        \
    X(setresgid, (gid_t gid, gid_t egid, gid_t sgid), (gid, egid, sgid))        \
    X(setgroups, (size_t n, const gid_t *list), (n, list))                      \
    PROF__ALONE_INITGROUPS(X)

/* In libc.a it calls setgroups() by its name, and brings much with it. */
#ifdef PROF__HOOKS_WRAPPED_BY_LD
#define PROF__ALONE_INITGROUPS(X)
#else
#define PROF__ALONE_INITGROUPS(X)                                               \
    X(initgroups, (const char *user, gid_t group), (user, group))
#endif

#define PROF__ALONE_OTHERS(X)                                                   \
    X(capset, (void *header, const void *data), (header, data))                 \
    X(unshare, (int flags), (flags))                                            \
    X(setns, (int fd, int type), (fd, type))

#define PROF__ALONE_HOOKED(X) PROF__ALONE_IDS(X) PROF__ALONE_OTHERS(X)
/* clang-format on */

#endif
