/*
 * jit_names.c - /tmp/perf-PID.map and jitdump files: names of code that was made at run time.
 *
 *   perf-PID.map    a line for each piece of code: START SIZE NAME, the numbers in hexadecimal
 *                   (node --perf-basic-prof, .NET's DOTNET_PerfMapEnabled, Python's -X perf, Java's
 *                   perf-map-agent)
 *   jit-PID.dump    records with the code itself, maybe its lines; its writer maps a page of it,
 *                   which is how it is found (node --perf-prof, Java's libperf-jvmti)
 *
 * Formats: tools/perf/Documentation/jit-interface.txt and jitdump-specification.txt of Linux. Both
 * are logs: what comes later at an address replaces what was there. They grow without bound and are
 * read to their end for each request, in pieces, and of what they say only places in the file are
 * kept, one for each address asked for.
 *
 * Anybody can put a file into /tmp: it must be the user's own or root's, and a regular one, and not
 * have been left by a process that had this one's number before: it has been written to since this
 * one began. What was mapped by the process is trusted if it is still the same file.
 */
#include "symbol/jit_names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fork.h"
#include "base/task.h"
#include "base/utf8.h"
#include "symbol/deadline.h"
#include "symbol/maps.h"

enum {
    WINDOW = 64 << 10,
    NAME_MAX_READ = 1000, /* bytes of a name; more are cut off */
    LINES_MAX = 1 << 20,  /* entries in the table of lines of one piece of code */
    JITDUMP_MAGIC = 0x4A695444,
    SLACK_S = 2, /* seconds by which two clocks may differ */
};

enum record_type { CODE_LOAD, CODE_MOVE, CODE_DEBUG_INFO };

/* A file, and a piece of it in memory. */
struct log {
    int fd;
    uint64_t at; /* of the piece in the file */
    size_t n;
    char *piece; /* WINDOW bytes */
};

/* Where in the log the answer to a query is. */
struct hit {
    uint64_t name, file; /* offsets of text; 0: none, a log never starts with one */
    uint32_t line;
    bool is_moved; /* the name is that of the code of this index */
    uint64_t index;
};

struct finder {
    const struct prof__jit_query *q;
    struct hit *hit; /* for each */
    size_t n;
};

/* --- reading --------------------------------------------------------------------------------- */

/* Has the piece got [at, at + n)? n is at most WINDOW. Otherwise another is read that starts there;
 * false if the file ends before. */
static bool have(struct log *l, uint64_t at, size_t n)
{
    if (at >= l->at && at - l->at + n <= l->n)
        return true;
    l->at = at;
    l->n = 0;
    while (l->n < WINDOW) {
        ssize_t r = pread(l->fd, l->piece + l->n, WINDOW - l->n, (off_t)(at + l->n));

        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            break;
        l->n += (size_t)r;
    }
    return l->n >= n;
}

static bool read_struct(struct log *l, uint64_t at, void *to, size_t n)
{
    if (at > INT64_MAX - WINDOW || !have(l, at, n))
        return false;
    memcpy(to, l->piece + (at - l->at), n);
    return true;
}

/* The text at `at`, up to a NUL or the end of the line. NULL: none, or out of memory. */
static const char *read_text(struct log *l, struct prof__arena *a, uint64_t at)
{
    size_t n = 0;

    if (!have(l, at, NAME_MAX_READ)) /* then it is all there is */
        at = l->at;
    const char *text = l->piece + (at - l->at);
    while (n < NAME_MAX_READ && at - l->at + n < l->n && text[n] && text[n] != '\n')
        n++;
    const char *copy = n ? prof__arena_strndup(a, text, n) : NULL;
    return copy ? prof__utf8_clean(a, copy) : NULL;
}

/* The first query in [start, start + size), or n. */
static size_t first_in(const struct finder *f, uint64_t start, uint64_t size)
{
    size_t low = 0, high = f->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (f->q[mid].address < start)
            low = mid + 1;
        else
            high = mid;
    }
    return low < f->n && f->q[low].address - start < size ? low : f->n;
}

/* --- perf-PID.map ---------------------------------------------------------------------------- */

static const char *parse_hex(const char *s, const char *end, uint64_t *ret)
{
    uint64_t v = 0;

    while (s < end && *s == ' ')
        s++;
    if (end - s > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
        s += 2;
    const char *digits = s;
    for (; s < end; s++) {
        unsigned c = (unsigned char)*s | 0x20;
        unsigned digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;

        if (digit == 16)
            break;
        v = v << 4 | digit;
    }
    *ret = v;
    return s > digits && s < end && *s == ' ' ? s + 1 : NULL;
}

static void map_line(const struct finder *f, const char *line, const char *end, uint64_t at)
{
    uint64_t start, size;
    const char *s = parse_hex(line, end, &start);

    if (!s || !(s = parse_hex(s, end, &size)) || s == end)
        return;
    for (size_t i = first_in(f, start, size); i < f->n && f->q[i].address - start < size; i++)
        f->hit[i] = (struct hit) { .name = at + (uint64_t)(s - line) };
}

static void read_map(struct log *l, const struct finder *f)
{
    uint64_t at = 0;
    bool in_line = false; /* `at` is in the middle of one that is longer than a piece */

    while (!prof__late_after(64) && have(l, at, 1)) {
        const char *line = l->piece + (at - l->at);
        size_t left = l->n - (size_t)(at - l->at);
        const char *end = memchr(line, '\n', left);

        if (!end && left < WINDOW && have(l, at, left + 1))
            continue; /* the same line, now at the start of a piece */
        if (!end)
            end = l->piece + l->n; /* one still being written, or an endless one */
        line = l->piece + (at - l->at);
        if (!in_line)
            map_line(f, line, end, at);
        in_line = end == l->piece + l->n;
        at += (uint64_t)(end - line) + !in_line;
    }
}

/* --- jitdump --------------------------------------------------------------------------------- */

struct record {
    uint32_t type, size;
    uint64_t time;
};

struct code_load {
    uint32_t pid, tid;
    uint64_t vma, address, size, index; /* then the name */
};

struct code_move {
    uint32_t pid, tid;
    uint64_t vma, from, to, size, index;
};

struct debug_info {
    uint64_t address, n; /* then n of the next */
};

struct debug_entry {
    uint64_t address;
    uint32_t line, discriminator; /* then the file's name; "\xff" is that of the entry before */
};

/* The line of query i in the table of the record at `at`, which ends at `end`. */
static void find_line(struct log *l, const struct finder *f, size_t i, uint64_t at, uint64_t end)
{
    struct debug_info info;
    struct debug_entry entry;
    uint64_t best = 0, file = 0;

    if (!read_struct(l, at, &info, sizeof(info)) || info.n > LINES_MAX)
        return;
    at += sizeof(info);
    for (uint64_t k = 0; k < info.n && at < end && !prof__late(); k++) {
        if (!read_struct(l, at, &entry, sizeof(entry)))
            return;
        at += sizeof(entry);
        if (!have(l, at, 2) || (uint8_t)l->piece[at - l->at] != 0xff || l->piece[at - l->at + 1])
            file = at;
        if (entry.address <= f->q[i].address && entry.address >= best) {
            best = entry.address;
            f->hit[i].line = entry.line;
            f->hit[i].file = file;
        }
        for (const char *nul = NULL; !nul && at < end;) {
            if (!have(l, at, 1))
                return;
            const char *from = l->piece + (at - l->at), *to = l->piece + l->n;
            nul = memchr(from, 0, (size_t)(to - from));
            at += (uint64_t)((nul ? nul + 1 : to) - from);
        }
    }
}

/* One pass over the records. `by_index`: only the names of code that has been moved. */
static void read_records(struct log *l, const struct finder *f, uint64_t at, bool by_index)
{
    struct record r;
    struct debug_info info = { 0, 0 };
    uint64_t lines = 0, lines_end = 0; /* of the code that comes next */

    for (; !prof__late_after(16) && read_struct(l, at, &r, sizeof(r)); at += r.size) {
        uint64_t body = at + sizeof(r);
        struct code_load load;
        struct code_move move;

        if (r.size < sizeof(r))
            return; /* damaged, or not all written */
        if (r.type == CODE_DEBUG_INFO && read_struct(l, body, &info, sizeof(info))) {
            lines = body;
            lines_end = at + r.size;
        } else if (r.type == CODE_LOAD && read_struct(l, body, &load, sizeof(load))) {
            struct hit hit = { .name = body + sizeof(load) };

            for (size_t i = 0; by_index && i < f->n; i++)
                if (f->hit[i].is_moved && f->hit[i].index == load.index)
                    f->hit[i].name = hit.name;
            for (size_t i = by_index ? f->n : first_in(f, load.address, load.size);
                 i < f->n && f->q[i].address - load.address < load.size; i++) {
                f->hit[i] = hit;
                if (lines && info.address == load.address)
                    find_line(l, f, i, lines, lines_end);
            }
            lines = 0;
        } else if (r.type == CODE_MOVE && !by_index && read_struct(l, body, &move, sizeof(move))) {
            for (size_t i = first_in(f, move.to, move.size);
                 i < f->n && f->q[i].address - move.to < move.size; i++)
                f->hit[i] = (struct hit) { .is_moved = true, .index = move.index };
        }
    }
}

static void read_dump(struct log *l, const struct finder *f)
{
    struct {
        uint32_t magic, version, size;
    } head;
    bool is_moved = false;

    if (!read_struct(l, 0, &head, sizeof(head)) || head.magic != JITDUMP_MAGIC ||
        head.size < sizeof(head))
        return;
    read_records(l, f, head.size, false);
    for (size_t i = 0; i < f->n; i++)
        is_moved |= f->hit[i].is_moved;
    if (is_moved)
        read_records(l, f, head.size, true);
}

/* --- files ----------------------------------------------------------------------------------- */

/* When this process began, in seconds; two answers, of which the earlier counts. What the clock
 * said when libprof was loaded is wrong where that was late. What it must have said when the
 * process was made, by the time since, is wrong where it has been set since. */
static time_t loaded_s;

static void note_load(void)
{
    loaded_s = time(NULL);
}

__attribute__((constructor(101))) static void start(void)
{
    note_load();
}

PROF__AT_FORK(PROF__FORK_NO_LOCK, NULL, NULL, note_load)

static time_t began_s(void)
{
    struct prof__task_state state;
    struct timespec up;

    if (prof__task_state(getpid(), &state) < 0 || state.start_ticks == 0 ||
        clock_gettime(CLOCK_BOOTTIME, &up) != 0)
        return loaded_s;
    time_t made = time(NULL) - (up.tv_sec - (time_t)(state.start_ticks / sysconf(_SC_CLK_TCK)));
    return PROF_MIN(loaded_s, made);
}

/* `inode`: that of what was mapped; 0: whoever owns it must be trusted. -1: not to be read. */
static int open_log(const char *path, uint64_t inode)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
        (inode ? st.st_ino == inode
               : (st.st_uid == geteuid() || st.st_uid == 0) && st.st_mtime >= began_s() - SLACK_S))
        return fd;
    close(fd);
    return -1;
}

static void find_in(const char *path, uint64_t inode,
                    void (*read)(struct log *, const struct finder *), struct finder *f,
                    struct prof__arena *a, struct prof__jit_query *q, char *piece)
{
    struct log l = { .fd = open_log(path, inode), .piece = piece };

    if (l.fd < 0)
        return;
    memset(f->hit, 0, f->n * sizeof(*f->hit));
    read(&l, f);
    for (size_t i = 0; i < f->n; i++) {
        const struct hit *hit = &f->hit[i];
        const char *name = hit->name ? read_text(&l, a, hit->name) : NULL;

        if (!name)
            continue;
        q[i].name = name;
        q[i].file = hit->file ? read_text(&l, a, hit->file) : NULL;
        q[i].line = q[i].file ? hit->line : 0;
    }
    close(l.fd);
}

void prof__jit_names_find(struct prof__arena *a, struct prof__jit_query *q, size_t n)
{
    struct prof__arena work = { .claim = a->claim };
    struct finder f = { .q = q, .n = n, .hit = prof__arena_array(&work, n, sizeof(*f.hit)) };
    char *piece = prof__arena_alloc(&work, WINDOW), path[40], name[40];
    struct prof__map *map = NULL;
    size_t n_maps = 0;

    if (n && f.hit && piece) {
        snprintf(path, sizeof(path), "/tmp/perf-%ld.map", (long)getpid());
        snprintf(name, sizeof(name), "/jit-%ld.dump", (long)getpid());
        find_in(path, 0, read_map, &f, a, q, piece);
        if (prof__maps_read(&work, &map, &n_maps) < 0)
            n_maps = 0;
        for (size_t i = 0; i < n_maps; i++) {
            const char *slash = strrchr(map[i].path, '/');

            if (slash && strcmp(slash, name) == 0)
                find_in(map[i].path, map[i].inode, read_dump, &f, a, q, piece);
        }
    }
    prof__arena_free(&work);
}

/* --- answers --------------------------------------------------------------------------------- */

/* What is in memory of its own, and not in a file that could name it; or was, for a runtime that
 * ends gives its code back. Small numbers are no addresses, but marks of ours. */
static bool is_generated(const struct prof__code_address *l)
{
    return l->address > UINT16_MAX && (!l->module || !l->module->is_elf);
}

static int query_order(const void *a, const void *b)
{
    const struct prof__jit_query *x = a, *y = b;

    return (x->address > y->address) - (x->address < y->address);
}

static const struct prof__jit_query *query_of(const struct prof__jit_query *q, size_t n,
                                              uint64_t address)
{
    struct prof__jit_query key = { .address = address };

    return bsearch(&key, q, n, sizeof(*q), query_order);
}

int prof__jit_names_answer(struct prof__arena *a, const struct prof__code_address *asked, size_t n,
                           struct prof__symbols *ret_symbols)
{
    struct prof__arena work = { .claim = a->claim };
    struct prof__jit_query *q = NULL;
    size_t n_queries = 0, made = 0;
    int r = 0;

    for (size_t i = 0; i < n; i++)
        n_queries += is_generated(&asked[i]);
    if (n_queries == 0)
        return 0;
    q = prof__arena_array(&work, n_queries, sizeof(*q));
    if (!q)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (is_generated(&asked[i]))
            q[made++].address = asked[i].address;
    qsort(q, made, sizeof(*q), query_order);
    prof__jit_names_find(a, q, made);
    for (size_t i = 0; i < n && r == 0; i++) {
        const struct prof__jit_query *found =
            is_generated(&asked[i]) ? query_of(q, made, asked[i].address) : NULL;
        struct prof__line *line = NULL;

        if (!found || !found->name)
            continue;
        line = prof__arena_alloc(a, sizeof(*line));
        if (!line) {
            r = -ENOMEM;
            break;
        }
        line->function = line->name = found->name;
        line->file = found->file;
        line->line = found->line;
        ret_symbols[i] = (struct prof__symbols) { line, 1 };
    }
    prof__arena_free(&work);
    return r;
}
