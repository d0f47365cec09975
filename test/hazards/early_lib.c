/*
 * early_lib.c - a library whose constructor runs before every other one's: link with -z initfirst.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int early_lib_ok;
static void *volatile kept;

__attribute__((constructor)) static void constructor(void)
{
    char *p = calloc(1, 65536);
    int ok = p && (uintptr_t)p % 16 == 0;

    for (int i = 0; ok && i < 65536; i++)
        ok = p[i] == 0;
    p = realloc(p, 1 << 20);
    kept = malloc(32); /* freed by nobody */
    ok = ok && p && kept;
    free(p);
    early_lib_ok = ok;
}
