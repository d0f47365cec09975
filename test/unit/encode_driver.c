/*
 * encode_driver.c - writes one report to stdout, for test_encode_readers.py.
 *
 *   encode_driver pprof|text heap|allocs|mutex|block|profile|NAME   by hand, three stacks
 *   encode_driver pprof|text empty:NAME                             no stack at all
 *   encode_driver pprof|text random:SEED                            anything
 *   encode_driver pprof|text real                                   of this very program, no names
 *
 * The last has the true addresses and mappings, so that a reader can find the names by itself.
 */
#include <unistd.h>

#include "encode_fixture.h"

static int to_stdout(void *arg, const void *data, size_t size)
{
    for (const char *p = data; size > 0;) {
        ssize_t n = write(1, p, size);

        if (n < 0)
            return -1;
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Not static, and not inlined: found by name. */
__attribute__((noinline)) uintptr_t driver_marker(void);

uintptr_t driver_marker(void)
{
    uintptr_t here;

#if defined(__x86_64__)
    __asm__ volatile("leaq 0(%%rip), %0" : "=r"(here));
#else
    __asm__ volatile("adr %0, ." : "=r"(here));
#endif
    return here;
}

static struct prof__report real_report(struct prof__arena *a)
{
    struct prof__report r = fixture_head(a, "heap");
    struct prof__report_mapping *mapping = fixture_array(a, 1, sizeof(*mapping));
    struct prof__location *location = fixture_array(a, 1, sizeof(*location));
    struct prof__report_sample *sample = fixture_array(a, 1, sizeof(*sample));
    uint32_t *stack = fixture_array(a, 1, sizeof(*stack));
    uintptr_t here = driver_marker();
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4096], perms[8], path[2048];
    unsigned long start, limit, offset;

    while (maps && fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%lx-%lx %7s %lx %*s %*s %2047s", &start, &limit, perms, &offset, path) ==
                5 &&
            here >= start && here < limit)
            *mapping = (struct prof__report_mapping) { .start = start,
                                                       .limit = limit,
                                                       .offset = offset,
                                                       .file = prof__arena_strdup(a, path),
                                                       .build_id = "" };
    }
    if (maps)
        fclose(maps);
    location->address = here;
    *sample = (struct prof__report_sample) { stack, 1, 0, NULL, { 1, 1048576, 1, 1048576 } };
    r.period = 1;
    r.n_samples = r.n_locations = r.n_mappings = 1;
    r.sample = sample;
    r.location = location;
    r.mapping = mapping;
    return r;
}

int main(int argc, char **argv)
{
    struct prof__arena a = { 0 };
    struct prof__report r;

    if (argc != 3)
        return 2;
    if (strncmp(argv[2], "random:", 7) == 0)
        r = fixture_random(&a, strtoull(argv[2] + 7, NULL, 10));
    else if (strncmp(argv[2], "empty:", 6) == 0)
        r = fixture_head(&a, argv[2] + 6);
    else if (strcmp(argv[2], "real") == 0)
        r = real_report(&a);
    else
        r = fixture_named(&a, argv[2]);
    int error = strcmp(argv[1], "text") == 0 ? prof__encode_text(&r, 1, &a, to_stdout, NULL)
                                             : prof__encode_pprof(&r, &a, to_stdout, NULL);
    prof__arena_free(&a);
    return error < 0;
}
