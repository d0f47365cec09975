/*
 * process.h - what the kernel says of this process, for the index and the metrics.
 */
#ifndef PROF_HTTP_PROCESS_H
#define PROF_HTTP_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

struct prof__process {
    uint64_t threads;
    uint64_t virtual_bytes, resident_bytes;
    double started_s; /* since 1970; 0: not known */
};

/* False: it could not be read. */
bool prof__process_read(struct prof__process *ret);

#endif
