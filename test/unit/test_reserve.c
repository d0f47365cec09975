/*
 * test_reserve.c - what is given back to the reserve is zeros when it is taken again.
 */
#include "base/reserve.h"

#include <string.h>
#include <sys/mman.h>

#include "check.h"

enum { BYTES = 1 << 20, TAKEN = 200 * 1024 };

static bool all_zero(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

/* A mark anywhere: the kernel drops whole pages only, whose size is not the same everywhere, and
 * none at all that are locked. */
static void test_what_is_given_back_is_zeros(void)
{
    static const struct {
        const char *name;
        size_t mark;
        bool locked;
    } cases[] = {
        { "all", 0, false },
        { "from the middle of a page", 4096 + 512, false },
        { "from the start of one of 4 KiB", 5 * 4096, false },
        { "all, locked", 0, true },
        { "from the middle, locked", 3 * 4096 + 16, true },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct prof__claim c = { 0 };
        char *before = cases[i].mark ? prof__reserve_take(&c, cases[i].mark) : NULL;
        struct prof__claim_mark mark = prof__reserve_mark(&c);
        char *p = prof__reserve_take(&c, TAKEN);

        if (before)
            memset(before, 1, cases[i].mark);
        CHECK(p != NULL, "%s", cases[i].name);
        if (!p)
            return;
        if (cases[i].locked && mlock(p, TAKEN) != 0)
            printf("skipped: no memory may be locked\n");
        CHECK(all_zero(p, TAKEN), "%s", cases[i].name);
        memset(p, 1, TAKEN);
        prof__reserve_rewind(&c, mark);
        char *again = prof__reserve_take(&c, TAKEN);
        CHECK(again == p && all_zero(again, TAKEN), "%s", cases[i].name);
        CHECK(!before || (before[0] == 1 && before[cases[i].mark - 1] == 1), "%s", cases[i].name);
        munlock(p, TAKEN);
        prof__reserve_end(&c);
    }
}

int main(void)
{
    prof__reserve_init(BYTES);
    test_what_is_given_back_is_zeros();
    return check_report();
}
