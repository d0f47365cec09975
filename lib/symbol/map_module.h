/*
 * map_module.h - a mapping as a module, by the file's own headers.
 */
#ifndef PROF_SYMBOL_MAP_MODULE_H
#define PROF_SYMBOL_MAP_MODULE_H

#include "symbol/maps.h"
#include "symbol/modules.h"

/*
 * The module of one mapping, without asking the linker: by the file's own headers, if it is an ELF
 * file and still the one that is mapped. Otherwise is_elf is not set. Strings are those of `map`;
 * `a` is for scratch. -ENOMEM.
 */
int prof__map_module(struct prof__arena *a, const struct prof__map *map,
                     struct prof__module *ret_module);

#endif
