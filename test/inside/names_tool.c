/*
 * names_tool.c - names of the linker's as libprof shows them, for names.py to compare.
 *
 *     names_tool full|short < names
 */
#include <stdio.h>
#include <string.h>

#include "symbol/names.h"

int main(int argc, char **argv)
{
    struct prof__arena a = { 0 };
    struct prof__namer *n = prof__namer_new(&a);
    static char line[1 << 17];

    if (argc != 2 || !n) {
        fprintf(stderr, "usage: names_tool full|short < names\n");
        return 2;
    }
    enum prof__names how = strcmp(argv[1], "full") == 0 ? PROF__NAMES_FULL : PROF__NAMES_SHORT;
    while (fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\n")] = '\0';
        puts(prof__namer_show(n, line, how));
    }
    prof__arena_free(&a);
    return 0;
}
