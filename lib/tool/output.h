/*
 * output.h - where a command writes to: stdout, or the file of -o, which is there whole or not at
 * all.
 */
#ifndef PROF_TOOL_OUTPUT_H
#define PROF_TOOL_OUTPUT_H

#include <stdio.h>

#include "tool/ctl.h"

struct output {
    FILE *file;
    const char *path;
    char beside[4200];
};

/* Both return an exit status, told. `status` is that of the work so far: a file is put in place
 * only if it is CTL_OK. */
int output_open(const struct ctl_options *o, struct output *out);
int output_close(struct output *out, int status);

#endif
