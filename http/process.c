/*
 * process.c - /proc/self/stat in numbers. Normal context.
 */
#include "process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A small file of /proc, NUL-terminated. False when it cannot be read. */
static bool read_file(const char *path, char *buf, size_t size)
{
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(buf, 1, size - 1, f) : 0;

    if (f)
        fclose(f);
    buf[n] = '\0';
    return n > 0;
}

/* Seconds since 1970 when the machine started; 0 when that is not told. */
static double boot_time(void)
{
    double seconds = 0;
    char line[256];
    FILE *f = fopen("/proc/stat", "re");

    while (f && seconds == 0 && fgets(line, sizeof(line), f))
        if (strncmp(line, "btime ", 6) == 0)
            seconds = (double)strtoull(line + 6, NULL, 10);
    if (f)
        fclose(f);
    return seconds;
}

bool prof__process_read(struct prof__process *ret)
{
    char text[1024];
    /* After the name, which may hold anything, fields 3 and on. */
    char *rest = read_file("/proc/self/stat", text, sizeof(text)) ? strrchr(text, ')') : NULL;
    unsigned long long threads, start_ticks, virtual_bytes, resident_pages;

    if (!rest || sscanf(rest + 1,
                        " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %llu "
                        "%*d %llu %llu %llu",
                        &threads, &start_ticks, &virtual_bytes, &resident_pages) != 4)
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
