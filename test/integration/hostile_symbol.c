/*
 * hostile_symbol.c - a function whose name, in the symbol table, is markup. Built without debug
 * information, which would have its C name; called through a pointer, since the assembler takes no
 * such name in a call to another file.
 */
#include <stdlib.h>

static void *hostile(size_t size) __asm__("\"<script>hit('symbol')</script>&amp;'\"");

__attribute__((noinline)) static void *hostile(size_t size)
{
    char *p = malloc(size);

    if (p)
        p[0] = 1; /* after the call, or this frame would be gone */
    return p;
}

extern void *(*volatile hostile_alloc)(size_t size);
void *(*volatile hostile_alloc)(size_t size) = hostile;
