/*
 * perfetto_out.c - packets into a chunk, and the chunk into the sink.
 */
#include <errno.h>

#include "base/utf8.h"
#include "trace/perfetto.h"

enum { SEQUENCE = 1, STATE_CLEARED = 1, NEEDS_STATE = 2 };

void prof__perfetto_fail(struct prof__perfetto *e, int error)
{
    if (!e->error)
        e->error = error;
}

void prof__perfetto_flush(struct prof__perfetto *e)
{
    if (!e->error && e->used) {
        int r = e->sink(e->arg, e->chunk, e->used);

        if (r < 0)
            prof__perfetto_fail(e, r);
    }
    e->used = 0;
}

void prof__perfetto_emit(struct prof__perfetto *e, Prof__Perfetto__TracePacket *packet)
{
    Prof__Perfetto__TracePacket *packets[] = { packet };
    Prof__Perfetto__Trace trace = PROF__PERFETTO__TRACE__INIT;

    if (e->error)
        return;
    packet->has_trusted_packet_sequence_id = 1;
    packet->trusted_packet_sequence_id = SEQUENCE;
    packet->has_sequence_flags = 1;
    packet->sequence_flags = e->begun ? NEEDS_STATE : STATE_CLEARED;
    packet->has_first_packet_on_sequence = packet->first_packet_on_sequence = !e->begun;
    e->begun = true;
    trace.n_packet = 1;
    trace.packet = packets;
    size_t size = prof__perfetto__trace__get_packed_size(&trace);
    if (size > PROF__PERFETTO_CHUNK - e->used)
        prof__perfetto_flush(e);
    if (size <= PROF__PERFETTO_CHUNK) {
        e->used += prof__perfetto__trace__pack(&trace, e->chunk + e->used);
        return;
    }
    uint8_t *large = prof__arena_alloc(e->arena, size); /* a name of many KiB */
    if (!large) {
        prof__perfetto_fail(e, -ENOMEM);
        return;
    }
    prof__perfetto__trace__pack(&trace, large);
    int r = e->error ? 0 : e->sink(e->arg, large, size);
    if (r < 0)
        prof__perfetto_fail(e, r);
}

char *prof__perfetto_text(struct prof__perfetto *e, const char *s)
{
    const char *clean = prof__utf8_clean(e->arena, s);

    if (!clean)
        prof__perfetto_fail(e, -ENOMEM);
    return (char *)(uintptr_t)(clean ? clean : "");
}
