/*
 * demangle_tree.h - a mangled name taken apart: what demangle_parse.c makes and demangle.c prints.
 */
#ifndef PROF_SYMBOL_DEMANGLE_TREE_H
#define PROF_SYMBOL_DEMANGLE_TREE_H

#include "base/compiler.h"

enum prof__name_kind {
    PROF__N_TEXT,        /* text: a name, a type */
    PROF__N_QUALIFIED,   /* a::b */
    PROF__N_LOCAL,       /* b in function a */
    PROF__N_DEFAULT_ARG, /* a in default argument `number` */
    PROF__N_TAGGED,      /* a[abi:b] */
    PROF__N_TEMPLATE,    /* a<b> */
    PROF__N_LIST,        /* a, then the list b */
    PROF__N_PACK,        /* arguments a, as one */
    PROF__N_EXPANSION,   /* a... */
    PROF__N_PARAMETER,   /* template parameter `number`; a: what it stands for, but in a lambda */
    PROF__N_CONSTRUCTOR, /* of a */
    PROF__N_DESTRUCTOR,
    PROF__N_OPERATOR,   /* text: what follows `operator` */
    PROF__N_CONVERSION, /* operator a */
    PROF__N_LITERAL_OPERATOR,
    PROF__N_LAMBDA,   /* of parameters a, the `number`th */
    PROF__N_UNNAMED,  /* type, the `number`th */
    PROF__N_BINDING,  /* [a] */
    PROF__N_ENCODING, /* function a of type b */
    PROF__N_SPECIAL,  /* text a, then if there is one " in " b or the like in text2 */
    PROF__N_CLONE,    /* a [clone text] */
    PROF__N_FUNCTION, /* type: from b to a, which may be missing; quals, ref; c: what it throws */
    PROF__N_POINTER,  /* to a, and so on */
    PROF__N_REFERENCE,
    PROF__N_RVALUE_REFERENCE,
    PROF__N_QUALS,          /* a, with quals */
    PROF__N_SUFFIX,         /* a b: complex, imaginary, vendor's */
    PROF__N_MEMBER_POINTER, /* to b of class a */
    PROF__N_ARRAY,          /* of b, a of them; a may be missing */
    PROF__N_VECTOR,
    PROF__N_DECLTYPE,
    PROF__N_LITERAL,             /* text of type a */
    PROF__N_FUNCTION_PARAMETER,  /* number; 0: this */
    PROF__N_NULLARY,             /* op */
    PROF__N_UNARY,               /* op a */
    PROF__N_POSTFIX,             /* a op */
    PROF__N_BINARY,              /* a op b */
    PROF__N_CONDITIONAL,         /* a ? b : c */
    PROF__N_CALL,                /* a(b) */
    PROF__N_SUBSCRIPT,           /* a[b] */
    PROF__N_CAST,                /* (a)b */
    PROF__N_NAMED_CAST,          /* op<a>(b) */
    PROF__N_NEW,                 /* op (a) b c */
    PROF__N_BRACES,              /* a{b}; a may be missing */
    PROF__N_FOLD,                /* op over a, and b if there is one; number: the kind */
    PROF__N_PACK_SIZE,           /* how many a has */
    PROF__N_FUNCTION_EXPRESSION, /* a function's encoding as a value */
};

enum { PROF__Q_CONST = 1, PROF__Q_VOLATILE = 2, PROF__Q_RESTRICT = 4 };
enum { PROF__Q_REF = 1, PROF__Q_RVALUE_REF = 2 };

struct prof__name {
    uint8_t kind;
    uint8_t quals, ref;
    bool is_negative, is_transaction;
    uint32_t number;
    uint32_t size; /* of text */
    const char *text, *text2;
    const struct prof__name *a, *b, *c;
};

/* What S_, S0_ and so on stand for. */
struct prof__name_seen {
    const struct prof__name *name;
    const struct prof__name *arguments; /* that its T_ counted */
    bool in_lambda;                     /* where T_ counts nothing yet */
};

/* Room to take one name apart in. */
struct prof__name_room {
    struct prof__name *node;
    size_t n_nodes, nodes_max;
    struct prof__name_seen *seen;
    size_t n_seen, seen_max;
};

/* The tree of a mangled name that starts with "_Z" and ends at its NUL. NULL: it is none, or more
 * than there is room for. The name stays in use. */
const struct prof__name *prof__name_parse(struct prof__name_room *room, const char *mangled);

#endif
