/*
 * test_dwarf_unit.c - a table of abbreviations takes memory for what is in it, whatever a damaged
 * file claims.
 */
#include "symbol/dwarf_unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "check.h"

enum { SECTION = 8 << 20, MOST_PAGES = (32 << 20) / 4096 };

static char *section, *at;

static void put_uleb(uint64_t v)
{
    do {
        *at++ = (char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        v >>= 7;
    } while (v);
}

/* DW_TAG_variable without children and with n times DW_AT_name, DW_FORM_string. */
static void put_abbrev(uint64_t code, size_t n)
{
    put_uleb(code);
    put_uleb(0x34);
    *at++ = 0;
    for (size_t i = 0; i < n; i++) {
        put_uleb(0x03);
        put_uleb(0x08);
    }
    *at++ = 0;
    *at++ = 0;
}

static long pages(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    long n = 0;

    if (!f || fscanf(f, "%ld", &n) != 1)
        n = -1;
    if (f)
        fclose(f);
    return n;
}

static void check(const char *what, int want)
{
    struct prof__dwarf_image image = { 0 };
    struct prof__dwarf_unit u = { .image = &image, .version = 4, .address_size = 8 };
    struct prof__arena a = { 0 };

    *at++ = 0;
    image.part[PROF__DWARF_ABBREV].data = section;
    image.part[PROF__DWARF_ABBREV].size = (uint64_t)(at - section);
    long before = pages();
    CHECK_INT(prof__dwarf_unit_load(&u, &a), want, what);
    CHECK_BETWEEN(pages() - before, 0, MOST_PAGES, what);
    prof__arena_free(&a);
    at = section;
}

int main(void)
{
    section = at = malloc(SECTION);
    for (uint64_t code = 1; code <= 5000; code++)
        put_abbrev(code, 10);
    check("a large program", 0);
    for (uint64_t code = 1; code <= 9; code += 2)
        put_abbrev(code, 2);
    check("a few codes left out", 0);

    put_abbrev(1, 2);
    put_abbrev(1 << 20, 2);
    check("a code that is far away", -22);
    for (uint64_t code = 1; code <= 1 << 20; code++)
        put_abbrev(code, 0);
    check("a million codes", -22);
    put_abbrev(1, 1 << 20);
    check("a million attributes", -22);
    for (uint64_t code = 1; code <= 250000; code++)
        put_abbrev(code, 1);
    check("as much as is taken", 0);
    free(section);
    return check_report();
}
