#include "unwind/reader.h"

#include <errno.h>
#include <string.h>

#include "arch/registers.h"
#include "base/memory.h"

#define PAGE ((uintptr_t)4096)

void prof__reader_start(struct prof__reader *r, const struct prof__object *o,
                        enum prof__reader_how how)
{
    r->object = o;
    r->how = how;
    r->moves_left = PROF__READER_MOVES;
    r->held = r->held_end = r->near = r->near_end = r->shift = 0;
    if (how == PROF__READ_HELD || o->permanent) {
        prof__object_held(o, &r->held, &r->held_end);
        r->near = r->held;
        r->near_end = r->held_end;
    }
}

/* No memcpy: sanitizers replace it, and would look at what is not ours. */
PROF_NO_SANITIZE static void copy(uint8_t *to, const volatile uint8_t *from, size_t n)
{
    typedef uint64_t word __attribute__((may_alias, aligned(1)));
    size_t i = 0;

    for (; n - i >= sizeof(word); i += sizeof(word))
        *(word *)(to + i) = *(const volatile word *)(from + i);
    for (; i < n; i++)
        to[i] = from[i];
}

static bool is_inside(const struct prof__object *o, uintptr_t at, size_t n)
{
    return at - o->start < o->size && n <= o->size - (at - o->start);
}

static bool get(struct prof__reader *r, uintptr_t at, size_t n)
{
    if (r->how == PROF__READ_NORMAL)
        return prof__memory_read(at, r->bytes, n) == (ssize_t)n;
    /* Where a damaged table leads outside, the object's staying says nothing. */
    if (r->how == PROF__READ_FOREIGN || !is_inside(r->object, at, n)) {
        int why = prof__memory_get(at, r->bytes, n);

        if (why == 0 || why == -EFAULT || !r->object->permanent)
            return why == 0;
    } /* else a filter refuses it, and of a static program the tables may be outside */
    /* The object stays, so what can be read now can be read in a moment too. That asks for a system
     * call that every filter lets through, unlike reading by the kernel. */
    if (!prof__page_readable(at) || !prof__page_readable(at + n - 1))
        return false;
    copy(r->bytes, (const volatile uint8_t *)at, n);
    return true;
}

/* Tables are within 2 GiB of their code, though with static programs not inside what the dynamic
 * linker calls the object. */
static bool within_reach(const struct prof__object *o, uintptr_t at)
{
    const uintptr_t reach = (uintptr_t)1 << 31;

    /* A program's reach may go around: below its first page and above its last. */
    return at >= PAGE && at >> PROF__ADDRESS_BITS == 0 &&
           at - (o->start - reach) < o->size + 2 * reach;
}

/* That page, with the ELF header, stays as long as the object does. */
static bool is_in_first_page(const struct prof__object *o, uintptr_t at, size_t n)
{
    return o->start % PAGE == 0 && o->size >= PAGE && at - o->start <= PAGE - n;
}

PROF_COLD bool prof__reader_move(struct prof__reader *r, uintptr_t at, size_t n)
{
    size_t size = PROF_MIN((size_t)PROF__READER_BYTES, PAGE - at % PAGE);

    if (r->moves_left == 0)
        return false;
    r->moves_left--;
    if (at >= r->held && at < r->held_end && r->held_end - at >= n) {
        r->near = r->held;
        r->near_end = r->held_end;
        r->shift = 0;
        return true;
    }
    r->near = r->near_end = 0;
    if (r->how == PROF__READ_HELD && is_in_first_page(r->object, at, n)) {
        if (!prof__page_readable(at))
            return false;
        r->near = r->object->start;
        r->near_end = r->near + PAGE;
        r->shift = 0;
        return true;
    }
    size = PROF_MAX(size, n); /* it may be cut in two by the end of a page */
    if (!within_reach(r->object, at) || !get(r, at, size))
        return false;
    r->near = at;
    r->near_end = at + size;
    r->shift = (uintptr_t)r->bytes - at;
    return true;
}

size_t prof__read_bytes(struct prof__reader *r, uintptr_t at, uint8_t *to, size_t n)
{
    size_t done = 0;

    while (done < n) {
        if ((at < r->near || at >= r->near_end) && !prof__reader_move(r, at, 1))
            break;
        size_t size = PROF_MIN(n - done, r->near_end - at);

        copy(to + done, (const volatile uint8_t *)(at + r->shift), size);
        done += size;
        at += size;
    }
    return done;
}
