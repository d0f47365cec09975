/*
 * tail.c - reading the call in front of a return address, and where it led.
 *
 *   call T      T: ... jmp stub     stub: jmp *slot     hook: jmp *door     door: the watching code
 *
 * If T is the stub or the hook itself, the caller is on the stack and there is nothing to add. Else
 * T, which has returned to nobody, must have ended in a jump.
 *
 * Bytes before a return address can be read as a call when they are none, so little is believed:
 * code is read only where the unwind table says that there is a function, a function only counts if
 * it begins where the call leads to, and pointers lie aligned in the object whose code names them.
 * That is slow, and done once: a small cache keeps the answers, guarded as that of rules.h is.
 */
#include "unwind/tail.h"

#include <string.h>

#include "base/random.h"
#include "unwind/objects.h"

enum {
    SLOTS = 1024,
    HOPS = 3,           /* stub, hook, and one to spare */
    SCAN_MAX = 1 << 16, /* bytes of a function that are looked through for its jumps */
};

static struct {
    _Atomic uint64_t check, answer;
} cache[SLOTS];

struct search {
    const struct prof__doors *doors;
    size_t n;
};

/* A function: what one entry of the unwind table covers. A procedure linkage table is one too. */
struct function {
    uintptr_t start, end;
};

static int32_t int32_at(uintptr_t at)
{
    int32_t v;

    memcpy(&v, (const void *)at, sizeof(v));
    return v;
}

/* A call or jump relative to the address that follows its 4-byte distance. */
static uintptr_t relative(uintptr_t distance_at)
{
    return distance_at + 4 + (uintptr_t)(intptr_t)int32_at(distance_at);
}

/* The format is that of the Linux Standard Base, .eh_frame_hdr; as every linker writes it. */
PROF_NO_SANITIZE static bool function_at(uintptr_t pc, struct function *ret)
{
    static const uint8_t usual[] = { 1, 0x1b, 0x03, 0x3b };
    struct prof__object o;

    if (!prof__object_find(pc, &o) || !o.eh_frame_hdr ||
        memcmp((const void *)o.eh_frame_hdr, usual, sizeof(usual)) != 0)
        return false;
    uintptr_t table = o.eh_frame_hdr + 12;
    size_t low = 0, high = (uint32_t)int32_at(o.eh_frame_hdr + 8);
    int64_t want = (int64_t)(pc - o.eh_frame_hdr);

    while (high - low > 1) { /* the last entry that does not begin after pc */
        size_t middle = low + (high - low) / 2;

        if (int32_at(table + middle * 8) <= want)
            low = middle;
        else
            high = middle;
    }
    if (high == 0 || int32_at(table + low * 8) > want)
        return false;
    uintptr_t fde = o.eh_frame_hdr + (uintptr_t)(intptr_t)int32_at(table + low * 8 + 4);
    ret->start = o.eh_frame_hdr + (uintptr_t)(intptr_t)int32_at(table + low * 8);
    ret->end = ret->start + (uint32_t)int32_at(fde + 12);
    return pc < ret->end && ret->end - o.start <= o.size;
}

static bool is_door(const struct search *s, uintptr_t slot)
{
    for (size_t i = 0; i < s->n; i++)
        if (slot - s->doors[i].start < s->doors[i].size)
            return true;
    return false;
}

/* The slot of "jmp *slot" at `pc`, behind the markers that may precede it; 0: it is no such jump.
 */
PROF_NO_SANITIZE static uintptr_t jump_slot(uintptr_t pc, const struct function *f)
{
    static const uint8_t endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa };

    if (f->end - pc >= 4 && memcmp((const void *)pc, endbr64, 4) == 0)
        pc += 4;
    if (f->end - pc >= 1 && *(const uint8_t *)pc == 0xf2) /* bnd */
        pc++;
    if (f->end - pc < 6 || *(const uint8_t *)pc != 0xff || *(const uint8_t *)(pc + 1) != 0x25)
        return 0;
    return relative(pc + 2);
}

/* What the code at `pc` finds in its slot, which is an aligned word of the same object. */
PROF_NO_SANITIZE static bool read_slot(uintptr_t pc, uintptr_t slot, uintptr_t *ret)
{
    struct prof__object o;

    if (slot % sizeof(*ret) || !prof__object_find(pc, &o) || slot - o.start >= o.size)
        return false;
    *ret = *(const uintptr_t *)slot;
    return true;
}

/* Does `pc` lead to a hook through nothing but stubs? If not, and it is where a function begins,
 * *ret_function is that; else its start is 0. */
static bool leads_to_hook(const struct search *s, uintptr_t pc, struct function *ret_function)
{
    *ret_function = (struct function) { 0, 0 };
    for (unsigned hop = 0; hop < HOPS; hop++) {
        struct function f;

        if (!function_at(pc, &f))
            return false;
        uintptr_t slot = jump_slot(pc, &f);
        if (!slot) {
            if (f.start == pc)
                *ret_function = f;
            return false;
        }
        if (is_door(s, slot))
            return true;
        if (!read_slot(pc, slot, &pc))
            return false;
    }
    return false;
}

/* The only jump to a hook in that function; its start, if there are more or none is found. Jumps
 * through a slot are not looked for: too many bytes that are no code would be taken for one. */
PROF_NO_SANITIZE static uintptr_t find_jump(const struct search *s, const struct function *f)
{
    uintptr_t end = PROF_MIN(f->end, f->start + SCAN_MAX), found = 0;

    for (uintptr_t at = f->start; at + 5 <= end; at++) {
        struct function ignored;

        if (*(const uint8_t *)at != 0xe9 || !leads_to_hook(s, relative(at + 1), &ignored))
            continue;
        if (found)
            return f->start;
        found = at;
    }
    return found ? found : f->start;
}

PROF_NO_SANITIZE static uintptr_t find_out(const struct search *s, uintptr_t return_address)
{
    struct function caller, callee;
    uintptr_t target;

    if (!function_at(return_address - 1, &caller) || return_address - caller.start < 6)
        return 0;
    if (*(const uint8_t *)(return_address - 5) == 0xe8)
        target = relative(return_address - 4);
    else if (*(const uint8_t *)(return_address - 6) != 0xff ||
             *(const uint8_t *)(return_address - 5) != 0x15 ||
             !read_slot(return_address - 1, relative(return_address - 4), &target))
        return 0; /* through a register or a table: unknown */
    if (leads_to_hook(s, target, &callee) || !callee.start)
        return 0;
    return find_jump(s, &callee);
}

uintptr_t prof__tail_caller(uintptr_t return_address, const struct prof__doors *doors, size_t n)
{
    enum { NONE = 1 };
    struct prof__object o;

    if (!prof__object_find(return_address - 1, &o))
        return 0;
    uint64_t key = return_address ^ o.identity;
    size_t i = prof__mix64(return_address) % SLOTS;
    /* Relaxed: halves of two writes are told by the check. */
    uint64_t answer = atomic_load_explicit(&cache[i].answer, memory_order_relaxed);

    if ((atomic_load_explicit(&cache[i].check, memory_order_relaxed) ^ prof__mix64(answer)) !=
        key) {
        answer = find_out(&(struct search) { doors, n }, return_address);
        if (!answer)
            answer = NONE;
        atomic_store_explicit(&cache[i].answer, answer, memory_order_relaxed);
        atomic_store_explicit(&cache[i].check, key ^ prof__mix64(answer), memory_order_relaxed);
    }
    return answer == NONE ? 0 : (uintptr_t)answer;
}
