/*
 * copying_allocator.c - libc's allocator by other functions, among them some that copy, as mimalloc
 * 3 has.
 */
#include <stddef.h>
#include <string.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *p);

#define DOOR __attribute__((visibility("default")))

DOOR void *malloc(size_t size)
{
    return __libc_malloc(size);
}

DOOR void *calloc(size_t n, size_t size)
{
    return __libc_calloc(n, size);
}

DOOR void *realloc(void *p, size_t size)
{
    return __libc_realloc(p, size);
}

DOOR void *memalign(size_t alignment, size_t size)
{
    return __libc_memalign(alignment, size);
}

DOOR void free(void *p)
{
    __libc_free(p);
}

DOOR char *strndup(const char *s, size_t n)
{
    size_t length = strnlen(s, n);
    char *p = __libc_malloc(length + 1);

    if (p) {
        memcpy(p, s, length);
        p[length] = 0;
    }
    return p;
}

DOOR char *strdup(const char *s)
{
    size_t size = strlen(s) + 1;
    char *p = __libc_malloc(size);

    return p ? memcpy(p, s, size) : NULL;
}
