/*
 * profctl.c - what runs here with libprof in it, and what is wrong with it: the command line.
 *
 * One table of commands, in rows that their files export. Options come anywhere, one parser reads
 * them all, and a command is refused those that it does not take.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <prof/prof.h>

#include "tool/completion.h"
#include "tool/ctl.h"
#include "tool/term.h"

static const struct {
    const char *title;
    const struct ctl_command *rows;
} groups[] = {
    { "Which there are", ctl_list_commands },
    { "What is in one: a process id, a name, an address or a file", ctl_profile_commands },
    { "As it goes on", ctl_live_commands },
    { "In the browser", ctl_ui_commands },
    { "How much is recorded", ctl_rates_commands },
    { "Starting one", ctl_run_commands },
};

/* --- telling ---------------------------------------------------------------------------------- */

int ctl_say(int status, const char *format, ...)
{
    va_list args;

    fflush(stdout);
    fputs("profctl: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return status;
}

bool ctl_reader_left(void)
{
    struct pollfd out = { .fd = STDOUT_FILENO };

    return poll(&out, 1, 0) == 1 && out.revents & (POLLERR | POLLHUP);
}

int ctl_no_memory(void)
{
    return ctl_say(CTL_FAILED, "Out of memory.");
}

/* --- help ------------------------------------------------------------------------------------- */

/* Options with what they are for, in the order of --help. */
enum {
    SECONDS = 256,
    TEXT,
    PPROF,
    FOLDED,
    FLAME,
    JSON,
    ROWS,
    SORT,
    TYPE,
    ALL_CODE,
    NAMES,
    TOKEN,
    COLOR,
    STOP,
    EXE,
    SYSROOT,
    BY_TYPE,
    DIFF,
    PORT,
    ALL,
    SITE,
    AGE,
    IO,
    SCHED,
    LAST,
    VERSION
};

static const struct {
    struct option option;
    unsigned takes; /* 0: every command */
    const char *argument, *about;
} all_options[] = {
    { { "seconds", required_argument, NULL, SECONDS },
      CTL_TAKES_SECONDS,
      "N",
      "of the next N seconds; what has come in them" },
    { { "output", required_argument, NULL, 'o' },
      CTL_TAKES_OUTPUT,
      "FILE",
      "write pprof protobuf, or what else is said, to FILE" },
    { { "text", no_argument, NULL, TEXT }, CTL_TAKES_FORMS, NULL, "a table of functions" },
    { { "pprof", no_argument, NULL, PPROF },
      CTL_TAKES_FORMS,
      NULL,
      "protobuf, as \"go tool pprof\" reads it" },
    { { "folded", no_argument, NULL, FOLDED },
      CTL_TAKES_FORMS,
      NULL,
      "folded stacks, as flamegraph.pl reads them" },
    { { "flame", no_argument, NULL, FLAME },
      CTL_TAKES_FORMS,
      NULL,
      "a flame graph in the terminal" },
    { { "json", no_argument, NULL, JSON }, CTL_TAKES_JSON, NULL, "JSON" },
    { { "rows", required_argument, NULL, ROWS },
      CTL_TAKES_TABLE | CTL_TAKES_ROWS,
      "N",
      "of the table; 20, or as many as fit" },
    { { "sort", required_argument, NULL, SORT }, CTL_TAKES_TABLE, "flat|cum", "the table's order" },
    { { "type", required_argument, NULL, TYPE },
      CTL_TAKES_TABLE,
      "TYPE",
      "which value: alloc_space, inuse_objects, ..." },
    { { "all-code", no_argument, NULL, ALL_CODE },
      CTL_TAKES_TABLE,
      NULL,
      "allocators and libraries by themselves" },
    { { "names", required_argument, NULL, NAMES },
      CTL_TAKES_TABLE,
      "short|full|mangled",
      "of functions" },
    { { "age", required_argument, NULL, AGE },
      CTL_TAKES_AGE,
      "SECONDS",
      "only blocks in use for so long" },
    { { "site", required_argument, NULL, SITE },
      CTL_TAKES_SITE,
      "NAME",
      "only what was allocated there: a regular expression" },
    { { "all", no_argument, NULL, ALL }, CTL_TAKES_ALL, NULL, "other users' processes as well" },
    { { "stop", no_argument, NULL, STOP },
      CTL_TAKES_STOP,
      NULL,
      "may stop a process without libprof, to see its registers" },
    { { "by-type", no_argument, NULL, BY_TYPE },
      CTL_TAKES_BLOCKS,
      NULL,
      "of a core with libprof: every block, by its type" },
    { { "diff", required_argument, NULL, DIFF },
      CTL_TAKES_DIFF,
      "SECONDS",
      "of a process without libprof: between two looks" },
    { { "exe", required_argument, NULL, EXE },
      CTL_TAKES_CORE,
      "FILE",
      "of a core: its program, if it is elsewhere" },
    { { "sysroot", required_argument, NULL, SYSROOT },
      CTL_TAKES_CORE,
      "DIR",
      "of a core: where its files are, libraries and all" },
    { { "io", no_argument, NULL, IO },
      CTL_TAKES_TRACE,
      NULL,
      "system calls that wait, too: read, poll, connect, ..." },
    { { "sched", no_argument, NULL, SCHED },
      CTL_TAKES_TRACE,
      NULL,
      "which thread ran when, where the kernel tells" },
    { { "last", no_argument, NULL, LAST },
      CTL_TAKES_TRACE,
      NULL,
      "what the flight recorder has (LIBPROF_TRACE)" },
    { { "port", required_argument, NULL, PORT }, CTL_TAKES_PORT, "N", "on loopback; any free one" },
    { { "token", required_argument, NULL, TOKEN },
      0,
      "TOKEN",
      "of the server; else LIBPROF_HTTP_TOKEN" },
    { { "color", required_argument, NULL, COLOR }, 0, "auto|always|never", "colour" },
};

static const struct ctl_command *find_command(const char *name)
{
    for (size_t g = 0; g < ARRAY_LEN(groups); g++)
        for (const struct ctl_command *c = groups[g].rows; c->name; c++)
            if (strcmp(c->name, name) == 0)
                return c;
    return NULL;
}

static void print_options(unsigned takes)
{
    for (size_t i = 0; i < ARRAY_LEN(all_options); i++) {
        char left[64];

        if (all_options[i].takes && !(all_options[i].takes & takes))
            continue;
        if (all_options[i].option.val == 'o')
            snprintf(left, sizeof(left), "-o, --output FILE");
        else
            snprintf(left, sizeof(left), "--%s%s%s", all_options[i].option.name,
                     all_options[i].argument ? " " : "",
                     all_options[i].argument ? all_options[i].argument : "");
        printf("  %-26s %s\n", left, all_options[i].about);
    }
}

static int print_help(void)
{
    puts("usage: profctl COMMAND [ARGUMENT]... [OPTION]...\n\n"
         "What the processes with libprof in them are doing, and where their memory and time go.");
    for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
        printf("\n%s%s%s\n", term_on(TERM_BOLD), groups[g].title, term_off());
        for (const struct ctl_command *c = groups[g].rows; c->name; c++) {
            char left[64];

            snprintf(left, sizeof(left), "%s %s", c->name, c->arguments);
            printf("  %-26s %s\n", left, c->about);
        }
    }
    puts("\n\"profctl help COMMAND\" shows a command's options. Those of all of them:");
    print_options(0);
    puts("  --version                  print the version\n"
         "  --help                     print this\n"
         "  completion bash|zsh        print a script for the shell\n"
         "\n"
         "  profctl list\n"
         "  profctl heap 4242\n"
         "  profctl cpu redis-server --seconds 10 --flame\n"
         "\n"
         "Exit status: 0 done; 1 failed; 2 wrong use; 3 no such process, file or profile; 4 not\n"
         "allowed; 5 no answer; 6 no libprof in it, or none that can do this.");
    return fflush(stdout) == 0 ? CTL_OK : CTL_FAILED;
}

static int print_command_help(const char *name)
{
    const struct ctl_command *c = find_command(name);

    if (!c)
        return ctl_say(CTL_USAGE, "There is no command \"%s\"; \"profctl --help\" lists them.",
                       name);
    printf("usage: profctl %s %s%s\n\n%s.\n%s%s", c->name, c->arguments,
           c->takes ? " [OPTION]..." : "", c->about, c->help ? "\n" : "", c->help ? c->help : "");
    if (!(c->takes & CTL_TAKES_ANYTHING)) {
        puts("");
        print_options(c->takes);
    }
    return fflush(stdout) == 0 ? CTL_OK : CTL_FAILED;
}

/* --- options ---------------------------------------------------------------------------------- */

static int parse_seconds(const char *name, const char *text, double *ret)
{
    char *end;
    double v = strtod(text, &end);

    if (*end == 's')
        end++;
    else if (*end == 'm' || *end == 'h')
        v *= *end++ == 'm' ? 60 : 3600;
    if (end == text || *end || !(v > 0 && v <= 86400))
        return ctl_say(CTL_USAGE, "--%s %s: a number of seconds up to a day, such as 10 or 5m.",
                       name, text);
    *ret = v;
    return CTL_OK;
}

static int parse_number(const char *name, const char *text, unsigned most, unsigned *ret)
{
    size_t n = strspn(text, "0123456789");
    unsigned long v = strtoul(text, NULL, 10);

    if (n == 0 || text[n] || n > 9 || v > most)
        return ctl_say(CTL_USAGE, "--%s %s: a whole number up to %u.", name, text, most);
    *ret = (unsigned)v;
    return CTL_OK;
}

/* One of a few words: its position, or -1, told. */
static int word_of(const char *name, const char *text, const char *const *words)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], text) == 0)
            return i;
    fprintf(stderr, "profctl: --%s %s: one of", name, text);
    for (int i = 0; words[i]; i++)
        fprintf(stderr, " %s", words[i]);
    fputs(".\n", stderr);
    return -1;
}

struct parsed {
    struct ctl_options o;
    enum term_color color;
    bool help, version;
    bool given[ARRAY_LEN(all_options)];
};

static int take_option(struct parsed *p, int option, const char *value)
{
    static const char *const sorts[] = { "flat", "cum", NULL };
    static const char *const colors[] = { "auto", "always", "never", NULL };
    static const char *const names[] = { "short", "full", "mangled", NULL };
    unsigned number = 0;
    int r = CTL_OK;

    switch (option) {
    case SECONDS:
        return parse_seconds("seconds", value, &p->o.seconds);
    case DIFF:
        return parse_seconds("diff", value, &p->o.diff);
    case AGE:
        return parse_seconds("age", value, &p->o.age);
    case SITE:
        p->o.site = value;
        return CTL_OK;
    case 'o':
        if (!*value)
            return ctl_say(CTL_USAGE, "-o needs the name of a file.");
        p->o.output = value;
        return CTL_OK;
    case TEXT:
    case PPROF:
    case FOLDED:
    case FLAME:
    case JSON:
        p->o.form = option == TEXT     ? CTL_TEXT
                    : option == PPROF  ? CTL_PPROF
                    : option == FOLDED ? CTL_FOLDED
                    : option == FLAME  ? CTL_FLAME
                                       : CTL_JSON;
        return CTL_OK;
    case ROWS:
        return parse_number("rows", value, 1000000, &p->o.rows);
    case PORT:
        r = parse_number("port", value, 65535, &number);
        p->o.port = (uint16_t)number;
        return r;
    case SORT:
        r = word_of("sort", value, sorts);
        p->o.by_cum = r == 1;
        return r < 0 ? CTL_USAGE : CTL_OK;
    case COLOR:
        r = word_of("color", value, colors);
        p->color = (enum term_color)r;
        return r < 0 ? CTL_USAGE : CTL_OK;
    case NAMES:
        p->o.names = value;
        return word_of("names", value, names) < 0 ? CTL_USAGE : CTL_OK;
    case TYPE:
        p->o.type = value;
        return CTL_OK;
    case TOKEN:
        p->o.token = value;
        return CTL_OK;
    case ALL_CODE:
        p->o.all_code = true;
        return CTL_OK;
    case EXE:
        p->o.exe = value;
        return CTL_OK;
    case SYSROOT:
        p->o.sysroot = value;
        return CTL_OK;
    case STOP:
        p->o.stop = true;
        return CTL_OK;
    case BY_TYPE:
        p->o.by_type = true;
        return CTL_OK;
    case ALL:
        p->o.all = true;
        return CTL_OK;
    case IO:
        p->o.io = true;
        return CTL_OK;
    case SCHED:
        p->o.sched = true;
        return CTL_OK;
    case LAST:
        p->o.last = true;
        return CTL_OK;
    case VERSION:
        p->version = true;
        return CTL_OK;
    case 'h':
        p->help = true;
        return CTL_OK;
    default: /* getopt has said what is wrong */
        return ctl_say(CTL_USAGE, "\"profctl --help\" shows what there is.");
    }
}

static int parse(struct parsed *p, int argc, char **argv)
{
    struct option options[ARRAY_LEN(all_options) + 3] = { { 0 } };
    int option, index, r = CTL_OK;

    for (size_t i = 0; i < ARRAY_LEN(all_options); i++)
        options[i] = all_options[i].option;
    options[ARRAY_LEN(all_options)] = (struct option) { "help", no_argument, NULL, 'h' };
    options[ARRAY_LEN(all_options) + 1] = (struct option) { "version", no_argument, NULL, VERSION };
    while (r == CTL_OK && (option = getopt_long(argc, argv, "ho:", options, &index)) != -1) {
        for (size_t i = 0; i < ARRAY_LEN(all_options); i++)
            p->given[i] |= all_options[i].option.val == option;
        r = take_option(p, option, optarg);
    }
    return r;
}

static int refuse_options(const struct ctl_command *c, const struct parsed *p)
{
    for (size_t i = 0; i < ARRAY_LEN(all_options); i++)
        if (p->given[i] && all_options[i].takes && !(all_options[i].takes & c->takes))
            return ctl_say(CTL_USAGE,
                           "profctl %s takes no --%s; \"profctl help %s\" shows what it "
                           "takes.",
                           c->name, all_options[i].option.name, c->name);
    return CTL_OK;
}

/* --- completion ------------------------------------------------------------------------------- */

static int print_completion(const char *shell)
{
    static char dashed[ARRAY_LEN(all_options)][24];
    const char *word[128];
    size_t n = 0;

    for (size_t g = 0; g < ARRAY_LEN(groups); g++)
        for (const struct ctl_command *c = groups[g].rows; c->name && n < 64; c++)
            word[n++] = c->name;
    word[n++] = "help";
    for (size_t i = 0; i < ARRAY_LEN(all_options); i++) {
        snprintf(dashed[i], sizeof(dashed[i]), "--%s", all_options[i].option.name);
        word[n++] = dashed[i];
    }
    return completion_print(shell, &(struct completion) { word, n });
}

/* -------------------------------------------------------------------------------------------- */

static int run(struct parsed *p, int argc, char **argv)
{
    const struct ctl_command *c = find_command(argv[0]);
    int r;

    if (!c)
        return print_command_help(argv[0]); /* which says that there is none */
    if (argc - 1 < c->min || argc - 1 > c->max)
        return ctl_say(CTL_USAGE, "usage: profctl %s %s", c->name, c->arguments);
    r = refuse_options(c, p);
    if (r != CTL_OK)
        return r;
    if (!p->o.token)
        p->o.token = getenv("LIBPROF_HTTP_TOKEN");
    r = c->run(c, &p->o, argv + 1, argc - 1);
    if ((fflush(stdout) != 0 || ferror(stdout)) && r == CTL_OK && !ctl_reader_left())
        return ctl_say(CTL_FAILED, "The output could not be written: %s.", strerror(errno));
    return r;
}

int main(int argc, char **argv)
{
    struct parsed p = { 0 };

    if (argc > 0)
        argv[0] = (char *)"profctl"; /* for getopt's messages */
    signal(SIGPIPE, SIG_IGN);        /* a reader that has seen enough is no failure of ours */
    term_setup(TERM_AUTO);
    /* A command that hands all it is given to another program has nothing of it read here. */
    const struct ctl_command *first = argc > 1 ? find_command(argv[1]) : NULL;
    if (first && first->takes & CTL_TAKES_ANYTHING)
        return first->run(first, &p.o, argv + 2, argc - 2);
    int r = parse(&p, argc, argv);
    if (r != CTL_OK)
        return r;
    term_setup(p.color);
    if (p.version) {
        printf("profctl %d.%d.%d\n", PROF_VERSION_MAJOR, PROF_VERSION_MINOR, PROF_VERSION_PATCH);
        return fflush(stdout) == 0 ? CTL_OK : CTL_FAILED;
    }
    argc -= optind;
    argv += optind;
    if (argc == 2 && strcmp(argv[0], "completion") == 0)
        return print_completion(argv[1]);
    if (argc > 0 && strcmp(argv[0], "help") == 0)
        return argc > 1 ? print_command_help(argv[1]) : print_help();
    if (p.help)
        return argc > 0 ? print_command_help(argv[0]) : print_help();
    if (argc == 0) {
        print_help();
        return CTL_USAGE;
    }
    return run(&p, argc, argv);
}
