/*
 * demangle_parse.c - a mangled C++ name, read from left to right into a tree.
 *
 * One function for each rule of the grammar, named after it. Three things are remembered on the
 * way: every part that a later S_, S0_, ... may stand for; the arguments of the template that T_,
 * T0_, ... count, which in the name of a conversion come only after they are asked for; and the
 * depth, so that no name can exhaust the stack.
 *
 * Source: the Itanium C++ ABI, section 5.1.
 */
#include "symbol/demangle_parse.h"

enum { NUMBER_MAX = 1 << 24 };

/* --- nodes ----------------------------------------------------------------------------------- */

struct prof__name *prof__parse_node(struct parse *p, enum prof__name_kind kind)
{
    struct prof__name_room *r = p->room;

    if (r->n_nodes == r->nodes_max) {
        fail(p);
        return NULL;
    }
    struct prof__name *n = &r->node[r->n_nodes++];
    memset(n, 0, sizeof(*n));
    n->kind = (uint8_t)kind;
    return n;
}

name_p prof__parse_text(struct parse *p, enum prof__name_kind kind, const char *text, size_t size)
{
    struct prof__name *n = prof__parse_node(p, kind);

    if (n) {
        n->text = text;
        n->size = (uint32_t)size;
    }
    return n;
}

name_p prof__parse_word(struct parse *p, const char *text)
{
    return prof__parse_text(p, PROF__N_TEXT, text, strlen(text));
}

/* A node of one to three others; a missing first one is an error made before. */
name_p prof__parse_join(struct parse *p, enum prof__name_kind kind, name_p a, name_p b, name_p c)
{
    struct prof__name *n = p->failed ? NULL : prof__parse_node(p, kind);

    if (n) {
        n->a = a;
        n->b = b;
        n->c = c;
    }
    return n;
}

name_p prof__parse_numbered(struct parse *p, enum prof__name_kind kind, name_p a, uint32_t number)
{
    struct prof__name *n = p->failed ? NULL : prof__parse_node(p, kind);

    if (n) {
        n->a = a;
        n->number = number;
    }
    return n;
}

name_p prof__parse_remember(struct parse *p, name_p n)
{
    struct prof__name_room *r = p->room;

    if (!n || p->failed)
        return NULL;
    if (r->n_seen == r->seen_max)
        return fail(p);
    r->seen[r->n_seen++] = (struct prof__name_seen) { n, p->arguments, p->in_lambda };
    return n;
}

/* --- numbers and lists ----------------------------------------------------------------------- */

uint32_t prof__parse_number(struct parse *p)
{
    uint32_t n = 0;

    if (!is_digit(*p->at))
        fail(p);
    while (is_digit(*p->at) && n < NUMBER_MAX)
        n = n * 10 + (uint32_t)(*p->at++ - '0');
    if (n >= NUMBER_MAX)
        fail(p);
    return n;
}

/* "_" is 0, "0_" is 1, and so on. */
uint32_t prof__parse_compact(struct parse *p)
{
    uint32_t n = *p->at == '_' ? 0 : prof__parse_number(p) + 1;

    if (!eat(p, '_'))
        fail(p);
    return n;
}

/* The same to base 36, as of substitutions. */
uint32_t prof__parse_sequence(struct parse *p)
{
    uint32_t n = 0;

    if (eat(p, '_'))
        return 0;
    for (; is_digit(*p->at) || (*p->at >= 'A' && *p->at <= 'Z'); p->at++) {
        n = n * 36 + (uint32_t)(*p->at - (is_digit(*p->at) ? '0' : 'A' - 10));
        if (n >= NUMBER_MAX) {
            fail(p);
            return 0;
        }
    }
    if (!eat(p, '_'))
        fail(p);
    return n + 1;
}

void prof__parse_append(struct parse *p, struct list *l, name_p item)
{
    struct prof__name *n = item && !p->failed ? prof__parse_node(p, PROF__N_LIST) : NULL;

    if (!n) {
        fail(p);
        return;
    }
    n->a = item;
    if (l->last)
        l->last->b = n;
    else
        l->first = n;
    l->last = n;
}

/* Items up to `end`, which is eaten. */
name_p prof__parse_list(struct parse *p, char end, name_p (*item)(struct parse *))
{
    struct list l = { NULL, NULL };

    while (!p->failed && !eat(p, end))
        prof__parse_append(p, &l, item(p));
    return l.first;
}

/* --- encodings ------------------------------------------------------------------------------- */

name_p prof__parse_special(struct parse *p, const char *what, name_p of)
{
    struct prof__name *n =
        (struct prof__name *)prof__parse_join(p, PROF__N_SPECIAL, of, NULL, NULL);

    if (n) {
        n->text = what;
        n->size = (uint32_t)strlen(what);
    }
    return n;
}

/* How far a thunk moves the object. */
static void call_offset(struct parse *p)
{
    bool is_virtual = *p->at == 'v';

    p->at++; /* h or v */
    eat(p, 'n');
    prof__parse_number(p);
    if (!eat(p, '_'))
        fail(p);
    if (!is_virtual)
        return;
    eat(p, 'n');
    prof__parse_number(p);
    if (!eat(p, '_'))
        fail(p);
}

static name_p special_name(struct parse *p)
{
    char first = p->at[0], second = p->at[1];
    name_p n, of;

    p->at += 2;
    if (first == 'T') {
        switch (second) {
        case 'V':
            return prof__parse_special(p, "vtable for ", prof__parse_type(p));
        case 'T':
            return prof__parse_special(p, "VTT for ", prof__parse_type(p));
        case 'I':
            return prof__parse_special(p, "typeinfo for ", prof__parse_type(p));
        case 'S':
            return prof__parse_special(p, "typeinfo name for ", prof__parse_type(p));
        case 'H':
            return prof__parse_special(p, "TLS init function for ", prof__parse_name(p, NULL));
        case 'W':
            return prof__parse_special(p, "TLS wrapper function for ", prof__parse_name(p, NULL));
        case 'A':
            return prof__parse_special(p, "template parameter object for ",
                                       prof__parse_template_arg(p));
        case 'h':
            p->at--;
            call_offset(p);
            return prof__parse_special(p, "non-virtual thunk to ", prof__parse_encoding(p));
        case 'v':
            p->at--;
            call_offset(p);
            return prof__parse_special(p, "virtual thunk to ", prof__parse_encoding(p));
        case 'c':
            call_offset(p);
            call_offset(p);
            return prof__parse_special(p, "covariant return thunk to ", prof__parse_encoding(p));
        case 'C': {
            of = prof__parse_type(p);
            prof__parse_number(p);
            if (!eat(p, '_'))
                return fail(p);
            name_p in = prof__parse_type(p);
            struct prof__name *s =
                (struct prof__name *)prof__parse_special(p, "construction vtable for ", in);
            if (s) {
                s->b = of;
                s->text2 = "-in-";
            }
            return s;
        }
        default:
            return fail(p);
        }
    }
    switch (second) {
    case 'V':
        return prof__parse_special(p, "guard variable for ", prof__parse_name(p, NULL));
    case 'R': {
        n = prof__parse_name(p, NULL);
        uint32_t i = prof__parse_sequence(p);
        struct prof__name *s =
            (struct prof__name *)prof__parse_special(p, "reference temporary #", n);
        if (s) {
            s->number = i;
            s->text2 = " for ";
        }
        return s;
    }
    case 'T':
        if (eat(p, 't'))
            return prof__parse_special(p, "transaction clone for ", prof__parse_encoding(p));
        if (eat(p, 'n'))
            return prof__parse_special(p, "non-transaction clone for ", prof__parse_encoding(p));
        return fail(p);
    case 'A':
        return prof__parse_special(p, "hidden alias for ", prof__parse_encoding(p));
    default:
        return fail(p);
    }
}

static bool is_nameless(name_p n)
{
    while (n->kind == PROF__N_QUALIFIED || n->kind == PROF__N_LOCAL ||
           n->kind == PROF__N_DEFAULT_ARG || n->kind == PROF__N_TAGGED)
        n = n->kind == PROF__N_QUALIFIED || n->kind == PROF__N_LOCAL ? n->b : n->a;
    return n->kind == PROF__N_CONSTRUCTOR || n->kind == PROF__N_DESTRUCTOR ||
           n->kind == PROF__N_CONVERSION;
}

/* Only templates have what they return in their names. */
static bool has_return_type(name_p n)
{
    while (n->kind == PROF__N_LOCAL || n->kind == PROF__N_DEFAULT_ARG || n->kind == PROF__N_TAGGED)
        n = n->kind == PROF__N_LOCAL ? n->b : n->a;
    return n->kind == PROF__N_TEMPLATE && !is_nameless(n->a);
}

static void settle(struct parse *p, size_t from)
{
    for (size_t i = from; i < p->n_later; i++) {
        p->later[i]->a = prof__parse_nth(p->arguments, p->later[i]->number);
        if (!p->later[i]->a)
            fail(p);
    }
    p->n_later = from;
}

static name_p encoding_inner(struct parse *p)
{
    struct state s = { 0, 0 };
    size_t n_later = p->n_later;

    if ((*p->at == 'G' && p->at[1]) || (*p->at == 'T' && p->at[1]))
        return special_name(p);
    name_p n = prof__parse_name(p, &s), from = NULL;
    if (p->failed)
        return NULL;
    settle(p, n_later);
    if (*p->at == '\0' || *p->at == 'E' || *p->at == '.')
        return n;
    if (eat(p, 'J') || has_return_type(n))
        from = prof__parse_type(p);
    name_p to = prof__parse_parameters(p);
    prof__parse_constraint(p);
    struct prof__name *f =
        (struct prof__name *)prof__parse_join(p, PROF__N_FUNCTION, from, to, NULL);
    if (!f)
        return NULL;
    f->quals = s.quals;
    f->ref = s.ref;
    return prof__parse_join(p, PROF__N_ENCODING, n, f, NULL);
}

name_p prof__parse_encoding(struct parse *p)
{
    bool in_lambda = p->in_lambda, is_later = p->is_later;

    if (p->failed || p->depth == PROF__PARSE_DEPTH_MAX)
        return fail(p);
    p->depth++;
    p->in_lambda = p->is_later = false;
    name_p n = encoding_inner(p);
    p->in_lambda = in_lambda;
    p->is_later = is_later;
    p->depth--;
    return p->failed ? NULL : n;
}

/* What compilers append to functions that they cut up or made several of. */
static name_p clones(struct parse *p, name_p n)
{
    while (!p->failed && p->at[0] == '.') {
        const char *start = p->at++;

        if ((*p->at < 'a' || *p->at > 'z') && *p->at != '_' && !is_digit(*p->at))
            return fail(p);
        while ((*p->at >= 'a' && *p->at <= 'z') || *p->at == '_' || is_digit(*p->at))
            p->at++;
        while (p->at[0] == '.' && is_digit(p->at[1]))
            for (p->at++; is_digit(*p->at); p->at++)
                ;
        struct prof__name *c =
            (struct prof__name *)prof__parse_join(p, PROF__N_CLONE, n, NULL, NULL);
        if (c) {
            c->text = start;
            c->size = (uint32_t)(p->at - start);
        }
        n = c;
    }
    return n;
}

const struct prof__name *prof__name_parse(struct prof__name_room *room, const char *mangled)
{
    struct parse p = { .room = room, .at = mangled + 2 };

    room->n_nodes = room->n_seen = 0;
    name_p n = prof__parse_encoding(&p);
    if (n && !p.failed)
        n = clones(&p, n);
    return p.failed || *p.at ? NULL : n;
}
