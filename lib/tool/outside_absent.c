/*
 * outside_absent.c - in place of outside.c on processors whose registers lib/image/ does not read.
 */
#include "tool/outside.h"

#include <stdio.h>

#include "tool/output.h"

int outside_run(const char *command, const struct target *t, const struct ctl_options *o)
{
    (void)t;
    (void)o;
    fprintf(stderr,
            "profctl: %s of a process without libprof, or of a core file, is there on x86-64 only "
            "so far.\n",
            command);
    return CTL_NO_LIBPROF;
}
