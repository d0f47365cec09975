#include "unwind/reader.h"

#include <sys/uio.h>
#include <unistd.h>

#include "unwind/bounds.h"

#define WORD sizeof(uintptr_t)

/* Tables are within 2 GiB of their code, though with static programs not inside what the dynamic
 * linker calls the object. */
PROF_NO_SANITIZE
bool prof__read_far(struct prof__reader *r, uintptr_t at, uintptr_t *ret)
{
    typedef uintptr_t word __attribute__((may_alias, aligned(1)));
    const uintptr_t reach = (uintptr_t)1 << 31;

    /* A program's reach may go around: below its first page and above its last. */
    if (at < 4096 || at >> 47 != 0 ||
        at - (r->object->start - reach) >= r->object->size + 2 * reach)
        return false;
    if (r->by_kernel) {
        struct iovec local = { ret, WORD }, remote = { (void *)at, WORD };
        return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)WORD;
    }
    for (uintptr_t page = at >> 12; page <= (at + WORD - 1) >> 12; page++) {
        uintptr_t *known = &r->page[page % PROF__READER_PAGES];

        if (*known != page) {
            if (!prof__page_readable(page << 12))
                return false;
            *known = page;
        }
    }
    r->near = at & ~(uintptr_t)4095;
    r->near_size = 4096 - WORD + 1;
    *ret = *(const word *)at;
    return true;
}
