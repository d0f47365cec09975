/*
 * demangle_print_exprs.c - expressions, with as many parentheses as GNU's demangler has.
 */
#include "symbol/demangle_print.h"

static void print_in_parentheses(struct prof__demangler *d, name_p n)
{
    prof__dm_put(d, "(");
    prof__dm_print(d, n);
    prof__dm_put(d, ")");
}

/* An operand: in parentheses, unless it is a name. */
static void print_operand(struct prof__demangler *d, name_p n)
{
    if (n->kind == PROF__N_FUNCTION_EXPRESSION)
        n = n->a;
    if (n->kind == PROF__N_TEXT || n->kind == PROF__N_QUALIFIED || n->kind == PROF__N_BRACES ||
        n->kind == PROF__N_FUNCTION_PARAMETER)
        prof__dm_print(d, n);
    else
        print_in_parentheses(d, n);
}

static void print_literal(struct prof__demangler *d, name_p n)
{
    static const struct {
        const char *type, *suffix;
    } known[] = {
        { "int", "" },         { "unsigned int", "u" },
        { "long", "l" },       { "unsigned long", "ul" },
        { "long long", "ll" }, { "unsigned long long", "ull" },
    };
    name_p of = n->a;

    if (of->kind == PROF__N_TEXT) {
        for (size_t i = 0; i < ARRAY_LEN(known); i++) {
            if (of->size != strlen(known[i].type) ||
                strncmp(of->text, known[i].type, of->size) != 0)
                continue;
            if (n->is_negative)
                prof__dm_put(d, "-");
            prof__dm_put_n(d, n->text, n->size);
            prof__dm_put(d, known[i].suffix);
            return;
        }
        if (of->size == 4 && strncmp(of->text, "bool", 4) == 0 && n->size == 1 && !n->is_negative &&
            (n->text[0] == '0' || n->text[0] == '1')) {
            prof__dm_put(d, n->text[0] == '1' ? "true" : "false");
            return;
        }
    }
    print_in_parentheses(d, of);
    if (n->is_negative)
        prof__dm_put(d, "-");
    bool is_float = of->kind == PROF__N_TEXT &&
                    ((of->size == 5 && strncmp(of->text, "float", 5) == 0) ||
                     (of->size >= 6 && strncmp(of->text + of->size - 6, "double", 6) == 0));
    if (is_float)
        prof__dm_put(d, "[");
    prof__dm_put_n(d, n->text, n->size);
    if (is_float)
        prof__dm_put(d, "]");
}

static void print_unary(struct prof__demangler *d, name_p n)
{
    const char *code = n->text2;
    name_p of = n->a;

    prof__dm_put_n(d, n->text, n->size);
    if (strcmp(code, "ad") == 0 && of->kind == PROF__N_FUNCTION_EXPRESSION) {
        /* The address of a function: of a method its name will do. */
        name_p e = of->a;
        if (e->kind == PROF__N_ENCODING && e->a->kind == PROF__N_QUALIFIED && !e->b->quals &&
            !e->b->ref)
            prof__dm_print(d, e->a);
        else if (e->kind == PROF__N_ENCODING)
            print_in_parentheses(d, e);
        else
            print_operand(d, e);
        return;
    }
    if (strcmp(code, "gs") == 0)
        prof__dm_print(d, of);
    else if (strcmp(code, "st") == 0 || strcmp(code, "nx") == 0)
        print_in_parentheses(d, of);
    else
        print_operand(d, of);
}

static void print_binary(struct prof__demangler *d, name_p n)
{
    bool is_greater = n->size == 1 && n->text[0] == '>'; /* not the end of the arguments */

    if (is_greater)
        prof__dm_put(d, "(");
    print_operand(d, n->a);
    prof__dm_put_n(d, n->text, n->size);
    print_operand(d, n->b);
    if (is_greater)
        prof__dm_put(d, ")");
}

static void print_call(struct prof__demangler *d, name_p n)
{
    name_p f = n->a;

    if (f->kind == PROF__N_FUNCTION_EXPRESSION && f->a->kind == PROF__N_ENCODING)
        print_operand(d, f->a->a);
    else
        print_operand(d, f);
    prof__dm_put(d, "(");
    prof__dm_print_list(d, n->b);
    prof__dm_put(d, ")");
}

static void print_fold(struct prof__demangler *d, name_p n)
{
    bool left = n->number == 'l' || n->number == 'L', both = n->b != NULL;
    int outer = d->pack_at;

    d->pack_at = -1;
    prof__dm_put(d, "(");
    if (both) {
        print_operand(d, n->a);
        prof__dm_put_n(d, n->text, n->size);
        prof__dm_put(d, "...");
        prof__dm_put_n(d, n->text, n->size);
        print_operand(d, n->b);
    } else if (left) {
        prof__dm_put(d, "...");
        prof__dm_put_n(d, n->text, n->size);
        print_operand(d, n->a);
    } else {
        print_operand(d, n->a);
        prof__dm_put_n(d, n->text, n->size);
        prof__dm_put(d, "...");
    }
    prof__dm_put(d, ")");
    d->pack_at = outer;
}

static void print_new(struct prof__demangler *d, name_p n)
{
    prof__dm_put_n(d, n->text, n->size);
    prof__dm_put(d, " ");
    if (n->a) {
        prof__dm_put(d, "(");
        prof__dm_print_list(d, n->a);
        prof__dm_put(d, ") ");
    }
    prof__dm_print(d, n->b);
    if (n->c)
        print_operand(d, n->c);
}

static int argument_count(struct prof__demangler *d, name_p of)
{
    int n = 0;

    if (of->kind != PROF__N_PACK) {
        name_p pack = prof__dm_find_pack(d, of, 0);

        return pack ? prof__dm_pack_size(pack) : 0;
    }
    for (name_p l = of->a; l; l = l->b) {
        name_p pack = l->a->kind == PROF__N_EXPANSION ? prof__dm_find_pack(d, l->a->a, 0) : NULL;

        n += l->a->kind == PROF__N_EXPANSION ? (pack ? prof__dm_pack_size(pack) : 0) : 1;
    }
    return n;
}

bool prof__dm_print_expression(struct prof__demangler *d, name_p n)
{
    switch (n->kind) {
    case PROF__N_LITERAL:
        print_literal(d, n);
        return true;
    case PROF__N_FUNCTION_PARAMETER:
        if (n->number) {
            prof__dm_put(d, "{parm#");
            prof__dm_put_number(d, n->number);
            prof__dm_put(d, "}");
        } else {
            prof__dm_put(d, "this");
        }
        return true;
    case PROF__N_FUNCTION_EXPRESSION:
        prof__dm_print(d, n->a);
        return true;
    case PROF__N_NULLARY:
        prof__dm_put_n(d, n->text, n->size);
        return true;
    case PROF__N_UNARY:
        print_unary(d, n);
        return true;
    case PROF__N_POSTFIX:
        print_operand(d, n->a);
        prof__dm_put_n(d, n->text, n->size);
        return true;
    case PROF__N_BINARY:
        print_binary(d, n);
        return true;
    case PROF__N_CONDITIONAL:
        print_operand(d, n->a);
        prof__dm_put(d, "?");
        print_operand(d, n->b);
        prof__dm_put(d, " : ");
        print_operand(d, n->c);
        return true;
    case PROF__N_CALL:
        print_call(d, n);
        return true;
    case PROF__N_SUBSCRIPT:
        print_operand(d, n->a);
        prof__dm_put(d, "[");
        prof__dm_print(d, n->b);
        prof__dm_put(d, "]");
        return true;
    case PROF__N_CAST:
        print_in_parentheses(d, n->a);
        print_operand(d, n->b);
        return true;
    case PROF__N_NAMED_CAST:
        prof__dm_put_n(d, n->text, n->size);
        prof__dm_put(d, "<");
        prof__dm_print(d, n->a);
        prof__dm_put(d, ">(");
        prof__dm_print(d, n->b);
        prof__dm_put(d, ")");
        return true;
    case PROF__N_NEW:
        print_new(d, n);
        return true;
    case PROF__N_BRACES:
        if (n->a)
            prof__dm_print(d, n->a);
        prof__dm_put(d, "{");
        prof__dm_print_list(d, n->b);
        prof__dm_put(d, "}");
        return true;
    case PROF__N_FOLD:
        print_fold(d, n);
        return true;
    case PROF__N_PACK_SIZE:
        prof__dm_put_number(d, (uint32_t)argument_count(d, n->a));
        return true;
    default:
        return false;
    }
}
