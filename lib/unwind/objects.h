/*
 * objects.h - which loaded object covers an address, and where its unwind table is.
 *
 * The dynamic linker answers: _dl_find_object() takes no lock, and may be asked from a signal
 * handler at any moment. A glibc before 2.35 has none; built without it (PROF__NO_FIND_OBJECT) a
 * list of our own stands in, made in normal context, so that an object loaded since the last
 * refresh is unknown until the next one.
 *
 * An object is held while the calling thread will return into it: then its memory stays. Of any
 * other one knows where it was an instant ago, and its memory is read through the kernel only.
 */
#ifndef PROF_UNWIND_OBJECTS_H
#define PROF_UNWIND_OBJECTS_H

#include "base/compiler.h"

/* Zero covers nothing. */
struct prof__object {
    uintptr_t start, size;  /* of all its mappings, gaps between them included */
    uintptr_t eh_frame_hdr; /* the binary search table of .eh_frame; 0: none */
    uint64_t identity;      /* another object at the same address has another one; never 0 */
    bool permanent;         /* never unloaded */
};

/* Look up once what never goes away: the program, libc and ourselves. Then they are found faster.
 */
void prof__objects_init(void);

/* False: no object covers `pc`. `held`: this thread will return there. Context: signal. */
bool prof__object_find(uintptr_t pc, bool held, struct prof__object *ret);

/* Only whether one does, or did an instant ago; reads nothing of it. Context: signal. */
bool prof__object_covers(uintptr_t pc);

/* The memory around its unwind table that is mapped for reading and not for writing, which in most
 * objects the code is a part of; empty if that cannot be told. For one that stays. Context: signal.
 */
void prof__object_held(const struct prof__object *o, uintptr_t *ret_low, uintptr_t *ret_high);

/* From now on objects without a build id have other identities: code may have been replaced
 * unnoticed. */
void prof__objects_renew(void);

/* Look again at what is loaded; nothing to do where the dynamic linker answers. Does not wait: if
 * another thread is at it, that one goes round once more. */
void prof__objects_refresh(void);

/* The same if anything has been loaded or unloaded since. Asks for the loader's lock, so hold none
 * that somebody may want who has it; in a forked child, where a thread that is no more may have it,
 * it does nothing. */
void prof__objects_look(void);

#ifdef PROF__NO_FIND_OBJECT
/* The list's answer (objects_list.c): false, or all of *ret but what is read in the object itself,
 * and what tells records apart. Context: signal. */
bool prof__objects_list_find(uintptr_t pc, struct prof__object *ret, uintptr_t *ret_record);
#endif

#endif
