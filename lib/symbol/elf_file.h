/*
 * elf_file.h - an ELF file read with pread(2): sections, segments, build id.
 *
 * The one reader of headers and notes; whoever has them in memory calls the same functions.
 */
#ifndef PROF_SYMBOL_ELF_FILE_H
#define PROF_SYMBOL_ELF_FILE_H

#include <elf.h>

#include "base/arena.h"
#include "base/compiler.h"
#include "symbol/modules.h"

/* An open file. Tables live in the arena it was opened with. */
struct prof__elf {
    int fd;
    const char *path;       /* as it was opened by; NULL: it is part of another file */
    const char *memory;     /* its bytes, when it is part of another file */
    uint64_t size;          /* bytes in the file when it was opened */
    uint64_t device, inode; /* inode 0: it is part of another file */
    int64_t changed_ns;     /* st_ctim */
    const Elf64_Shdr *section;
    size_t n_sections;
    const char *names; /* of sections; ends in NUL */
    size_t names_size;
    const Elf64_Phdr *segment;
    size_t n_segments;
    uint8_t build_id[PROF__BUILD_ID_MAX];
    uint8_t build_id_size; /* 0: none */
};

/*
 * Open a regular file that is ELF for this processor. Never waits (a FIFO is refused). -errno of
 * open(2), -ENOEXEC for what is no such file, -ENOMEM. Close it also after an error.
 */
int prof__elf_open(struct prof__elf *e, struct prof__arena *a, const char *path);
void prof__elf_close(struct prof__elf *e);

/* The file that `e` has compressed in its section .gnu_debugdata: symbols that were stripped from
 * `e` itself. It lives in `a`. -ENOENT: there is none, -ENOTSUP: this build cannot read it,
 * -ENOEXEC, -ENOMEM. */
int prof__elf_open_embedded(struct prof__elf *ret_elf, struct prof__arena *a,
                            const struct prof__elf *e);

/* Is this the head of a file for this processor? */
bool prof__elf_is_ours(const Elf64_Ehdr *h);

/* How often a file could not be read for a reason that may pass: no descriptor, no memory, an
 * error of the device. What was found meanwhile need not be all there is. */
extern _Atomic uint64_t prof__elf_troubles;

/* Bytes [offset, offset + n) into buf; false if the file has not got them all. */
bool prof__elf_read(const struct prof__elf *e, uint64_t offset, void *buf, size_t n);

/* The section of that name that has contents within the file, or NULL. ".debug_x" is found also as
 * ".zdebug_x", its compressed form of old. */
const Elf64_Shdr *prof__elf_section(const struct prof__elf *e, const char *name);

/* How the contents of a section are to be read. */
enum prof__packing {
    PROF__PLAIN,
    PROF__ZLIB,
    PROF__ZSTD,
};

/* Bytes of its contents when decompressed. -ENOTSUP: compressed in a way that this build does not
 * understand, *ret_packing tells which; -EINVAL: damaged. */
int prof__elf_section_size(const struct prof__elf *e, const Elf64_Shdr *s, uint64_t *ret_size,
                           enum prof__packing *ret_packing);

/* Contents of a section that is not plain, `size` bytes as prof__elf_section_size() has it, into
 * dst. On damage what could be had is there and the rest is zero. -EINVAL, -ENOMEM. */
int prof__elf_section_inflate(const struct prof__elf *e, struct prof__arena *a, const Elf64_Shdr *s,
                              void *dst, uint64_t size);

/* The GNU build id among ELF notes; its size, or 0. `align` is that of the segment or section. */
uint8_t prof__elf_note_build_id(const char *notes, size_t size, uint64_t align,
                                uint8_t ret_id[PROF__BUILD_ID_MAX]);

#endif
