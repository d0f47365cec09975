/*
 * presence.h - which hooks are in this process, and what goes past them.
 */
#ifndef PROF_RECORD_PRESENCE_H
#define PROF_RECORD_PRESENCE_H

#include "base/compiler.h"

enum prof__hooks {
    PROF__HOOKS_NONE,
    PROF__HOOKS_HERE,     /* they see what the process allocates */
    PROF__HOOKS_ASIDE,    /* a sanitizer owns malloc, so they forward and record nothing */
    PROF__HOOKS_WRAPPED,  /* they see what was linked with --wrap, and no shared library */
    PROF__HOOKS_BYPASSED, /* another malloc comes first in the process, or they came too late */
};

/*
 * One copy of the hooks. There may be two in a process: that of libprof-hooks or libprof-wrap,
 * linked, and that of libprof-preload. The one that comes first goes straight to what stands behind
 * the other.
 */
struct prof__hooks_copy {
    void *(*malloc)(size_t size);    /* its own */
    void *(*real)(const char *name); /* the function that its hook of this name ends up in */
};

/* Defined by those libraries, if they are there. */
extern PROF_SHARED const struct prof__hooks_copy prof__hooks_linked __attribute__((weak));
extern PROF_SHARED const struct prof__hooks_copy prof__hooks_preloaded __attribute__((weak));
extern PROF_SHARED const struct prof__hooks_copy prof__hooks_wrapped __attribute__((weak));

/* All, or NULL. Here, because an executable that holds a copy cannot itself name a symbol that may
 * be missing; and asking dlsym() for one leaves an error behind for the program. */
extern PROF_SHARED const struct prof__hooks_copy *const prof__hooks_copies[3];

/* The hooks are in this process, and how they fare. If bypassed, `object` is what has the malloc()
 * that comes before theirs, else NULL. */
PROF_SHARED void prof__hooks_present(enum prof__hooks how, const char *object);

/* A runtime that gives out parts of blocks, of which only the whole is seen. */
enum prof__pool {
    PROF__POOL_PYTHON = 1,
    PROF__POOL_PHP = 2,
    PROF__POOL_RUBY = 4,
};
PROF_SHARED void prof__heap_pools(unsigned pools);

/* This many loaded objects call another malloc than the hooks stand before; the last that was found
 * is this one, by this function. 0: none, and the names of those before are forgotten. By one
 * thread at a time. Context: normal. */
PROF_SHARED void prof__heap_bypassed(unsigned objects, const char *object, const char *function);

/* --- what reading asks. Context: signal ------------------------------------------------------ */

enum prof__hooks prof__hooks_how(void);

/* If bypassed, the object that has the malloc() before theirs. */
const char *prof__hooks_before(void);

/* Is what the process allocates seen at all? */
bool prof__heap_watched(void);

/* How many objects call a malloc that the hooks do not stand before, and which: "a (malloc), b
 * (free)". While another is found the text may be a mixture of both, ended all the same. */
unsigned prof__heap_bypassed_objects(void);
const char *prof__heap_bypassed_names(void);

/* Bits of enum prof__pool. */
unsigned prof__heap_pools_seen(void);

#endif
