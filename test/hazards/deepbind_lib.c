/*
 * deepbind_lib.c - for deepbind.c: libc's malloc and free by their addresses in libc, which no
 * order of libraries changes, and no hook sees.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

void *deep_get(size_t size);
void deep_drop(void *p);

static void *(*get)(size_t);
static void (*drop)(void *);

__attribute__((constructor)) static void find(void)
{
    void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);

    get = (void *(*)(size_t))(uintptr_t)dlsym(libc, "malloc");
    drop = (void (*)(void *))(uintptr_t)dlsym(libc, "free");
}

void *deep_get(size_t size)
{
    return get(size);
}

void deep_drop(void *p)
{
    drop(p);
}
