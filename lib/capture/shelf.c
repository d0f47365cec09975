/*
 * shelf.c - names, directories and files by plain system calls.
 */
#include "capture/shelf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/signals.h"
#include "capture/rules.h"

/* A trace is no profile. */
#define SUFFIX       ".pb.gz"
#define TRACE_SUFFIX ".pftrace.gz"

enum { FIELDS = 6, STALE_S = 600, ENTRIES_BYTES = 16 * 1024 };

/* --- names ------------------------------------------------------------------------------------ */

/* What a rule is made of, and what stands for it in a name. */
static const struct sign {
    const char *sign, *word;
} signs[] = {
    { ">", "-over-" },  { "+", "-plus-" }, { "/", "-in-" },
    { "<", "-below-" }, { "%", "pct" },    { ": ", "--" },
};

static void append(char *buf, const char *text)
{
    size_t n = strlen(buf);

    snprintf(buf + n, PROF__SHELF_NAME - n, "%s", text);
}

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Of a program's name, dots stay. */
static void append_plain(char *buf, const char *text, bool dots)
{
    for (; *text; text++)
        append(buf, (char[]) { is_plain(*text) || (dots && *text == '.') ? *text : '_', '\0' });
}

/* Of a rule. */
static void append_signs(char *buf, const char *text)
{
    while (*text) {
        const struct sign *s = signs, *end = signs + ARRAY_LEN(signs);

        while (s < end && strncmp(text, s->sign, strlen(s->sign)) != 0)
            s++;
        append(buf, s < end ? s->word : (char[]) { is_plain(*text) ? *text : '_', '\0' });
        text += s < end ? strlen(s->sign) : 1;
    }
}

/* The rule again. */
static void read_signs(const char *text, size_t n, char *ret, size_t size)
{
    size_t at = 0, i = 0;

    while (i < n && at + 3 < size) {
        const struct sign *s = signs, *end = signs + ARRAY_LEN(signs);

        if (text[i] == '_' && i > 0 && i + 1 < n && is_digit(text[i - 1]) &&
            is_digit(text[i + 1])) {
            ret[at++] = '.'; /* of a number */
            i++;
            continue;
        }
        while (s < end && (i + strlen(s->word) > n || strncmp(text + i, s->word, strlen(s->word))))
            s++;
        if (s < end) {
            at += (size_t)snprintf(ret + at, size - at, "%s", s->sign);
            i += strlen(s->word);
        } else {
            ret[at++] = text[i++];
        }
    }
    ret[at] = '\0';
}

static const char *suffix_of(const char *profile)
{
    return strcmp(profile, PROF__WANTED_TRACE) == 0 ? TRACE_SUFFIX : SUFFIX;
}

void prof__shelf_name(const struct prof__kept *k, char buf[PROF__SHELF_NAME])
{
    char number[96];
    time_t t = (time_t)k->time_s;
    struct tm tm = { 0 };

    gmtime_r(&t, &tm);
    buf[0] = '\0';
    append_plain(buf, k->program, true);
    snprintf(number, sizeof(number), ".%d.%04d%02d%02dT%02d%02d%02dZ.%03u.", k->pid,
             tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
             k->number);
    append(buf, number);
    append_signs(buf, k->rule);
    append(buf, ".");
    for (const char *c = k->value; *c; c++) /* "93 %", "1.5 GiB", "2 MiB/s" */
        append(buf, *c == '%'   ? "pct"
                    : *c == ' ' ? ""
                    : *c == '/' ? "-in-"
                                : (char[]) { is_plain(*c) ? *c : '_', '\0' });
    append(buf, ".");
    append_plain(buf, k->profile, false);
    append(buf, suffix_of(k->profile));
}

static bool read_time(const char *text, size_t n, int64_t *ret)
{
    struct tm tm = { 0 };
    int end = 0;

    if (n != 16 ||
        sscanf(text, "%4d%2d%2dT%2d%2d%2dZ%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec, &end) != 6 ||
        end != 16)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ret = (int64_t)timegm(&tm);
    return true;
}

static bool read_number(const char *text, size_t n, unsigned *ret)
{
    char *end;

    if (n == 0 || n > 9 || *text < '0' || *text > '9')
        return false;
    *ret = (unsigned)strtoul(text, &end, 10);
    return end == text + n;
}

/* "212MiB" -> "212 MiB", "93pct" -> "93 %". */
static void read_value(const char *text, size_t n, char *ret, size_t size)
{
    char plain[40];
    size_t digits = 0;

    read_signs(text, n, plain, sizeof(plain));
    while ((plain[digits] >= '0' && plain[digits] <= '9') || plain[digits] == '.')
        digits++;
    snprintf(ret, size, "%.*s%s%.16s", (int)PROF_MIN(digits, (size_t)12), plain,
             digits && plain[digits] ? " " : "", plain + digits);
}

static bool ends_in(const char *name, size_t n, const char *suffix)
{
    return n > strlen(suffix) && strcmp(name + n - strlen(suffix), suffix) == 0;
}

bool prof__shelf_parse(const char *name, struct prof__kept *ret)
{
    const char *at[FIELDS + 1]; /* of the dots, from the last field's end backwards */
    size_t n = strlen(name);
    size_t suffix = ends_in(name, n, TRACE_SUFFIX) ? strlen(TRACE_SUFFIX) : strlen(SUFFIX);
    unsigned pid;

    if (n <= suffix || n >= PROF__SHELF_NAME || *name == '.' ||
        (!ends_in(name, n, SUFFIX) && !ends_in(name, n, TRACE_SUFFIX)))
        return false;
    at[FIELDS] = name + n - suffix;
    for (int i = FIELDS - 1; i >= 0; i--) {
        at[i] = at[i + 1] - 1;
        while (at[i] > name && *at[i] != '.')
            at[i]--;
        if (at[i] == name)
            return false;
    }
#define FIELD(i) at[i] + 1, (size_t)(at[(i) + 1] - at[i] - 1)
    *ret = (struct prof__kept) { .pid = 0 };
    snprintf(ret->program, sizeof(ret->program), "%.*s", (int)(at[0] - name), name);
    if (!read_number(FIELD(0), &pid) || !read_time(FIELD(1), &ret->time_s) ||
        !read_number(FIELD(2), &ret->number))
        return false;
    ret->pid = (int)pid;
    read_signs(FIELD(3), ret->rule, sizeof(ret->rule));
    read_value(FIELD(4), ret->value, sizeof(ret->value));
    snprintf(ret->profile, sizeof(ret->profile), "%.*s", (int)(at[6] - at[5] - 1), at[5] + 1);
#undef FIELD
    return ends_in(name, n, suffix_of(ret->profile));
}

/* --- the directory ---------------------------------------------------------------------------- */

int prof__shelf_look(const char *path, bool own)
{
    struct stat st;
    int dir = (int)syscall(SYS_openat, AT_FDCWD, path,
                           O_RDONLY | O_DIRECTORY | O_CLOEXEC | (own ? O_NOFOLLOW : 0));
    if (dir < 0)
        return -errno;
    if (own && (fstat(dir, &st) < 0 || st.st_uid != geteuid() || st.st_mode & 022)) {
        syscall(SYS_close, dir);
        return -EPERM;
    }
    return dir;
}

int prof__shelf_open(const char *path, bool own)
{
    if (syscall(SYS_mkdirat, AT_FDCWD, path, 0700) < 0 && errno != EEXIST)
        return -errno;
    return prof__shelf_look(path, own);
}

struct entry { /* linux_dirent64 */
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

static int each_name(int dir, int (*each)(const char *name, void *arg), void *arg)
{
    _Alignas(struct entry) char buf[ENTRIES_BYTES];
    long n;
    int r = 0;

    if (syscall(SYS_lseek, dir, 0, SEEK_SET) < 0)
        return -errno;
    while (r == 0 && (n = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0)
        for (long at = 0; r == 0 && at < n;) {
            const struct entry *e = (const struct entry *)(buf + at);

            r = each(e->name, arg);
            at += e->length;
        }
    return r;
}

struct visit {
    int (*each)(const char *name, const struct prof__kept *k, void *arg);
    void *arg;
};

static int visit(const char *name, void *arg)
{
    const struct visit *v = arg;
    struct prof__kept k;

    return prof__shelf_parse(name, &k) ? v->each(name, &k, v->arg) : 0;
}

int prof__shelf_each(int dir, int (*each)(const char *name, const struct prof__kept *k, void *arg),
                     void *arg)
{
    return each_name(dir, visit, &(struct visit) { each, arg });
}

/* --- writing ---------------------------------------------------------------------------------- */

/* Names for the moment are those of this process, and no other's of the same number elsewhere: a
 * directory may be shared by processes that each think they are number 1. */
static void name_for_now(char *name, size_t size)
{
    static _Atomic unsigned turn;
    struct timespec t = { 0, 0 };

    clock_gettime(CLOCK_REALTIME, &t);
    snprintf(name, size, ".%d.%llx.%u.tmp", (int)getpid(),
             (unsigned long long)t.tv_sec << 20 | (unsigned long long)t.tv_nsec / 1000,
             atomic_fetch_add_explicit(&turn, 1, memory_order_relaxed));
}

int prof__shelf_prepare(int dir, struct prof__shelf_file *ret)
{
    *ret = (struct prof__shelf_file) { .dir = dir, .fd = -1 };
    ret->fd = (int)syscall(SYS_openat, dir, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    return ret->fd < 0 ? -errno : 0;
}

int prof__shelf_create(int dir, struct prof__shelf_file *ret)
{
    if (prof__shelf_prepare(dir, ret) == 0)
        return 0;
    name_for_now(ret->name, sizeof(ret->name));
    ret->fd = (int)syscall(SYS_openat, dir, ret->name,
                           O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return ret->fd < 0 ? -errno : 0;
}

int prof__shelf_write(void *arg, const void *data, size_t size)
{
    struct prof__shelf_file *f = arg;
    const char *p = data;

    while (size > 0) {
        ssize_t n = prof__write(f->fd, p, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        size -= (size_t)n;
        f->size += (uint64_t)n;
    }
    return 0;
}

void prof__shelf_abandon(struct prof__shelf_file *f)
{
    if (f->fd >= 0)
        syscall(SYS_close, f->fd);
    if (*f->name)
        syscall(SYS_unlinkat, f->dir, f->name, 0);
    f->fd = -1;
    f->name[0] = '\0';
}

static int link_as(struct prof__shelf_file *f, const char *name)
{
    char self[48];

    snprintf(self, sizeof(self), "/proc/thread-self/fd/%d", f->fd);
    return syscall(SYS_linkat, AT_FDCWD, self, f->dir, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

int prof__shelf_publish(struct prof__shelf_file *f, const char *name)
{
    int r = 0;

    if (!*f->name) {
        r = link_as(f, name);
        if (r == -EEXIST) { /* only a file with a name can take another's place */
            name_for_now(f->name, sizeof(f->name));
            r = link_as(f, f->name);
            if (r < 0)
                f->name[0] = '\0';
        }
    }
    if (r == 0 && *f->name && syscall(SYS_renameat2, f->dir, f->name, f->dir, name, 0) < 0)
        r = -errno;
    else if (r == 0)
        f->name[0] = '\0';
    prof__shelf_abandon(f);
    return r;
}

/* --- keeping ---------------------------------------------------------------------------------- */

struct listing {
    int dir;
    const struct prof__shelf_bounds *bounds;
    struct prof__shelf_item *item;
    unsigned n;
};

static int add_item(const char *name, const struct prof__kept *k, void *arg)
{
    struct listing *l = arg;
    struct stat st;

    if (strcmp(k->program, l->bounds->program) != 0 || l->n == PROF__SHELF_MOST ||
        fstatat(l->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return 0;
    struct prof__shelf_item *i = &l->item[l->n++];
    snprintf(i->name, sizeof(i->name), "%s", name);
    i->time_s = k->time_s;
    i->bytes = (uint64_t)st.st_size;
    i->number = k->number;
    i->own = k->pid == l->bounds->pid && k->time_s >= l->bounds->since_s;
    return 0;
}

static bool is_older(const struct prof__shelf_item *x, const struct prof__shelf_item *y)
{
    return x->time_s != y->time_s ? x->time_s < y->time_s : x->number < y->number;
}

/* Shell's sort: qsort() would take memory. */
static void sort_by_age(struct prof__shelf_item *item, unsigned n)
{
    for (unsigned gap = n / 2; gap > 0; gap /= 2)
        for (unsigned i = gap; i < n; i++) {
            struct prof__shelf_item moved = item[i];
            unsigned k = i;

            for (; k >= gap && is_older(&moved, &item[k - gap]); k -= gap)
                item[k] = item[k - gap];
            item[k] = moved;
        }
}

static bool take_away(struct listing *l, struct prof__shelf_item *i)
{
    if (i->bytes == UINT64_MAX || syscall(SYS_unlinkat, l->dir, i->name, 0) < 0)
        return false;
    i->bytes = UINT64_MAX; /* it is gone */
    return true;
}

/* Is it one of this process's that stay? Numbers, as a capture may be several files. */
static bool stays(const struct listing *l, const struct prof__shelf_item *i)
{
    unsigned before = 0, after = 0, last_before = 0, last_after = 0;

    if (i->number == 0)
        return true;
    for (unsigned k = 0; k < l->n; k++) { /* by age, which is by number */
        const struct prof__shelf_item *o = &l->item[k];

        if (!o->own || o->number == 0 || o->bytes == UINT64_MAX)
            continue;
        if (o->number < i->number && o->number != last_before) {
            before++;
            last_before = o->number;
        } else if (o->number > i->number && o->number != last_after) {
            after++;
            last_after = o->number;
        }
    }
    return before < l->bounds->first || after < l->bounds->last;
}

static int remove_stale(const char *name, void *arg)
{
    int dir = *(int *)arg;
    size_t n = strlen(name);
    struct stat st;

    if (*name == '.' && n > 4 && strcmp(name + n - 4, ".tmp") == 0 && name[1] >= '0' &&
        name[1] <= '9' && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(st.st_mode) && time(NULL) - st.st_mtime > STALE_S)
        syscall(SYS_unlinkat, dir, name, 0);
    return 0;
}

unsigned prof__shelf_prune(int dir, const struct prof__shelf_bounds *b,
                           struct prof__shelf_item room[PROF__SHELF_MOST])
{
    struct listing l = { dir, b, room, 0 };
    uint64_t bytes = 0;
    unsigned others = 0, gone = 0;

    each_name(dir, remove_stale, &dir);
    prof__shelf_each(dir, add_item, &l);
    sort_by_age(room, l.n);
    for (unsigned i = 0; i < l.n; i++)
        if (room[i].own && !stays(&l, &room[i]))
            gone += take_away(&l, &room[i]);
    for (unsigned i = 0; i < l.n; i++) {
        bytes += room[i].bytes == UINT64_MAX ? 0 : room[i].bytes;
        others += !room[i].own;
    }
    for (unsigned own = 0; own < 2; own++)
        for (unsigned i = 0; i + 1 < l.n; i++) {
            uint64_t size = room[i].bytes;

            if (room[i].own != own || size == UINT64_MAX || (own && room[i].number == 0) ||
                (bytes <= b->bytes && (own || others <= PROF__SHELF_OTHERS)) ||
                !take_away(&l, &room[i]))
                continue;
            bytes -= size;
            others -= !own;
            gone++;
        }
    return gone;
}
