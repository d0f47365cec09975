/*
 * ctl.h - between the files of profctl: commands, options, and how it ends.
 *
 *   arguments -> command -> target -> [client -> reply -> profile] -> term
 *
 * A command is a row of profctl.c's table and a function in a file with others of its kind. It gets
 * options that have been read and checked, and returns the exit status; what went wrong it has told
 * on stderr by then, in one sentence that says what to do.
 */
#ifndef PROF_TOOL_CTL_H
#define PROF_TOOL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* Exit status, as --help and profctl(1) list it. */
enum ctl_exit {
    CTL_OK = 0,
    CTL_FAILED = 1,      /* a reason that none of the others is */
    CTL_USAGE = 2,       /* wrong use */
    CTL_NOT_FOUND = 3,   /* no such process, file or profile */
    CTL_NOT_ALLOWED = 4, /* another user's */
    CTL_NO_ANSWER = 5,   /* it has ended, or does not answer */
    CTL_NO_LIBPROF = 6,  /* there is none in it, or none that can do this */
};

/* What a profile is shown as. */
enum ctl_form { CTL_FORM_DEFAULT, CTL_TEXT, CTL_JSON, CTL_PPROF, CTL_FOLDED, CTL_FLAME };

/* Which options a command takes; those for --help, --color and --token always. */
enum ctl_takes {
    CTL_TAKES_SECONDS = 1 << 0,
    CTL_TAKES_OUTPUT = 1 << 1,
    CTL_TAKES_FORMS = 1 << 2, /* --text, --pprof, --folded, --flame */
    CTL_TAKES_JSON = 1 << 3,
    CTL_TAKES_TABLE = 1 << 4, /* --rows, --sort, --type, --all-code, --names */
    CTL_TAKES_ANYTHING = 1 << 5,
    CTL_TAKES_STOP = 1 << 6,  /* --stop: of programs without libprof, and their cores */
    CTL_TAKES_DIFF = 1 << 7,  /* --diff, likewise */
    CTL_TAKES_CORE = 1 << 12, /* --exe, --sysroot: of core files */
    CTL_TAKES_PORT = 1 << 8,
    CTL_TAKES_ALL = 1 << 9,
    CTL_TAKES_SITE = 1 << 10, /* holders */
    CTL_TAKES_AGE = 1 << 11,
    CTL_TAKES_ROWS = 1 << 13,   /* --rows alone */
    CTL_TAKES_TRACE = 1 << 14,  /* --io, --sched, --last */
    CTL_TAKES_BLOCKS = 1 << 15, /* --by-type: of a core */
};

struct ctl_options {
    double seconds;     /* of --seconds; 0: now, or the command's default */
    double diff;        /* seconds of --diff; 0: not */
    const char *output; /* of -o; NULL: stdout */
    enum ctl_form form;
    const char *site;  /* of --site, an expression; NULL: all */
    double age;        /* seconds of --age; 0: as the process has it */
    const char *type;  /* sample type; NULL: the one shown first */
    const char *names; /* short, full, mangled; NULL: short */
    const char *token;
    const char *exe, *sysroot; /* of a core file: its program, its files; NULL: where they were */
    unsigned rows;             /* of tables; 0: what fits */
    uint16_t port;             /* of --port; 0: any */
    bool by_cum, all_code, stop, all, io, sched, last, by_type;
};

struct ctl_command {
    const char *name;
    const char *arguments; /* as --help shows them */
    unsigned takes;        /* of ctl_takes */
    int min, max;          /* how many arguments */
    int (*run)(const struct ctl_command *self, const struct ctl_options *o, char **argv, int argc);
    const char *about; /* one line */
    const char *help;  /* more, for "profctl help NAME"; NULL: nothing */
};

/* The rows, one array a file; each ends with a row without a name. */
extern const struct ctl_command ctl_list_commands[], ctl_profile_commands[], ctl_live_commands[],
    ctl_ui_commands[], ctl_rates_commands[], ctl_run_commands[];

/* "profctl: " and a sentence on stderr; returns `status`. */
int ctl_say(int status, const char *format, ...) PROF_PRINTF(2, 3);

/* Has whoever read our standard output closed it, as head(1) does? That is no failure of ours. */
bool ctl_reader_left(void);

/* Out of memory. */
int ctl_no_memory(void);

#endif
