/*
 * dwarf_names.c - a function's name for the linker where it has one, else its name in the source,
 * with the scopes around it.
 *
 * An inlined function has its name in its abstract origin, a method's definition in the declaration
 * inside its class. A lambda's has no other name than `operator()`, and what tells one from the
 * other is where it stands:
 *
 *   namespace net > class Server > function start(int) > anonymous class > operator()
 *   net::Server::start::{lambda(int)#2}::operator()
 *
 * as c++filt would have it, less the parameters of functions. Entries do not say what they are in;
 * so those in question are collected, and one pass over their unit sees what is open when each
 * comes. Lambdas of a scope are counted in the order of the source, as compilers do: among those
 * with the same parameters, as the ABI has it, or by GCC before 13 among all.
 *
 * Source of the form of names: the Itanium C++ ABI, 5.1.8, as GNU's demangler prints it.
 */
#include "symbol/dwarf_names.h"

#include <errno.h>
#include <stdlib.h>

#include "symbol/deadline.h"
#include "symbol/demangle.h"
#include "symbol/dwarf_codes.h"
#include "symbol/dwarf_scan.h"
#include "symbol/dwarf_types.h"

enum {
    DEPTH_MAX = 256,  /* of scopes; what is deeper has a shorter name */
    ORIGINS_MAX = 16, /* hops from an entry to the one that has its name */
    NAME_MAX_BYTES = 1 << 14,
};

struct prof__dwarf_loaded {
    struct prof__dwarf_loaded *next;
    const struct prof__dwarf_image *image;
    struct prof__dwarf_unit unit;
};

/* --- units and entries that references lead to ----------------------------------------------- */

static const struct prof__dwarf_unit *header_of(const struct prof__dwarf_debug *d, uint64_t offset)
{
    size_t low = 0, n = d->n_units;

    while (low < n) { /* the first that starts after it */
        size_t mid = low + (n - low) / 2;

        if (d->unit[mid].offset <= offset)
            low = mid + 1;
        else
            n = mid;
    }
    if (low == 0 || offset - d->unit[low - 1].offset >= d->unit[low - 1].size)
        return NULL;
    return &d->unit[low - 1];
}

/* The unit of an offset, loaded; NULL: none, or no memory. */
static const struct prof__dwarf_unit *unit_of(struct prof__dwarf_naming *n, bool is_alternate,
                                              uint64_t offset)
{
    struct prof__dwarf_debug *d = is_alternate ? n->alternate : n->main;
    struct prof__dwarf_entry own;

    if (!d)
        return NULL;
    for (struct prof__dwarf_loaded *l = n->loaded; l; l = l->next)
        if (l->image == &d->image && offset - l->unit.offset < l->unit.size)
            return &l->unit;
    const struct prof__dwarf_unit *header = header_of(d, offset);
    struct prof__dwarf_loaded *l = header ? prof__arena_alloc(n->work, sizeof(*l)) : NULL;
    if (!l)
        return NULL;
    l->image = &d->image;
    l->unit = *header;
    if (prof__dwarf_unit_load(&l->unit, n->work) < 0 ||
        prof__dwarf_unit_read_own(&l->unit, &own) < 0)
        return NULL;
    l->next = n->loaded;
    n->loaded = l;
    return &l->unit;
}

bool prof__dwarf_follow(struct prof__dwarf_naming *n, const struct prof__dwarf_unit **unit,
                        struct prof__dwarf_entry *entry, enum prof__dwarf_at at)
{
    const struct prof__dwarf_unit *u = *unit;
    bool is_alternate;
    uint64_t offset;

    if (!prof__dwarf_reference(u, entry, at, &is_alternate, &offset))
        return false;
    /* What is said in the shared file stays in it. */
    if (!is_alternate && n->alternate && u->image == &n->alternate->image)
        is_alternate = true;
    if (is_alternate != (n->alternate && u->image == &n->alternate->image) ||
        offset - u->offset >= u->size)
        u = unit_of(n, is_alternate, offset);
    if (!u || !prof__dwarf_entry_at(u, offset, entry))
        return false;
    *unit = u;
    return true;
}

const char *prof__dwarf_text(struct prof__dwarf_naming *n, const struct prof__dwarf_unit *u,
                             const struct prof__dwarf_entry *e, enum prof__dwarf_at at)
{
    struct prof__dwarf_image *shared = n->alternate ? &n->alternate->image : NULL;
    const char *text = prof__dwarf_string(u, shared, e, at);

    return text && *text ? prof__arena_strndup(n->work, text, strnlen(text, NAME_MAX_BYTES)) : NULL;
}

/* --- one entry and those it stands for ------------------------------------------------------- */

/* What is known of a function from its entry and where that leads. */
struct facts {
    const char *name, *linkage; /* in the work arena; NULL: none */
    uint32_t line;
    uint64_t file;
    const struct prof__dwarf_unit *unit; /* the last entry of the chain: */
    uint64_t offset;
};

static struct facts read_facts(struct prof__dwarf_naming *n, const struct prof__dwarf_unit *u,
                               struct prof__dwarf_entry *e)
{
    struct facts f = { .unit = u, .offset = e->offset };

    for (int hops = 0; hops < ORIGINS_MAX; hops++) {
        f.linkage = prof__dwarf_text(n, u, e, PROF__AT_LINKAGE_NAME);
        if (!f.name)
            f.name = prof__dwarf_text(n, u, e, PROF__AT_NAME);
        if (!f.line)
            f.line = (uint32_t)prof__dwarf_number(e, PROF__AT_DECL_LINE);
        if (!f.file && u == n->unit)
            f.file = prof__dwarf_number(e, PROF__AT_DECL_FILE);
        f.unit = u;
        f.offset = e->offset;
        if (f.linkage || (!prof__dwarf_follow(n, &u, e, PROF__AT_ABSTRACT_ORIGIN) &&
                          !prof__dwarf_follow(n, &u, e, PROF__AT_SPECIFICATION)))
            break;
    }
    return f;
}

/* GCC writes a lambda within the arguments of a template as <lambda(int)>. */
static char *tidy(struct prof__arena *a, const char *name)
{
    char *text = prof__arena_strdup(a, name), *at = text;

    while (at && (at = strstr(at, "<lambda(")) != NULL) {
        int depth = 0;
        char *end = at + 7;

        for (; *end; end++) {
            depth += *end == '(' ? 1 : *end == ')' ? -1 : 0;
            if (depth == 0)
                break;
        }
        if (end[0] == ')' && end[1] == '>') {
            *at = '{';
            end[1] = '}';
        }
        at++;
    }
    return text;
}

/* --- scopes ---------------------------------------------------------------------------------- */

/* An entry whose scope is asked for. */
struct target {
    uint64_t offset;
    const char *scope; /* "" or "ns::Class::"; NULL: not found */
};

/* A lambda of a scope. */
struct lambda {
    struct lambda *next;
    uint64_t offset;
    uint64_t place; /* line and column */
    const char *parameters;
};

/* An open entry. */
struct open {
    uint64_t offset;
    uint16_t tag;
    bool is_whole;         /* the name has those of the entries around it */
    bool has_lambdas;      /* they have been looked for: */
    struct lambda *lambda; /* those in it, and in nothing else but blocks */
    const char *name;      /* once it was asked for */
};

static bool is_class(unsigned tag)
{
    return tag == DW_TAG_class_type || tag == DW_TAG_structure_type || tag == DW_TAG_union_type;
}

/* The parameters of a lambda, from the operator() of its class. NULL: it is none. */
static const char *lambda_parameters(struct prof__dwarf_naming *n, const struct prof__dwarf_unit *u,
                                     const struct prof__dwarf_entry *class)
{
    struct prof__dwarf_entry e = *class;

    for (uint64_t at = class->next; prof__dwarf_entry_at(u, at, &e) && e.tag;) {
        if (e.tag == DW_TAG_subprogram) {
            const char *name = prof__dwarf_text(n, u, &e, PROF__AT_NAME);

            if (name && strncmp(name, "operator()", 10) == 0)
                return prof__dwarf_parameters(n, u, &e);
        }
        /* Without a word on where its children end, one with any is the last to be looked at. */
        if (e.has_children && !prof__dwarf_has(&e, PROF__AT_SIBLING))
            return NULL;
        at = e.has_children ? u->offset + prof__dwarf_number(&e, PROF__AT_SIBLING) : e.next;
        if (at <= e.offset || prof__late())
            return NULL;
    }
    return NULL;
}

/* All lambdas in the scope of an entry. */
static struct lambda *find_lambdas(struct prof__dwarf_naming *n, const struct prof__dwarf_unit *u,
                                   uint64_t scope)
{
    struct lambda *first = NULL;
    struct prof__dwarf_scan scan;
    struct prof__dwarf_step step;
    size_t depth = 0, elsewhere = 0; /* levels within something that is a scope by itself */

    prof__dwarf_scan_start(&scan, u, scope);
    scan.wants_siblings = true;
    while (prof__dwarf_scan_next(&scan, &step) && !prof__late()) {
        struct prof__dwarf_entry e;

        if (step.tag == 0) {
            elsewhere -= elsewhere > 0;
            if (--depth == 0)
                break;
            continue;
        }
        if (depth == 0 && !step.has_children)
            break;
        bool is_open = depth == 0 || step.tag == DW_TAG_lexical_block;
        if (!elsewhere && depth && is_class(step.tag) && prof__dwarf_entry_at(u, step.offset, &e) &&
            !prof__dwarf_has(&e, PROF__AT_NAME)) {
            const char *parameters = lambda_parameters(n, u, &e);
            struct lambda *l = parameters ? prof__arena_alloc(n->work, sizeof(*l)) : NULL;

            if (l) {
                l->offset = step.offset;
                l->place = prof__dwarf_number(&e, PROF__AT_DECL_LINE) << 20 |
                           (prof__dwarf_number(&e, PROF__AT_DECL_COLUMN) & 0xfffff);
                l->parameters = parameters;
                l->next = first;
                first = l;
            }
        }
        if (!step.has_children || (!is_open && step.sibling && prof__dwarf_scan_skip(&scan, &step)))
            continue;
        depth++;
        elsewhere += elsewhere || !is_open;
    }
    return first;
}

/* "{lambda(int)#1}", of the class at open[depth]; NULL: it is none's. */
static const char *lambda_name(struct prof__dwarf_naming *n, const struct prof__dwarf_unit *u,
                               struct open *open, size_t depth)
{
    const struct lambda *self, *l;
    struct open *in = &open[depth - 1];
    unsigned number = 1;

    while (in > open && in->tag == DW_TAG_lexical_block)
        in--;
    if (!in->has_lambdas)
        in->lambda = find_lambdas(n, u, in->offset);
    in->has_lambdas = true;
    for (self = in->lambda; self && self->offset != open[depth].offset; self = self->next)
        ;
    if (!self)
        return NULL;
    for (l = in->lambda; l; l = l->next) {
        if (prof__late())
            return NULL;
        number += l->place < self->place &&
                  (n->counts_all || strcmp(l->parameters, self->parameters) == 0);
    }
    return prof__arena_printf(n->work, "{lambda(%s)#%u}", self->parameters, number);
}

/* The linker's name of a function without its parameters, as those in it are called after it. */
static const char *bare_name(struct prof__dwarf_naming *n, const char *linkage)
{
    if (!n->demangler)
        n->demangler = prof__demangler_new(n->work);
    const char *text = n->demangler ? prof__demangle_bare(n->demangler, linkage) : NULL;

    return text ? prof__arena_strdup(n->work, text) : linkage;
}

/* What an open entry adds to the names of those in it; "" for what has no name. */
static const char *scope_name(struct prof__dwarf_naming *n, const struct prof__dwarf_unit *u,
                              struct open *open, size_t depth)
{
    struct open *o = &open[depth];
    struct prof__dwarf_entry e;

    if (o->name || !prof__dwarf_entry_at(u, o->offset, &e))
        return o->name ? o->name : "";
    if (o->tag == DW_TAG_subprogram) {
        struct facts f = read_facts(n, u, &e);

        o->is_whole = f.linkage != NULL;
        o->name = f.linkage ? bare_name(n, f.linkage) : f.name;
    } else if (o->tag == DW_TAG_namespace || is_class(o->tag) || o->tag == DW_TAG_module ||
               o->tag == DW_TAG_enumeration_type) {
        o->name = prof__dwarf_text(n, u, &e, PROF__AT_NAME);
        if (o->name)
            o->name = tidy(n->work, o->name);
        else if (o->tag == DW_TAG_namespace)
            o->name = "(anonymous namespace)";
        else if (!is_class(o->tag) || !(o->name = lambda_name(n, u, open, depth)))
            o->name = "{unnamed type}";
    }
    return o->name ? o->name : "";
}

static const char *scope_text(struct prof__dwarf_naming *n, const struct prof__dwarf_unit *u,
                              struct open *open, size_t depth)
{
    const char *text = "";

    for (size_t i = depth; i-- > 1;) { /* 0 is the unit itself */
        const char *name = scope_name(n, u, open, i);

        if (!*name)
            continue;
        text = strlen(text) < NAME_MAX_BYTES ? prof__arena_printf(n->work, "%s::%s", name, text)
                                             : text;
        if (!text || open[i].is_whole)
            break;
    }
    return text;
}

/* Is any of the targets from `next` on before `end`? */
static bool is_wanted(const struct target *t, size_t n, size_t next, uint64_t end)
{
    return next < n && t[next].offset < end;
}

/* Find the scopes of targets, which are sorted, in one pass over their unit. */
static int find_scopes(struct prof__dwarf_naming *n, const struct prof__dwarf_unit *u,
                       struct target *target, size_t n_targets)
{
    struct open *open = prof__arena_array(n->work, DEPTH_MAX + 1, sizeof(*open));
    struct prof__dwarf_scan scan;
    struct prof__dwarf_step e;
    size_t depth = 0, next = 0, too_deep = 0;

    if (!open)
        return -ENOMEM;
    prof__dwarf_scan_start(&scan, u, u->first);
    scan.wants_siblings = true;
    while (next < n_targets && prof__dwarf_scan_next(&scan, &e)) {
        if (prof__late())
            return -ETIME;
        if (e.tag == 0) {
            if (too_deep) {
                too_deep--;
                continue;
            }
            if (depth <= 1)
                break;
            depth--;
            continue;
        }
        while (next < n_targets && target[next].offset < e.offset)
            next++; /* no entry starts there */
        open[depth] = (struct open) { .offset = e.offset, .tag = e.tag };
        for (; next < n_targets && target[next].offset == e.offset; next++) {
            target[next].scope = scope_text(n, u, open, depth);
            if (!target[next].scope)
                return -ENOMEM;
        }
        if (!e.has_children)
            continue;
        if (depth && e.sibling && !is_wanted(target, n_targets, next, e.sibling) &&
            prof__dwarf_scan_skip(&scan, &e))
            continue;
        if (depth == DEPTH_MAX)
            too_deep++;
        else
            depth++;
    }
    return 0;
}

/* A type whose scope has been found. */
struct prof__dwarf_scope {
    struct prof__dwarf_scope *next;
    const struct prof__dwarf_unit *unit;
    uint64_t offset;
    const char *text;
};

const char *prof__dwarf_scope_of(struct prof__dwarf_naming *n, const struct prof__dwarf_unit *u,
                                 uint64_t offset)
{
    struct target t = { .offset = offset };

    for (const struct prof__dwarf_scope *s = n->scope; s; s = s->next)
        if (s->unit == u && s->offset == offset)
            return s->text;
    if (n->depth > 2) /* a type in a lambda's parameters in a lambda's parameters */
        return "";
    n->depth++;
    int r = find_scopes(n, u, &t, 1);
    n->depth--;
    struct prof__dwarf_scope *s = r == 0 ? prof__arena_alloc(n->work, sizeof(*s)) : NULL;
    if (!s)
        return "";
    *s = (struct prof__dwarf_scope) { n->scope, u, offset, t.scope ? t.scope : "" };
    n->scope = s;
    return s->text;
}

/* --- all functions of a unit ----------------------------------------------------------------- */

/* A function that lacks a scope. */
struct bare {
    struct prof__dwarf_function *function;
    const struct prof__dwarf_unit *unit;
    uint64_t offset;
    const char *name;
};

static int bare_order(const void *a, const void *b)
{
    const struct bare *x = a, *y = b;

    if (x->unit != y->unit)
        return x->unit < y->unit ? -1 : 1;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static int name_bare(struct prof__dwarf_naming *n, struct bare *bare, size_t n_bare)
{
    struct target *target = prof__arena_array(n->work, n_bare + 1, sizeof(*target));

    if (!target)
        return -ENOMEM;
    qsort(bare, n_bare, sizeof(*bare), bare_order);
    for (size_t i = 0, end; i < n_bare; i = end) {
        for (end = i; end < n_bare && bare[end].unit == bare[i].unit; end++)
            target[end].offset = bare[end].offset;
        int r = find_scopes(n, bare[i].unit, &target[i], end - i);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < n_bare; i++) {
        const char *scope = target[i].scope ? target[i].scope : "";
        const char *name = tidy(n->work, bare[i].name);

        bare[i].function->name = name ? prof__arena_printf(n->arena, "%s%s", scope, name) : NULL;
        if (!bare[i].function->name)
            return -ENOMEM;
    }
    return 0;
}

bool prof__dwarf_counts_all(const char *producer)
{
    static const char gcc[] = "GNU C++";

    if (!producer || strncmp(producer, gcc, sizeof(gcc) - 1) != 0)
        return false;
    const char *version = strchr(producer + sizeof(gcc) - 1, ' ');
    return version && version[1] >= '0' && version[1] <= '9' && atoi(version + 1) < 13;
}

int prof__dwarf_name(struct prof__dwarf_naming *n, struct prof__dwarf_function *first)
{
    size_t room = 1, n_bare = 0;

    for (const struct prof__dwarf_function *f = first; f; f = f->next)
        room++;
    struct bare *bare = prof__arena_array(n->work, room, sizeof(*bare));
    if (!bare)
        return -ENOMEM;
    for (struct prof__dwarf_function *f = first; f; f = f->next) {
        struct prof__dwarf_entry e;

        if (prof__late())
            return -ETIME;
        if (!prof__dwarf_entry_at(n->unit, f->entry, &e))
            continue;
        f->call_file = prof__dwarf_number(&e, PROF__AT_CALL_FILE);
        f->call_line = (uint32_t)prof__dwarf_number(&e, PROF__AT_CALL_LINE);
        struct facts facts = read_facts(n, n->unit, &e);
        f->start_line = facts.line;
        f->decl_file = facts.file;
        f->is_linkage = facts.linkage != NULL;
        if (facts.linkage) {
            f->name = prof__arena_strdup(n->arena, facts.linkage);
            if (!f->name)
                return -ENOMEM;
        } else if (facts.name) {
            bare[n_bare++] = (struct bare) { f, facts.unit, facts.offset, facts.name };
        }
    }
    return name_bare(n, bare, n_bare);
}
