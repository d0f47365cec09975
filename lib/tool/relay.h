/*
 * relay.h - lets a browser on this machine read what only its owner may: from loopback to a target.
 *
 * Any user of the machine can connect to loopback. So the first page is opened by a URL with a
 * random key in it, which is given back as a cookie, and nothing is answered without. Only GET and
 * HEAD go through: nothing can be changed from here.
 */
#ifndef PROF_TOOL_RELAY_H
#define PROF_TOOL_RELAY_H

#include <stdint.h>

#include "tool/ctl.h"
#include "tool/reach.h"

/* A file that is answered for as /debug/pprof/NAME, before the target is asked. */
struct relay_file {
    const char *name; /* without a slash, and safe in a URL */
    const char *path;
};

/*
 * Serve until a signal ends it. The URL is told on stdout; `page` follows /debug/pprof/ in it. An
 * exit status, told.
 */
int relay_run(const struct target *t, const struct relay_file *file, size_t n_files, uint16_t port,
              const char *page);

#endif
