/*
 * target.c - can a library be preloaded into this program?
 *
 * The dynamic loader ignores LD_PRELOAD in silence for a privileged program, and a static one has
 * no loader. Who then waits for a profile would wait for long. So the file is looked at, through
 * the interpreters of scripts, as the kernel will. In doubt the answer is yes.
 */
#include "tool/target.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "arch/relocation.h"

#define SCRIPT_LEVELS 5 /* as the kernel */

struct answer {
    char *why;
    size_t size;
};

static int no(const struct answer *a, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int no(const struct answer *a, int error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(a->why, a->size, format, args);
    va_end(args);
    return error;
}

/* --- which file ------------------------------------------------------------------------------- */

/* Can this be run, or else why not? A negative errno as execve() would give it. */
static int runnable(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    if (!S_ISREG(st.st_mode) || access(path, X_OK) != 0)
        return -EACCES;
    return 0;
}

/* The file that execvp() takes for `name`: the first in PATH that can be run. */
static int find(const char *name, char path[PATH_MAX])
{
    const char *dirs = getenv("PATH");
    int result = -ENOENT;

    if (strchr(name, '/')) {
        snprintf(path, PATH_MAX, "%s", name);
        return runnable(path);
    }
    for (const char *d = dirs ? dirs : "/bin:/usr/bin"; *name; d++) {
        size_t n = strcspn(d, ":");

        if (snprintf(path, PATH_MAX, "%.*s%s%s", (int)n, d, n ? "/" : "", name) < PATH_MAX) {
            int r = runnable(path);

            if (r == 0)
                return 0;
            if (r == -EACCES)
                result = r; /* found, but perhaps a better one follows */
        }
        d += n;
        if (!*d)
            break;
    }
    snprintf(path, PATH_MAX, "%s", name);
    return result;
}

/* --- privileges ------------------------------------------------------------------------------- */

/* Does this program get privileges that make the loader drop LD_PRELOAD? */
static int check_privileges(const struct answer *a, const char *path)
{
    struct stat st;
    struct statvfs fs;

    if (stat(path, &st) != 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ||
        (statvfs(path, &fs) == 0 && (fs.f_flag & ST_NOSUID)))
        return 0;
    bool setuid = (st.st_mode & S_ISUID) && st.st_uid != getuid();
    bool setgid = (st.st_mode & S_ISGID) && (st.st_mode & S_IXGRP) && st.st_gid != getgid();
    if (setuid || setgid)
        return no(a, -EPERM,
                  "%s is set%s: it runs with another %s's rights, and the system lets nobody "
                  "preload a library into it. Run it as that %s, or link it with libprof-hooks.",
                  path, setuid ? "uid" : "gid", setuid ? "user" : "group",
                  setuid ? "user" : "group");
    if (getuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0)
        return no(a, -EPERM,
                  "%s has file capabilities, and the system lets nobody preload a library into a "
                  "program that does. Run it as root, or link it with libprof-hooks.",
                  path);
    return 0;
}

/* --- what kind of file ------------------------------------------------------------------------ */

static const char *machine_name(unsigned machine)
{
    switch (machine) {
    case EM_386:
        return "32-bit x86";
    case EM_X86_64:
        return "64-bit x86";
    case EM_AARCH64:
        return "64-bit ARM";
    case EM_ARM:
        return "ARM";
    case EM_RISCV:
        return "RISC-V";
    case EM_PPC64:
        return "PowerPC";
    case EM_S390:
        return "IBM Z";
    default:
        return "another kind of machine";
    }
}

/* `loader` is the dynamic loader that the program asks for. */
static int check_loader(const struct answer *a, const char *path, const char *loader)
{
    if (strstr(loader, "ld-musl"))
        return no(a, -ENOEXEC,
                  "%s is made for the C library musl (its loader is %s), libprof for glibc: the "
                  "two do not mix in one process.",
                  path, loader);
    return 0;
}

static int check_elf(const struct answer *a, const char *path, int fd)
{
    Elf64_Ehdr header;
    Elf64_Phdr segment;
    char loader[PATH_MAX];

    if (pread(fd, &header, sizeof(header), 0) != sizeof(header))
        return 0; /* cut short: exec will say */
    if (header.e_ident[EI_DATA] != ELFDATA2LSB)
        return no(a, -ENOEXEC, "%s is made for another kind of machine.", path);
    if (header.e_machine != PROF__ELF_MACHINE)
        return no(a, -ENOEXEC, "%s is made for %s, this libprof for %s.", path,
                  machine_name(header.e_machine), machine_name(PROF__ELF_MACHINE));
    if (header.e_ident[EI_CLASS] != ELFCLASS64)
        return no(a, -ENOEXEC, "%s is a 32-bit program; libprof is for 64-bit ones.", path);
    if (header.e_phentsize != sizeof(segment))
        return 0;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        off_t at = (off_t)(header.e_phoff + i * sizeof(segment));

        if (pread(fd, &segment, sizeof(segment), at) != sizeof(segment))
            return 0;
        if (segment.p_type != PT_INTERP)
            continue;
        size_t n = segment.p_filesz < sizeof(loader) - 1 ? segment.p_filesz : sizeof(loader) - 1;
        ssize_t got = pread(fd, loader, n, (off_t)segment.p_offset);
        loader[got > 0 ? got : 0] = '\0';
        return check_loader(a, path, loader);
    }
    return no(a, -ENOEXEC,
              "%s is statically linked, so no library can be preloaded into it. Link libprof into "
              "it instead: gcc -static ... $(pkg-config --static --libs libprof-wrap).",
              path);
}

/* The interpreter that the first line of a script names. */
static bool script_interpreter(const char *head, char interpreter[PATH_MAX])
{
    const char *start = head + 2 + strspn(head + 2, " \t");

    snprintf(interpreter, PATH_MAX, "%.*s", (int)strcspn(start, " \t\n"), start);
    return *interpreter;
}

static int check_file(const struct answer *a, const char *path, const char *script, int level);

static int check_content(const struct answer *a, const char *path, int fd, int level)
{
    char head[PATH_MAX], interpreter[PATH_MAX];
    ssize_t n = pread(fd, head, sizeof(head) - 1, 0);

    if (n <= 0)
        return 0;
    head[n] = '\0';
    if (n >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0)
        return check_elf(a, path, fd);
    if (level == SCRIPT_LEVELS)
        return 0;
    if (strncmp(head, "#!", 2) != 0) /* execvp() lets the shell have it */
        return check_file(a, "/bin/sh", path, level + 1);
    return script_interpreter(head, interpreter) ? check_file(a, interpreter, path, level + 1) : 0;
}

/* `script`: the file whose first line names this one, or NULL. */
static int check_file(const struct answer *a, const char *path, const char *script, int level)
{
    int r = script ? runnable(path) : 0;

    if (r < 0)
        return no(a, r == -ENOENT ? -ENOEXEC : r, "%s is to be run by %s, which cannot be run: %s.",
                  script, path, strerror(-r));
    r = check_privileges(a, path);
    if (r < 0)
        return r;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return 0; /* may be run but not read: nothing to be known */
    r = check_content(a, path, fd, level);
    close(fd);
    return r;
}

int target_check(const char *name, char *why, size_t size)
{
    const struct answer a = { why, size };
    char path[PATH_MAX];
    int r = find(name, path);

    if (r == -ENOENT || r == -ENOTDIR)
        return no(&a, -ENOENT,
                  strchr(name, '/') ? "There is no file %s." : "There is no program %s in PATH.",
                  name);
    if (r == -EISDIR)
        return no(&a, r, "%s is a directory, not a program.", name);
    if (r < 0)
        return no(&a, r, "%s cannot be run: %s.", path, strerror(-r));
    return check_file(&a, path, NULL, 0);
}
