/*
 * dwarf_image.h - the DWARF sections of a file, in memory of ours as far as they have been needed.
 */
#ifndef PROF_SYMBOL_DWARF_IMAGE_H
#define PROF_SYMBOL_DWARF_IMAGE_H

#include "symbol/elf_file.h"

enum prof__dwarf_section {
    PROF__DWARF_INFO,
    PROF__DWARF_ABBREV,
    PROF__DWARF_LINE,
    PROF__DWARF_LINE_STR,
    PROF__DWARF_STR,
    PROF__DWARF_RANGES,
    PROF__DWARF_RNGLISTS,
    PROF__DWARF_ADDR,
    PROF__DWARF_STR_OFFSETS,
    PROF__DWARF_CU_INDEX,
    PROF__DWARF_SECTIONS,
};

struct prof__dwarf_part {
    const Elf64_Shdr *header; /* in the file; NULL: there is none, size is 0 */
    char *data;
    uint64_t size;
    uint8_t *loaded; /* a bit for each page; NULL: all is */
};

struct prof__dwarf_image {
    const struct prof__elf *elf;
    char *base;
    size_t size;
    bool split, is_to_keep; /* complete, and some of it had to be unpacked */
    size_t loaded_bytes;    /* of the parts that are loaded by need */
    struct prof__dwarf_part part[PROF__DWARF_SECTIONS];
};

/* The sections of `e`, or with `split` those that are named as a .dwo or .dwp file has them.
 * -ENOENT: no debug information, or none that can be read; -EFBIG: it is too large; -ETIME: late
 * (deadline.h); -ENOMEM. `e` stays in use. */
int prof__dwarf_image_open(struct prof__dwarf_image *im, struct prof__arena *a,
                           const struct prof__elf *e, bool split);
void prof__dwarf_image_close(struct prof__dwarf_image *im);

/* See to it that bytes [offset, offset + n) of a section have been read, as far as they exist. To
 * be called before anybody looks at them. */
void prof__dwarf_image_need(struct prof__dwarf_image *im, enum prof__dwarf_section section,
                            uint64_t offset, uint64_t n);

/* Give back all that was loaded by need. */
void prof__dwarf_image_drop(struct prof__dwarf_image *im);

/* The string at an offset of a section, read to its end; NULL: there is none. */
const char *prof__dwarf_image_string(struct prof__dwarf_image *im, enum prof__dwarf_section section,
                                     uint64_t offset);

#endif
