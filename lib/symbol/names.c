/*
 * names.c - names short enough for a table and a box of a flame graph.
 *
 *   std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >::reserve(
 *       unsigned long)                                       std::string::reserve
 *   std::map<int, Widget, std::less<int>, std::allocator<std::pair<int const, Widget> > >::at(
 *       int const&)                                          std::map<int, Widget>::at
 *   void std::__invoke_impl<void, main::{lambda()#1}>(std::__invoke_other, main::{lambda()#1}&&)
 *                                                            std::__invoke_impl<...>
 *   compress.part.0                                          compress
 *
 * One simplifier for all names, whether they come demangled from the linker or put together from
 * debug information, so that a function has the same name inlined and not. It works on text: what a
 * function takes and returns is left out when it is demangled; here arguments of templates that the
 * standard library fills in by itself go, lists that are long still become <...>, and the inline
 * namespaces of libraries go. Two instances of one template may so get one name, as in `go tool
 * pprof`.
 */
#include "symbol/names.h"

#include <string.h>

#include "symbol/demangle.h"

enum {
    ARGUMENTS_MAX = 32,  /* characters of a list that is shown */
    PARAMETERS_MAX = 24, /* of a lambda's */
    TEXT_MAX = 16 << 10,
    DEPTH_MAX = 100,
    LIST_MAX = 64,
};

struct prof__namer {
    struct prof__demangler *demangler;
    size_t size;
    bool failed;
    unsigned depth;
    char text[TEXT_MAX];
};

struct prof__namer *prof__namer_new(struct prof__arena *a)
{
    struct prof__namer *n = prof__arena_alloc(a, sizeof(*n));

    if (n)
        n->demangler = prof__demangler_new(a);
    return n && n->demangler ? n : NULL;
}

static bool starts(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || (unsigned char)c >= 0x80;
}

static void put_n(struct prof__namer *n, const char *s, size_t size)
{
    if (size >= TEXT_MAX - n->size) {
        n->failed = true;
        return;
    }
    memcpy(n->text + n->size, s, size);
    n->size += size;
}

static void put(struct prof__namer *n, const char *s)
{
    put_n(n, s, strlen(s));
}

/* Does the text so far, from `start` on, end in that? */
static bool ends(const struct prof__namer *n, size_t start, const char *with)
{
    size_t size = strlen(with);

    return n->size - start >= size && memcmp(n->text + n->size - size, with, size) == 0;
}

/* --- pieces ---------------------------------------------------------------------------------- */

static const char *fold(struct prof__namer *n, const char *s, char end);
static const char *fold_arguments(struct prof__namer *n, const char *s);

/* The name of an operator after the word: "operator<<" is no list. Returns behind it. */
static const char *copy_operator(struct prof__namer *n, const char *s)
{
    static const char *const names[] = { "<=>", "<<=", "->*", ">>=", "<<", "<=", "->",
                                         ">>",  ">=",  "()",  "[]",  "<",  ">" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (starts(s, names[i])) {
            put(n, names[i]);
            s += strlen(names[i]);
            break;
        }
    if (s[0] != ' ' || s[1] != '<')
        return s;
    put(n, " "); /* keeps "operator< <int>" apart */
    return fold_arguments(n, s + 1);
}

/* Namespaces that nobody writes. Returns how much of `s` is one. */
static size_t hidden_namespace(const struct prof__namer *n, const char *s)
{
    static const char *const hidden[] = { "__cxx11::", "__1::", "__ndk1::", "_V2::", "__debug::" };

    if (*s != '_' || !ends(n, 0, "std::"))
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(hidden); i++)
        if (starts(s, hidden[i]))
            return strlen(hidden[i]);
    return 0;
}

/* Where each argument of a list starts in the text. */
struct arguments {
    size_t at[LIST_MAX + 1];
    size_t n;
};

/* An argument that the library fills in. */
static bool is_filled_in(const char *s)
{
    static const char *const known[] = { "std::allocator<",
                                         "std::char_traits<",
                                         "std::less<",
                                         "std::hash<",
                                         "std::equal_to<",
                                         "std::default_delete<",
                                         "std::pmr::polymorphic_allocator<" };

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (starts(s, known[i]))
            return true;
    return false;
}

/* std::basic_string<char> is called std::string, and so on: `list` starts at its '<'. */
static bool put_standard_name(struct prof__namer *n, size_t list)
{
    static const struct {
        const char *of, *prefix;
    } kinds[] = { { "<char>", "" },
                  { "<wchar_t>", "w" },
                  { "<char8_t>", "u8" },
                  { "<char16_t>", "u16" },
                  { "<char32_t>", "u32" } };
    static const char *const names[] = {
        "string",  "string_view", "ostream",   "istream",       "iostream", "stringstream",
        "filebuf", "fstream",     "ofstream",  "ifstream",      "ios",      "ostringstream",
        "regex",   "stringbuf",   "streambuf", "istringstream",
    };
    static const char before[] = "std::basic_";
    char name[24];
    size_t start = list;

    while (start > 0 && is_word(n->text[start - 1]))
        start--;
    size_t base = start + strlen("basic_");
    if (start < strlen("std::") || base >= list || list - base >= sizeof(name) ||
        memcmp(n->text + start - strlen("std::"), before, strlen(before)) != 0)
        return false;
    memcpy(name, n->text + base, list - base);
    name[list - base] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(name, names[i]) != 0)
            continue;
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
            size_t size = strlen(kinds[k].of);

            if (n->size - list != size || memcmp(n->text + list, kinds[k].of, size) != 0 ||
                (k > 1 && i > 1))
                continue;
            n->size = start;
            put(n, kinds[k].prefix);
            put(n, names[i]);
            return true;
        }
    }
    return false;
}

/* A literal as it is written: 3ul is 3. */
static void trim_literal(struct prof__namer *n, size_t start)
{
    size_t at = start + (n->size > start && n->text[start] == '-');

    if (at >= n->size || n->text[at] < '0' || n->text[at] > '9')
        return;
    while (at < n->size && n->text[at] >= '0' && n->text[at] <= '9')
        at++;
    size_t end = at;
    while (at < n->size && (n->text[at] == 'u' || n->text[at] == 'l'))
        at++;
    if (at == n->size)
        n->size = end;
}

/* A list of arguments from its '<' on. Returns behind it. */
static const char *fold_arguments(struct prof__namer *n, const char *s)
{
    size_t list = n->size;
    struct arguments a = { .n = 0 };

    put(n, "<");
    s++;
    for (;;) {
        while (*s == ' ')
            s++;
        if (a.n < LIST_MAX)
            a.at[a.n++] = n->size;
        size_t start = n->size;
        s = fold(n, s, '>');
        while (n->size > start && n->text[n->size - 1] == ' ')
            n->size--;
        trim_literal(n, start);
        if (*s != ',')
            break;
        put(n, ", ");
        s++;
    }
    if (n->failed || *s != '>') /* it was "less than" */
        return s;
    s++;
    n->text[n->size] = '\0';
    while (a.n > 1 && is_filled_in(n->text + a.at[a.n - 1])) {
        n->size = a.at[--a.n] - strlen(", ");
        n->text[n->size] = '\0';
    }
    put(n, ">");
    n->text[n->size] = '\0';
    if (put_standard_name(n, list))
        return s;
    if (n->size - list > ARGUMENTS_MAX || strstr(n->text + list, "{lambda")) {
        n->size = list;
        put(n, "<...>");
    }
    return s;
}

/* Parentheses, from the '(' on. Returns behind them. */
static const char *fold_parentheses(struct prof__namer *n, const char *s)
{
    bool is_lambda = ends(n, 0, "{lambda");
    size_t start = n->size;

    put(n, "(");
    s = fold(n, s + 1, ')');
    while (*s && *s != ')' && !n->failed) { /* a comma, or "greater than" */
        put_n(n, s, 1);
        s = fold(n, s + 1, ')');
    }
    if (*s == ')')
        s++;
    put(n, ")");
    if (is_lambda && n->size - start > PARAMETERS_MAX + 2) {
        n->size = start;
        put(n, "(...)");
    }
    return s;
}

/* Where something may start that is not just copied. */
static const bool is_special[256] = {
    ['\0'] = true, ['<'] = true, ['>'] = true, ['('] = true, [')'] = true, ['['] = true,
    [','] = true,  [':'] = true, ['-'] = true, ['o'] = true, ['_'] = true,
};

/* Up to `end`, or a ',' or what closes a list that is around this one, or the end of the text.
 * Returns there. */
static const char *fold(struct prof__namer *n, const char *s, char end)
{
    size_t start = n->size;

    if (++n->depth > DEPTH_MAX)
        n->failed = true;
    while (*s && !n->failed && !(end && (*s == ',' || *s == '>' || *s == ')'))) {
        size_t plain = 0;

        while (!is_special[(unsigned char)s[plain]])
            plain++;
        if (plain) { /* nothing to look at */
            put_n(n, s, plain);
            s += plain;
            continue;
        }
        bool at_word = n->size == start || !is_word(n->text[n->size - 1]);
        size_t hidden = hidden_namespace(n, s);

        if (hidden) {
            s += hidden;
        } else if (starts(s, "->")) {
            put(n, "->");
            s += 2;
        } else if (at_word && starts(s, "operator") && !is_word(s[8])) {
            put(n, "operator");
            s = copy_operator(n, s + 8);
        } else if (starts(s, "[abi:")) {
            const char *close = strchr(s, ']');

            s = close ? close + 1 : s + strlen(s);
        } else if (starts(s, "(anonymous namespace)")) {
            put(n, "(anonymous namespace)");
            s += strlen("(anonymous namespace)");
        } else if (*s == '<' && at_word && !ends(n, start, "::") && !ends(n, start, ">") &&
                   !ends(n, start, "operator")) {
            /* Rust's <T as Trait>::method */
            put(n, "<");
            s = fold(n, s + 1, '>');
            while (*s == ',') {
                put(n, ",");
                s = fold(n, s + 1, '>');
            }
            s += *s == '>';
            put(n, ">");
        } else if (*s == '<') {
            s = fold_arguments(n, s);
        } else if (*s == '(') {
            s = fold_parentheses(n, s);
        } else {
            put_n(n, s++, 1);
        }
    }
    n->depth--;
    return s;
}

/* What compilers append to the parts that they make of a function. Returns its size without. */
static size_t without_suffix(const char *name)
{
    static const char *const suffixes[] = {
        ".part.",     ".isra.",      ".constprop.", ".cold",
        ".lto_priv.", ".localalias", ".llvm.",      ".clone.",
    };
    size_t size = strlen(name);

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        const char *at = strstr(name, suffixes[i]);

        if (at && at > name)
            size = PROF_MIN(size, (size_t)(at - name));
    }
    return size;
}

/* Is there anything to be shortened? Most functions of C have no such character. */
static bool is_plain(const char *name)
{
    return !strpbrk(name, "<(.:[");
}

const char *prof__namer_show(struct prof__namer *n, const char *name, enum prof__names how)
{
    if (how == PROF__NAMES_RAW)
        return name;
    const char *text = how == PROF__NAMES_FULL ? prof__demangle(n->demangler, name)
                                               : prof__demangle_bare(n->demangler, name);
    if (how == PROF__NAMES_FULL)
        return text ? text : name;
    if (!text && is_plain(name))
        return name;
    n->size = n->depth = 0;
    n->failed = false;
    if (!text && name[0] != '<' && !strpbrk(name, "<(:[")) {
        size_t size = without_suffix(name);

        if (name[size] == '\0')
            return name;
        put_n(n, name, size);
    } else {
        const char *at = fold(n, text ? text : name, '\0');

        if (*at || n->failed)
            return text ? text : name;
    }
    n->text[n->size] = '\0';
    return n->failed ? name : n->text;
}
