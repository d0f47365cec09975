/*
 * locks_text.h - who waits for which lock, and deadlocks, for people.
 */
#ifndef PROF_PROFILE_LOCKS_TEXT_H
#define PROF_PROFILE_LOCKS_TEXT_H

#include "encode/textout.h"
#include "profile/lockstate.h"

/* A paragraph for each cycle of w[0..n): its threads, what each waits for, and who holds that. Its
 * lines begin with `prefix`. */
void prof__locks_text_deadlocks(struct prof__textout *out, const char *prefix,
                                const struct prof__waiting *w, size_t n, unsigned cycles);

/* A line for each. */
void prof__locks_text_deadlocks_brief(struct prof__textout *out, const struct prof__waiting *w,
                                      size_t n, unsigned cycles);

/* A comment of one line on what a thread waits for; nothing, if it waits for no lock. */
void prof__locks_text_waiting(struct prof__textout *out, const struct prof__waiting *w,
                              int64_t now_ns);

#endif
