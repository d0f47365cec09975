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

#include "arch/code.h"
#include "base/random.h"
#include "unwind/cfi.h"

enum {
    SLOTS = 1024,
    SHORTEST_CALL = 5,
    HOPS = 3,           /* stub, hook, and one to spare */
    SCAN_MAX = 1 << 16, /* bytes of a function that are looked through for its jumps */
};

static struct {
    _Atomic uint64_t check, answer;
} cache[SLOTS];

/* What is read is foreign: the function has left, and its object may be about to go too. */
struct search {
    const struct prof__doors *doors;
    size_t n;
    struct prof__reader reader;
    struct prof__object object; /* the reader's */
};

/* A function: what one entry of the unwind table covers. A procedure linkage table is one too. */
struct function {
    uintptr_t start, end;
};

/* Make the object that covers `pc` the reader's. */
static bool turn_to(struct search *s, uintptr_t pc)
{
    if (pc - s->object.start < s->object.size)
        return true;
    if (!prof__object_find(pc, false, &s->object))
        return false;
    prof__reader_start(&s->reader, &s->object, PROF__READ_FOREIGN);
    return true;
}

static bool function_at(struct search *s, uintptr_t pc, struct function *ret)
{
    struct prof__cfi_entry entry;

    if (!turn_to(s, pc) || !prof__cfi_entry(&s->reader, pc, &entry))
        return false;
    *ret = (struct function) { entry.start, entry.end };
    return ret->end - s->object.start <= s->object.size;
}

static bool is_door(const struct search *s, uintptr_t slot)
{
    for (size_t i = 0; i < s->n; i++)
        if (slot - s->doors[i].start < s->doors[i].size)
            return true;
    return false;
}

/* Bytes at `at`; what cannot be read is 0. */
static void read_code(struct search *s, uintptr_t at, uint8_t *to, size_t n)
{
    memset(to, 0, n);
    prof__read_bytes(&s->reader, at, to, n);
}

/* What the code at `pc` finds in its slot, which is an aligned word of the same object. */
static bool read_slot(struct search *s, uintptr_t pc, uintptr_t slot, uintptr_t *ret)
{
    return turn_to(s, pc) && slot % sizeof(*ret) == 0 && slot - s->object.start < s->object.size &&
           prof__read_number(&s->reader, slot, sizeof(*ret), ret);
}

/* Does `pc` lead to a hook through nothing but stubs? If not, and it is where a function begins,
 * *ret_function is that; else its start is 0. */
static bool leads_to_hook(struct search *s, uintptr_t pc, struct function *ret_function)
{
    *ret_function = (struct function) { 0, 0 };
    for (unsigned hop = 0; hop < HOPS; hop++) {
        uint8_t code[PROF__CODE_SIZE];
        struct function f;

        if (!function_at(s, pc, &f))
            return false;
        read_code(s, pc, code, sizeof(code));
        struct prof__branch jump = prof__code_stub(code, pc);
        if (jump.kind != PROF__BRANCH_SLOT || jump.size > f.end - pc) {
            if (f.start == pc)
                *ret_function = f;
            return false;
        }
        if (is_door(s, jump.to))
            return true;
        if (!read_slot(s, pc, jump.to, &pc))
            return false;
    }
    return false;
}

/* The only jump to a hook in that function; its start, if there are more or none is found. Jumps
 * through a slot are not looked for: too many bytes that are no code would be taken for one. */
static uintptr_t find_jump(struct search *s, const struct function *f)
{
    enum { CHUNK = 128, LAP = PROF__CODE_SIZE };
    uintptr_t end = PROF_MIN(f->end, f->start + SCAN_MAX), found = 0;
    uint8_t code[CHUNK + LAP];

    for (uintptr_t at = f->start; at < end; at += CHUNK) {
        if (!turn_to(s, f->start))
            break;
        read_code(s, at, code, sizeof(code));
        for (unsigned i = 0; i < CHUNK && at + i < end; i += PROF__CODE_STEP) {
            struct prof__branch jump = prof__code_jump(code + i, at + i);
            struct function unused;

            if (jump.kind != PROF__BRANCH_DIRECT || jump.size > end - (at + i) ||
                !leads_to_hook(s, jump.to, &unused))
                continue;
            if (found)
                return f->start;
            found = at + i;
        }
    }
    return found ? found : f->start;
}

static uintptr_t find_out(struct search *s, uintptr_t return_address)
{
    uint8_t code[PROF__CODE_BEFORE];
    struct function caller, callee;
    uintptr_t target;

    if (!function_at(s, return_address - 1, &caller) ||
        return_address - caller.start < SHORTEST_CALL)
        return 0;
    read_code(s, return_address - sizeof(code), code, sizeof(code));
    struct prof__branch call = prof__code_call(code + sizeof(code), return_address);
    target = call.to;
    if (call.kind != PROF__BRANCH_DIRECT &&
        (call.kind != PROF__BRANCH_SLOT || !read_slot(s, return_address - 1, call.to, &target)))
        return 0; /* through a register or a table: unknown */
    if (leads_to_hook(s, target, &callee) || !callee.start)
        return 0;
    return find_jump(s, &callee);
}

uintptr_t prof__tail_caller(uintptr_t return_address, const struct prof__doors *doors, size_t n)
{
    enum { NONE = 1 };
    struct prof__object o;

    if (!prof__object_find(return_address - 1, true, &o))
        return 0;
    uint64_t key = return_address ^ o.identity;
    size_t i = prof__mix64(return_address) % SLOTS;
    /* Relaxed: halves of two writes are told by the check. */
    uint64_t answer = atomic_load_explicit(&cache[i].answer, memory_order_relaxed);

    if ((atomic_load_explicit(&cache[i].check, memory_order_relaxed) ^ prof__mix64(answer)) !=
        key) {
        struct search s = { .doors = doors, .n = n };

        answer = find_out(&s, return_address);
        if (!answer)
            answer = NONE;
        atomic_store_explicit(&cache[i].answer, answer, memory_order_relaxed);
        atomic_store_explicit(&cache[i].check, key ^ prof__mix64(answer), memory_order_relaxed);
    }
    return answer == NONE ? 0 : (uintptr_t)answer;
}
