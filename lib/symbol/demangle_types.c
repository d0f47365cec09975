/*
 * demangle_types.c - types in mangled names, and the arguments of templates.
 */
#include "symbol/demangle_parse.h"

static const char *builtin(char c)
{
    static const char *const names[26] = {
        ['a' - 'a'] = "signed char", ['b' - 'a'] = "bool",
        ['c' - 'a'] = "char",        ['d' - 'a'] = "double",
        ['e' - 'a'] = "long double", ['f' - 'a'] = "float",
        ['g' - 'a'] = "__float128",  ['h' - 'a'] = "unsigned char",
        ['i' - 'a'] = "int",         ['j' - 'a'] = "unsigned int",
        ['l' - 'a'] = "long",        ['m' - 'a'] = "unsigned long",
        ['n' - 'a'] = "__int128",    ['o' - 'a'] = "unsigned __int128",
        ['s' - 'a'] = "short",       ['t' - 'a'] = "unsigned short",
        ['v' - 'a'] = "void",        ['w' - 'a'] = "wchar_t",
        ['x' - 'a'] = "long long",   ['y' - 'a'] = "unsigned long long",
        ['z' - 'a'] = "...",
    };

    return c >= 'a' && c <= 'z' ? names[c - 'a'] : NULL;
}

static const char *builtin_d(char c)
{
    switch (c) {
    case 'a':
        return "auto";
    case 'c':
        return "decltype(auto)";
    case 'd':
        return "decimal64";
    case 'e':
        return "decimal128";
    case 'f':
        return "decimal32";
    case 'h':
        return "half";
    case 'i':
        return "char32_t";
    case 'n':
        return "decltype(nullptr)";
    case 's':
        return "char16_t";
    case 'u':
        return "char8_t";
    default:
        return NULL;
    }
}

/* Types up to what ends a function's; one `void` is none. */
name_p prof__parse_parameters(struct parse *p)
{
    struct list l = { NULL, NULL };

    if (p->at[0] == 'v' && (p->at[1] == '\0' || strchr("E.ROQ", p->at[1]))) {
        p->at++;
        return NULL;
    }
    while (!p->failed && *p->at && !strchr("E.Q", *p->at)) {
        if ((p->at[0] == 'R' || p->at[0] == 'O') && p->at[1] == 'E')
            break;
        prof__parse_append(p, &l, prof__parse_type(p));
    }
    return l.first ? l.first : fail(p);
}

/* From F on, with what stood before it. */
static name_p function_type(struct parse *p)
{
    bool may_not_throw = false, is_transaction = false;
    name_p throws = NULL;

    if (eat2(p, "Do")) {
        may_not_throw = true;
    } else if (eat2(p, "DO")) {
        throws = prof__parse_expression(p);
        if (!eat(p, 'E'))
            return fail(p);
        may_not_throw = true;
    } else if (eat2(p, "Dw")) {
        prof__parse_list(p, 'E', prof__parse_type);
    }
    if (eat2(p, "Dx"))
        is_transaction = true;
    if (!eat(p, 'F'))
        return fail(p);
    eat(p, 'Y');
    name_p from = prof__parse_type(p);
    name_p to = prof__parse_parameters(p);
    struct prof__name *f =
        (struct prof__name *)prof__parse_join(p, PROF__N_FUNCTION, from, to, throws);
    if (!f)
        return NULL;
    f->is_transaction = is_transaction;
    f->number = may_not_throw;
    if (p->at[0] == 'R' && p->at[1] == 'E')
        f->ref = PROF__Q_REF;
    else if (p->at[0] == 'O' && p->at[1] == 'E')
        f->ref = PROF__Q_RVALUE_REF;
    p->at += f->ref != 0;
    return eat(p, 'E') ? f : fail(p);
}

static name_p array_type(struct parse *p)
{
    name_p size = NULL;

    p->at++;
    if (is_digit(*p->at)) {
        const char *text = p->at;

        prof__parse_number(p);
        size = prof__parse_text(p, PROF__N_TEXT, text, (size_t)(p->at - text));
    } else if (*p->at != '_') {
        size = prof__parse_expression(p);
    }
    if (!eat(p, '_'))
        return fail(p);
    name_p of = prof__parse_type(p);
    return prof__parse_join(p, PROF__N_ARRAY, size, of, NULL);
}

static name_p vector_type(struct parse *p)
{
    name_p size;

    p->at += 2; /* Dv */
    if (eat(p, '_')) {
        size = prof__parse_expression(p);
    } else {
        const char *text = p->at;

        prof__parse_number(p);
        size = prof__parse_text(p, PROF__N_TEXT, text, (size_t)(p->at - text));
    }
    if (!eat(p, '_'))
        return fail(p);
    name_p of = prof__parse_type(p);
    return prof__parse_join(p, PROF__N_VECTOR, size, of, NULL);
}

static name_p qualified_type(struct parse *p)
{
    uint8_t quals = 0;

    for (;; p->at++) {
        if (*p->at == 'r')
            quals |= PROF__Q_RESTRICT;
        else if (*p->at == 'V')
            quals |= PROF__Q_VOLATILE;
        else if (*p->at == 'K')
            quals |= PROF__Q_CONST;
        else
            break;
    }
    /* A function's are part of its type, which cannot be referred to without them. */
    bool is_function = *p->at == 'F' || (*p->at == 'D' && strchr("oOwx", p->at[1]) && p->at[1]);
    name_p of = is_function ? function_type(p) : prof__parse_type(p);
    struct prof__name *n = (struct prof__name *)prof__parse_join(p, PROF__N_QUALS, of, NULL, NULL);
    if (n)
        n->quals = quals;
    return n;
}

static name_p vendor_qualified(struct parse *p)
{
    p->at++;
    name_p q = prof__parse_source_name(p);
    if (*p->at == 'I')
        q = prof__parse_join(p, PROF__N_TEMPLATE, q, prof__parse_template_args(p, false), NULL);
    name_p of = prof__parse_type(p);
    return prof__parse_join(p, PROF__N_SUFFIX, of, q, NULL);
}

name_p prof__parse_decltype(struct parse *p)
{
    p->at += 2; /* Dt or DT */
    name_p e = prof__parse_expression(p);
    return eat(p, 'E') ? prof__parse_join(p, PROF__N_DECLTYPE, e, NULL, NULL) : fail(p);
}

/* Types whose code starts with D. *ret_is_builtin: it is none of those that can be referred to. */
static name_p type_d(struct parse *p, bool *ret_is_builtin)
{
    const char *b = builtin_d(p->at[1]);

    *ret_is_builtin = b != NULL;
    if (b) {
        p->at += 2;
        return prof__parse_word(p, b);
    }
    switch (p->at[1]) {
    case 't':
    case 'T':
        return prof__parse_decltype(p);
    case 'v':
        return vector_type(p);
    case 'p':
        p->at += 2;
        return prof__parse_join(p, PROF__N_EXPANSION, prof__parse_type(p), NULL, NULL);
    case 'F': { /* a float of so many bits */
        p->at += 2;
        const char *digits = p->at;
        prof__parse_number(p);
        size_t size = (size_t)(p->at - digits);
        *ret_is_builtin = true;
        if (eat(p, 'b'))
            return prof__parse_word(p, "std::bfloat16_t");
        if (*p->at == 'x') {
            p->at++;
            size++;
        } else if (!eat(p, '_')) {
            return fail(p);
        }
        return prof__parse_special(p, "_Float", prof__parse_text(p, PROF__N_TEXT, digits, size));
    }
    default:
        return function_type(p);
    }
}

/* A template parameter or one of those seen, and its arguments, if it is a template. */
static name_p with_arguments(struct parse *p, name_p n)
{
    if (*p->at != 'I' || p->failed)
        return n;
    if (p->is_later && n->kind == PROF__N_PARAMETER) {
        /* After the type that a conversion is to, they are the conversion's own, unless these come
         * as well. */
        struct prof__name_room *r = p->room;
        size_t n_nodes = r->n_nodes, n_seen = r->n_seen, n_later = p->n_later;
        const char *at = p->at;

        prof__parse_template_args(p, false);
        bool are_its_own = *p->at == 'I' && !p->failed;
        p->failed = false;
        p->at = at;
        r->n_nodes = n_nodes;
        r->n_seen = n_seen;
        p->n_later = n_later;
        if (!are_its_own)
            return n;
    }
    return prof__parse_remember(
        p, prof__parse_join(p, PROF__N_TEMPLATE, n, prof__parse_template_args(p, false), NULL));
}

static name_p wrapped(struct parse *p, enum prof__name_kind kind)
{
    p->at++;
    return prof__parse_join(p, kind, prof__parse_type(p), NULL, NULL);
}

static name_p type_inner(struct parse *p)
{
    const char *b = builtin(*p->at);
    bool is_builtin = false;
    name_p n, of;

    if (b && !(*p->at == 'r')) {
        p->at++;
        return prof__parse_word(p, b);
    }
    switch (*p->at) {
    case 'r':
    case 'V':
    case 'K':
        n = qualified_type(p);
        break;
    case 'P':
        n = wrapped(p, PROF__N_POINTER);
        break;
    case 'R':
        n = wrapped(p, PROF__N_REFERENCE);
        break;
    case 'O':
        n = wrapped(p, PROF__N_RVALUE_REFERENCE);
        break;
    case 'C':
    case 'G': {
        const char *what = *p->at == 'C' ? "_Complex" : "_Imaginary";

        p->at++;
        of = prof__parse_type(p);
        n = prof__parse_join(p, PROF__N_SUFFIX, of, prof__parse_word(p, what), NULL);
        break;
    }
    case 'U':
        if (p->at[1] == 't' || p->at[1] == 'l')
            n = prof__parse_name(p, NULL);
        else
            n = vendor_qualified(p);
        break;
    case 'u':
        p->at++;
        n = prof__parse_source_name(p);
        if (*p->at == 'I')
            n = prof__parse_join(p, PROF__N_TEMPLATE, n, prof__parse_template_args(p, false), NULL);
        break;
    case 'F':
        n = function_type(p);
        break;
    case 'A':
        n = array_type(p);
        break;
    case 'M':
        p->at++;
        of = prof__parse_type(p);
        n = prof__parse_join(p, PROF__N_MEMBER_POINTER, of, prof__parse_type(p), NULL);
        break;
    case 'T':
        if (p->at[1] == 's' || p->at[1] == 'u' || p->at[1] == 'e') {
            p->at += 2;
            n = prof__parse_name(p, NULL);
            break;
        }
        n = prof__parse_remember(p, prof__parse_template_param(p));
        return with_arguments(p, n);
    case 'S':
        if (p->at[1] == 't') {
            n = prof__parse_name(p, NULL);
            break;
        }
        n = prof__parse_substitution(p, false);
        return with_arguments(p, n);
    case 'D':
        n = type_d(p, &is_builtin);
        if (is_builtin)
            return n;
        break;
    default:
        n = prof__parse_name(p, NULL);
    }
    return prof__parse_remember(p, n);
}

name_p prof__parse_type(struct parse *p)
{
    if (p->failed || p->depth == PROF__PARSE_DEPTH_MAX)
        return fail(p);
    p->depth++;
    name_p n = type_inner(p);
    p->depth--;
    return p->failed ? NULL : n;
}

/* --- template arguments ---------------------------------------------------------------------- */

/* What C++20 demands of arguments is read over: it tells overloads apart, not what a function does.
 * T_ counts nothing in it, since the arguments may be yet to come. */
void prof__parse_constraint(struct parse *p)
{
    bool outer = p->in_lambda;

    if (!eat(p, 'Q'))
        return;
    p->in_lambda = true;
    prof__parse_expression(p);
    p->in_lambda = outer;
}

/* How a parameter was declared: before the argument for it, where that does not show it. */
bool prof__parse_is_declaration(const struct parse *p)
{
    return *p->at == 'T' && p->at[1] && strchr("ynptk", p->at[1]);
}

void prof__parse_declaration(struct parse *p)
{
    if (p->failed || !prof__parse_is_declaration(p) || p->depth == PROF__PARSE_DEPTH_MAX) {
        fail(p);
        return;
    }
    bool outer = p->in_lambda;

    p->depth++;
    p->in_lambda = true;
    p->at++;
    switch (*p->at++) {
    case 'n': /* a value of this type */
        prof__parse_type(p);
        break;
    case 'k': /* a type of this concept */
        prof__parse_name(p, NULL);
        break;
    case 't': /* a template of such parameters */
        while (!p->failed && *p->at != 'Q' && *p->at != 'E')
            prof__parse_declaration(p);
        prof__parse_constraint(p);
        if (!eat(p, 'E'))
            fail(p);
        break;
    case 'p': /* any number of such */
        prof__parse_declaration(p);
        break;
    default: /* a type */
        break;
    }
    p->in_lambda = outer;
    p->depth--;
}

name_p prof__parse_template_arg(struct parse *p)
{
    name_p n;

    if (prof__parse_is_declaration(p))
        prof__parse_declaration(p);
    switch (*p->at) {
    case 'X':
        p->at++;
        n = prof__parse_expression(p);
        return eat(p, 'E') ? n : fail(p);
    case 'J':
    case 'I': {
        p->at++;
        name_p items = prof__parse_list(p, 'E', prof__parse_template_arg);
        return prof__parse_join(p, PROF__N_PACK, items, NULL, NULL);
    }
    case 'L':
        return prof__parse_literal(p);
    default:
        return prof__parse_type(p);
    }
}

/* `are_counted`: T_ means these from now on, from the first that has been read. */
name_p prof__parse_template_args(struct parse *p, bool are_counted)
{
    struct list l = { NULL, NULL };
    bool later = p->is_later;

    if (p->depth == PROF__PARSE_DEPTH_MAX)
        return fail(p);
    p->depth++;
    p->at++; /* I */
    /* T_ in the arguments of a conversion is no longer about the type in its name. */
    if (are_counted)
        p->is_later = false;
    while (!p->failed && *p->at != 'Q' && *p->at != 'E')
        prof__parse_append(p, &l, prof__parse_template_arg(p));
    prof__parse_constraint(p);
    if (!eat(p, 'E'))
        fail(p);
    p->is_later = later;
    p->depth--;
    struct prof__name *all =
        (struct prof__name *)prof__parse_join(p, PROF__N_PACK, l.first, NULL, NULL);
    if (are_counted && all)
        p->arguments = l.first;
    return all;
}
