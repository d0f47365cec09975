/*
 * states_plugin.c - built twice under two names: libraries that can come one after the other at
 * the same address.
 */
#include <stdlib.h>

extern void *plugin_allocate(size_t size);

__attribute__((noinline)) static void *PLUGIN_NAME(size_t size)
{
    void *p = malloc(size);
    __asm__ volatile("" : "+r"(p));
    return p;
}

void *plugin_allocate(size_t size)
{
    void *p = PLUGIN_NAME(size);
    __asm__ volatile("" : "+r"(p));
    return p;
}
