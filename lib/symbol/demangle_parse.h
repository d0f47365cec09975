/*
 * demangle_parse.h - what the files that read mangled names share: demangle_parse.c has the rest.
 */
#ifndef PROF_SYMBOL_DEMANGLE_PARSE_H
#define PROF_SYMBOL_DEMANGLE_PARSE_H

#include <string.h>

#include "symbol/demangle_ops.h"
#include "symbol/demangle_tree.h"

enum { PROF__PARSE_DEPTH_MAX = 192, PROF__PARSE_LATER_MAX = 16 };

typedef const struct prof__name *name_p;

struct parse {
    struct prof__name_room *room;
    const char *at;
    unsigned depth;
    name_p arguments; /* list that T_ counts; NULL: none yet */
    bool in_lambda;   /* in the parameters of one, where T_ is `auto` */
    bool is_later;    /* in a conversion's type: T_ is settled when the arguments have come */
    struct prof__name *later[PROF__PARSE_LATER_MAX];
    size_t n_later;
    bool failed;
};

/* What the name of a function has besides: of the innermost encoding that is being read. */
struct state {
    uint8_t quals, ref;
};

/* --- reading --------------------------------------------------------------------------------- */

static inline name_p fail(struct parse *p)
{
    p->failed = true;
    return NULL;
}

static inline bool eat(struct parse *p, char c)
{
    if (*p->at != c)
        return false;
    p->at++;
    return true;
}

static inline bool eat2(struct parse *p, const char *two)
{
    if (p->at[0] != two[0] || p->at[1] != two[1])
        return false;
    p->at += 2;
    return true;
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A number in decimal; "_" is 0, "0_" is 1 and so on; the same to base 36. */
uint32_t prof__parse_number(struct parse *p);
uint32_t prof__parse_compact(struct parse *p);
uint32_t prof__parse_sequence(struct parse *p);

/* --- nodes: NULL, and the parse has failed, when there are too many -------------------------- */

struct prof__name *prof__parse_node(struct parse *p, enum prof__name_kind kind);
name_p prof__parse_text(struct parse *p, enum prof__name_kind kind, const char *text, size_t size);
name_p prof__parse_word(struct parse *p, const char *text);

/* A node of one to three others, which are NULL where they failed. */
name_p prof__parse_join(struct parse *p, enum prof__name_kind kind, name_p a, name_p b, name_p c);
name_p prof__parse_numbered(struct parse *p, enum prof__name_kind kind, name_p a, uint32_t number);

/* S_ and its kin may mean this from now on. */
name_p prof__parse_remember(struct parse *p, name_p n);

struct list {
    name_p first;
    struct prof__name *last;
};

void prof__parse_append(struct parse *p, struct list *l, name_p item);

/* Items up to `end`, which is eaten. */
name_p prof__parse_list(struct parse *p, char end, name_p (*item)(struct parse *));

/* The item of a list at index n, or NULL. */
name_p prof__parse_nth(name_p list, uint32_t n);

/* --- rules of the grammar -------------------------------------------------------------------- */

/* demangle_names.c. `s`: of a function that is being read, or NULL. */
name_p prof__parse_name(struct parse *p, struct state *s);
name_p prof__parse_source_name(struct parse *p);
name_p prof__parse_abi_tags(struct parse *p, name_p n);
name_p prof__parse_operator_name(struct parse *p, struct state *s);
name_p prof__parse_template_param(struct parse *p);
name_p prof__parse_substitution(struct parse *p, bool is_prefix);

/* demangle_types.c. `are_counted`: T_ means these from now on. */
name_p prof__parse_type(struct parse *p);
name_p prof__parse_parameters(struct parse *p);
name_p prof__parse_decltype(struct parse *p);
name_p prof__parse_template_arg(struct parse *p);
name_p prof__parse_template_args(struct parse *p, bool are_counted);
void prof__parse_constraint(struct parse *p); /* if there is one */
bool prof__parse_is_declaration(const struct parse *p);
void prof__parse_declaration(struct parse *p);

/* demangle_exprs.c */
name_p prof__parse_expression(struct parse *p);
name_p prof__parse_literal(struct parse *p);
const struct prof__op *prof__parse_op(const char *code);

/* demangle_parse.c */
name_p prof__parse_encoding(struct parse *p);
name_p prof__parse_special(struct parse *p, const char *what, name_p of);

#endif
