/*
 * profile_of.h - a profile of a process or a file, as bytes and as a report.
 */
#ifndef PROF_TOOL_PROFILE_OF_H
#define PROF_TOOL_PROFILE_OF_H

#include "tool/client.h"
#include "tool/read_profile.h"

/* All of these return an exit status, told. */

/* A whole file; to be freed. */
int profile_load_file(const char *path, char **ret_data, size_t *ret_size);

/* The profile of that name as protobuf; `seconds` 0: as it is now. */
int profile_ask(const struct target *t, const char *name, const struct ctl_options *o,
                double seconds, struct reply *ret);

/* Bytes as a report with the values that the options choose. `from` is for messages. */
int profile_parse(const char *data, size_t size, const char *from, const struct ctl_options *o,
                  struct prof__arena *a, struct prof__report *ret);

/* "heap of service (4242)" */
void profile_title(const struct target *t, const char *name, char *buf, size_t size);

#endif
