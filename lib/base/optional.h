/*
 * optional.h - libraries that recording does without.
 *
 * Only who reads wants the format of pprof, or what debug information is packed with. As
 * needs of libprof's own they would be loaded whoever starts, and a program would not start at all
 * where one is missing. So libprof.so opens them itself: when the program starts, as the loader
 * would; for once it runs, asking the loader may mean to wait for a plug-in's constructor, or in a
 * forked child for nobody. Only where nothing is going to be read (preloaded without LIBPROF_HTTP
 * and LIBPROF_DUMP) they are left until something is all the same.
 *
 *   caller -> function of the library's name, hidden in libprof.so (*_loaded.c) -> the library's
 *
 * In libprof.a there are no such functions, and the linker takes the libraries'.
 */
#ifndef PROF_BASE_OPTIONAL_H
#define PROF_BASE_OPTIONAL_H

#include "base/compiler.h"

struct prof__optional {
    const char *soname, *package; /* package: as Debian calls it */
    const char *without;          /* what happens without it, "there are no ..." */
    struct {
        const char *name;
        void *pointer; /* to the pointer to that function */
    } function[16];    /* up to one without a name */

    _Atomic int state;   /* optional_loaded.c's */
    _Atomic bool missed; /* it was needed and is not there */
    char why[160];       /* the loader's words for it */
    struct prof__optional *next;
};

/* A function of the library's, as its users call it: X(result, name, parameters, arguments), or
 * X(name, parameters, arguments) if it returns nothing. The FIRST of a library is what they call
 * first, and gives `missing` if the library is not there; then they call no other. */
#define PROF__OPTIONAL(result, name, parameters, arguments) \
    static __typeof__(name) *real_##name;                   \
    result name parameters                                  \
    {                                                       \
        return real_##name arguments;                       \
    }
#define PROF__OPTIONAL_VOID(name, parameters, arguments) \
    static __typeof__(name) *real_##name;                \
    void name parameters                                 \
    {                                                    \
        real_##name arguments;                           \
    }
#define PROF__OPTIONAL_FIRST(library, result, name, parameters, arguments, missing) \
    static struct prof__optional library;                                           \
    static __typeof__(name) *real_##name;                                           \
    result name parameters                                                          \
    {                                                                               \
        return prof__optional_need(&library) ? real_##name arguments : (missing);   \
    }
#define PROF__OPTIONAL_PLACE(name) \
    {                              \
#name, &real_##name        \
    }

/* Known from now on, and loaded, unless nothing is going to be read. For constructors. */
void prof__optional_add(struct prof__optional *library);

/* Its functions are there, which are called after this only. May ask the loader, see above. */
bool prof__optional_need(struct prof__optional *library);

/* A line for each that was needed and is missing. Returns their bytes. */
size_t prof__optional_missed(char *buf, size_t size);

/* For optional_loaded.c. */
extern struct prof__optional *_Atomic prof__optional_all;

#endif
