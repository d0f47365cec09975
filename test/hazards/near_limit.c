/*
 * near_limit.c - memory up to `MIB`, then looks for leaks and holders; run by near_limit.py in a
 * cgroup that allows little more. Prints what was answered, and the memory before and after.
 */
#include <prof/prof.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proc.h"

static int drop(void *arg, const void *data, size_t n)
{
    (void)data;
    *(size_t *)arg += n;
    return 0;
}

static void look(const char *name)
{
    struct prof_write_options o = PROF_WRITE_OPTIONS_INIT;
    struct prof_scan_options scan = PROF_SCAN_OPTIONS_INIT;
    size_t bytes = 0;

    scan.age_s = -1;
    scan.interval_ms = 10;
    o.scan = &scan;
    int r = prof_profile_write(prof_lookup(name), &o, drop, &bytes);
    printf("%s: %d %zu %s\n", name, r, bytes, r < 0 ? prof_last_error() : "");
}

int main(int argc, char **argv)
{
    enum { BLOCK = 1000 };
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) * (1 << 20) / (BLOCK + 16) : 0;
    void **all = calloc(n + 1, sizeof(*all));

    for (size_t i = 0; i < n; i++)
        if (!(all[i] = malloc(BLOCK)))
            return 1;
        else
            memset(all[i], 1, BLOCK);
    long before = proc_status("VmRSS:");
    proc_forget_peak();
    look("leaks");
    long peak = proc_status("VmHWM:");
    look("holders");
    printf("rss: %ld %ld %ld %ld\n", before, peak, proc_status("VmHWM:"), proc_status("VmRSS:"));
    return all[0] == NULL;
}
