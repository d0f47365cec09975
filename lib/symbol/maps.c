/*
 * maps.c - the file read to its end, then cut up in place; no stdio.
 */
#include "symbol/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_READ = 1 << 15 };

/* All of a file whose size cannot be asked for, NUL-terminated. */
static int read_all(struct prof__arena *a, const char *path, char **ret_text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t room = FIRST_READ, used = 0;
    char *text = NULL;
    int r;

    if (fd < 0)
        return -errno;
    text = prof__arena_alloc(a, room);
    r = text ? 0 : -ENOMEM;
    while (r == 0) {
        ssize_t n = read(fd, text + used, room - used - 1);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            r = n < 0 ? -errno : 0;
            break;
        }
        used += (size_t)n;
        if (used + 1 == room) {
            char *more = prof__arena_alloc(a, room * 2);

            if (!more) {
                r = -ENOMEM;
                break;
            }
            memcpy(more, text, used);
            text = more;
            room *= 2;
        }
    }
    close(fd);
    if (r == 0)
        *ret_text = text; /* the arena's bytes are zero, so it is ended */
    return r;
}

static uint64_t read_number(char **at, unsigned base)
{
    uint64_t v = 0;

    for (;; (*at)++) {
        unsigned c = (unsigned char)**at;
        unsigned digit = c >= '0' && c <= '9'   ? c - '0'
                         : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                                : base;

        if (digit >= base)
            return v;
        v = v * base + digit;
    }
}

static void skip_field(char **at)
{
    *at += strcspn(*at, " ");
    *at += strspn(*at, " ");
}

/* The kernel writes a newline in a name as \012, and nothing else so. */
static void unescape(char *s)
{
    for (char *at = s; (at = strstr(at, "\\012")) != NULL; at++) {
        *at = '\n';
        memmove(at + 1, at + 4, strlen(at + 4) + 1);
    }
}

bool prof__map_parse(char *line, struct prof__map *ret_map)
{
    ret_map->start = read_number(&line, 16);
    line += *line == '-';
    ret_map->limit = read_number(&line, 16);
    skip_field(&line);
    bool whole = strlen(line) > 4;
    ret_map->readable = whole && line[0] == 'r';
    ret_map->writable = whole && line[1] == 'w';
    ret_map->executable = whole && line[2] == 'x';
    ret_map->shared = whole && line[3] == 's';
    skip_field(&line);
    ret_map->offset = read_number(&line, 16);
    skip_field(&line);
    skip_field(&line);
    ret_map->inode = read_number(&line, 10);
    line += strspn(line, " ");
    ret_map->path = line;
    unescape(line);
    return ret_map->limit > ret_map->start;
}

static int maps_read(const char *path, struct prof__arena *a, bool all, struct prof__map **ret_map,
                     size_t *ret_n)
{
    size_t lines = 0, n = 0;
    char *text = NULL;
    int r = read_all(a, path, &text);

    if (r < 0)
        return r;
    for (const char *s = text; (s = strchr(s, '\n')) != NULL; s++)
        lines++;
    struct prof__map *map = prof__arena_array(a, lines, sizeof(*map));
    if (!map)
        return -ENOMEM;
    for (char *end; (end = strchr(text, '\n')) != NULL; text = end + 1) {
        *end = '\0';
        n += prof__map_parse(text, &map[n]) && (all || map[n].executable);
    }
    *ret_map = map;
    *ret_n = n;
    return 0;
}

int prof__maps_read(struct prof__arena *a, struct prof__map **ret_map, size_t *ret_n)
{
    return maps_read("/proc/self/maps", a, false, ret_map, ret_n);
}

int prof__maps_read_all(struct prof__arena *a, struct prof__map **ret_map, size_t *ret_n)
{
    return maps_read("/proc/self/maps", a, true, ret_map, ret_n);
}

int prof__maps_read_file(const char *path, struct prof__arena *a, struct prof__map **ret_map,
                         size_t *ret_n)
{
    return maps_read(path, a, true, ret_map, ret_n);
}
