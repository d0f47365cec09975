/*
 * demangle_rust.c - Rust's names: those of old, which are C++'s with a hash for a last part and
 * punctuation spelled out, and those that start with _R.
 *
 *   _ZN4core3ptr13drop_in_place17h0123456789abcdefE   core::ptr::drop_in_place
 *   _RNvMs_NtCs1234_7mycrate3fooNtB4_3Bar3new         <mycrate::foo::Bar>::new
 *
 * Source: the mangling of old in rustc.
 */
#include "symbol/demangle_rust.h"

#include "symbol/demangle_rust_out.h"

enum { IDENTIFIER_MAX = 1024, HASH = 16 };

/* --- of old ---------------------------------------------------------------------------------- */

/* Are these 17 characters such a hash? One of real digits has more than a few different ones. */
static bool is_hash(const char *s)
{
    unsigned seen = 0;

    if (*s != 'h')
        return false;
    for (int i = 1; i <= HASH; i++) {
        if (!prof__rust_is_hex(s[i]))
            return false;
        seen |= 1u << prof__rust_hex_value(s[i]);
    }
    return __builtin_popcount(seen) >= 5;
}

/* What LLVM and linkers append. */
static size_t without_suffix(const char *name, size_t size)
{
    const char *at = memchr(name, '.', size);

    while (at && strncmp(at, ".llvm.", 6) != 0)
        at = memchr(at + 1, '.', size - (size_t)(at + 1 - name));
    return at ? (size_t)(at - name) : size;
}

static bool is_old(const char *name, size_t size)
{
    enum { TAIL = 3 + HASH + 1 }; /* 17h, digits, E */

    size = without_suffix(name, size);
    return size > 4 + TAIL && strncmp(name, "_ZN", 3) == 0 && name[size - 1] == 'E' &&
           strncmp(name + size - TAIL, "17h", 3) == 0 && is_hash(name + size - TAIL + 2);
}

/* "$LT$" and its kin, at s[0..size): how many bytes it has, or 0. */
static size_t put_escape(struct prof__rust_out *o, const char *s, size_t size)
{
    static const struct {
        const char *escape, *text;
    } known[] = {
        { "$C$", "," },  { "$SP$", "@" }, { "$BP$", "*" }, { "$RF$", "&" },
        { "$LT$", "<" }, { "$GT$", ">" }, { "$LP$", "(" }, { "$RP$", ")" },
    };
    uint32_t c = 0;

    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        size_t n = strlen(known[i].escape);

        if (n <= size && strncmp(s, known[i].escape, n) == 0) {
            prof__rust_put(o, known[i].text);
            return n;
        }
    }
    if (size < 4 || s[0] != '$' || s[1] != 'u')
        return 0;
    for (size_t i = 2; i < size && i < 9; i++) {
        if (s[i] == '$' && i > 2 && c >= 0x20 && c < 0x110000) {
            prof__rust_put_code_point(o, c);
            return i + 1;
        }
        if (!prof__rust_is_hex(s[i]))
            return 0;
        c = c << 4 | prof__rust_hex_value(s[i]);
    }
    return 0;
}

static void put_old_part(struct prof__rust_out *o, const char *s, size_t size)
{
    if (size > 2 && s[0] == '_' && s[1] == '$') /* a letter had to come first */
        s++, size--;
    while (size) {
        size_t n = 1;

        if (size > 1 && s[0] == '.' && s[1] == '.') {
            prof__rust_put(o, "::");
            n = 2;
        } else if (s[0] != '$' || (n = put_escape(o, s, size)) == 0) {
            n = 1;
            prof__rust_put_n(o, s, 1);
        }
        s += n;
        size -= n;
    }
}

static bool demangle_old(struct prof__rust_out *o, const char *name)
{
    const char *at = name + 3;
    bool is_first = true;

    while (*at != 'E') {
        size_t n = 0;

        if (!prof__rust_is_digit(*at))
            return false;
        while (prof__rust_is_digit(*at) && n < IDENTIFIER_MAX)
            n = n * 10 + (size_t)(*at++ - '0');
        if (n >= IDENTIFIER_MAX || strnlen(at, n) < n)
            return false;
        if (at[n] == 'E' && n == HASH + 1)
            break; /* the hash */
        if (!is_first)
            prof__rust_put(o, "::");
        is_first = false;
        put_old_part(o, at, n);
        at += n;
    }
    return !is_first && !o->failed;
}

/* --- both ------------------------------------------------------------------------------------ */

bool prof__rust_is_mangled(const char *name, size_t size)
{
    return (size > 3 && name[0] == '_' && name[1] == 'R' && name[2] >= 'A' && name[2] <= 'Z') ||
           is_old(name, size);
}

bool prof__rust_demangle(const char *name, size_t size, char *text, size_t text_size)
{
    struct prof__rust_out o = { .text = text, .room = text_size };

    text[0] = '\0';
    return name[1] == 'R' ? prof__rust_v0(&o, name, without_suffix(name, size))
                          : demangle_old(&o, name);
}
