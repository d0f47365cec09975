/*
 * core_parts.h - a core file as it is being read: for the files that read it.
 */
#ifndef PROF_IMAGE_CORE_PARTS_H
#define PROF_IMAGE_CORE_PARTS_H

#include <elf.h>

#include "image/foreign.h"

#define PROF__CORE_NO_FILE UINT32_MAX

struct prof__core_segment {
    uint64_t start, size, offset, in_file; /* in_file: bytes of it that are there */
    uint64_t file_offset;
    uint32_t file, flags;
};

struct prof__core_file {
    const char *path, *open; /* as the core has it; as it is opened here */
    uint64_t head;           /* where its first page is mapped; 0: nowhere */
    uint64_t size;
    int fd;
    bool tried, sized;
    const char *why; /* it cannot be had */
};

/* A line of NT_FILE. */
struct prof__core_range {
    uint64_t start, end, offset;
    uint32_t file;
};

struct prof__core {
    int fd;
    uint64_t size, absent_bytes;
    struct prof__arena arena;
    const char *exe, *sysroot;
    struct prof__core_segment *segment; /* by rising address */
    size_t n_segments;
    struct prof__core_file *file;
    size_t n_files;
    struct prof__core_range *range;
    size_t n_ranges;
    const char **missing;
    size_t n_missing;
    uint64_t stack_at, vdso_at;
    struct prof__core_about about;
    char command[32], arguments[96];
    /* The view's: */
    struct prof__image_map *map;
    struct prof__image_thread *thread;
    size_t n_threads;
};

/* Bytes of a file: as many as there are. */
size_t prof__core_pread(int fd, uint64_t at, void *to, size_t n);

/* The first segment that ends behind `address`; behind the last if there is none. */
struct prof__core_segment *prof__core_first_from(const struct prof__core *c, uint64_t address);

/* One segment of notes, of `size` bytes. *room is that of c->thread, 0 at first. 0 or -ENOMEM. */
int prof__core_take_notes(struct prof__core *c, const char *notes, size_t size, size_t *room);

/* What is to be mapped of `n` program headers, by rising address. 0 or -ENOMEM. */
int prof__core_take_segments(struct prof__core *c, const Elf64_Phdr *p, size_t n);

/* Which segments are of a file; after segments and notes. 0 or -ENOMEM. */
int prof__core_join_files(struct prof__core *c);

/* c->map, a mapping for each segment; after the files have been joined. */
void prof__core_name_maps(struct prof__core *c);

#endif
