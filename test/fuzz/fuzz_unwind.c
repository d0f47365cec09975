/*
 * fuzz_unwind.c - unwind tables: whatever is in them, each pc gets a rule, the same one whether the
 * tables are read as they lie there or through the kernel; and nothing outside is touched.
 *
 * The bytes are a shared object as it lies in its file, which is how its first segments lie in
 * memory too. Behind them is a page that may not be read.
 */
#include "fuzz.h"
#include "unwind/compile.h"

#include <elf.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, PCS_MAX = 8192 };

/* Where the image says that its table is; its last quarter, if it says nothing of use. */
static size_t find_table(const uint8_t *image, size_t size)
{
    Elf64_Ehdr header;
    Elf64_Phdr p;

    memcpy(&header, image, sizeof(header));
    for (unsigned i = 0; i < header.e_phnum && i < 64; i++) {
        size_t at = header.e_phoff + i * sizeof(p);

        if (at > size || size - at < sizeof(p))
            break;
        memcpy(&p, image + at, sizeof(p));
        if (p.p_type == PT_GNU_EH_FRAME && p.p_vaddr < size)
            return p.p_vaddr;
    }
    return size / 4 * 3;
}

/* Both ways where the one that is fast gives another rule than for the pc before, and now and then.
 */
static void compile(const struct prof__object *o, uintptr_t pc, bool exact, struct prof__rule *last)
{
    struct prof__rule held = { 1, 2 }, foreign = { 3, 4 };

    prof__compile(pc, exact, o, PROF__READ_HELD, &held);
    FUZZ_PROMISE(prof__rule_kind(held.step) <= PROF__RULE_LOST);
    FUZZ_PROMISE(prof__rule_kind(held.step) != PROF__RULE_SP || prof__rule_offset(held.step) > 0);
    if (pc % 64 != 0 && held.step == last->step && held.saves == last->saves)
        return;
    prof__compile(pc, exact, o, PROF__READ_FOREIGN, &foreign);
    FUZZ_PROMISE(held.step == foreign.step && held.saves == foreign.saves);
    *last = held;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint64_t images;
    struct prof__rule last = { 0, 0 };
    size_t room = (size + PAGE - 1) / PAGE * PAGE, step;

    if (size < sizeof(Elf64_Ehdr) || size > 1 << 20)
        return 0;
    uint8_t *image =
        mmap(NULL, room + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FUZZ_PROMISE(image != MAP_FAILED);
    memcpy(image, data, size);
    mprotect(image, room, PROT_READ);
    mprotect(image + room, PAGE, PROT_NONE);

    struct prof__object o = {
        .start = (uintptr_t)image,
        .size = room,
        .eh_frame_hdr = (uintptr_t)image + find_table(data, size),
        .identity = ++images << 1 | 1,
    };
    step = room / PCS_MAX + 1;
    for (size_t at = 8; at < room; at += step)
        compile(&o, o.start + at, at & 1, &last);
    munmap(image, room + PAGE);
    return 0;
}
