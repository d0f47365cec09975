/*
 * maps.h - /proc/PID/maps: what is mapped.
 */
#ifndef PROF_SYMBOL_MAPS_H
#define PROF_SYMBOL_MAPS_H

#include "base/arena.h"
#include "base/compiler.h"

struct prof__map {
    uint64_t start, limit, offset, inode;
    bool readable, writable, executable, shared;
    const char *path; /* the kernel's bytes; "" for none. May end in " (deleted)" */
};

/* A line "start-limit perms offset device inode      path", which is cut up; the path stays in it.
 * False: it is none. */
bool prof__map_parse(char *line, struct prof__map *ret_map);

/* What is executable, in order of address, in memory from `a`. -errno of open(2) or read(2),
 * -ENOMEM. */
int prof__maps_read(struct prof__arena *a, struct prof__map **ret_map, size_t *ret_n);

/* All that is mapped: by this process, or as the file `path` says of another. */
int prof__maps_read_all(struct prof__arena *a, struct prof__map **ret_map, size_t *ret_n);
int prof__maps_read_file(const char *path, struct prof__arena *a, struct prof__map **ret_map,
                         size_t *ret_n);

#endif
