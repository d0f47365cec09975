/*
 * presence.c - which hooks are in this process, and what goes past them.
 *
 * Told by the hooks, mostly in their constructors; shown beside the profiles, which are empty or
 * incomplete for that reason. Context: normal to tell it, signal to ask.
 */
#include "record/presence.h"

#include <stdio.h>
#include <string.h>

static _Atomic enum prof__hooks hooks;

/* The object whose malloc() comes before the hooks'. Written before `hooks`. */
static char before_us[256];

/* Objects that call another malloc than the hooks stand before, and the first few of them. Whoever
 * reads while another thread writes has a mixture of two texts, ended by the last byte. */
static _Atomic unsigned pools; /* enum prof__pool */
static _Atomic unsigned bypassed;
static char bypassed_names[512];

const struct prof__hooks_copy *const prof__hooks_copies[3] = {
    &prof__hooks_linked,
    &prof__hooks_preloaded,
    &prof__hooks_wrapped,
};

void prof__hooks_present(enum prof__hooks how, const char *object)
{
    snprintf(before_us, sizeof(before_us), "%s", object ? object : "");
    /* Release: the name above. */
    atomic_store_explicit(&hooks, how, memory_order_release);
}

enum prof__hooks prof__hooks_how(void)
{
    return atomic_load_explicit(&hooks, memory_order_acquire);
}

const char *prof__hooks_before(void)
{
    return before_us;
}

bool prof__heap_watched(void)
{
    enum prof__hooks how = prof__hooks_how();

    return how == PROF__HOOKS_HERE || how == PROF__HOOKS_WRAPPED;
}

void prof__heap_pools(unsigned seen)
{
    atomic_fetch_or_explicit(&pools, seen, memory_order_relaxed);
}

unsigned prof__heap_pools_seen(void)
{
    return atomic_load_explicit(&pools, memory_order_relaxed);
}

void prof__heap_bypassed(unsigned objects, const char *object, const char *function)
{
    size_t at = objects > 1 ? strnlen(bypassed_names, sizeof(bypassed_names) - 1) : 0;

    snprintf(bypassed_names + at, sizeof(bypassed_names) - 1 - at, "%s%s (%s)", at ? ", " : "",
             *object ? object : "the program itself", function);
    atomic_store_explicit(&bypassed, objects, memory_order_relaxed);
}

unsigned prof__heap_bypassed_objects(void)
{
    return atomic_load_explicit(&bypassed, memory_order_relaxed);
}

const char *prof__heap_bypassed_names(void)
{
    return bypassed_names;
}
