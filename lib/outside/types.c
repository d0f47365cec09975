/*
 * types.c - first words to names, each word looked up once.
 *
 *   word -> slot (open addressing) -> type id, 0 for a word that is none
 */
#include "outside/types.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "image/foreign.h"
#include "symbol/data_symbols.h"
#include "symbol/demangle.h"
#include "symbol/names.h"

enum {
    NAME_MAX_BYTES = 512,
    METACLASSES = 4,
    TP_NAME = 24, /* PyTypeObject.tp_name: refcount, type, size, name */
    TYPES_MAX = 1 << 20,
};

struct slot {
    uint64_t word;
    uint32_t type; /* + 1; 0: empty */
};

struct words {
    struct slot *slot;
    size_t n, room; /* a power of two */
};

struct module_symbols {
    const char *path, *file;
    struct prof__data_symbol *symbol;
    size_t n;
};

struct prof__types {
    struct prof__image *image;
    struct prof__arena *arena;
    struct prof__type *type;
    size_t n, room;
    struct words vtables, classes; /* of C++, of Python */
    struct words sizes;
    uint32_t string, vector;
    const struct prof__image_map *last; /* mapping of the last vtable that was one */
    struct prof__demangler *demangler;
    struct prof__namer *namer;
    struct module_symbols *module;
    size_t n_modules;
};

/* --- the words known so far ------------------------------------------------------------------ */

static struct slot *slot_of(struct words *w, uint64_t word)
{
    size_t at = prof__hash(word) & (w->room - 1);

    while (w->slot[at].type && w->slot[at].word != word)
        at = (at + 1) & (w->room - 1);
    return &w->slot[at];
}

static bool remember(struct prof__types *t, struct words *w, uint64_t word, uint32_t type)
{
    if (w->n * 2 >= w->room) {
        struct words more = { .room = w->room ? w->room * 2 : 1024 };

        more.slot = prof__arena_array(t->arena, more.room, sizeof(*more.slot));
        if (!more.slot)
            return false;
        for (size_t i = 0; i < w->room; i++)
            if (w->slot[i].type)
                *slot_of(&more, w->slot[i].word) = w->slot[i];
        more.n = w->n;
        *w = more;
    }
    *slot_of(w, word) = (struct slot) { word, type + 1 };
    w->n++;
    return true;
}

/* Type + 1, or 0: not met before. */
static uint32_t recall(struct words *w, uint64_t word)
{
    return w->room ? slot_of(w, word)->type : 0;
}

/* --- types ----------------------------------------------------------------------------------- */

static uint32_t add_type(struct prof__types *t, enum prof__type_of of, const char *name,
                         uint64_t size)
{
    if (of != PROF__TYPE_SIZE)
        for (uint32_t i = 1; i < t->n; i++)
            if (t->type[i].of == of && strcmp(t->type[i].name, name) == 0)
                return i;
    if (t->n == t->room) {
        size_t room = t->room ? t->room * 2 : 256;
        struct prof__type *more =
            t->n < TYPES_MAX ? prof__arena_array(t->arena, room, sizeof(*more)) : NULL;

        if (!more)
            return 0;
        if (t->n)
            memcpy(more, t->type, t->n * sizeof(*more));
        t->type = more;
        t->room = room;
    }
    t->type[t->n] = (struct prof__type) { of, name, size };
    return (uint32_t)t->n++;
}

static bool is_mapped_from_file(struct prof__types *t, uint64_t address)
{
    if (t->last && address >= t->last->start && address < t->last->end)
        return true;
    const struct prof__image_map *m = prof__image_map_of(t->image, address);
    if (!m || !m->readable || m->untouchable || m->shared || m->anonymous)
        return false;
    t->last = m;
    return true;
}

/* A printable string of the image; NULL: there is none. */
static const char *text_at(struct prof__types *t, uint64_t at, char buf[NAME_MAX_BYTES])
{
    size_t n = prof__image_read(t->image, at, buf, NAME_MAX_BYTES - 1);
    size_t k = 0;

    for (; k < n && buf[k]; k++)
        if (!isgraph((unsigned char)buf[k]) && buf[k] != ' ')
            return NULL;
    buf[k] = '\0';
    return k > 0 && k < n ? buf : NULL;
}

/* --- C++ ------------------------------------------------------------------------------------- */

/* As type_info::name() has it: "7Session", "N3net4ConnE"; a star before those of no linkage. */
static const char *class_name(struct prof__types *t, const char *mangled)
{
    mangled += mangled[0] == '*';
    if (!isdigit((unsigned char)mangled[0]) && mangled[0] != 'N' && mangled[0] != 'S' &&
        mangled[0] != 'Z')
        return NULL;
    const char *symbol = prof__arena_printf(t->arena, "_ZTI%s", mangled);
    const char *name = symbol ? prof__demangle(t->demangler, symbol) : NULL;
    static const char prefix[] = "typeinfo for ";
    if (!name || strncmp(name, prefix, sizeof(prefix) - 1) != 0)
        return NULL;
    return prof__arena_strdup(t->arena, name + sizeof(prefix) - 1);
}

static struct module_symbols *symbols_of(struct prof__types *t, const struct prof__image_map *m)
{
    enum { ROOM = 512 };

    for (size_t i = 0; i < t->n_modules; i++)
        if (strcmp(t->module[i].path, m->name) == 0)
            return &t->module[i];
    if (!t->module)
        t->module = prof__arena_array(t->arena, ROOM, sizeof(*t->module));
    if (!t->module || t->n_modules == ROOM)
        return NULL;
    struct module_symbols *s = &t->module[t->n_modules];
    s->path = prof__arena_strdup(t->arena, m->name);
    s->file = prof__image_path(t->image, t->arena, m->name);
    if (!s->path || !s->file)
        return NULL;
    prof__data_symbols_load(s->file, t->arena, &s->symbol, &s->n);
    t->n_modules++;
    return s;
}

/* Where the object that `m` is of was linked for, and is: its first mapping is at p_vaddr 0, but
 * for programs with fixed addresses. */
static uint64_t bias_of(struct prof__types *t, const struct prof__image_map *m)
{
    struct prof__modules modules = { 0 };
    struct prof__arena work = { 0 };
    uint64_t bias = 0;

    if (prof__image_modules(t->image, &work, &modules) == 0)
        for (size_t i = 0; i < modules.n; i++)
            if (modules.module[i].is_elf && strcmp(modules.module[i].path, m->name) == 0)
                bias = modules.module[i].bias;
    prof__arena_free(&work);
    return bias;
}

/* Without type_info: by the symbol of the vtable. */
static const char *name_by_symbol(struct prof__types *t, uint64_t vtable)
{
    static const char prefix[] = "vtable for ";
    const struct prof__image_map *m = prof__image_map_of(t->image, vtable);
    struct module_symbols *s = m && !m->anonymous ? symbols_of(t, m) : NULL;

    if (!s || s->n == 0)
        return NULL;
    const struct prof__data_symbol *found =
        prof__data_symbol_find(s->symbol, s->n, vtable - bias_of(t, m));
    const char *symbol = found ? prof__data_symbol_name(s->file, t->arena, found) : NULL;
    const char *name =
        symbol && strncmp(symbol, "_ZTV", 4) == 0 ? prof__demangle(t->demangler, symbol) : NULL;
    if (!name || strncmp(name, prefix, sizeof(prefix) - 1) != 0)
        return NULL;
    return prof__arena_strdup(t->arena, name + sizeof(prefix) - 1);
}

/* A vtable of a class: before it, how far the object begins above, which is little, and its
 * type_info: a vtable of its own, and a name. */
static const char *name_by_vtable(struct prof__types *t, uint64_t vtable)
{
    uint64_t before[2], info[2], method;
    char buf[NAME_MAX_BYTES];

    if (prof__image_read(t->image, vtable - 16, before, sizeof(before)) != sizeof(before) ||
        !prof__image_word(t->image, vtable, &method))
        return NULL;
    const struct prof__image_map *code = prof__image_map_of(t->image, method);
    int64_t above = (int64_t)before[0];
    if (above > 0 || above < -(1 << 20) || (method && (!code || !code->executable)))
        return NULL;
    if (before[1] == 0)
        return method ? name_by_symbol(t, vtable) : NULL;
    if (!is_mapped_from_file(t, before[1]) ||
        prof__image_read(t->image, before[1], info, sizeof(info)) != sizeof(info) || info[0] == 0 ||
        !is_mapped_from_file(t, info[1]))
        return NULL;
    const char *mangled = text_at(t, info[1], buf);
    return mangled ? class_name(t, mangled) : NULL;
}

static uint32_t type_by_vtable(struct prof__types *t, uint64_t word)
{
    if (word % 8 != 0 || word < PROF__IMAGE_PAGE || word >> 47 != 0 ||
        !is_mapped_from_file(t, word))
        return 0;
    uint32_t known = recall(&t->vtables, word);
    if (known)
        return known - 1;
    const char *name = name_by_vtable(t, word);
    uint32_t type = name ? add_type(t, PROF__TYPE_CXX, name, 0) : 0;
    remember(t, &t->vtables, word, type);
    return type;
}

/* --- Python ---------------------------------------------------------------------------------- */

static const char *name_of_class(struct prof__types *t, uint64_t class)
{
    uint64_t at = class, word;
    char buf[NAME_MAX_BYTES];

    /* Its metaclass, and so on, until one is of itself: that is "type". */
    for (int i = 0; i < METACLASSES; i++) {
        uint64_t meta, name;

        if (!prof__image_word(t->image, at + 8, &meta) || meta % 8 != 0 || meta == 0)
            return NULL;
        if (meta != at) {
            at = meta;
            continue;
        }
        if (!prof__image_word(t->image, at + TP_NAME, &name))
            return NULL;
        const char *text = text_at(t, name, buf);
        if (!text || strcmp(text, "type") != 0)
            return NULL;
        if (!prof__image_word(t->image, class + TP_NAME, &word) || !text_at(t, word, buf))
            return NULL;
        return prof__arena_printf(t->arena, "python %s", buf);
    }
    return NULL;
}

static uint32_t type_by_class(struct prof__types *t, uint64_t refs, uint64_t class)
{
    if (class % 8 != 0 || class < PROF__IMAGE_PAGE || class >> 47 != 0 || (uint32_t)refs == 0 ||
        refs >> 33 != 0)
        return 0;
    uint32_t known = recall(&t->classes, class);
    if (known)
        return known - 1;
    const char *name = name_of_class(t, class);
    uint32_t type = name ? add_type(t, PROF__TYPE_PYTHON, name, 0) : 0;
    remember(t, &t->classes, class, type);
    return type;
}

/* --- storage --------------------------------------------------------------------------------- */

uint64_t prof__words_string(const uint64_t word[3], uint64_t *ret_request)
{
    enum { SHORT = 15 }; /* kept in the string itself */

    if (word[0] % PROF__UNIT != 0 || word[2] <= SHORT || word[1] > word[2] || word[2] >> 40 != 0)
        return 0;
    *ret_request = word[2] + 1;
    return word[0];
}

uint64_t prof__words_vector(const uint64_t word[3], uint64_t *ret_request)
{
    if (word[0] % PROF__UNIT != 0 || word[1] < word[0] || word[2] < word[1] || word[2] == word[0] ||
        word[2] - word[0] >= (uint64_t)1 << 40)
        return 0;
    *ret_request = word[2] - word[0];
    return word[0];
}

/* --- all ------------------------------------------------------------------------------------- */

struct prof__types *prof__types_new(struct prof__image *image, struct prof__arena *a)
{
    struct prof__types *t = prof__arena_alloc(a, sizeof(*t));

    if (!t)
        return NULL;
    *t = (struct prof__types) { .image = image, .arena = a };
    t->demangler = prof__demangler_new(a);
    t->namer = prof__namer_new(a);
    add_type(t, PROF__TYPE_SIZE, "[no room for types]", 0);
    t->string = add_type(t, PROF__TYPE_STRING, "std::string", 0);
    t->vector = add_type(t, PROF__TYPE_VECTOR, "std::vector storage", 0);
    return t->demangler && t->namer && t->n == 3 ? t : NULL;
}

void prof__types_refresh(struct prof__types *t)
{
    /* What was no class may be one of a library loaded since. */
    t->last = NULL;
    t->vtables = t->classes = (struct words) { 0 };
}

uint32_t prof__type_by_size(struct prof__types *t, uint64_t size)
{
    uint64_t class = size;

    if (size > 1024) { /* four classes for each power of two */
        unsigned shift = 61 - (unsigned)__builtin_clzll(size);

        class = size >> shift << shift;
    }
    uint32_t known = recall(&t->sizes, class);
    if (known)
        return known - 1;
    const char *name =
        class < 1024      ? prof__arena_printf(t->arena, "[%llu B]", (unsigned long long)class)
        : class < 1 << 20 ? prof__arena_printf(t->arena, "[%.4g KiB]", (double)class / 1024)
                          : prof__arena_printf(t->arena, "[%.4g MiB]", (double)class / (1 << 20));
    uint32_t type = name ? add_type(t, PROF__TYPE_SIZE, name, class) : 0;
    remember(t, &t->sizes, class, type);
    return type;
}

uint32_t prof__type_by_words(struct prof__types *t, const uint64_t *word, size_t n, uint64_t size)
{
    uint32_t type = n > 0 ? type_by_vtable(t, word[0]) : 0;

    if (type == 0 && n > 1)
        type = type_by_class(t, word[0], word[1]);
    if (type == 0 && n > 3)
        type = type_by_class(t, word[2], word[3]);
    if (type == 0 && n > 5)
        type = type_by_class(t, word[4], word[5]);
    return type ? type : prof__type_by_size(t, size);
}

uint32_t prof__type_of_string(struct prof__types *t)
{
    return t->string;
}

uint32_t prof__type_of_vector(struct prof__types *t)
{
    return t->vector;
}

int prof__type_add(struct prof__types *t, const struct prof__type *type, uint32_t *ret)
{
    const char *name = prof__arena_strdup(t->arena, type->name);

    if (!name)
        return -ENOMEM;
    *ret = add_type(t, type->of, name, type->size);
    return 0;
}

const struct prof__type *prof__type_at(const struct prof__types *t, uint32_t type)
{
    return &t->type[type];
}

size_t prof__types_count(const struct prof__types *t)
{
    return t->n;
}
