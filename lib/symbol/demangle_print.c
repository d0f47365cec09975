/*
 * demangle_print.c - types, which are printed around what they declare, and what template
 * parameters stand for.
 */
#include "symbol/demangle_print.h"

/* --- what parameters stand for --------------------------------------------------------------- */

/* The argument that a template parameter stands for now; NULL: none, of an empty pack. */
name_p prof__dm_argument(const struct prof__demangler *d, name_p n)
{
    name_p a = d->in_lambda ? NULL : n->a;

    if (!a || a->kind != PROF__N_PACK || d->pack_at < 0)
        return a;
    a = a->a;
    for (int i = 0; a && i < d->pack_at; i++)
        a = a->b;
    return a ? a->a : NULL;
}

/* A node, or what it stands for if it is a parameter. */
static name_p meaning(const struct prof__demangler *d, name_p n)
{
    for (int i = 0; n && n->kind == PROF__N_PARAMETER && i < PROF__DM_DEPTH_MAX; i++)
        n = prof__dm_argument(d, n);
    return n;
}

/* The first pack among the parameters of a pattern, not those within another expansion. */
name_p prof__dm_find_pack(struct prof__demangler *d, name_p n, unsigned depth)
{
    name_p found = NULL;

    if (!n || depth > PROF__DM_DEPTH_MAX || ++d->steps > PROF__DM_STEPS_MAX)
        return NULL;
    switch (n->kind) {
    case PROF__N_PARAMETER:
        return n->a && n->a->kind == PROF__N_PACK ? n->a : NULL;
    case PROF__N_EXPANSION:
    case PROF__N_LAMBDA:
    case PROF__N_TEXT:
    case PROF__N_TAGGED:
        return NULL;
    default:
        if ((found = prof__dm_find_pack(d, n->a, depth + 1)) == NULL &&
            (found = prof__dm_find_pack(d, n->b, depth + 1)) == NULL)
            found = prof__dm_find_pack(d, n->c, depth + 1);
        return found;
    }
}

int prof__dm_pack_size(name_p pack)
{
    int n = 0;

    for (name_p l = pack->a; l; l = l->b)
        n++;
    return n;
}

/* --- types ----------------------------------------------------------------------------------- */

static void print_quals(struct prof__demangler *d, uint8_t quals)
{
    if (quals & PROF__Q_CONST)
        prof__dm_put(d, " const");
    if (quals & PROF__Q_VOLATILE)
        prof__dm_put(d, " volatile");
    if (quals & PROF__Q_RESTRICT)
        prof__dm_put(d, " __restrict");
}

/* Is the type of that kind, whatever qualifies it? */
static bool is_kind(const struct prof__demangler *d, name_p n, enum prof__name_kind kind)
{
    n = meaning(d, n);
    while (n && n->kind == PROF__N_QUALS)
        n = meaning(d, n->a);
    return n && n->kind == kind;
}

static bool is_array(const struct prof__demangler *d, name_p n)
{
    return is_kind(d, n, PROF__N_ARRAY);
}

static bool is_function(const struct prof__demangler *d, name_p n)
{
    return is_kind(d, n, PROF__N_FUNCTION);
}

static bool is_function_or_array(const struct prof__demangler *d, name_p n)
{
    return is_function(d, n) || is_array(d, n);
}

/* A reference to a reference is one; *ret_of is what it refers to. */
static uint8_t collapse(const struct prof__demangler *d, name_p n, name_p *ret_of)
{
    uint8_t kind = n->kind;
    name_p of = n->a, inner;

    while ((inner = meaning(d, of)) != NULL && of->kind == PROF__N_PARAMETER &&
           (inner->kind == PROF__N_REFERENCE || inner->kind == PROF__N_RVALUE_REFERENCE)) {
        if (inner->kind == PROF__N_REFERENCE)
            kind = PROF__N_REFERENCE;
        of = inner->a;
    }
    *ret_of = of;
    return kind;
}

static void left_of_pointer(struct prof__demangler *d, name_p of, const char *mark)
{
    prof__dm_print_left(d, of);
    if (is_array(d, of))
        prof__dm_put(d, " (");
    else if (is_function(d, of))
        prof__dm_put(d, "(");
    prof__dm_put(d, mark);
}

static void right_of_pointer(struct prof__demangler *d, name_p of)
{
    if (is_function_or_array(d, of))
        prof__dm_put(d, ")");
    prof__dm_print_right(d, of);
}

/* Of those that its type has already, none is printed twice. */
static uint8_t new_quals(const struct prof__demangler *d, name_p n)
{
    uint8_t quals = n->quals;
    name_p of = n->a->kind == PROF__N_PARAMETER ? meaning(d, n->a) : NULL;

    while (of && of->kind == PROF__N_QUALS) {
        quals &= (uint8_t)~of->quals;
        of = of->a;
    }
    return quals;
}

static bool has_right(const struct prof__demangler *d, name_p n)
{
    for (int i = 0; n && i < PROF__DM_DEPTH_MAX; i++) {
        n = meaning(d, n);
        if (!n)
            return false;
        switch (n->kind) {
        case PROF__N_FUNCTION:
        case PROF__N_ARRAY:
            return true;
        case PROF__N_POINTER:
        case PROF__N_REFERENCE:
        case PROF__N_RVALUE_REFERENCE:
        case PROF__N_QUALS:
        case PROF__N_SUFFIX:
            n = n->a;
            break;
        case PROF__N_MEMBER_POINTER:
            n = n->b;
            break;
        default:
            return false;
        }
    }
    return false;
}

void prof__dm_function_left(struct prof__demangler *d, name_p f)
{
    if (!f->a)
        return;
    prof__dm_print_left(d, f->a);
    if (!has_right(d, f->a))
        prof__dm_put(d, " ");
}

void prof__dm_function_right(struct prof__demangler *d, name_p f, uint8_t quals)
{
    prof__dm_put(d, "(");
    prof__dm_print_list(d, f->b);
    prof__dm_put(d, ")");
    print_quals(d, f->quals | quals);
    if (f->ref)
        prof__dm_put(d, f->ref == PROF__Q_REF ? " &" : " &&");
    if (f->is_transaction)
        prof__dm_put(d, " transaction_safe");
    if (f->number) {
        prof__dm_put(d, " noexcept");
        if (f->c) {
            prof__dm_put(d, "(");
            prof__dm_print(d, f->c);
            prof__dm_put(d, ")");
        }
    }
    if (f->a)
        prof__dm_print_right(d, f->a);
}

/* Types of two halves. False: it is none. */
bool prof__dm_print_half(struct prof__demangler *d, name_p n, bool left)
{
    static const char *const marks[] = {
        [PROF__N_POINTER] = "*", [PROF__N_REFERENCE] = "&", [PROF__N_RVALUE_REFERENCE] = "&&"
    };
    name_p of;

    switch (n->kind) {
    case PROF__N_POINTER:
        left ? left_of_pointer(d, n->a, "*") : right_of_pointer(d, n->a);
        return true;
    case PROF__N_REFERENCE:
    case PROF__N_RVALUE_REFERENCE: {
        uint8_t kind = collapse(d, n, &of);

        left ? left_of_pointer(d, of, marks[kind]) : right_of_pointer(d, of);
        return true;
    }
    case PROF__N_MEMBER_POINTER:
        if (!left) {
            right_of_pointer(d, n->b);
            return true;
        }
        prof__dm_print_left(d, n->b);
        prof__dm_put(d, is_array(d, n->b) ? " (" : is_function(d, n->b) ? "(" : " ");
        prof__dm_print(d, n->a);
        prof__dm_put(d, "::*");
        return true;
    case PROF__N_QUALS:
        of = meaning(d, n->a);
        if (of && of->kind == PROF__N_FUNCTION) {
            left ? prof__dm_function_left(d, of) : prof__dm_function_right(d, of, n->quals);
            return true;
        }
        if (left) {
            prof__dm_print_left(d, n->a);
            print_quals(d, new_quals(d, n));
        } else {
            prof__dm_print_right(d, n->a);
        }
        return true;
    case PROF__N_SUFFIX:
        if (left) {
            prof__dm_print_left(d, n->a);
            prof__dm_put(d, " ");
            prof__dm_print(d, n->b);
        } else {
            prof__dm_print_right(d, n->a);
        }
        return true;
    case PROF__N_ARRAY:
        if (left) {
            prof__dm_print_left(d, n->b);
            return true;
        }
        if (prof__dm_last(d) != ']')
            prof__dm_put(d, " ");
        prof__dm_put(d, "[");
        if (n->a)
            prof__dm_print(d, n->a);
        prof__dm_put(d, "]");
        prof__dm_print_right(d, n->b);
        return true;
    case PROF__N_FUNCTION:
        left ? prof__dm_function_left(d, n) : prof__dm_function_right(d, n, 0);
        return true;
    case PROF__N_PARAMETER:
        of = prof__dm_argument(d, n);
        if (of) {
            left ? prof__dm_print_left(d, of) : prof__dm_print_right(d, of);
        } else if (left && d->in_lambda) {
            prof__dm_put(d, "auto:");
            prof__dm_put_number(d, n->number + 1);
        }
        return true;
    default:
        return false;
    }
}
