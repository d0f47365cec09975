/*
 * demangle_exprs.c - expressions in mangled names, which arguments of templates and what functions
 * return may be.
 */
#include "symbol/demangle_parse.h"

const struct prof__op *prof__parse_op(const char *code)
{
    for (size_t i = 0; i < prof__n_ops; i++)
        if (prof__ops[i].code[0] == code[0] && prof__ops[i].code[1] == code[1])
            return &prof__ops[i];
    return NULL;
}

name_p prof__parse_literal(struct parse *p)
{
    p->at++; /* L */
    if (eat2(p, "_Z") || eat(p, 'Z')) {
        name_p arguments = p->arguments;
        name_p n = prof__parse_encoding(p);

        p->arguments = arguments;
        return eat(p, 'E') ? prof__parse_join(p, PROF__N_FUNCTION_EXPRESSION, n, NULL, NULL)
                           : fail(p);
    }
    name_p of = prof__parse_type(p);
    struct prof__name *n =
        (struct prof__name *)prof__parse_join(p, PROF__N_LITERAL, of, NULL, NULL);
    if (!n)
        return NULL;
    n->is_negative = eat(p, 'n');
    n->text = p->at;
    while (*p->at && *p->at != 'E')
        p->at++;
    n->size = (uint32_t)(p->at - n->text);
    return eat(p, 'E') ? n : fail(p);
}

static name_p simple_id(struct parse *p)
{
    name_p n = is_digit(*p->at) ? prof__parse_source_name(p) : prof__parse_operator_name(p, NULL);

    n = prof__parse_abi_tags(p, n);
    if (*p->at == 'I')
        n = prof__parse_join(p, PROF__N_TEMPLATE, n, prof__parse_template_args(p, false), NULL);
    return n;
}

static name_p base_unresolved_name(struct parse *p)
{
    if (is_digit(*p->at))
        return simple_id(p);
    if (eat2(p, "dn")) {
        name_p n = is_digit(*p->at) ? simple_id(p) : prof__parse_type(p);

        return prof__parse_join(p, PROF__N_DESTRUCTOR, n, NULL, NULL);
    }
    eat2(p, "on");
    return simple_id(p);
}

/* From sr on. */
static name_p unresolved_name(struct parse *p)
{
    bool of_type = true;
    name_p n;

    p->at += 2;
    if (eat(p, 'N')) {
        n = prof__parse_type(p);
        if (*p->at == 'I')
            n = prof__parse_join(p, PROF__N_TEMPLATE, n, prof__parse_template_args(p, false), NULL);
        while (!p->failed && !eat(p, 'E'))
            n = prof__parse_join(p, PROF__N_QUALIFIED, n, simple_id(p), NULL);
    } else if (is_digit(*p->at)) { /* levels up to E, as older compilers wrote a type */
        const char *start = p->at;
        size_t n_nodes = p->room->n_nodes, n_seen = p->room->n_seen;

        n = simple_id(p);
        of_type = false;
        while (!p->failed && *p->at != 'E' && is_digit(*p->at))
            n = prof__parse_join(p, PROF__N_QUALIFIED, n, simple_id(p), NULL);
        if (!eat(p, 'E') || p->failed) {
            p->failed = false;
            of_type = true;
            p->at = start;
            p->room->n_nodes = n_nodes;
            p->room->n_seen = n_seen;
            n = prof__parse_type(p);
        }
    } else {
        n = prof__parse_type(p);
    }
    name_p base = base_unresolved_name(p);
    if (base && base->kind == PROF__N_TEMPLATE && !of_type)
        return prof__parse_join(p, PROF__N_TEMPLATE,
                                prof__parse_join(p, PROF__N_QUALIFIED, n, base->a, NULL), base->b,
                                NULL);
    return prof__parse_join(p, PROF__N_QUALIFIED, n, base, NULL);
}

static name_p op_node(struct parse *p, enum prof__name_kind kind, const struct prof__op *op,
                      name_p a, name_p b)
{
    struct prof__name *n = (struct prof__name *)prof__parse_join(p, kind, a, b, NULL);

    if (n) {
        n->text = op->text;
        n->size = (uint32_t)strlen(op->text);
        n->text2 = op->code;
    }
    return n;
}

static name_p function_parameter(struct parse *p)
{
    uint32_t index;

    if (eat2(p, "fL")) {
        prof__parse_number(p);
        if (!eat(p, 'p'))
            return fail(p);
    } else if (!eat2(p, "fp")) {
        return fail(p);
    }
    if (eat(p, 'T'))
        return prof__parse_numbered(p, PROF__N_FUNCTION_PARAMETER, NULL, 0);
    while (*p->at == 'r' || *p->at == 'V' || *p->at == 'K')
        p->at++;
    index = prof__parse_compact(p);
    return prof__parse_numbered(p, PROF__N_FUNCTION_PARAMETER, NULL, index + 1);
}

static name_p cast(struct parse *p)
{
    name_p to = prof__parse_type(p), from;

    if (eat(p, '_')) {
        from = prof__parse_list(p, 'E', prof__parse_expression);
        from = prof__parse_join(p, PROF__N_PACK, from, NULL, NULL);
    } else {
        from = prof__parse_expression(p);
    }
    return prof__parse_join(p, PROF__N_CAST, to, from, NULL);
}

static name_p braces(struct parse *p)
{
    name_p of = NULL;

    if (p->at[0] == 't')
        p->at += 2, of = prof__parse_type(p);
    else
        p->at += 2;
    name_p items = prof__parse_list(p, 'E', prof__parse_expression);
    return prof__parse_join(p, PROF__N_BRACES, of, items, NULL);
}

static name_p fold(struct parse *p)
{
    char kind = p->at[1];
    const struct prof__op *op;
    name_p a, b = NULL;

    p->at += 2;
    op = prof__parse_op(p->at);
    if (!op)
        return fail(p);
    p->at += 2;
    a = prof__parse_expression(p);
    if (kind == 'L' || kind == 'R')
        b = prof__parse_expression(p);
    struct prof__name *n = (struct prof__name *)op_node(p, PROF__N_FOLD, op, a, b);
    if (n)
        n->number = (uint32_t)kind;
    return n;
}

/* new: the placement's arguments, the type, and what it is made from. */
static name_p new_expression(struct parse *p, const struct prof__op *op)
{
    name_p placement = prof__parse_list(p, '_', prof__parse_expression);
    name_p of = prof__parse_type(p), from = NULL;

    if (eat2(p, "pi")) {
        from = prof__parse_list(p, 'E', prof__parse_expression);
        from = prof__parse_join(p, PROF__N_PACK, from, NULL, NULL);
    } else if (*p->at == 'i' && p->at[1] == 'l') {
        from = prof__parse_expression(p);
    } else if (!eat(p, 'E')) {
        return fail(p);
    }
    struct prof__name *n = (struct prof__name *)op_node(p, PROF__N_NEW, op, placement, of);
    if (n)
        n->c = from;
    return n;
}

static name_p operation(struct parse *p)
{
    const struct prof__op *op = prof__parse_op(p->at);
    name_p a, b;

    if (!op)
        return fail(p);
    p->at += 2;
    switch (op->kind) {
    case PROF__OP_NULLARY:
        return op_node(p, PROF__N_NULLARY, op, NULL, NULL);
    case PROF__OP_UNARY:
        if (strcmp(op->code, "pp") == 0 || strcmp(op->code, "mm") == 0) {
            bool is_prefix = eat(p, '_');

            return op_node(p, is_prefix ? PROF__N_UNARY : PROF__N_POSTFIX, op,
                           prof__parse_expression(p), NULL);
        }
        return op_node(p, PROF__N_UNARY, op, prof__parse_expression(p), NULL);
    case PROF__OP_OF_TYPE:
        return op_node(p, PROF__N_UNARY, op, prof__parse_type(p), NULL);
    case PROF__OP_BINARY:
        a = prof__parse_expression(p);
        b = prof__parse_expression(p);
        return op_node(p, PROF__N_BINARY, op, a, b);
    case PROF__OP_MEMBER:
        a = prof__parse_expression(p);
        b = base_unresolved_name(p);
        return op_node(p, PROF__N_BINARY, op, a, b);
    case PROF__OP_NAMED_CAST:
        a = prof__parse_type(p);
        b = prof__parse_expression(p);
        return op_node(p, PROF__N_NAMED_CAST, op, a, b);
    case PROF__OP_SUBSCRIPT:
        a = prof__parse_expression(p);
        b = prof__parse_expression(p);
        return prof__parse_join(p, PROF__N_SUBSCRIPT, a, b, NULL);
    case PROF__OP_CALL:
        a = prof__parse_expression(p);
        b = prof__parse_list(p, 'E', prof__parse_expression);
        return prof__parse_join(p, PROF__N_CALL, a, b, NULL);
    case PROF__OP_CONDITIONAL:
        a = prof__parse_expression(p);
        b = prof__parse_expression(p);
        return prof__parse_join(p, PROF__N_CONDITIONAL, a, b, prof__parse_expression(p));
    case PROF__OP_NEW:
        return new_expression(p, op);
    default:
        return fail(p);
    }
}

/* requires { ... }, with parameters or without: only ever in what is read over. */
static name_p requirements(struct parse *p)
{
    if (eat2(p, "rQ")) {
        while (!p->failed && !eat(p, '_'))
            prof__parse_type(p);
    } else {
        p->at += 2; /* rq */
    }
    while (!p->failed && !eat(p, 'E')) {
        if (eat(p, 'X')) {
            prof__parse_expression(p);
            eat(p, 'N');
            if (eat(p, 'R'))
                prof__parse_name(p, NULL);
        } else if (eat(p, 'T')) {
            prof__parse_type(p);
        } else if (*p->at == 'Q') {
            prof__parse_constraint(p);
        } else {
            return fail(p);
        }
    }
    return prof__parse_word(p, "requires");
}

static name_p expression_inner(struct parse *p)
{
    const char *at = p->at;
    name_p n;

    if (*at == 'L')
        return prof__parse_literal(p);
    if (*at == 'T')
        return prof__parse_template_param(p);
    if (is_digit(*at))
        return simple_id(p);
    if (*at == 'f' &&
        (at[1] == 'l' || at[1] == 'r' || at[1] == 'R' || (at[1] == 'L' && !is_digit(at[2]))))
        return fold(p);
    if (*at == 'f')
        return function_parameter(p);
    if (at[0] == 's' && at[1] == 'r')
        return unresolved_name(p);
    if (eat2(p, "sp"))
        return prof__parse_join(p, PROF__N_EXPANSION, prof__parse_expression(p), NULL, NULL);
    if (eat2(p, "cv"))
        return cast(p);
    if (eat2(p, "sZ")) {
        n = *p->at == 'T' ? prof__parse_template_param(p) : function_parameter(p);
        return prof__parse_join(p, PROF__N_PACK_SIZE, n, NULL, NULL);
    }
    if (eat2(p, "sP")) {
        n = prof__parse_list(p, 'E', prof__parse_template_arg);
        return prof__parse_join(p, PROF__N_PACK_SIZE,
                                prof__parse_join(p, PROF__N_PACK, n, NULL, NULL), NULL, NULL);
    }
    if ((at[0] == 'i' || at[0] == 't') && at[1] == 'l')
        return braces(p);
    if (at[0] == 'r' && (at[1] == 'q' || at[1] == 'Q'))
        return requirements(p);
    if (eat2(p, "on"))
        return simple_id(p);
    return operation(p);
}

name_p prof__parse_expression(struct parse *p)
{
    bool later = p->is_later;

    if (p->failed || p->depth == PROF__PARSE_DEPTH_MAX)
        return fail(p);
    p->depth++;
    name_p n = expression_inner(p);
    p->depth--;
    p->is_later = later;
    return p->failed ? NULL : n;
}
