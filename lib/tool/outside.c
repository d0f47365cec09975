/*
 * outside.c - commands on what cannot be asked: a process without libprof, and a core file.
 */
#include "tool/outside.h"

int outside_run(const char *command, const struct target *t, const struct ctl_options *o)
{
    (void)o;
    if (t->kind == TARGET_CORE)
        return ctl_say(CTL_NO_LIBPROF, "%s is a core file, and this profctl cannot read %s in one.",
                       t->text, command);
    return ctl_say(CTL_NO_LIBPROF,
                   "Process %d (%s) has no libprof in it. Start it by \"profrun --dormant -- "
                   "PROGRAM\", and it can be asked whenever you want to.",
                   (int)t->proc.pid, t->proc.name);
}
