/*
 * demangle_rust_v0.c - Rust's names that start with _R, printed while they are read.
 *
 * Where a name refers back, what stands there is read again. So a short name could be an endless
 * one, and text, depth and steps are bounded.
 *
 * Source: Rust RFC 2603, "Rust Symbol Mangling (v0)".
 */
#include "symbol/demangle_rust_out.h"

enum { DEPTH_MAX = 200, STEPS_MAX = 1 << 17, IDENTIFIER_MAX = 1024 };

struct read {
    const char *name; /* after _R */
    size_t size, at;
    unsigned depth, steps;
    uint64_t lifetimes; /* bound around here */
    struct prof__rust_out *out;
};

static void path(struct read *r, bool is_value);
static void type(struct read *r);
static void constant(struct read *r);

static void fail(struct read *r)
{
    r->out->failed = true;
}

static char peek(const struct read *r)
{
    return r->at < r->size ? r->name[r->at] : '\0';
}

static char next(struct read *r)
{
    if (r->at >= r->size)
        fail(r);
    return r->at < r->size ? r->name[r->at++] : '\0';
}

static bool eat(struct read *r, char c)
{
    if (peek(r) != c || c == '\0')
        return false;
    r->at++;
    return true;
}

/* True: a level deeper has been entered. */
static bool enter(struct read *r)
{
    if (r->depth == DEPTH_MAX || ++r->steps > STEPS_MAX)
        fail(r);
    if (r->out->failed)
        return false;
    r->depth++;
    return true;
}

/* "_" is 0, "0_" is 1. */
static uint64_t base_62(struct read *r)
{
    uint64_t v = 0;

    if (eat(r, '_'))
        return 0;
    while (!eat(r, '_') && !r->out->failed) {
        char c = next(r);
        unsigned digit = prof__rust_is_digit(c) ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'z' ? (unsigned)(c - 'a' + 10)
                         : c >= 'A' && c <= 'Z' ? (unsigned)(c - 'A' + 36)
                                                : 99;

        if (digit == 99 || v > UINT64_MAX / 62 - 62) {
            fail(r);
            return 0;
        }
        v = v * 62 + digit;
    }
    return v + 1;
}

static uint64_t optional_base_62(struct read *r, char tag)
{
    return eat(r, tag) ? base_62(r) + 1 : 0;
}

struct identifier {
    const char *text;
    size_t size;
    bool is_punycode;
    uint64_t disambiguator;
};

static struct identifier identifier(struct read *r)
{
    struct identifier id = { .disambiguator = optional_base_62(r, 's') };

    id.is_punycode = eat(r, 'u');
    while (prof__rust_is_digit(peek(r)) && id.size < IDENTIFIER_MAX) {
        bool is_zero = id.size == 0 && peek(r) == '0';

        id.size = id.size * 10 + (size_t)(next(r) - '0');
        if (is_zero)
            break;
    }
    eat(r, '_');
    if (id.size >= IDENTIFIER_MAX || id.size > r->size - r->at) {
        fail(r);
        return (struct identifier) { 0 };
    }
    id.text = r->name + r->at;
    r->at += id.size;
    return id;
}

static void put_identifier(struct read *r, const struct identifier *id)
{
    if (!id->is_punycode) {
        prof__rust_put_n(r->out, id->text, id->size);
    } else if (!prof__rust_put_punycode(r->out, id->text, id->size)) {
        prof__rust_put(r->out, "punycode{");
        prof__rust_put_n(r->out, id->text, id->size);
        prof__rust_put(r->out, "}");
    }
}

/* Read again what stands at an earlier place. */
static void backwards(struct read *r, void (*what)(struct read *))
{
    size_t start = r->at - 1;
    uint64_t to = base_62(r);
    size_t here = r->at;

    if (r->out->failed || to >= start) {
        fail(r);
        return;
    }
    if (r->out->is_quiet)
        return;
    r->at = (size_t)to;
    what(r);
    r->at = here;
}

static void path_in_type(struct read *r)
{
    path(r, false);
}

static void path_in_value(struct read *r)
{
    path(r, true);
}

static void put_lifetime(struct read *r, uint64_t index)
{
    if (index == 0) {
        prof__rust_put(r->out, "'_");
    } else if (index > r->lifetimes) {
        fail(r);
    } else {
        uint64_t depth = r->lifetimes - index;

        prof__rust_put(r->out, "'");
        if (depth < 26) {
            char c = (char)('a' + depth);

            prof__rust_put_n(r->out, &c, 1);
        } else {
            prof__rust_put(r->out, "_");
            prof__rust_put_number(r->out, depth);
        }
    }
}

static void generic_arg(struct read *r)
{
    if (eat(r, 'L'))
        put_lifetime(r, base_62(r));
    else if (eat(r, 'K'))
        constant(r);
    else
        type(r);
}

static size_t list(struct read *r, void (*item)(struct read *))
{
    size_t n = 0;

    for (; !r->out->failed && !eat(r, 'E'); n++) {
        if (n)
            prof__rust_put(r->out, ", ");
        item(r);
    }
    return n;
}

/* The path of an impl, which is only for the compiler. */
static void impl_path(struct read *r)
{
    bool was_quiet = r->out->is_quiet;

    r->out->is_quiet = true;
    optional_base_62(r, 's');
    path(r, false);
    r->out->is_quiet = was_quiet;
}

static void nested(struct read *r, bool is_value)
{
    char space = next(r);

    path(r, is_value);
    struct identifier id = identifier(r);
    if (r->out->failed)
        return;
    if (space >= 'A' && space <= 'Z') {
        prof__rust_put(r->out, "::{");
        if (space == 'C')
            prof__rust_put(r->out, "closure");
        else if (space == 'S')
            prof__rust_put(r->out, "shim");
        else
            prof__rust_put_n(r->out, &space, 1);
        if (id.size) {
            prof__rust_put(r->out, ":");
            put_identifier(r, &id);
        }
        prof__rust_put(r->out, "#");
        prof__rust_put_number(r->out, id.disambiguator);
        prof__rust_put(r->out, "}");
    } else if (id.size) {
        prof__rust_put(r->out, "::");
        put_identifier(r, &id);
    }
}

static void path(struct read *r, bool is_value)
{
    if (!enter(r))
        return;
    char tag = next(r);
    switch (tag) {
    case 'C': {
        struct identifier id = identifier(r);

        put_identifier(r, &id);
        break;
    }
    case 'N':
        nested(r, is_value);
        break;
    case 'M':
    case 'X':
    case 'Y':
        if (tag != 'Y')
            impl_path(r);
        prof__rust_put(r->out, "<");
        type(r);
        if (tag != 'M') {
            prof__rust_put(r->out, " as ");
            path(r, false);
        }
        prof__rust_put(r->out, ">");
        break;
    case 'I':
        path(r, is_value);
        prof__rust_put(r->out, is_value ? "::<" : "<");
        list(r, generic_arg);
        prof__rust_put(r->out, ">");
        break;
    case 'B':
        backwards(r, is_value ? path_in_value : path_in_type);
        break;
    default:
        fail(r);
    }
    r->depth--;
}

static const char *basic_type(char tag)
{
    static const char *const names[26] = {
        ['a' - 'a'] = "i8",    ['b' - 'a'] = "bool", ['c' - 'a'] = "char", ['d' - 'a'] = "f64",
        ['e' - 'a'] = "str",   ['f' - 'a'] = "f32",  ['h' - 'a'] = "u8",   ['i' - 'a'] = "isize",
        ['j' - 'a'] = "usize", ['l' - 'a'] = "i32",  ['m' - 'a'] = "u32",  ['n' - 'a'] = "i128",
        ['o' - 'a'] = "u128",  ['p' - 'a'] = "_",    ['s' - 'a'] = "i16",  ['t' - 'a'] = "u16",
        ['u' - 'a'] = "()",    ['v' - 'a'] = "...",  ['x' - 'a'] = "i64",  ['y' - 'a'] = "u64",
        ['z' - 'a'] = "!",
    };

    return tag >= 'a' && tag <= 'z' ? names[tag - 'a'] : NULL;
}

/* "for<'a, 'b> ", of lifetimes that are bound here. */
static void binder(struct read *r)
{
    uint64_t n = optional_base_62(r, 'G');

    if (n == 0)
        return;
    if (n > 64) {
        fail(r);
        return;
    }
    prof__rust_put(r->out, "for<");
    for (uint64_t i = 0; i < n; i++) {
        if (i)
            prof__rust_put(r->out, ", ");
        r->lifetimes++;
        put_lifetime(r, 1);
    }
    prof__rust_put(r->out, "> ");
}

static void function_type(struct read *r)
{
    uint64_t outer = r->lifetimes;

    binder(r);
    if (eat(r, 'U'))
        prof__rust_put(r->out, "unsafe ");
    if (eat(r, 'K')) {
        prof__rust_put(r->out, "extern \"");
        if (eat(r, 'C')) {
            prof__rust_put(r->out, "C");
        } else {
            struct identifier id = identifier(r);

            for (size_t i = 0; i < id.size; i++)
                prof__rust_put_n(r->out, id.text[i] == '_' ? "-" : id.text + i, 1);
        }
        prof__rust_put(r->out, "\" ");
    }
    prof__rust_put(r->out, "fn(");
    list(r, type);
    prof__rust_put(r->out, ")");
    if (!eat(r, 'u')) {
        prof__rust_put(r->out, " -> ");
        type(r);
    }
    r->lifetimes = outer;
}

/* One trait of a dyn type, with the types that belong to it. */
static void dyn_trait(struct read *r)
{
    bool is_open = false;

    if (peek(r) == 'I') { /* more may follow its arguments */
        r->at++;
        path(r, false);
        prof__rust_put(r->out, "<");
        list(r, generic_arg);
        is_open = true;
    } else {
        path(r, false);
    }
    while (!r->out->failed && eat(r, 'p')) {
        prof__rust_put(r->out, is_open ? ", " : "<");
        is_open = true;
        struct identifier id = identifier(r);
        put_identifier(r, &id);
        prof__rust_put(r->out, " = ");
        type(r);
    }
    if (is_open)
        prof__rust_put(r->out, ">");
}

static void dyn_type(struct read *r)
{
    uint64_t outer = r->lifetimes;

    prof__rust_put(r->out, "dyn ");
    binder(r);
    for (bool first = true; !r->out->failed && !eat(r, 'E'); first = false) {
        if (!first)
            prof__rust_put(r->out, " + ");
        dyn_trait(r);
    }
    r->lifetimes = outer;
    if (!eat(r, 'L')) {
        fail(r);
        return;
    }
    uint64_t lifetime = base_62(r);
    if (lifetime) {
        prof__rust_put(r->out, " + ");
        put_lifetime(r, lifetime);
    }
}

static void type(struct read *r)
{
    const char *basic = basic_type(peek(r));

    if (!enter(r))
        return;
    char tag = next(r);
    if (basic) {
        prof__rust_put(r->out, basic);
        r->depth--;
        return;
    }
    switch (tag) {
    case 'R':
    case 'Q':
        prof__rust_put(r->out, "&");
        if (eat(r, 'L')) {
            uint64_t lifetime = base_62(r);

            if (lifetime) {
                put_lifetime(r, lifetime);
                prof__rust_put(r->out, " ");
            }
        }
        if (tag == 'Q')
            prof__rust_put(r->out, "mut ");
        type(r);
        break;
    case 'P':
    case 'O':
        prof__rust_put(r->out, tag == 'P' ? "*const " : "*mut ");
        type(r);
        break;
    case 'A':
    case 'S':
        prof__rust_put(r->out, "[");
        type(r);
        if (tag == 'A') {
            prof__rust_put(r->out, "; ");
            constant(r);
        }
        prof__rust_put(r->out, "]");
        break;
    case 'T':
        prof__rust_put(r->out, "(");
        if (list(r, type) == 1)
            prof__rust_put(r->out, ",");
        prof__rust_put(r->out, ")");
        break;
    case 'F':
        function_type(r);
        break;
    case 'D':
        dyn_type(r);
        break;
    case 'B':
        backwards(r, type);
        break;
    default: /* a named one */
        r->at--;
        path(r, false);
    }
    r->depth--;
}

/* Hexadecimal digits up to "_". */
static uint64_t hex_number(struct read *r, const char **ret_digits, size_t *ret_n)
{
    uint64_t v = 0;

    *ret_digits = r->name + r->at;
    for (*ret_n = 0; prof__rust_is_hex(peek(r)); ++*ret_n)
        v = v << 4 | prof__rust_hex_value(next(r));
    if (!eat(r, '_'))
        fail(r);
    return v;
}

static void put_character(struct read *r, uint32_t c)
{
    static const struct {
        uint32_t c;
        const char *text;
    } escaped[] = {
        { '\t', "\\t" }, { '\n', "\\n" }, { '\r', "\\r" }, { '\'', "\\'" }, { '\\', "\\\\" }
    };

    prof__rust_put(r->out, "'");
    for (size_t i = 0; i < sizeof(escaped) / sizeof(escaped[0]); i++)
        if (escaped[i].c == c) {
            prof__rust_put(r->out, escaped[i].text);
            prof__rust_put(r->out, "'");
            return;
        }
    if (c >= 0x20 && c < 0x7f) {
        prof__rust_put_code_point(r->out, c);
    } else {
        char digits[8], *at = digits + sizeof(digits);

        do {
            *--at = "0123456789abcdef"[c & 15];
            c >>= 4;
        } while (c);
        prof__rust_put(r->out, "\\u{");
        prof__rust_put_n(r->out, at, (size_t)(digits + sizeof(digits) - at));
        prof__rust_put(r->out, "}");
    }
    prof__rust_put(r->out, "'");
}

static void constant(struct read *r)
{
    const char *digits;
    size_t n;

    if (!enter(r))
        return;
    char tag = next(r);
    bool is_negative;
    switch (tag) {
    case 'p':
        prof__rust_put(r->out, "_");
        break;
    case 'b':
        prof__rust_put(r->out, hex_number(r, &digits, &n) ? "true" : "false");
        break;
    case 'c':
        put_character(r, (uint32_t)hex_number(r, &digits, &n));
        break;
    case 'B':
        backwards(r, constant);
        break;
    default:
        if (!basic_type(tag) || !strchr("ahijlmnostxy", tag)) {
            fail(r);
            break;
        }
        is_negative = eat(r, 'n');
        uint64_t v = hex_number(r, &digits, &n);
        if (is_negative)
            prof__rust_put(r->out, "-");
        if (n > 16) {
            prof__rust_put(r->out, "0x");
            prof__rust_put_n(r->out, digits, n);
        } else {
            prof__rust_put_number(r->out, v);
        }
    }
    r->depth--;
}

bool prof__rust_v0(struct prof__rust_out *o, const char *name, size_t size)
{
    struct read r = { .name = name + 2, .size = size - 2, .out = o };

    path(&r, true);
    if (!o->failed && r.at < r.size && peek(&r) != '.') { /* the crate that asked for it */
        o->is_quiet = true;
        path(&r, false);
        o->is_quiet = false;
    }
    return !o->failed && (r.at == r.size || peek(&r) == '.');
}
