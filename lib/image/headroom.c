/*
 * headroom.c - limits of memory cgroups, cgroups(7).
 *
 * /proc/self/cgroup has a line for each hierarchy, "0::/path" for version 2 and
 * "4:memory:/path" for version 1. The limit of each group up to the root counts. In a container the
 * path may be one of the host's, which is not there; the group is then the root that is seen.
 */
#include "image/headroom.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int read_file(const char *path, char *buf, size_t size)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    long n = fd < 0 ? -1 : syscall(SYS_read, fd, buf, size - 1);

    if (fd >= 0)
        syscall(SYS_close, fd);
    if (n < 0)
        return -1;
    buf[n] = '\0';
    return (int)n;
}

static uint64_t number_at(const char *s)
{
    uint64_t v = 0;

    for (; *s >= '0' && *s <= '9'; s++)
        v = v * 10 + (uint64_t)(*s - '0');
    return v;
}

/* A number in a file; "max" and what cannot be read are UINT64_MAX. */
static uint64_t read_number(const char *folder, const char *name)
{
    char path[512], text[64];

    if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path) ||
        read_file(path, text, sizeof(text)) <= 0 || text[0] < '0' || text[0] > '9')
        return UINT64_MAX;
    return number_at(text);
}

/* Bytes that can be taken back at once: "inactive_file N" of memory.stat, in version 1 with the
 * groups below "total_inactive_file N". */
static uint64_t read_spare(const char *folder)
{
    static const char *const names[] = { "\ntotal_inactive_file ", "\ninactive_file " };
    char path[512], text[8192] = "\n";

    if (snprintf(path, sizeof(path), "%s/memory.stat", folder) >= (int)sizeof(path) ||
        read_file(path, text + 1, sizeof(text) - 1) <= 0)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *s = strstr(text, names[i]);

        if (s)
            return number_at(s + strlen(names[i]));
    }
    return 0;
}

static uint64_t room_in(const char *folder, const char *limit_name, const char *used_name)
{
    uint64_t limit = read_number(folder, limit_name), used = read_number(folder, used_name);

    /* Version 1 says "no limit" as a number near 2^63. */
    if (limit >= (uint64_t)1 << 60 || used == UINT64_MAX)
        return UINT64_MAX;
    uint64_t spare = read_spare(folder);
    used -= PROF_MIN(used, spare);
    return limit > used ? limit - used : 0;
}

/* --- the hierarchies ------------------------------------------------------------------------- */

static const struct hierarchy {
    const char *root, *limit, *used;
} version_1 = { "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes" },
  version_2 = { "/sys/fs/cgroup", "memory.max", "memory.current" };

/* Is the line that begins there one of memory? *ret_path: of the group, up to the end of the line,
 * at *ret_end. NULL: there are no more lines. */
static const char *next_group(const char *line, const struct hierarchy **ret, const char **ret_path,
                              const char **ret_end)
{
    const char *end = strchr(line, '\n');

    *ret = NULL;
    if (!end)
        return NULL;
    const char *names = memchr(line, ':', (size_t)(end - line));
    const char *path = names ? memchr(names + 1, ':', (size_t)(end - names - 1)) : NULL;
    if (path && path == names + 1)
        *ret = &version_2;
    else if (path && path - names == 7 && memcmp(names + 1, "memory", 6) == 0)
        *ret = &version_1;
    *ret_path = path ? path + 1 : end;
    *ret_end = end;
    return end + 1;
}

void prof__memory_groups(const char *cgroups,
                         void (*each)(const char *folder, bool version_1, void *arg), void *arg)
{
    char folder[512];
    const struct hierarchy *h;
    const char *path, *end;

    for (const char *line = cgroups; (line = next_group(line, &h, &path, &end)) != NULL;) {
        if (!h || snprintf(folder, sizeof(folder), "%s%.*s", h->root, (int)(end - path), path) >=
                      (int)sizeof(folder))
            continue;
        size_t base = strlen(h->root), length = strlen(folder);
        if (length > base && folder[length - 1] == '/') /* the root, named "/" */
            folder[length - 1] = '\0';
        for (;;) {
            char *slash = strrchr(folder + base, '/');

            each(folder, h == &version_1, arg);
            if (!slash)
                break;
            *slash = '\0';
        }
    }
}

static void add_room(const char *folder, bool is_version_1, void *least)
{
    const struct hierarchy *h = is_version_1 ? &version_1 : &version_2;
    uint64_t room = room_in(folder, h->limit, h->used);

    *(uint64_t *)least = PROF_MIN(*(uint64_t *)least, room);
}

uint64_t prof__memory_headroom(void)
{
    char text[4096];
    uint64_t least = UINT64_MAX;
    int saved = errno;

    if (read_file("/proc/self/cgroup", text, sizeof(text)) > 0)
        prof__memory_groups(text, add_room, &least);
    errno = saved;
    return least;
}

bool prof__memory_usage_file(const char *cgroups, unsigned i, char *path, size_t size)
{
    const struct hierarchy *h;
    const char *group, *end;

    /* Each group's own file, and then the root's that is seen, as in a container. */
    for (unsigned seen = 0, rooted = 0; rooted < 2; rooted++)
        for (const char *line = cgroups; (line = next_group(line, &h, &group, &end)) != NULL;) {
            if (!h || seen++ != i)
                continue;
            int n = rooted ? 0 : (int)(end - group);
            return snprintf(path, size, "%s%.*s/%s", h->root, n, group, h->used) < (int)size;
        }
    return false;
}
