/*
 * redirect.h - objects that do not call the hooks, and have them put into their way.
 */
#ifndef PROF_HOOKS_REDIRECT_H
#define PROF_HOOKS_REDIRECT_H

#include "base/compiler.h"

/* Once, in a constructor, when the real functions are known. */
void prof__redirect_start(void) __attribute__((visibility("hidden")));

/* May we call dlopen() for that caller, so that we can look at once? Its address tells the linker
 * where else to search. If not, the objects are looked at when somebody comes again. */
bool prof__redirect_may_call(const char *file, const void *caller)
    __attribute__((visibility("hidden")));

/* One is about to come by RTLD_DEEPBIND, and has been looked at. Whoever looks meanwhile may see it
 * first: another thread, or a dlopen() of its constructor. What is left for later, or never comes
 * to its end as a constructor throws, has all that come take as deep: then operators of C++ that
 * are not bound yet are left alone where more than one library has them. */
void prof__redirect_deep_begin(void) __attribute__((visibility("hidden")));
void prof__redirect_deep_end(void) __attribute__((visibility("hidden")));

/* Objects may have come or gone. The caller has just been in the linker, or is about to, and holds
 * nothing. errno is kept. */
void prof__redirect_after_load(void) __attribute__((visibility("hidden")));
void prof__redirect_after_unload(void) __attribute__((visibility("hidden")));

/* The file of the object that has this function. */
const char *prof__redirect_name_of(const void *function, char *buf, size_t size)
    __attribute__((visibility("hidden")));

#endif
