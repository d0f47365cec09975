#include "unwind/bytes.h"

PROF_COLD bool prof__bytes_more(struct prof__bytes *b)
{
    struct prof__reader *r = b->reader;
    uintptr_t at = prof__bytes_at(b);

    if (at >= b->end || !prof__reader_move(r, at, 1)) {
        b->bad = true;
        b->end = at;
        return false;
    }
    b->p = (const uint8_t *)(at + r->shift);
    b->stop = (const uint8_t *)(PROF_MIN(b->end, r->near_end) + r->shift);
    return true;
}

uint64_t prof__take(struct prof__bytes *b, unsigned n)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < n; i++)
        value |= (uint64_t)prof__take_byte(b) << 8 * i;
    return value;
}

void prof__skip(struct prof__bytes *b, uint64_t n)
{
    uintptr_t at = prof__bytes_at(b);

    if (n > b->end - at) {
        b->bad = true;
        n = b->end - at;
    }
    b->p += n;
    if (b->p > b->stop)
        b->stop = b->p; /* and what follows is not near */
}

static uint64_t take_leb(struct prof__bytes *b, bool is_signed)
{
    uint64_t value = 0, byte;
    unsigned shift = 0;

    do {
        byte = prof__take_byte(b);
        value |= shift < 64 ? (byte & 0x7f) << shift : 0;
        shift += 7;
    } while (byte & 0x80 && shift < 70);
    b->bad |= (byte & 0x80) != 0;
    if (is_signed && byte & 0x40 && shift < 64)
        value |= ~(uint64_t)0 << shift;
    return value;
}

uint64_t prof__take_long_uleb(struct prof__bytes *b)
{
    return take_leb(b, false);
}

uint64_t prof__take_sleb(struct prof__bytes *b)
{
    return take_leb(b, true);
}

uint64_t prof__take_pointer(struct prof__bytes *b, uint8_t encoding)
{
    enum { RELATIVE = 0x70, TO_ITSELF = 0x10, INDIRECT = 0x80 };
    uintptr_t at = prof__bytes_at(b);
    uint64_t value;

    switch (encoding & 0x0f) {
    case 0x00: /* DW_EH_PE_absptr */
    case 0x04: /* udata8 */
    case 0x0c: /* sdata8 */
        value = prof__take(b, 8);
        break;
    case 0x01:
        value = prof__take_uleb(b);
        break;
    case 0x02:
        value = prof__take(b, 2);
        break;
    case 0x03:
        value = prof__take_u32(b);
        break;
    case 0x09:
        value = prof__take_sleb(b);
        break;
    case 0x0a:
        value = (uint64_t)(int64_t)(int16_t)prof__take(b, 2);
        break;
    case 0x0b:
        value = (uint64_t)(int64_t)(int32_t)prof__take_u32(b);
        break;
    default:
        value = 0;
        b->bad = true;
    }
    if ((encoding & RELATIVE) == TO_ITSELF)
        value += at;
    else
        b->bad |= (encoding & RELATIVE) != 0;
    b->bad |= (encoding & INDIRECT) != 0; /* a word elsewhere: personalities only, passed over */
    return value;
}
