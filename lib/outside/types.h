/*
 * types.h - what a block of the heap says it is.
 *
 *   C++      an object of a class with virtual functions begins with the address of its vtable; one
 *            word before that is its type_info, which has the name: no symbols are needed, and
 *            stripped programs have it too. Built with -fno-rtti, the symbol _ZTV... has to do
 *   string   storage that a std::string points to: pointer, length and capacity beside each other,
 *            and a block just as large as that capacity asks for
 *   vector   the same of begin, end and end of storage: std::vector's
 *   Python   an object's second word is its type, behind the garbage collector's two or four words;
 *            a type is an object whose type is called "type", and has a name
 *
 * Anything else is called by its size. A word may look like one of these by chance, or be what a
 * freed block left behind: types of many blocks are right, one block's may not be.
 */
#ifndef PROF_OUTSIDE_TYPES_H
#define PROF_OUTSIDE_TYPES_H

#include "scan/heap.h"

enum { PROF__TYPE_WORDS = 8 }; /* of a block, that are looked at */

enum prof__type_of {
    PROF__TYPE_SIZE,
    PROF__TYPE_CXX,
    PROF__TYPE_STRING,
    PROF__TYPE_VECTOR,
    PROF__TYPE_PYTHON
};

struct prof__type {
    enum prof__type_of of;
    const char *name; /* for people */
    uint64_t size;    /* PROF__TYPE_SIZE: the least of the class */
};

struct prof__types;

/* Memory from `a`. NULL: out of memory. */
struct prof__types *prof__types_new(struct prof__image *image, struct prof__arena *a);

/* A new view was taken. */
void prof__types_refresh(struct prof__types *t);

/* The type of a block by its first n words, `size` bytes large; a number that stays. */
uint32_t prof__type_by_words(struct prof__types *t, const uint64_t *word, size_t n, uint64_t size);
uint32_t prof__type_by_size(struct prof__types *t, uint64_t size);
uint32_t prof__type_of_string(struct prof__types *t);
uint32_t prof__type_of_vector(struct prof__types *t);

/* Another's type, copied. 0 or -ENOMEM. */
int prof__type_add(struct prof__types *t, const struct prof__type *type, uint32_t *ret);

const struct prof__type *prof__type_at(const struct prof__types *t, uint32_t type);
size_t prof__types_count(const struct prof__types *t);

/* Do three words describe such storage? The block's address, or 0. */
uint64_t prof__words_string(const uint64_t word[3], uint64_t *ret_request);
uint64_t prof__words_vector(const uint64_t word[3], uint64_t *ret_request);

#endif
