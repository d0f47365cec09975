/*
 * custom.h - around fork(), for the profiles a program made itself.
 */
#ifndef PROF_PROFILE_CUSTOM_H
#define PROF_PROFILE_CUSTOM_H

void prof__custom_fork_prepare(void);
void prof__custom_fork_parent(void);
void prof__custom_fork_child(void);

#endif
