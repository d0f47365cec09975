/*
 * deepbind_lib.c - for deepbind.c: malloc and free by the library's own scope.
 */
#include <stdlib.h>

void *deep_get(size_t size);
void deep_drop(void *p);

void *deep_get(size_t size)
{
    return malloc(size);
}

void deep_drop(void *p)
{
    free(p);
}
