/*
 * dwarf_types.c - the types of parameters, by which lambdas are told apart.
 *
 * As the linker's name of the same lambda would have them when demangled, so that one that is
 * inlined here and called there has one name: without typedefs, and `unsigned long` for what GCC
 * calls `long unsigned int`. What cannot be put so (functions, arrays, members) is "...": it only
 * has to be the same each time.
 */
#include "symbol/dwarf_types.h"

#include "symbol/dwarf_codes.h"

enum { DEPTH_MAX = 12, PARAMETERS_MAX = 32, SCOPE_ENTRIES_MAX = 64 };

static const char *base_type(const char *name)
{
    static const struct {
        const char *gcc, *demangled;
    } names[] = {
        { "long int", "long" },
        { "long unsigned int", "unsigned long" },
        { "short int", "short" },
        { "short unsigned int", "unsigned short" },
        { "long long int", "long long" },
        { "long long unsigned int", "unsigned long long" },
        { "__int128 unsigned", "unsigned __int128" },
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(name, names[i].gcc) == 0)
            return names[i].demangled;
    return name;
}

/* The type that an attribute of `e` leads to. */
static const char *type_of(struct prof__dwarf_naming *n, const struct prof__dwarf_unit *u,
                           struct prof__dwarf_entry e, unsigned depth)
{
    static const struct {
        uint16_t tag;
        const char *mark;
    } marks[] = {
        { DW_TAG_pointer_type, "*" },           { DW_TAG_reference_type, "&" },
        { DW_TAG_rvalue_reference_type, "&&" }, { DW_TAG_const_type, " const" },
        { DW_TAG_volatile_type, " volatile" },  { DW_TAG_typedef, "" },
    };
    const char *name = NULL;

    if (!prof__dwarf_follow(n, &u, &e, PROF__AT_TYPE))
        return "void";
    for (size_t i = 0; i < ARRAY_LEN(marks) && depth < DEPTH_MAX; i++)
        if (e.tag == marks[i].tag) {
            const char *to = type_of(n, u, e, depth + 1);

            return to ? prof__arena_printf(n->work, "%s%s", to, marks[i].mark) : NULL;
        }
    switch (e.tag) {
    case DW_TAG_base_type:
    case DW_TAG_unspecified_type:
        name = prof__dwarf_text(n, u, &e, PROF__AT_NAME);
        return name ? base_type(name) : "...";
    case DW_TAG_class_type:
    case DW_TAG_structure_type:
    case DW_TAG_union_type:
    case DW_TAG_enumeration_type:
        name = prof__dwarf_text(n, u, &e, PROF__AT_NAME);
        return name
                   ? prof__arena_printf(n->work, "%s%s", prof__dwarf_scope_of(n, u, e.offset), name)
                   : "...";
    default:
        return "...";
    }
}

const char *prof__dwarf_parameters(struct prof__dwarf_naming *n, const struct prof__dwarf_unit *u,
                                   const struct prof__dwarf_entry *function)
{
    uint64_t of_auto[SCOPE_ENTRIES_MAX]; /* the types that stand for `auto`, in order */
    size_t n_auto = 0, used_auto = 0, n_parameters = 0;
    struct prof__dwarf_entry e;
    const char *text = "";

    /* A generic lambda: what its parameters are here, they need not be elsewhere. */
    for (uint64_t at = function->next; prof__dwarf_entry_at(u, at, &e) && e.tag; at = e.next) {
        if (e.tag == DW_TAG_template_type_parameter && n_auto < ARRAY_LEN(of_auto))
            of_auto[n_auto++] = prof__dwarf_number(&e, PROF__AT_TYPE);
        if (e.has_children)
            break;
    }
    for (uint64_t at = function->next; prof__dwarf_entry_at(u, at, &e) && e.tag; at = e.next) {
        const char *type = NULL;

        if (e.has_children && e.tag != DW_TAG_formal_parameter)
            break;
        if (e.tag == DW_TAG_unspecified_parameters)
            type = "...";
        else if (e.tag == DW_TAG_formal_parameter && !prof__dwarf_has(&e, PROF__AT_ARTIFICIAL)) {
            if (used_auto < n_auto && of_auto[used_auto] == prof__dwarf_number(&e, PROF__AT_TYPE))
                type = prof__arena_printf(n->work, "auto:%zu", ++used_auto);
            else
                type = type_of(n, u, e, 0);
            if (!type)
                return NULL;
        }
        if (!type)
            continue;
        text = prof__arena_printf(n->work, "%s%s%s", text, n_parameters++ ? ", " : "", type);
        if (!text || n_parameters == PARAMETERS_MAX)
            break;
    }
    return text;
}
