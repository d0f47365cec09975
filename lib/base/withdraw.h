/*
 * withdraw.h - taking our threads away, for the moment of a call that is not meant for two threads.
 *
 * Who has long-lived ones says how with prof_helper_can_leave(). Context: normal, but where nothing
 * is to be done: then signal, and errno is kept.
 */
#ifndef PROF_BASE_WITHDRAW_H
#define PROF_BASE_WITHDRAW_H

#include "base/compiler.h"

/* Is the calling thread one of ours? One that is only hidden may be the program's. Context: signal.
 */
bool prof__helper_is_me(void);

/* Has this process threads of ours, and is the caller none? A child of vfork() has none. */
PROF_SHARED bool prof__helpers_present(void);

/* Has one of them other credentials than the calling thread? In doubt yes. */
PROF_SHARED bool prof__helpers_differ(void);

/* Is the calling thread the only one of the program's? In doubt yes. */
PROF_SHARED bool prof__helpers_only(void);

/* Take them away. Each call is followed by one of prof__helpers_return(). False: somebody stayed.
 */
PROF_SHARED bool prof__helpers_withdraw(void);
PROF_SHARED void prof__helpers_return(void);

/* For helper.c: a thread is about to be made; it could not be made. It is there; it ends: both said
 * by that thread itself. */
void prof__helper_expected(void);
void prof__helper_failed(void);
void prof__helper_begins(void);
void prof__helper_ends(void);

#endif
