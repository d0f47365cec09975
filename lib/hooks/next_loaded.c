/*
 * next_loaded.c - what comes after the hooks, when they are a library that the loader brought.
 */
#include <dlfcn.h>
#include <string.h>

#include "hooks/real.h"

void *prof__hooks_next(const char *name)
{
    void *f = NULL;

#ifdef __x86_64__
    /* x86-64 has had two kinds of condition variables; all but antiques use the second. */
    if (strcmp(name, "pthread_cond_wait") == 0 || strcmp(name, "pthread_cond_timedwait") == 0 ||
        strcmp(name, "pthread_cond_signal") == 0 || strcmp(name, "pthread_cond_broadcast") == 0)
        f = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
#endif
    return f ? f : dlsym(RTLD_NEXT, name);
}
