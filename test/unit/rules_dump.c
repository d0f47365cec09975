/*
 * rules_dump.c - for test_rules.py: the rules of one library's addresses.
 *
 *   rules_dump LIBRARY < addresses (hexadecimal, as in the file, one a line)
 *
 * A line for each: kind, base register, offset, and where rbp, rbx, r12, r13, r14, r15 are saved.
 */
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>

#include "unwind/rules.h"
#include "unwind/stack.h"

static const char *const kinds[] = { "rsp",    "rbp", "base", "deref", "aligned",
                                     "signal", "end", "none", "lost" };

int main(int argc, char **argv)
{
    struct link_map *map = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
    unsigned long pc;

    if (!map) {
        fprintf(stderr, "%s\n", argc == 2 ? dlerror() : "usage: rules_dump LIBRARY");
        return 1;
    }
    prof__stack_init();
    while (scanf("%lx", &pc) == 1) {
        struct prof__object o;
        struct prof__rule r;

        pc += map->l_addr;
        if (!prof__object_find(pc, true, &o)) {
            printf("unknown\n");
            continue;
        }
        prof__rule_find(pc, true, &o, PROF__READ_HELD, &r);
        printf("%s %u %lld %u", kinds[prof__rule_kind(r.step)], prof__rule_base(r.step),
               (long long)prof__rule_offset(r.step), prof__rule_fp(r.step));
        for (int i = 0; i < 5; i++)
            printf(" %u", (unsigned)(r.saves >> 12 * i & 0xfff));
        printf("\n");
    }
    return 0;
}
