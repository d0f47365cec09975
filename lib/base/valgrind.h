/*
 * valgrind.h - whether valgrind runs the program.
 */
#ifndef PROF_BASE_VALGRIND_H
#define PROF_BASE_VALGRIND_H

#include <stdbool.h>
#include <stddef.h>

/* It defines this in every program that it runs. */
extern void _vgnU_freeres(void) __attribute__((weak));

/* Context: signal. */
static inline bool prof__in_valgrind(void)
{
    return _vgnU_freeres != NULL;
}

#endif
