/*
 * profrun.c - run a program under libprof-preload.so.
 *
 * Nothing but setting up the environment and exec(): so process id, terminal, signals, exit status
 * and descriptors are the program's own. What the dynamic loader would ignore in silence (a static
 * or privileged program) is found out before and refused with a reason (target.c).
 *
 * LIBPROF_PROFRUN carries the process id, which exec() keeps, and LIBPROF_ANNOUNCE the wish to be
 * told: with these the preloaded library says on stderr where it serves.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <prof/prof.h>

#include "base/pattern.h"
#include "tool/loads.h"
#include "tool/target.h"

#define PRELOAD      "libprof-preload.so"
#define HTTP_DEFAULT "127.0.0.1:6060"

/* As env(1) and nohup(1): what went wrong, by exit status. */
enum { EXIT_USAGE = 2, EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127 };

static const char help[] =
    "usage: profrun [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
    "\n"
    "Runs PROGRAM with libprof preloaded: its heap is profiled, and served over HTTP as Go "
    "programs\n"
    "do. The program need not be rebuilt.\n"
    "\n"
    "  --http ADDR      serve on ADDR: 127.0.0.1:6060, [::1]:6060, unix:/path/to/socket; %p in a\n"
    "                   socket's path is the process id. Default, unless there is -o: " HTTP_DEFAULT
    "\n"
    "  -o FILE          write a heap profile to FILE when the program exits; %p in it is the\n"
    "                   process id, %n the program's name, %% a percent sign\n"
    "                   Also where it ends by _exit(), as dash does, or by SIGTERM or SIGINT\n"
    "                   that it leaves at default. Not where another signal ends it\n"
    "  --capture RULES  write profiles by themselves, when memory runs out, say:\n"
    "                   \"mem>80% | mem+25%/10m -> heap; dir /var/tmp\"; LIBPROF_CAPTURE in the\n"
    "                   manual has the whole of it\n"
    "  --dormant        record nothing and serve nothing until \"profctl rates\" says so\n"
    "  --children       with %p in FILE: its children write profiles, too\n"
    "  --cpu SECONDS    with -o: write a CPU profile instead, of the first SECONDS of the run or\n"
    "                   of all of it if it ends before; 0 for all of it however long\n"
    "  --heap-rate N    mean bytes between two samples, with k, m or g; default 512k, 1 records\n"
    "                   every block, 0 none\n"
    "  --log FILE       append libprof's own messages to FILE; \"stderr\" for there\n"
    "  --version        print the version\n"
    "  --help           print this\n"
    "\n"
    "  profrun --http 127.0.0.1:6060 -- redis-server\n"
    "  go tool pprof http://127.0.0.1:6060/debug/pprof/heap\n"
    "\n"
    "Exit status: that of PROGRAM; 2 wrong use, 126 PROGRAM cannot be run or profiled, 127 not\n"
    "found. See also LIBPROF_* in the manual.\n";

static void refuse(int status, const char *format, ...)
    __attribute__((noreturn, format(printf, 2, 3)));

static void refuse(int status, const char *format, ...)
{
    va_list args;

    fputs("profrun: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(status);
}

static void set(const char *name, const char *value)
{
    if (setenv(name, value, 1) != 0)
        refuse(EXIT_USAGE, "The environment has no room for %s.", name);
}

/* --- options ---------------------------------------------------------------------------------- */

/* Bytes with k, m or g, as LIBPROF_HEAP_RATE takes them. */
static void check_rate(const char *text)
{
    static const char suffixes[] = "kmg";
    const char *end = text + strspn(text, "0123456789"), *suffix;
    unsigned shift = 0;

    errno = 0;
    uint64_t n = strtoull(text, NULL, 10);
    bool ok = end != text && errno == 0;
    if (ok && *end) {
        suffix = strchr(suffixes, *end | ('a' ^ 'A'));
        ok = suffix && !end[1];
        shift = ok ? 10 * (unsigned)(suffix - suffixes + 1) : 0;
    }
    if (!ok)
        refuse(EXIT_USAGE,
               "\"%s\" is not a heap rate. Give the mean number of bytes between two samples, such "
               "as 512k, or 1 for every block, or 0 for none.",
               text);
    if (n > ((uint64_t)1 << 40) >> shift)
        refuse(EXIT_USAGE, "A heap rate of %s is above the limit of 1024g.", text);
}

static void check_seconds(const char *text)
{
    size_t n = strspn(text, "0123456789");

    if (n == 0 || text[n] || n > 9)
        refuse(EXIT_USAGE,
               "\"%s\" is not a number of seconds. Give how long to profile, such as 30, or 0 for "
               "the whole run.",
               text);
}

/* Absolute, since the program may change its directory before it writes there. A percent sign of
 * the directory's own is doubled when `is_pattern`. */
static char *absolute(const char *path, bool is_pattern)
{
    char cwd[PATH_MAX], out[2 * PATH_MAX + 1];
    size_t n = 0;

    if (*path != '/') {
        if (!getcwd(cwd, sizeof(cwd)))
            refuse(EXIT_USAGE, "The current directory has no name, so %s cannot be found: %s.",
                   path, strerror(errno));
        for (const char *c = cwd; *c; c++) {
            if (*c == '%' && is_pattern)
                out[n++] = '%';
            out[n++] = *c;
        }
        out[n++] = '/';
    }
    if (n + strlen(path) >= sizeof(out))
        refuse(EXIT_USAGE, "The path %s is too long.", path);
    strcpy(out + n, path);

    char *copy = strdup(out);
    if (!copy)
        refuse(EXIT_USAGE, "Out of memory.");
    return copy;
}

/* Can `path` be written? A regular file of that name is to be replaced if `replace`, which takes
 * the right to its directory; all else is opened. Nothing is created here. */
static void check_writable(const char *option, const char *path, bool replace)
{
    char directory[PATH_MAX];
    struct stat st;
    const char *slash = strrchr(path, '/');

    if (!slash[1])
        refuse(EXIT_USAGE, "%s %s names a directory; give it the name of a file.", option, path);
    bool exists = stat(path, &st) == 0;
    if (exists && S_ISDIR(st.st_mode))
        refuse(EXIT_USAGE, "%s %s is a directory; give it the name of a file.", option, path);
    if (exists && !(replace && S_ISREG(st.st_mode))) {
        if (access(path, W_OK) == 0)
            return;
        refuse(EXIT_USAGE, "%s %s cannot be written: %s.", option, path, strerror(errno));
    }
    snprintf(directory, sizeof(directory), "%.*s", (int)(slash - path + 1), path);
    if (stat(directory, &st) == 0 && !S_ISDIR(st.st_mode))
        errno = ENOTDIR;
    else if (access(directory, W_OK | X_OK) == 0)
        return;
    refuse(EXIT_USAGE, "%s %s cannot be written: %s: %s.", option, path, directory,
           strerror(errno));
}

static void set_dump(const char *pattern)
{
    char path[PATH_MAX], *full = absolute(pattern, true);
    int r = prof__pattern_expand(full, path, sizeof(path));

    if (!*pattern)
        refuse(EXIT_USAGE, "-o needs the name of a file.");
    if (r == -EINVAL)
        refuse(EXIT_USAGE,
               "-o %s: after a percent sign comes p for the process id, n for the program's name, "
               "or another percent sign.",
               pattern);
    if (r < 0)
        refuse(EXIT_USAGE, "-o %s is too long.", pattern);
    check_writable("-o", path, true);
    set("LIBPROF_DUMP", full);
    free(full);
}

static void set_log(const char *path)
{
    if (!*path)
        refuse(EXIT_USAGE, "--log needs the name of a file, or stderr.");
    if (strcmp(path, "stderr") == 0) {
        set("LIBPROF_LOG", path);
        return;
    }
    char *full = absolute(path, false);
    check_writable("--log", full, false);
    set("LIBPROF_LOG", full);
    free(full);
}

/* --- the library ------------------------------------------------------------------------------ */

/* Is the library at directory/inner? Then its real path, to be freed. */
static char *try_directory(const char *directory, const char *inner)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/%s/" PRELOAD, directory, inner);

    return (size_t)n < sizeof(path) ? realpath(path, NULL) : NULL;
}

/*
 * Where the build tree has it; or beside profrun; or where it was installed, wherever that tree is
 * now; or where it was to be installed.
 */
static char *find_preload(void)
{
    const char *given = secure_getenv("LIBPROF_PRELOAD");
    char self[PATH_MAX];

    if (given && *given) {
        char *path = realpath(given, NULL);

        if (!path)
            refuse(EXIT_USAGE, "LIBPROF_PRELOAD names %s: %s.", given, strerror(errno));
        return path;
    }
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *found = NULL;
    if (n > 0) {
        self[n] = '\0';
        *strrchr(self, '/') = '\0';
        found = try_directory(self, "../preload");
        if (!found)
            found = try_directory(self, ".");
        if (!found)
            found = try_directory(self, PROFRUN_PRELOAD_RELATIVE);
    }
    if (!found)
        found = try_directory(PROFRUN_PRELOAD_DIR, ".");
    if (!found)
        refuse(EXIT_USAGE, PRELOAD " is neither beside profrun nor in " PROFRUN_PRELOAD_DIR
                                   ". Set LIBPROF_PRELOAD to its path.");
    return found;
}

/* Ours first, so that it sees what other preloaded libraries forward. Where something that it needs
 * is missing, the program is not kept from running. */
static void set_preload(void)
{
    char *library = find_preload(), *both = NULL, why[256];
    const char *others = getenv("LD_PRELOAD");

    if (strpbrk(library, " :\t\n"))
        refuse(EXIT_USAGE,
               "The path %s has a space or a colon in it, which the dynamic loader takes for the "
               "end of the name. Set LIBPROF_PRELOAD to a path without, such as that of a link.",
               library);
    if (!loads_check(library, why, sizeof(why))) {
        fprintf(stderr,
                "profrun: the program runs without a profile, as libprof cannot be loaded: %s%s\n",
                why, strstr(why, "libz.") ? " (Debian: zlib1g)" : "");
        free(library);
        return;
    }
    if (!others || !*others) {
        set("LD_PRELOAD", library);
    } else if (!strstr(others, library)) { /* it is there when profrun runs profrun */
        if (asprintf(&both, "%s:%s", library, others) < 0)
            refuse(EXIT_USAGE, "Out of memory.");
        set("LD_PRELOAD", both);
    }
    free(both);
    free(library);
}

/* --- the program ------------------------------------------------------------------------------ */

static void check_program(const char *name)
{
    char why[512];
    int r = target_check(name, why, sizeof(why));

    if (r < 0)
        refuse(r == -ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN, "%s", why);
}

/* Nothing but the control socket, whatever the environment says besides. */
static void set_dormant(const char *http)
{
    static const char *const others[] = { "LIBPROF_HTTP",       "LIBPROF_DUMP",
                                          "LIBPROF_BLOCK_RATE", "LIBPROF_MUTEX_FRACTION",
                                          "LIBPROF_CONTROL",    "LIBPROF_CAPTURE" };

    if (http)
        refuse(EXIT_USAGE, "--dormant serves nothing, so --http has no place beside it.");
    if (getenv("LIBPROF_DUMP"))
        refuse(EXIT_USAGE, "--dormant records nothing, so -o has no place beside it.");
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        unsetenv(others[i]);
    set("LIBPROF_HEAP_RATE", "0");
}

int main(int argc, char **argv)
{
    enum { HTTP = 256, CAPTURE, DORMANT, CPU, CHILDREN, RATE, LOG, VERSION, HELP };
    static const struct option options[] = {
        { "http", required_argument, NULL, HTTP },
        { "capture", required_argument, NULL, CAPTURE },
        { "dormant", no_argument, NULL, DORMANT },
        { "cpu", required_argument, NULL, CPU },
        { "children", no_argument, NULL, CHILDREN },
        { "heap-rate", required_argument, NULL, RATE },
        { "log", required_argument, NULL, LOG },
        { "output", required_argument, NULL, 'o' },
        { "version", no_argument, NULL, VERSION },
        { "help", no_argument, NULL, HELP },
        { NULL, 0, NULL, 0 },
    };
    const char *http = NULL;
    bool cpu = false, dormant = false;
    int option;
    char pid[24];

    while ((option = getopt_long(argc, argv, "+ho:", options, NULL)) != -1)
        switch (option) {
        case HTTP:
            if (!*optarg)
                refuse(EXIT_USAGE, "--http needs an address, such as " HTTP_DEFAULT ".");
            http = optarg;
            break;
        case CAPTURE:
            set("LIBPROF_CAPTURE", optarg);
            break;
        case DORMANT:
            dormant = true;
            break;
        case CPU:
            check_seconds(optarg);
            set("LIBPROF_CPU_DUMP", optarg);
            cpu = true;
            break;
        case CHILDREN:
            set("LIBPROF_CHILDREN", "1");
            break;
        case RATE:
            check_rate(optarg);
            set("LIBPROF_HEAP_RATE", optarg);
            break;
        case 'o':
            set_dump(optarg);
            break;
        case LOG:
            set_log(optarg);
            break;
        case VERSION:
            printf("profrun %d.%d.%d\n", PROF_VERSION_MAJOR, PROF_VERSION_MINOR,
                   PROF_VERSION_PATCH);
            return fflush(stdout) == 0 ? 0 : EXIT_USAGE;
        case 'h':
        case HELP:
            fputs(help, stdout);
            return fflush(stdout) == 0 ? 0 : EXIT_USAGE;
        default: /* getopt has said what is wrong */
            fputs("profrun: \"profrun --help\" shows what there is.\n", stderr);
            return EXIT_USAGE;
        }
    if (optind == argc)
        refuse(EXIT_USAGE, "Which program? \"profrun --help\" shows how to say it.");

    if (cpu && !getenv("LIBPROF_DUMP"))
        refuse(EXIT_USAGE, "--cpu needs -o FILE, for where the profile goes.");
    if (dormant)
        set_dormant(http);
    check_program(argv[optind]);
    if (http)
        set("LIBPROF_HTTP", http);
    else if (!dormant && !getenv("LIBPROF_HTTP") && !getenv("LIBPROF_DUMP"))
        set("LIBPROF_HTTP", HTTP_DEFAULT);
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    set("LIBPROF_PROFRUN", pid);
    set("LIBPROF_ANNOUNCE", "1");
    set_preload(); /* last, as nothing of this is for ourselves */

    execvp(argv[optind], argv + optind);
    int r = errno;
    refuse(r == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN, "%s cannot be run: %s.", argv[optind],
           strerror(r));
}
