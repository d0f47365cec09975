/*
 * encode_pprof.c - a report as one gzipped pprof Profile message, in pieces.
 *
 * protobuf joins the repeated fields of concatenated messages, so each sample, location, function
 * and string is packed as a Profile that holds nothing else, and goes straight into the gzip
 * stream; the whole profile is never in memory. Kept until the end are the strings (by reference)
 * and the functions, for their numbers are handed out while samples and locations are written.
 *
 *   head -> samples -> mappings -> locations -> functions -> strings
 *
 * What goes out obeys the readers, all of them (proto/profile.proto): ids are 1..n in table order,
 * no text is invalid UTF-8, no sample type has a '-', no label key comes twice in a sample. The
 * report promises the rest.
 *
 * protobuf_c_message_pack_to_buffer() would look natural here, but takes scratch memory for nested
 * messages from malloc; packing into memory of known size does not.
 */
#include "encode/encode.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "encode/encode_order.h"
#include "encode/gzip.h"
#include "encode/strtab.h"
#include "profile.pb-c.h"

enum { CHUNK_SIZE = 32 * 1024, STRINGS_AT_ONCE = 16 };

struct function {
    uint32_t name, system_name, file; /* strings */
    uint32_t start_line;
};

struct encoder {
    const struct prof__report *report;
    struct prof__arena *arena;
    struct prof__gzip *gzip;
    struct prof__strtab strings;

    struct function *function;
    uint32_t n_functions, function_capacity;
    uint32_t *function_slot; /* open addressing: id, which is index + 1; 0 is empty */
    uint32_t function_slots; /* a power of two, twice the capacity */

    uint8_t *chunk; /* packed and not yet compressed */
    size_t used;
    int error; /* the first one; everything after it does nothing */
};

/* --- out ------------------------------------------------------------------------------------- */

static void fail(struct encoder *e, int error)
{
    if (!e->error)
        e->error = error;
}

static void flush(struct encoder *e)
{
    if (!e->error)
        fail(e, prof__gzip_write(e->gzip, e->chunk, e->used));
    e->used = 0;
}

/* Write `piece`, a Profile with only some of its fields. */
static void emit(struct encoder *e, const Perftools__Profiles__Profile *piece)
{
    if (e->error)
        return;
    size_t size = perftools__profiles__profile__get_packed_size(piece);

    if (size > CHUNK_SIZE - e->used)
        flush(e);
    if (size <= CHUNK_SIZE) {
        e->used += perftools__profiles__profile__pack(piece, e->chunk + e->used);
        return;
    }
    uint8_t *large = prof__arena_alloc(e->arena, size); /* a name of many KiB */
    if (!large) {
        fail(e, -ENOMEM);
        return;
    }
    perftools__profiles__profile__pack(piece, large);
    if (!e->error)
        fail(e, prof__gzip_write(e->gzip, large, size));
}

static void *scratch(struct encoder *e, size_t n, size_t size)
{
    void *p = prof__arena_array(e->arena, n, size);

    if (!p)
        fail(e, -ENOMEM);
    return p;
}

/* --- functions ------------------------------------------------------------------------------- */

static uint32_t function_hash(const struct function *f)
{
    return (uint32_t)prof__hash_more(prof__hash((uint64_t)f->system_name << 32 | f->file),
                                     (uint64_t)f->start_line);
}

static uint32_t *function_slot(const struct encoder *e, const struct function *f)
{
    uint32_t i = function_hash(f) & (e->function_slots - 1);

    for (; e->function_slot[i]; i = (i + 1) & (e->function_slots - 1)) {
        const struct function *have = &e->function[e->function_slot[i] - 1];

        if (have->name == f->name && have->system_name == f->system_name && have->file == f->file &&
            have->start_line == f->start_line)
            break;
    }
    return &e->function_slot[i];
}

static bool functions_grow(struct encoder *e)
{
    uint32_t capacity = e->function_capacity ? e->function_capacity * 2 : 256;
    struct function *function = scratch(e, capacity, sizeof(*function));
    uint32_t *slot = scratch(e, (size_t)capacity * 2, sizeof(*slot));

    if (!function || !slot)
        return false;
    if (e->n_functions)
        memcpy(function, e->function, e->n_functions * sizeof(*function));
    e->function = function;
    e->function_capacity = capacity;
    e->function_slot = slot;
    e->function_slots = capacity * 2;
    for (uint32_t i = 0; i < e->n_functions; i++)
        *function_slot(e, &function[i]) = i + 1;
    return true;
}

static uint32_t function_id(struct encoder *e, const struct prof__line *line)
{
    struct function f = {
        .name = prof__strtab_add(&e->strings, line->name),
        .system_name = prof__strtab_add(&e->strings, line->function),
        .file = prof__strtab_add(&e->strings, line->file),
        .start_line = line->start_line,
    };

    if (e->n_functions == e->function_capacity && !functions_grow(e))
        return 0;
    uint32_t *slot = function_slot(e, &f);
    if (!*slot) {
        e->function[e->n_functions] = f;
        *slot = ++e->n_functions;
    }
    return *slot;
}

/* --- the parts, in the order written --------------------------------------------------------- */

/* The name of a type of values. Of a custom profile it is the profile's, which may have a '-', and
 * then Pyroscope would reject the profile. */
static uint32_t type_name(struct encoder *e, const char *name)
{
    char *copy = NULL;

    if (name && strchr(name, '-')) {
        copy = prof__arena_strdup(e->arena, name);
        if (!copy)
            fail(e, -ENOMEM);
        for (char *p = copy; p && (p = strchr(p, '-'));)
            *p = '_';
    }
    return prof__strtab_add(&e->strings, copy ? copy : name);
}

static Perftools__Profiles__ValueType value_type(struct encoder *e,
                                                 const struct prof__value_type *type)
{
    Perftools__Profiles__ValueType v = PERFTOOLS__PROFILES__VALUE_TYPE__INIT;

    v.type = type_name(e, type->type);
    v.unit = prof__strtab_add(&e->strings, type->unit);
    return v;
}

static void emit_head(struct encoder *e)
{
    const struct prof__report *r = e->report;
    Perftools__Profiles__Profile piece = PERFTOOLS__PROFILES__PROFILE__INIT;
    Perftools__Profiles__ValueType type[PROF__VALUES_MAX], *type_p[PROF__VALUES_MAX];
    Perftools__Profiles__ValueType period_type = value_type(e, &r->period_type);
    int64_t *comment = scratch(e, r->n_comments, sizeof(*comment));

    if (!comment)
        return;
    for (size_t i = 0; i < r->n_values; i++) {
        type[i] = value_type(e, &r->value_type[i]);
        type_p[i] = &type[i];
    }
    for (size_t i = 0; i < r->n_comments; i++)
        comment[i] = prof__strtab_add(&e->strings, r->comment[i]);
    piece.n_sample_type = r->n_values;
    piece.sample_type = type_p;
    piece.time_nanos = r->time_ns;
    piece.duration_nanos = r->duration_ns;
    piece.period_type = &period_type;
    piece.period = r->period;
    piece.n_comment = r->n_comments;
    piece.comment = comment;
    piece.default_sample_type = type_name(e, r->default_type);
    emit(e, &piece);
}

/*
 * The labels of `sample` that a reader can take: those with a key, and of one key the last, as a
 * label set has only one. A text label of "" is left out: index 0 would make it a number.
 */
static size_t pack_labels(struct encoder *e, const struct prof__report_sample *sample,
                          Perftools__Profiles__Label *label)
{
    size_t n = 0;

    for (uint32_t i = 0; i < sample->n_labels; i++) {
        const struct prof__label *from = &sample->label[i];
        Perftools__Profiles__Label to = PERFTOOLS__PROFILES__LABEL__INIT;
        size_t at = 0;

        to.key = prof__strtab_add(&e->strings, from->key);
        if (from->value) {
            to.str = prof__strtab_add(&e->strings, from->value);
        } else {
            to.num = from->number;
            to.num_unit = prof__strtab_add(&e->strings, from->unit);
        }
        if (to.key == 0 || (from->value && to.str == 0))
            continue;
        while (at < n && label[at].key != to.key)
            at++;
        label[at] = to;
        n = PROF_MAX(n, at + 1);
    }
    return n;
}

static void emit_samples(struct encoder *e)
{
    const struct prof__report *r = e->report;
    size_t max_locations = 0, max_labels = 0;

    for (size_t i = 0; i < r->n_samples; i++) {
        max_locations = PROF_MAX(max_locations, r->sample[i].n_locations);
        max_labels = PROF_MAX(max_labels, r->sample[i].n_labels);
    }
    const uint32_t *order = prof__report_order(r, e->arena);
    uint64_t *id = scratch(e, max_locations, sizeof(*id));
    Perftools__Profiles__Label *label = scratch(e, max_labels, sizeof(*label));
    Perftools__Profiles__Label **label_p = scratch(e, max_labels, sizeof(*label_p));

    if (!order)
        fail(e, -ENOMEM);
    if (e->error)
        return;
    for (size_t i = 0; i < max_labels; i++)
        label_p[i] = &label[i];
    for (size_t i = 0; i < r->n_samples && !e->error; i++) {
        const struct prof__report_sample *from = &r->sample[order[i]];
        Perftools__Profiles__Sample to = PERFTOOLS__PROFILES__SAMPLE__INIT, *to_p = &to;
        Perftools__Profiles__Profile piece = PERFTOOLS__PROFILES__PROFILE__INIT;
        int64_t value[PROF__VALUES_MAX];

        for (uint32_t j = 0; j < from->n_locations; j++)
            id[j] = (uint64_t)from->location[j] + 1;
        memcpy(value, from->value, sizeof(value)); /* the generated struct is not const */
        to.n_location_id = from->n_locations;
        to.location_id = id;
        to.n_value = r->n_values;
        to.value = value;
        to.n_label = pack_labels(e, from, label);
        to.label = label_p;
        piece.n_sample = 1;
        piece.sample = &to_p;
        emit(e, &piece);
    }
}

static void emit_mappings(struct encoder *e)
{
    for (size_t i = 0; i < e->report->n_mappings; i++) {
        const struct prof__report_mapping *from = &e->report->mapping[i];
        Perftools__Profiles__Mapping to = PERFTOOLS__PROFILES__MAPPING__INIT, *to_p = &to;
        Perftools__Profiles__Profile piece = PERFTOOLS__PROFILES__PROFILE__INIT;

        to.id = i + 1;
        to.memory_start = from->start;
        to.memory_limit = from->limit;
        to.file_offset = from->offset;
        to.filename = prof__strtab_add(&e->strings, from->file);
        to.build_id = prof__strtab_add(&e->strings, from->build_id);
        to.has_functions = from->has_functions;
        to.has_filenames = from->has_filenames;
        to.has_line_numbers = from->has_line_numbers;
        to.has_inline_frames = from->has_inline_frames;
        piece.n_mapping = 1;
        piece.mapping = &to_p;
        emit(e, &piece);
    }
}

static void emit_locations(struct encoder *e)
{
    const struct prof__report *r = e->report;
    size_t max_lines = 0;

    for (size_t i = 0; i < r->n_locations; i++)
        max_lines = PROF_MAX(max_lines, r->location[i].n_lines);
    Perftools__Profiles__Line *line = scratch(e, max_lines, sizeof(*line));
    Perftools__Profiles__Line **line_p = scratch(e, max_lines, sizeof(*line_p));
    if (e->error)
        return;
    for (size_t i = 0; i < max_lines; i++) {
        line[i] = (Perftools__Profiles__Line)PERFTOOLS__PROFILES__LINE__INIT;
        line_p[i] = &line[i];
    }
    for (size_t i = 0; i < r->n_locations && !e->error; i++) {
        const struct prof__location *from = &r->location[i];
        Perftools__Profiles__Location to = PERFTOOLS__PROFILES__LOCATION__INIT, *to_p = &to;
        Perftools__Profiles__Profile piece = PERFTOOLS__PROFILES__PROFILE__INIT;

        for (uint32_t j = 0; j < from->n_lines; j++) {
            line[j].function_id = function_id(e, &from->line[j]);
            line[j].line = from->line[j].line;
        }
        to.id = i + 1;
        to.mapping_id = (uint64_t)from->mapping + 1;
        to.address = from->address;
        to.n_line = from->n_lines;
        to.line = line_p;
        piece.n_location = 1;
        piece.location = &to_p;
        emit(e, &piece);
    }
}

static void emit_functions(struct encoder *e)
{
    for (uint32_t i = 0; i < e->n_functions; i++) {
        const struct function *from = &e->function[i];
        Perftools__Profiles__Function to = PERFTOOLS__PROFILES__FUNCTION__INIT, *to_p = &to;
        Perftools__Profiles__Profile piece = PERFTOOLS__PROFILES__PROFILE__INIT;

        to.id = i + 1;
        to.name = from->name;
        to.system_name = from->system_name; /* another: readers take the name as it is */
        to.filename = from->file;
        to.start_line = from->start_line;
        piece.n_function = 1;
        piece.function = &to_p;
        emit(e, &piece);
    }
}

static void emit_strings(struct encoder *e)
{
    for (uint32_t i = 0; i < e->strings.n; i += STRINGS_AT_ONCE) {
        Perftools__Profiles__Profile piece = PERFTOOLS__PROFILES__PROFILE__INIT;

        piece.n_string_table = PROF_MIN(e->strings.n - i, (uint32_t)STRINGS_AT_ONCE);
        piece.string_table = (char **)(uintptr_t)&e->strings.string[i]; /* only read */
        emit(e, &piece);
    }
}

int prof__encode_pprof(const struct prof__report *r, struct prof__arena *a, prof_sink_fn *sink,
                       void *arg)
{
    struct encoder e = { .report = r, .arena = a };
    int error = prof__strtab_init(&e.strings, a);

    if (!prof__encode_can_pprof())
        return prof_set_last_error(-ENOSYS, "the format of pprof takes libprotobuf-c, which is "
                                            "missing (Debian: libprotobuf-c1); debug=1 is text");

    e.chunk = prof__arena_alloc(a, CHUNK_SIZE);
    if (error < 0 || !e.chunk)
        return -ENOMEM;
    error = prof__gzip_open(a, sink, arg, &e.gzip);
    if (error < 0)
        return error;

    emit_head(&e);
    emit_samples(&e);
    emit_mappings(&e);
    emit_locations(&e);
    emit_functions(&e);
    fail(&e, e.strings.error);
    emit_strings(&e);
    flush(&e);
    /* On an error the stream is left without its end, so that what the sink has got so far cannot
     * pass for a profile. zlib's state is in the arena: nothing leaks. */
    return e.error ? e.error : prof__gzip_close(e.gzip);
}
