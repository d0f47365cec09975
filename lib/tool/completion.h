/*
 * completion.h - what a shell completes after "profctl".
 */
#ifndef PROF_TOOL_COMPLETION_H
#define PROF_TOOL_COMPLETION_H

#include "tool/ctl.h"

/* Commands, and options with their dashes. */
struct completion {
    const char *const *word;
    size_t n;
};

/* A script for that shell on stdout. An exit status, told. */
int completion_print(const char *shell, const struct completion *c);

#endif
