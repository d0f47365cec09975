/*
 * taker.h - taking a capture: from what a clause wants to files on the shelf.
 *
 *   profile -> without names, from memory and into a file that were there before -> on the shelf
 *           -> with names, if there is time and memory for that                  -> in its place
 *
 * One thread, that of the watch, with a descriptor table of its own. Others read the counters.
 */
#ifndef PROF_CAPTURE_TAKER_H
#define PROF_CAPTURE_TAKER_H

#include <prof/prof.h>

#include "capture/hook.h"
#include "capture/rules.h"
#include "capture/shelf.h"

enum { PROF__PENDING_MAX = 4 };

/* What a capture is called; the profile and the time come when it is taken. */
struct prof__occasion {
    unsigned number;
    char rule[64], value[32];
    bool exec;
};

struct prof__pending { /* a window that is open */
    struct prof_window *window;
    int64_t due_ns; /* of prof__monotonic_ns() */
    struct prof__kept kept;
    struct prof__occasion occasion;
};

/* For others to read. */
struct prof__taker_counts {
    _Atomic int dir_error, hook_error, last_error; /* negative errnos */
    _Atomic uint64_t failed, nameless, unheard;    /* as capture.h has them */
};

struct prof__taker {
    struct prof__taker_counts *counts;
    int dir;         /* -1: none */
    int64_t since_s; /* when its process's captures began */
    char path[PROF__CAPTURE_PATH];
    unsigned first, last;
    uint64_t bytes;
    struct prof__shelf_file ready; /* fd -1: none */
    struct prof__hook hook;
    struct prof__shelf_item *room; /* for keeping */
    void *lent;
    size_t lent_bytes;
    struct prof__pending pending[PROF__PENDING_MAX];
    double names_bytes, names_ms; /* what names took the last time; < 0: not known yet */
    /* Set by the watch: bytes to the limit, and how many of them go a second. */
    double headroom, growth;
    void (*done)(unsigned number, int error); /* all of a capture is there, or failed */
};

/* `own`: the directory must be this user's. What cannot be had shows in the counts. */
void prof__taker_open(struct prof__taker *t, const struct prof__rules *rules, const char *path,
                      bool own, int64_t since_s, struct prof__taker_counts *counts,
                      void (*done)(unsigned number, int error));
void prof__taker_close(struct prof__taker *t);

/* Take all that is wanted; of windows, open them. */
void prof__taker_take(struct prof__taker *t, const struct prof__wanted *wanted, unsigned n,
                      const struct prof__occasion *o);

/* Write the windows that are due. */
void prof__taker_finish(struct prof__taker *t, int64_t now_ns);

/* When that is next; INT64_MAX: none is open. */
int64_t prof__taker_due_ns(const struct prof__taker *t);

#endif
