/*
 * test_utf8.c - what is taken for valid is exactly what Unicode calls so.
 */
#include "base/utf8.h"

#include "check.h"

/* By the definition: decode by the lengths alone, then ask whether the number needed that many
 * bytes and is a character. */
static size_t by_definition(const unsigned char *s)
{
    static const unsigned least[] = { 0, 1, 0x80, 0x800, 0x10000 };
    size_t n = s[0] < 0x80             ? 1
               : (s[0] & 0xe0) == 0xc0 ? 2
               : (s[0] & 0xf0) == 0xe0 ? 3
               : (s[0] & 0xf8) == 0xf0 ? 4
                                       : 0;
    unsigned point = n == 1 ? s[0] : s[0] & (0x7fu >> n);

    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (s[i] & 0x3f);
    }
    return n && point >= least[n] && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff) ? n
                                                                                             : 0;
}

static void test_characters_are_those_of_the_definition(void)
{
    static const unsigned char tail[] = { 0, 'a', 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0 };
    int wrong = 0;

    for (unsigned i = 0; i < 65536 * 100; i++) {
        char s[] = { (char)(i & 255), (char)(i >> 8 & 255), (char)tail[(i >> 16) % 10],
                     (char)tail[(i >> 16) / 10], 0 };

        wrong += prof__utf8_next(s) != by_definition((unsigned char *)s);
    }
    CHECK_INT(wrong, 0, "of 6.5 million beginnings");
}

static void test_only_what_is_wrong_is_replaced(void)
{
#define BAD "\xef\xbf\xbd"
    static const struct {
        const char *from, *to;
    } cases[] = {
        { "", "" },
        { "operator new(unsigned long)", "operator new(unsigned long)" },
        { "gr\xc3\xbc\xc3\x9f dich, \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x8c\x8d",
          "gr\xc3\xbc\xc3\x9f dich, \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x8c\x8d" },
        { "\xff", BAD },
        { "12345678\xff", "12345678" BAD },
        { "\xc0\x80x", BAD BAD "x" },
        { "cut \xe2\x82", "cut " BAD BAD },
        { "\xed\xa0\x80", BAD BAD BAD },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct prof__arena a = { 0 };
        const char *clean = prof__utf8_clean(&a, cases[i].from);

        CHECK_STR(clean, cases[i].to, "cleaned");
        if (strcmp(cases[i].from, cases[i].to) == 0)
            CHECK(clean == cases[i].from, "a good string is not copied: %s", clean);
        prof__arena_free(&a);
    }
}

int main(void)
{
    test_characters_are_those_of_the_definition();
    test_only_what_is_wrong_is_replaced();
    return check_report();
}
