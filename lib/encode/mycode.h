/*
 * mycode.h - whose code a frame is: the program's own, or that of allocators, containers, the
 * language's library and libc, which do what they are asked to.
 */
#ifndef PROF_ENCODE_MYCODE_H
#define PROF_ENCODE_MYCODE_H

#include "base/compiler.h"

/* A frame as the rules see it. */
struct prof__frame {
    const char *name;    /* short, as people read it */
    const char *file;    /* of the source; NULL: unknown */
    const char *mapping; /* the object's file */
    bool is_program;     /* the object is the program itself, not a library */
};

/* Is it the program's own? The rules, with their meaning, are in mycode.json. */
bool prof__is_my_code(const struct prof__frame *f);

#endif
