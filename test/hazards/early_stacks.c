/*
 * early_stacks.c - stacks from before main end where the process began, which is no loss.
 *
 * The constructors of libraries run below the dynamic linker's first code, which has no unwind
 * tables; nothing is above it.
 */
#include "check.h"
#include "text_profile.h"

extern int early_lib_ok;

int main(void)
{
    struct prof_stats s = PROF_STATS_INIT;
    struct text_profile text;

    CHECK(early_lib_ok, "the library's constructor has run");
    CHECK_INT(prof_stats(&s), 0, "numbers");
    CHECK_INT(s.cut_no_info, 0, "stacks that ended without unwind info");
    CHECK_INT(s.cut_unreadable, 0, "or outside of the stack");
    CHECK_INT(text_profile_take(&text, "allocs", 1), 0, "allocs");
    CHECK(text_profile_sum(&text, "constructor") > 0, "blocks of the constructor");
    CHECK(!strstr(text.text, "[no unwind info]"), "no stack is cut");
    text_profile_free(&text);
    return check_report();
}
