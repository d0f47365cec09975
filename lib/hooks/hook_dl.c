/*
 * hook_dl.c - dlclose(), so that what was at an address is not confused with what comes there next.
 *
 * A stack that was recorded names addresses; once the code at them is gone, another library may be
 * loaded there. So the core hears of it before, while the code can still be named, and after.
 * Context: normal; a destructor that the real function runs may call anything, dlclose() included.
 */
#include <dlfcn.h>
#include <errno.h>

#include "hooks/real.h"
#include "hooks/redirect.h"
#include "record/collect_code.h"

PROF_SHARED int dlclose(void *handle)
{
    prof__code_before_unload();
    int r = prof__real.dlclose(handle);
    int saved = errno;
    prof__code_after_unload();
    prof__redirect_after_unload();
    errno = saved;
    return r;
}
