/*
 * demangle_print.h - what the files that print names share.
 */
#ifndef PROF_SYMBOL_DEMANGLE_PRINT_H
#define PROF_SYMBOL_DEMANGLE_PRINT_H

#include <string.h>

#include "symbol/demangle_tree.h"

enum { PROF__DM_TEXT_MAX = 64 << 10, PROF__DM_STEPS_MAX = 1 << 19, PROF__DM_DEPTH_MAX = 384 };

struct prof__demangler {
    struct prof__name_room room;
    size_t size; /* of the text so far */
    unsigned depth, steps;
    bool is_bare; /* no parameters */
    bool failed;
    unsigned in_lambda; /* in how many lambdas' parameters */
    int pack_at;        /* which of a pack's arguments is printed; -1: all */
    char text[PROF__DM_TEXT_MAX];
};

typedef const struct prof__name *name_p;

/* demangle.c */
void prof__dm_put_n(struct prof__demangler *d, const char *s, size_t n);
void prof__dm_put(struct prof__demangler *d, const char *s);
void prof__dm_put_number(struct prof__demangler *d, uint32_t v);
char prof__dm_last(const struct prof__demangler *d);
void prof__dm_print(struct prof__demangler *d, name_p n);
void prof__dm_print_left(struct prof__demangler *d, name_p n);
void prof__dm_print_right(struct prof__demangler *d, name_p n);
void prof__dm_print_list(struct prof__demangler *d, name_p list);

/* demangle_print.c: the argument that a template parameter stands for now; NULL: none, of an empty
 * pack. The first pack among the parameters of a pattern, and how many arguments it has. */
name_p prof__dm_argument(const struct prof__demangler *d, name_p n);
name_p prof__dm_find_pack(struct prof__demangler *d, name_p n, unsigned depth);
int prof__dm_pack_size(name_p pack);

/* Half of a type of two halves. False: it is none. */
bool prof__dm_print_half(struct prof__demangler *d, name_p n, bool left);
void prof__dm_function_left(struct prof__demangler *d, name_p f);
void prof__dm_function_right(struct prof__demangler *d, name_p f, uint8_t quals);

/* demangle_print_exprs.c. False: it is no expression. */
bool prof__dm_print_expression(struct prof__demangler *d, name_p n);

#endif
