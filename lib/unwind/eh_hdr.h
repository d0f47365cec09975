/*
 * eh_hdr.h - the table by which functions are found in .eh_frame, and the one search of it.
 *
 * .eh_frame_hdr, as the Linux Standard Base has it ("Exception Frames") and every linker writes
 * it: pairs of 32-bit distances from its head, (function, its entry in .eh_frame), by function.
 * Other encodings are allowed, and unheard of. Nothing of it is believed: it is read by reader.h.
 * Context: signal.
 */
#ifndef PROF_UNWIND_EH_HDR_H
#define PROF_UNWIND_EH_HDR_H

#include "unwind/reader.h"

/* Where the entry of the function is that begins at `pc` or last before it, in the reader's object;
 * 0: there is none, or no table that could be read. */
uintptr_t prof__eh_entry(struct prof__reader *r, uintptr_t pc);

#endif
