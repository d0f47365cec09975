#include "unwind/eh_hdr.h"

enum {
    VERSION = 1,
    PCREL_S32 = 0x1b,   /* DW_EH_PE_pcrel | DW_EH_PE_sdata4: where .eh_frame is */
    U32 = 0x03,         /* DW_EH_PE_udata4: how many pairs there are */
    DATAREL_S32 = 0x3b, /* DW_EH_PE_datarel | DW_EH_PE_sdata4: the pairs */
    HEAD = VERSION | PCREL_S32 << 8 | U32 << 16 | DATAREL_S32 << 24,
    PAIRS_AT = 12,
    PAIR = 8,
};

/* The last of `count` pairs that is not behind `want`; the first one, if all are. All are near. */
PROF_NO_SANITIZE static uint64_t search_near(const void *pairs, uint64_t count, int32_t want)
{
    typedef int32_t s32 __attribute__((may_alias, aligned(1)));
    typedef uint64_t word __attribute__((may_alias, aligned(1)));
    const char *low = pairs; /* it is one of the `count` from here */

    for (uint64_t half = count >> 1; half; half = count >> 1) {
        const char *middle = low + half * PAIR;

        low = *(const s32 *)middle <= want ? middle : low;
        count -= half;
    }
    return *(const word *)low;
}

/* The same, wherever they are. */
static bool search(struct prof__reader *r, uintptr_t pairs, uint64_t count, int32_t want,
                   uint64_t *ret)
{
    uint64_t low = 0;

    while (count > 1) {
        uint64_t half = count / 2;

        if (!prof__read_number(r, pairs + (low + half) * PAIR, PAIR, ret))
            return false;
        low += (int32_t)*ret <= want ? half : 0;
        count -= half;
    }
    return prof__read_number(r, pairs + low * PAIR, PAIR, ret);
}

uintptr_t prof__eh_entry(struct prof__reader *r, uintptr_t pc)
{
    const uintptr_t hdr = r->object->eh_frame_hdr, pairs = hdr + PAIRS_AT;
    const int64_t want = (int64_t)(pc - hdr);
    uint64_t head, count, pair;

    if (hdr == 0 || want != (int32_t)want || !prof__read_number(r, hdr, 4, &head) || head != HEAD ||
        !prof__read_number(r, hdr + 8, 4, &count) || count == 0)
        return 0;

    if (PROF_LIKELY(pairs >= r->near && pairs < r->near_end &&
                    count <= (r->near_end - pairs) / PAIR))
        pair = search_near((const void *)(pairs + r->shift), count, (int32_t)want);
    else if (!search(r, pairs, count, (int32_t)want, &pair))
        return 0;
    if ((int32_t)pair > want)
        return 0;
    return hdr + (uintptr_t)(int64_t)(int32_t)(pair >> 32);
}
