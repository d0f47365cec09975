/*
 * hook_dlopen.c - dlopen(), after which some objects are to be put into the hooks' way
 * (redirect.c).
 *
 * The linker looks at its caller's address. Where that matters the real function is reached by a
 * jump, so that it finds the program's, and what was loaded is looked at later. Context: normal; a
 * constructor that the real function runs may call anything, dlopen() included, and throw.
 */
#include <dlfcn.h>

#include "hooks/real.h"
#include "hooks/redirect.h"

PROF_SHARED void *dlopen(const char *file, int mode)
{
    if (!file)
        return prof__real.dlopen(file, mode);
    bool deep = mode & RTLD_DEEPBIND;
    if (deep)
        prof__redirect_deep_begin();
    if (!prof__redirect_may_call(file, __builtin_return_address(0))) {
        prof__redirect_after_load(); /* what came before */
        return prof__real.dlopen(file, mode);
    }
    void *handle = prof__real.dlopen(file, mode);
    prof__redirect_after_load();
    if (deep)
        prof__redirect_deep_end();
    return handle;
}
