/*
 * privileges.c - a thread of ours keeps nothing that the program has given up.
 *
 * capset() is for one thread, and without libprof-hooks nobody tells us of it. Never less than what
 * the program can have itself, or its setuid(), which is for all threads, would succeed there and
 * fail here, which libc answers by abort().
 */
#include <prof/prof.h>

#include <linux/capability.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WORDS = _LINUX_CAPABILITY_U32S_3 };

static bool get(pid_t thread, struct __user_cap_data_struct ret[WORDS])
{
    struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, thread };

    memset(ret, 0, WORDS * sizeof(*ret));
    return syscall(SYS_capget, &h, ret) == 0;
}

void prof_helper_follow(void)
{
    struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct own[WORDS], program[WORDS];
    bool too_many = false;

    if (!get(0, own) || !get(getpid(), program))
        return;
    for (int i = 0; i < WORDS; i++) {
        too_many |= own[i].permitted & ~program[i].permitted;
        own[i].permitted &= program[i].permitted;
        own[i].effective &= program[i].permitted;
        own[i].inheritable &= program[i].inheritable | program[i].permitted;
    }
    if (too_many)
        syscall(SYS_capset, &h, own);
}
