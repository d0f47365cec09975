/*
 * thread.c - where the per-thread state lives.
 */
#include "base/thread.h"

_Thread_local struct prof__thread prof__self;
