/*
 * redirected_pool.c - for redirected.c: a malloc of somebody's own, whose blocks no other free()
 * may get.
 */
#include <stdlib.h>

static _Alignas(16) char pool[1 << 20];
static size_t used;
int pool_blocks;

extern int pool_blocks;

/* As a library of Ruby's has, which is told by it. */
void *ruby_xmalloc(size_t size);

void *ruby_xmalloc(size_t size)
{
    return NULL;
}

void *malloc(size_t size)
{
    if (size > sizeof(pool) - used)
        return NULL;
    void *p = pool + used;
    used += (size + 15) & ~(size_t)15;
    pool_blocks++;
    return p;
}

void free(void *p)
{
    if (!p)
        return;
    if ((char *)p < pool || (char *)p >= pool + sizeof(pool))
        abort();
    pool_blocks--;
}
