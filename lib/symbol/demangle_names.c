/*
 * demangle_names.c - names in mangled names: simple, nested, local to functions, seen before.
 */
#include "symbol/demangle_parse.h"

name_p prof__parse_source_name(struct parse *p)
{
    uint32_t size = prof__parse_number(p);

    if (p->failed || size == 0 || strnlen(p->at, size) < size)
        return fail(p);
    const char *text = p->at;
    p->at += size;
    if (size >= 10 && strncmp(text, "_GLOBAL_", 8) == 0 && text[9] == 'N' &&
        (text[8] == '.' || text[8] == '_' || text[8] == '$'))
        return prof__parse_word(p, "(anonymous namespace)");
    return prof__parse_text(p, PROF__N_TEXT, text, size);
}

name_p prof__parse_abi_tags(struct parse *p, name_p n)
{
    while (!p->failed && eat(p, 'B'))
        n = prof__parse_join(p, PROF__N_TAGGED, n, prof__parse_source_name(p), NULL);
    return n;
}

name_p prof__parse_operator_name(struct parse *p, struct state *s)
{
    if (eat2(p, "cv")) {
        bool later = p->is_later;

        p->is_later = s != NULL || later;
        name_p to = prof__parse_type(p);
        p->is_later = later;
        return prof__parse_join(p, PROF__N_CONVERSION, to, NULL, NULL);
    }
    if (eat2(p, "li"))
        return prof__parse_join(p, PROF__N_LITERAL_OPERATOR, prof__parse_source_name(p), NULL,
                                NULL);
    if (p->at[0] == 'v' && is_digit(p->at[1])) { /* a vendor's */
        p->at += 2;
        return prof__parse_join(p, PROF__N_CONVERSION, prof__parse_source_name(p), NULL, NULL);
    }
    const struct prof__op *op = prof__parse_op(p->at);
    if (!op || !op->is_name)
        return fail(p);
    p->at += 2;
    return prof__parse_text(p, PROF__N_OPERATOR, op->text, strlen(op->text));
}

static name_p lambda(struct parse *p)
{
    bool outer = p->in_lambda;

    p->in_lambda = true;
    struct list parameters = { NULL, NULL };
    while (!p->failed && prof__parse_is_declaration(p))
        prof__parse_declaration(p);
    prof__parse_constraint(p);
    if (!(p->at[0] == 'v' && (p->at[1] == 'E' || p->at[1] == 'Q')))
        while (!p->failed && *p->at != 'Q' && *p->at != 'E')
            prof__parse_append(p, &parameters, prof__parse_type(p));
    else
        p->at++;
    prof__parse_constraint(p);
    if (!eat(p, 'E'))
        fail(p);
    p->in_lambda = outer;
    return prof__parse_numbered(p, PROF__N_LAMBDA, parameters.first, prof__parse_compact(p) + 1);
}

static name_p constructor(struct parse *p, name_p in)
{
    bool inherits = p->at[1] == 'I';
    char kind = p->at[1 + inherits];

    if (!in || kind < '1' || kind > '5')
        return fail(p);
    p->at += 2 + inherits;
    if (inherits)
        prof__parse_type(p); /* of the base that has it */
    return prof__parse_join(p, PROF__N_CONSTRUCTOR, in, NULL, NULL);
}

static name_p binding(struct parse *p)
{
    return prof__parse_join(p, PROF__N_BINDING, prof__parse_list(p, 'E', prof__parse_source_name),
                            NULL, NULL);
}

/* `in`: the class or namespace that it is in, which constructors are called after. */
static name_p unqualified_name(struct parse *p, struct state *s, name_p in)
{
    name_p n;

    if (*p->at == 'L') /* internal linkage */
        p->at++;
    if (is_digit(*p->at)) {
        n = prof__parse_source_name(p);
    } else if (eat2(p, "Ut")) {
        n = prof__parse_numbered(p, PROF__N_UNNAMED, NULL, prof__parse_compact(p) + 1);
        prof__parse_remember(p, n);
    } else if (eat2(p, "Ul")) {
        n = lambda(p);
    } else if (eat2(p, "DC")) {
        n = binding(p);
    } else if (*p->at == 'C') {
        n = constructor(p, in);
    } else if (*p->at == 'D' && p->at[1] >= '0' && p->at[1] <= '5' && in) {
        p->at += 2;
        n = prof__parse_join(p, PROF__N_DESTRUCTOR, in, NULL, NULL);
    } else {
        n = prof__parse_operator_name(p, s);
    }
    return prof__parse_abi_tags(p, n);
}

name_p prof__parse_nth(name_p list, uint32_t n)
{
    while (list && n--)
        list = list->b;
    return list ? list->a : NULL;
}

name_p prof__parse_template_param(struct parse *p)
{
    uint32_t level = 0;

    p->at++; /* T */
    if (eat(p, 'L')) {
        level = prof__parse_number(p) + 1;
        if (!eat(p, '_'))
            return fail(p);
    }
    uint32_t index = prof__parse_compact(p);
    if (p->failed)
        return NULL;
    struct prof__name *n = prof__parse_node(p, PROF__N_PARAMETER);
    if (!n)
        return NULL;
    n->number = index;
    if (p->in_lambda || level) /* it is `auto` there */
        return n;
    if (p->is_later) {
        if (p->n_later == PROF__PARSE_LATER_MAX)
            return fail(p);
        p->later[p->n_later++] = n;
        return n;
    }
    n->a = prof__parse_nth(p->arguments, index);
    return n->a ? n : fail(p);
}

/* T_ within what was seen in one function means, in another, that one's argument: `n` with those of
 * now; itself where it has none. */
static name_p rebound(struct parse *p, name_p n, unsigned depth)
{
    if (!n || depth == PROF__PARSE_DEPTH_MAX || n->kind == PROF__N_ENCODING ||
        n->kind == PROF__N_LOCAL)
        return n;
    name_p a = n->a, b = n->b, c = n->c;
    if (n->kind == PROF__N_PARAMETER) {
        a = prof__parse_nth(p->arguments, n->number);
        if (!a)
            a = n->a;
    } else {
        a = rebound(p, n->a, depth + 1);
        b = rebound(p, n->b, depth + 1);
        c = rebound(p, n->c, depth + 1);
    }
    if (a == n->a && b == n->b && c == n->c)
        return n;
    struct prof__name *copy = prof__parse_node(p, (enum prof__name_kind)n->kind);
    if (!copy)
        return NULL;
    *copy = *n;
    copy->a = a;
    copy->b = b;
    copy->c = c;
    return copy;
}

struct abbreviation {
    char code;
    const char *text, *whole, *base;
};

/* One of the standard library's, or of what was seen. `is_prefix`: more of a name may follow. */
name_p prof__parse_substitution(struct parse *p, bool is_prefix)
{
    static const struct abbreviation known[] = {
        { 'a', "std::allocator", "std::allocator", "allocator" },
        { 'b', "std::basic_string", "std::basic_string", "basic_string" },
        { 's', "std::string",
          "std::basic_string<char, std::char_traits<char>, std::allocator<char> >",
          "basic_string" },
        { 'i', "std::istream", "std::basic_istream<char, std::char_traits<char> >",
          "basic_istream" },
        { 'o', "std::ostream", "std::basic_ostream<char, std::char_traits<char> >",
          "basic_ostream" },
        { 'd', "std::iostream", "std::basic_iostream<char, std::char_traits<char> >",
          "basic_iostream" },
    };

    p->at++; /* S */
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        const struct abbreviation *k = &known[i];
        struct prof__name *n;

        if (!eat(p, k->code))
            continue;
        n = prof__parse_node(p, PROF__N_TEXT);
        if (!n)
            return NULL;
        /* In front of a constructor by the name that this has. */
        n->text = is_prefix && (*p->at == 'C' || *p->at == 'D') ? k->whole : k->text;
        n->text2 = k->base;
        n->size = (uint32_t)strlen(n->text);
        if (*p->at != 'B')
            return n;
        return prof__parse_remember(p, prof__parse_abi_tags(p, n));
    }
    uint32_t index = prof__parse_sequence(p);
    if (p->failed || index >= p->room->n_seen)
        return fail(p);
    const struct prof__name_seen *seen = &p->room->seen[index];
    bool is_same = seen->arguments == p->arguments && seen->in_lambda == p->in_lambda;
    return is_same || !p->arguments ? seen->name : rebound(p, seen->name, 0);
}

static name_p nested_name(struct parse *p, struct state *s)
{
    struct state here = { 0, 0 };
    name_p n = NULL;

    eat(p, 'H'); /* a member function with an explicit object */
    for (;; p->at++) {
        if (*p->at == 'r')
            here.quals |= PROF__Q_RESTRICT;
        else if (*p->at == 'V')
            here.quals |= PROF__Q_VOLATILE;
        else if (*p->at == 'K')
            here.quals |= PROF__Q_CONST;
        else
            break;
    }
    if (eat(p, 'R'))
        here.ref = PROF__Q_REF;
    else if (eat(p, 'O'))
        here.ref = PROF__Q_RVALUE_REF;
    if (s)
        *s = here;
    while (!p->failed && !eat(p, 'E')) {
        name_p next = NULL;
        bool is_new = true;

        if (*p->at == 'M' && n) { /* a member's initializer: what follows is in it */
            p->at++;
            continue;
        }
        if (*p->at == 'I' && n) {
            n = prof__parse_join(p, PROF__N_TEMPLATE, n, prof__parse_template_args(p, s != NULL),
                                 NULL);
        } else if (*p->at == 'S' && !n) {
            if (eat2(p, "St")) {
                n = prof__parse_word(p, "std");
                continue;
            }
            n = prof__parse_substitution(p, true);
            is_new = false;
        } else if (*p->at == 'T' && !n) {
            n = prof__parse_template_param(p);
        } else if (*p->at == 'D' && (p->at[1] == 't' || p->at[1] == 'T') && !n) {
            n = prof__parse_decltype(p);
        } else {
            next = unqualified_name(p, s, n);
            n = n ? prof__parse_join(p, PROF__N_QUALIFIED, n, next, NULL) : next;
        }
        if (is_new && *p->at != 'E')
            prof__parse_remember(p, n);
    }
    return n ? n : fail(p);
}

/* The number of one of several things of the same name in a function, which nobody shows. */
static void discriminator(struct parse *p)
{
    if (*p->at != '_')
        return;
    if (is_digit(p->at[1])) {
        p->at += 2;
    } else if (p->at[1] == '_' && is_digit(p->at[2])) {
        p->at += 2;
        while (is_digit(*p->at))
            p->at++;
        eat(p, '_');
    }
}

static name_p local_name(struct parse *p, struct state *s)
{
    name_p function = prof__parse_encoding(p), in;

    if (!eat(p, 'E'))
        return fail(p);
    if (eat(p, 's')) {
        discriminator(p);
        return prof__parse_join(p, PROF__N_LOCAL, function, prof__parse_word(p, "string literal"),
                                NULL);
    }
    if (eat(p, 'd')) {
        uint32_t n = prof__parse_compact(p) + 1;

        in = prof__parse_name(p, s);
        in = prof__parse_numbered(p, PROF__N_DEFAULT_ARG, in, n);
    } else {
        in = prof__parse_name(p, s);
        discriminator(p);
    }
    return prof__parse_join(p, PROF__N_LOCAL, function, in, NULL);
}

name_p prof__parse_name(struct parse *p, struct state *s)
{
    name_p n;

    if (s)
        *s = (struct state) { 0, 0 };
    if (eat(p, 'N'))
        return nested_name(p, s);
    if (eat(p, 'Z'))
        return local_name(p, s);
    if (p->at[0] == 'S' && p->at[1] != 't') {
        n = prof__parse_substitution(p, false);
        if (*p->at != 'I')
            return fail(p);
    } else {
        bool is_std = eat2(p, "St");

        n = unqualified_name(p, s, NULL);
        if (is_std)
            n = prof__parse_join(p, PROF__N_QUALIFIED, prof__parse_word(p, "std"), n, NULL);
        if (*p->at == 'I')
            prof__parse_remember(p, n);
    }
    if (*p->at == 'I')
        n = prof__parse_join(p, PROF__N_TEMPLATE, n, prof__parse_template_args(p, s != NULL), NULL);
    return n;
}
