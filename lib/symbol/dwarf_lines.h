/*
 * dwarf_lines.h - addresses of one compilation unit -> file and line.
 */
#ifndef PROF_SYMBOL_DWARF_LINES_H
#define PROF_SYMBOL_DWARF_LINES_H

#include "symbol/dwarf_image.h"
#include "symbol/symbol_query.h"

/* An address while its unit is worked on; sorted by address. */
struct prof__dwarf_pc {
    uint64_t address;
    struct prof__query *query;
    bool has_row; /* file and line are known */
    uint32_t file, line;
    struct prof__dwarf_function *function; /* innermost: dwarf_answer.c */
    uint64_t function_size;
};

/* The line table of one unit: its header read. */
struct prof__dwarf_lines {
    struct prof__arena *arena; /* for the header */
    struct prof__arena *paths; /* for what prof__dwarf_lines_file() returns */
    struct prof__dwarf_image *image;
    const char *comp_dir; /* NULL: unknown */
    const uint8_t *program, *end;
    const uint8_t *operands; /* of each standard opcode, how many; from opcode 1 on */
    struct prof__dwarf_file *file;
    size_t n_files;
    const char **dir;
    size_t n_dirs;
    uint16_t version;
    uint8_t offset_size, min_advance, opcode_base, line_range;
    int8_t line_base;
};

/* Read the header at `offset` of .debug_line into `a`. -EINVAL: damaged, or late; -ENOMEM. */
int prof__dwarf_lines_open(struct prof__dwarf_lines *l, struct prof__arena *a,
                           struct prof__arena *paths, struct prof__dwarf_image *im, uint64_t offset,
                           const char *comp_dir);

/* Find rows for n addresses; not all when late (deadline.h). */
void prof__dwarf_lines_run(const struct prof__dwarf_lines *l, struct prof__dwarf_pc *pc, size_t n);

/* The path of a file by its number in this table, as absolute as the compiler made it; NULL when
 * there is none. The same pointer each time. */
const char *prof__dwarf_lines_file(struct prof__dwarf_lines *l, uint64_t file);

#endif
