/*
 * process.c - /proc/self/stat in numbers. Normal context.
 */
#include "process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buffer.h"

/* Of a machine with many interrupts, /proc/stat is some 100 KiB long. */
#define MAX_STAT ((size_t)1024 * 1024)

/* Seconds since 1970 when the machine started; 0 when that is not told. */
static double boot_time(void)
{
    struct prof__buffer b = { 0 };
    const char *at = strstr(prof__buffer_read(&b, "/proc/stat", MAX_STAT), "\nbtime ");
    double seconds = at ? (double)strtoull(at + 7, NULL, 10) : 0;

    prof__buffer_free(&b);
    return seconds;
}

bool prof__process_read(struct prof__process *ret)
{
    struct prof__buffer text = { 0 };
    /* After the name, which may hold anything, fields 3 and on. */
    const char *rest = strrchr(prof__buffer_read(&text, "/proc/self/stat", MAX_STAT), ')');
    unsigned long long threads, start_ticks, virtual_bytes, resident_pages;
    bool ok =
        rest && sscanf(rest + 1,
                       " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %llu "
                       "%*d %llu %llu %llu",
                       &threads, &start_ticks, &virtual_bytes, &resident_pages) == 4;

    prof__buffer_free(&text);
    if (!ok)
        return false;
    double boot_s = boot_time();
    *ret = (struct prof__process) {
        .threads = threads,
        .virtual_bytes = virtual_bytes,
        .resident_bytes = resident_pages * (uint64_t)sysconf(_SC_PAGESIZE),
        .started_s = boot_s > 0 ? boot_s + (double)start_ticks / (double)sysconf(_SC_CLK_TCK) : 0,
    };
    return true;
}
