/*
 * demangle.c - the tree of a mangled name, printed as GNU's c++filt does.
 *
 * Our own, for three reasons. A demangler is found in the process only when the program brings the
 * C++ library as a shared object, and then only by asking the dynamic linker while serving; Rust's
 * names and programs that are linked statically would have none. It takes memory from malloc, and
 * stack without a bound that suits a program's small threads. And names of many KiB, which
 * templates have, are refused by it.
 *
 * A declarator is written around what it declares, so types are printed in two halves, left and
 * right of it: void (*  )(int). Bounded are the nodes of a tree, its depth, the text, and the steps
 * taken, since a short name can stand for an endless one.
 */
#include "symbol/demangle.h"

#include "symbol/demangle_print.h"
#include "symbol/demangle_rust.h"

enum { MANGLED_MAX = 16 << 10, NODES_MAX = 20 << 10, SEEN_MAX = 4 << 10 };

struct prof__demangler *prof__demangler_new(struct prof__arena *a)
{
    struct prof__demangler *d = prof__arena_alloc(a, sizeof(*d));

    if (!d)
        return NULL;
    d->room.node = prof__arena_array(a, NODES_MAX, sizeof(*d->room.node));
    d->room.seen = prof__arena_array(a, SEEN_MAX, sizeof(*d->room.seen));
    d->room.nodes_max = NODES_MAX;
    d->room.seen_max = SEEN_MAX;
    return d->room.node && d->room.seen ? d : NULL;
}

/* --- text ------------------------------------------------------------------------------------ */

void prof__dm_put_n(struct prof__demangler *d, const char *s, size_t n)
{
    if (n == 0) /* then there may be no text */
        return;
    if (n >= PROF__DM_TEXT_MAX - d->size) {
        d->failed = true;
        return;
    }
    memcpy(d->text + d->size, s, n);
    d->size += n;
}

void prof__dm_put(struct prof__demangler *d, const char *s)
{
    prof__dm_put_n(d, s, strlen(s));
}

void prof__dm_put_number(struct prof__demangler *d, uint32_t v)
{
    char digits[10], *at = digits + sizeof(digits);

    do {
        *--at = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    prof__dm_put_n(d, at, (size_t)(digits + sizeof(digits) - at));
}

char prof__dm_last(const struct prof__demangler *d)
{
    return d->size ? d->text[d->size - 1] : '\0';
}

/* --- printing -------------------------------------------------------------------------------- */

/* The next of a list that begins at `start`; nothing at all for one that prints nothing. */
static void print_item(struct prof__demangler *d, size_t start, name_p n)
{
    size_t before = d->size;

    if (before > start)
        prof__dm_put(d, ", ");
    size_t printed = d->size;
    prof__dm_print(d, n);
    if (d->size == printed)
        d->size = before;
}

void prof__dm_print_list(struct prof__demangler *d, name_p list)
{
    size_t start = d->size;

    for (; list && !d->failed; list = list->b)
        print_item(d, start, list->a);
}

static void print_expansion(struct prof__demangler *d, name_p n)
{
    name_p pack = prof__dm_find_pack(d, n->a, 0);
    int outer = d->pack_at, size = pack ? prof__dm_pack_size(pack) : 0;
    size_t start = d->size;

    if (!pack) {
        prof__dm_print(d, n->a);
        prof__dm_put(d, "...");
        return;
    }
    for (int i = 0; i < size && !d->failed; i++) {
        d->pack_at = i;
        print_item(d, start, n->a);
    }
    d->pack_at = outer;
}

static void print_template(struct prof__demangler *d, name_p arguments)
{
    int outer = d->pack_at;

    if (prof__dm_last(d) == '<')
        prof__dm_put(d, " ");
    prof__dm_put(d, "<");
    if (arguments)
        prof__dm_print_list(d, arguments->kind == PROF__N_PACK ? arguments->a : arguments);
    d->pack_at = outer;
    prof__dm_put(d, prof__dm_last(d) == '>' ? " >" : ">");
}

/* The name without where it is and its arguments: what its constructors are called. */
static void print_base(struct prof__demangler *d, name_p n)
{
    for (int i = 0; n && i < PROF__DM_DEPTH_MAX; i++) {
        switch (n->kind) {
        case PROF__N_QUALIFIED: /* one without a name is called after the class around it */
            n = n->b->kind == PROF__N_UNNAMED ? n->a : n->b;
            continue;
        case PROF__N_LOCAL:
            n = n->b;
            continue;
        case PROF__N_TEMPLATE:
        case PROF__N_TAGGED:
        case PROF__N_DEFAULT_ARG:
            n = n->a;
            continue;
        case PROF__N_PARAMETER:
            n = prof__dm_argument(d, n);
            continue;
        case PROF__N_TEXT:
            if (n->text2)
                prof__dm_put(d, n->text2);
            else
                prof__dm_put_n(d, n->text, n->size);
            return;
        default:
            prof__dm_print(d, n);
            return;
        }
    }
}

static void print_operator(struct prof__demangler *d, name_p n)
{
    size_t size = n->size;

    prof__dm_put(d, "operator");
    if (n->text[0] >= 'a' && n->text[0] <= 'z')
        prof__dm_put(d, " ");
    if (size && n->text[size - 1] == ' ')
        size--;
    prof__dm_put_n(d, n->text, size);
}

/* --- names ----------------------------------------------------------------------------------- */

/* A function with what it takes; within other names never with what it returns. */
static void print_encoding(struct prof__demangler *d, name_p n, bool with_return)
{
    name_p f = n->b;

    if (d->is_bare) {
        prof__dm_print(d, n->a);
        return;
    }
    if (with_return)
        prof__dm_function_left(d, f);
    prof__dm_print(d, n->a);
    struct prof__name without = *f;
    if (!with_return)
        without.a = NULL;
    prof__dm_function_right(d, &without, 0);
}

/* Of a local name's function. */
static void print_scope(struct prof__demangler *d, name_p n)
{
    if (n->kind == PROF__N_ENCODING)
        print_encoding(d, n, false);
    else
        prof__dm_print(d, n);
}

static void print_special(struct prof__demangler *d, name_p n)
{
    prof__dm_put_n(d, n->text, n->size);
    if (n->text2 && !n->b) { /* reference temporary #0 for */
        prof__dm_put_number(d, n->number);
        prof__dm_put(d, n->text2);
    }
    prof__dm_print(d, n->a);
    if (n->b) {
        prof__dm_put(d, n->text2);
        prof__dm_print(d, n->b);
    }
}

static void print_lambda(struct prof__demangler *d, name_p n)
{
    prof__dm_put(d, "{lambda(");
    d->in_lambda++;
    prof__dm_print_list(d, n->a);
    d->in_lambda--;
    prof__dm_put(d, ")#");
    prof__dm_put_number(d, n->number);
    prof__dm_put(d, "}");
}

static bool print_name(struct prof__demangler *d, name_p n)
{
    switch (n->kind) {
    case PROF__N_TEXT:
        prof__dm_put_n(d, n->text, n->size);
        return true;
    case PROF__N_QUALIFIED:
        prof__dm_print(d, n->a);
        prof__dm_put(d, "::");
        prof__dm_print(d, n->b);
        return true;
    case PROF__N_LOCAL:
        print_scope(d, n->a);
        prof__dm_put(d, "::");
        prof__dm_print(d, n->b);
        return true;
    case PROF__N_DEFAULT_ARG:
        prof__dm_put(d, "{default arg#");
        prof__dm_put_number(d, n->number);
        prof__dm_put(d, "}::");
        prof__dm_print(d, n->a);
        return true;
    case PROF__N_TAGGED:
        prof__dm_print(d, n->a);
        prof__dm_put(d, "[abi:");
        prof__dm_print(d, n->b);
        prof__dm_put(d, "]");
        return true;
    case PROF__N_TEMPLATE:
        prof__dm_print(d, n->a);
        print_template(d, n->b);
        return true;
    case PROF__N_CONSTRUCTOR:
        print_base(d, n->a);
        return true;
    case PROF__N_DESTRUCTOR:
        prof__dm_put(d, "~");
        print_base(d, n->a);
        return true;
    case PROF__N_OPERATOR:
        print_operator(d, n);
        return true;
    case PROF__N_CONVERSION:
        prof__dm_put(d, "operator ");
        prof__dm_print(d, n->a);
        return true;
    case PROF__N_LITERAL_OPERATOR:
        prof__dm_put(d, "operator\"\" ");
        prof__dm_print(d, n->a);
        return true;
    case PROF__N_LAMBDA:
        print_lambda(d, n);
        return true;
    case PROF__N_UNNAMED:
        prof__dm_put(d, "{unnamed type#");
        prof__dm_put_number(d, n->number);
        prof__dm_put(d, "}");
        return true;
    case PROF__N_BINDING:
        prof__dm_put(d, "[");
        prof__dm_print_list(d, n->a);
        prof__dm_put(d, "]");
        return true;
    case PROF__N_SPECIAL:
        print_special(d, n);
        return true;
    case PROF__N_CLONE:
        prof__dm_print(d, n->a);
        if (!d->is_bare) {
            prof__dm_put(d, " [clone ");
            prof__dm_put_n(d, n->text, n->size);
            prof__dm_put(d, "]");
        }
        return true;
    default:
        return false;
    }
}

static void print_inner(struct prof__demangler *d, name_p n)
{
    if (print_name(d, n) || prof__dm_print_expression(d, n))
        return;
    switch (n->kind) {
    case PROF__N_ENCODING:
        print_encoding(d, n, true);
        break;
    case PROF__N_LIST:
        prof__dm_print_list(d, n);
        break;
    case PROF__N_PACK:
        prof__dm_print_list(d, n->a);
        break;
    case PROF__N_EXPANSION:
        print_expansion(d, n);
        break;
    case PROF__N_VECTOR:
        prof__dm_print(d, n->b);
        prof__dm_put(d, " __vector(");
        prof__dm_print(d, n->a);
        prof__dm_put(d, ")");
        break;
    case PROF__N_DECLTYPE:
        prof__dm_put(d, "decltype (");
        prof__dm_print(d, n->a);
        prof__dm_put(d, ")");
        break;
    default:
        d->failed = true;
    }
}

/* True: there is room, and a level deeper has been entered. */
static bool enter(struct prof__demangler *d, name_p n)
{
    if (!n || d->depth == PROF__DM_DEPTH_MAX || ++d->steps > PROF__DM_STEPS_MAX)
        d->failed = true;
    if (d->failed)
        return false;
    d->depth++;
    return true;
}

void prof__dm_print_left(struct prof__demangler *d, name_p n)
{
    if (!enter(d, n))
        return;
    if (!prof__dm_print_half(d, n, true))
        print_inner(d, n);
    d->depth--;
}

void prof__dm_print_right(struct prof__demangler *d, name_p n)
{
    if (!enter(d, n))
        return;
    prof__dm_print_half(d, n, false);
    d->depth--;
}

void prof__dm_print(struct prof__demangler *d, name_p n)
{
    prof__dm_print_left(d, n);
    if (!d->failed)
        prof__dm_print_right(d, n);
}

/* --- entry ----------------------------------------------------------------------------------- */

static const char *demangle(struct prof__demangler *d, const char *name, bool is_bare)
{
    size_t size = strnlen(name, MANGLED_MAX);

    d->size = 0;
    d->depth = d->steps = 0;
    d->is_bare = is_bare;
    d->failed = false;
    d->in_lambda = 0;
    d->pack_at = -1;
    if (size < 3 || size == MANGLED_MAX || name[0] != '_')
        return NULL;
    if (prof__rust_is_mangled(name, size))
        return prof__rust_demangle(name, size, d->text, PROF__DM_TEXT_MAX) ? d->text : NULL;
    const struct prof__name *tree = name[1] == 'Z' ? prof__name_parse(&d->room, name) : NULL;
    if (!tree)
        return NULL;
    prof__dm_print(d, tree);
    d->text[d->size] = '\0';
    return d->failed ? NULL : d->text;
}

const char *prof__demangle(struct prof__demangler *d, const char *name)
{
    return demangle(d, name, false);
}

const char *prof__demangle_bare(struct prof__demangler *d, const char *name)
{
    return demangle(d, name, true);
}
