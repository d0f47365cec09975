/*
 * redirected_caller.c - for redirected.c: a library that loads others, by paths of its own.
 */
#include <dlfcn.h>
#include <stddef.h>

void *load(const char *file);

void *load(const char *file)
{
    void *handle = dlopen(file, RTLD_NOW | RTLD_DEEPBIND);

    __asm__ volatile("" ::: "memory"); /* no jump: the caller is here */
    return handle;
}
