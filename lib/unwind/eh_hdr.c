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

/* Pair number i; `near`: all are. */
PROF_NO_SANITIZE static inline __attribute__((always_inline)) bool
read_pair(struct prof__reader *r, uintptr_t pairs, bool near, uint64_t i, uint64_t *ret)
{
    typedef uint64_t word __attribute__((may_alias, aligned(1)));

    if (!near)
        return prof__read_number(r, pairs + i * PAIR, PAIR, ret);
    *ret = *(const word *)(pairs + r->shift + i * PAIR);
    return true;
}

/* The last pair that is not behind `want`; the first one, if all are. */
static inline __attribute__((always_inline)) bool search(struct prof__reader *r, uintptr_t pairs,
                                                         bool near, uint64_t count, int64_t want,
                                                         uint64_t *ret)
{
    uint64_t low = 0; /* it is in [low, low + count) */

    while (count > 1) {
        uint64_t half = count / 2;

        if (!read_pair(r, pairs, near, low + half, ret))
            return false;
        low += (int32_t)*ret <= want ? half : 0;
        count -= half;
    }
    return read_pair(r, pairs, near, low, ret);
}

uintptr_t prof__eh_entry(struct prof__reader *r, uintptr_t pc)
{
    const uintptr_t hdr = r->object->eh_frame_hdr, pairs = hdr + PAIRS_AT;
    const int64_t want = (int64_t)(pc - hdr);
    uint64_t head, count, pair;
    bool found;

    if (hdr == 0 || !prof__read_number(r, hdr, 4, &head) || head != HEAD ||
        !prof__read_number(r, hdr + 8, 4, &count) || count == 0)
        return 0;

    if (pairs >= r->near && pairs < r->near_end && count <= (r->near_end - pairs) / PAIR)
        found = search(r, pairs, true, count, want, &pair);
    else
        found = search(r, pairs, false, count, want, &pair);
    if (!found || (int32_t)pair > want)
        return 0;
    return hdr + (uintptr_t)(int64_t)(int32_t)(pair >> 32);
}
