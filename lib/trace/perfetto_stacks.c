/*
 * perfetto_stacks.c - mappings, frames and call stacks, interned one a packet.
 */
#include <errno.h>
#include <string.h>

#include "trace/perfetto.h"

static void emit_interned(struct prof__perfetto *e, Prof__Perfetto__InternedData *interned)
{
    Prof__Perfetto__TracePacket packet = PROF__PERFETTO__TRACE_PACKET__INIT;

    packet.interned_data = interned;
    prof__perfetto_emit(e, &packet);
}

static void set_string(struct prof__perfetto *e, Prof__Perfetto__InternedString *to, uint64_t iid,
                       const char *s)
{
    const char *clean = prof__perfetto_text(e, s);

    prof__perfetto__interned_string__init(to);
    to->has_iid = to->has_str = 1;
    to->iid = iid;
    to->str.data = (uint8_t *)(uintptr_t)clean;
    to->str.len = strlen(clean);
}

/* Path and build id of mapping i have its iid, i + 1. */
static void emit_mappings(struct prof__perfetto *e)
{
    const struct prof__report *r = &e->stacks->report;

    for (size_t i = 0; i < r->n_mappings; i++) {
        const struct prof__report_mapping *m = &r->mapping[i];
        Prof__Perfetto__InternedString path, id, *paths[] = { &path }, *ids[] = { &id };
        Prof__Perfetto__Mapping mapping = PROF__PERFETTO__MAPPING__INIT, *mappings[] = { &mapping };
        Prof__Perfetto__InternedData interned = PROF__PERFETTO__INTERNED_DATA__INIT;
        uint64_t iid = i + 1;

        set_string(e, &path, iid, m->file);
        set_string(e, &id, iid, m->build_id);
        mapping.has_iid = mapping.has_start = mapping.has_end = mapping.has_start_offset = 1;
        mapping.iid = iid;
        mapping.start = m->start;
        mapping.end = m->limit;
        mapping.start_offset = m->offset;
        mapping.has_load_bias = m->is_elf;
        mapping.load_bias = m->bias;
        mapping.n_path_string_ids = 1;
        mapping.path_string_ids = &iid;
        mapping.has_build_id = *m->build_id != '\0';
        mapping.build_id = iid;
        interned.n_mapping_paths = interned.n_mappings = 1;
        interned.mapping_paths = paths;
        interned.mappings = mappings;
        interned.n_build_ids = *m->build_id != '\0';
        interned.build_ids = ids;
        emit_interned(e, &interned);
    }
}

/* A frame for each line of each location: those inlined have the same address. The function and
 * source of a frame have its iid. */
static void emit_frames(struct prof__perfetto *e)
{
    const struct prof__report *r = &e->stacks->report;
    uint32_t next = 1;

    e->first_frame = prof__arena_array(e->arena, r->n_locations + 1, sizeof(*e->first_frame));
    if (!e->first_frame) {
        prof__perfetto_fail(e, -ENOMEM);
        return;
    }
    for (size_t i = 0; i < r->n_locations; i++) {
        const struct prof__location *l = &r->location[i];
        const struct prof__report_mapping *m = &r->mapping[l->mapping];
        uint32_t lines = PROF_MAX(l->n_lines, 1u);

        e->first_frame[i] = next;
        for (uint32_t k = 0; k < lines; k++, next++) {
            const struct prof__line *line = l->n_lines ? &l->line[k] : NULL;
            Prof__Perfetto__InternedString name, source, *names[] = { &name },
                                                         *sources[] = { &source };
            Prof__Perfetto__Frame frame = PROF__PERFETTO__FRAME__INIT, *frames[] = { &frame };
            Prof__Perfetto__InternedData interned = PROF__PERFETTO__INTERNED_DATA__INIT;

            frame.has_iid = frame.has_mapping_id = frame.has_rel_pc = 1;
            frame.iid = next;
            frame.mapping_id = l->mapping + 1;
            frame.rel_pc = m->is_elf ? l->address - m->bias : l->address - m->start + m->offset;
            if (line) {
                set_string(e, &name, next, line->name ? line->name : line->function);
                frame.has_function_name_id = 1;
                frame.function_name_id = next;
                interned.n_function_names = 1;
                interned.function_names = names;
            }
            if (line && line->file) {
                set_string(e, &source, next, line->file);
                frame.has_source_path_iid = 1;
                frame.source_path_iid = next;
                frame.has_line_number = 1;
                frame.line_number = line->line;
                interned.n_source_paths = 1;
                interned.source_paths = sources;
            }
            interned.n_frames = 1;
            interned.frames = frames;
            emit_interned(e, &interned);
        }
    }
}

static void emit_callstacks(struct prof__perfetto *e)
{
    const struct prof__report *r = &e->stacks->report;

    for (size_t i = 0; i < r->n_samples && !e->error; i++) {
        const struct prof__report_sample *s = &r->sample[i];
        Prof__Perfetto__Callstack stack = PROF__PERFETTO__CALLSTACK__INIT, *stacks[] = { &stack };
        Prof__Perfetto__InternedData interned = PROF__PERFETTO__INTERNED_DATA__INIT;
        size_t n = 0;

        for (uint32_t k = 0; k < s->n_locations; k++)
            n += PROF_MAX(r->location[s->location[k]].n_lines, 1u);
        uint64_t *ids = prof__arena_array(e->arena, n, sizeof(*ids));
        if (!ids) {
            prof__perfetto_fail(e, -ENOMEM);
            return;
        }
        size_t at = n;
        for (uint32_t k = 0; k < s->n_locations; k++) {
            uint32_t lines = PROF_MAX(r->location[s->location[k]].n_lines, 1u);

            for (uint32_t line = 0; line < lines; line++)
                ids[--at] = e->first_frame[s->location[k]] + line;
        }
        stack.has_iid = 1;
        stack.iid = i + 1;
        stack.n_frame_ids = n;
        stack.frame_ids = ids;
        interned.n_callstacks = 1;
        interned.callstacks = stacks;
        emit_interned(e, &interned);
    }
}

void prof__perfetto_stacks(struct prof__perfetto *e)
{
    emit_mappings(e);
    emit_frames(e);
    if (!e->error)
        emit_callstacks(e);
}
