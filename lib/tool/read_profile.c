/*
 * read_profile.c - a profile that a process, a file or another tool made, as a report.
 *
 *   bytes -> gunzip -> protobuf-c -> report
 *
 * Nothing in it is believed: indexes are checked, and a location that names a function that is not
 * there has none.
 */
#include "tool/read_profile.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "base/hash.h"
#include "encode/mycode.h"
#include "profile.pb-c.h"

#define UNPACKED_MAX ((size_t)2 << 30)

typedef Perftools__Profiles__Profile profile;

/* --- bytes ------------------------------------------------------------------------------------ */

static bool is_gzip(const void *data, size_t size)
{
    return size > 2 && memcmp(data, "\x1f\x8b", 2) == 0;
}

static int gunzip(const void *data, size_t size, struct prof__arena *a, void **ret,
                  size_t *ret_size)
{
    z_stream z = { .next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)size };
    size_t room = PROF_MAX(size * 8, (size_t)65536), used = 0;
    char *out = prof__arena_alloc(a, room);
    int r = Z_OK;

    if (!out || size > UINT32_MAX || inflateInit2(&z, 15 + 16) != Z_OK)
        return -ENOMEM;
    while (r == Z_OK) {
        if (used == room) {
            char *more = room < UNPACKED_MAX ? prof__arena_alloc(a, 2 * room) : NULL;

            if (!more) {
                inflateEnd(&z);
                return -ENOMEM;
            }
            memcpy(more, out, used);
            out = more;
            room *= 2;
        }
        z.next_out = (Bytef *)out + used;
        z.avail_out = (uInt)PROF_MIN(room - used, (size_t)1 << 30);
        uInt before = z.avail_out;
        r = inflate(&z, Z_NO_FLUSH);
        used += before - z.avail_out;
        if (r == Z_STREAM_END && z.avail_in > 0 && inflateReset(&z) == Z_OK)
            r = Z_OK; /* members one after another */
        if (r == Z_OK && z.avail_in == 0 && z.avail_out > 0)
            r = Z_DATA_ERROR; /* cut off */
    }
    inflateEnd(&z);
    *ret = out;
    *ret_size = used;
    return r == Z_STREAM_END ? 0 : -EINVAL;
}

/* --- protobuf --------------------------------------------------------------------------------- */

struct reader {
    const profile *p;
    struct prof__arena *a;
    const char **string;
};

/* protobuf-c's strings go with the message; ours stay. */
static int keep_strings(struct reader *r)
{
    r->string = prof__arena_array(r->a, r->p->n_string_table + 1, sizeof(*r->string));
    if (!r->string)
        return -ENOMEM;
    r->string[r->p->n_string_table] = "";
    for (size_t i = 0; i < r->p->n_string_table; i++)
        if (!(r->string[i] = prof__arena_strdup(r->a, r->p->string_table[i])))
            return -ENOMEM;
    return 0;
}

static const char *string_at(const struct reader *r, int64_t i)
{
    return i > 0 && (size_t)i < r->p->n_string_table ? r->string[i] : "";
}

static const char *string_or_null(const struct reader *r, int64_t i)
{
    const char *s = string_at(r, i);

    return *s ? s : NULL;
}

/* Where an id is in its table: ids are mostly 1..n in order, but need not be. */
#define POSITION_OF(table, n, wanted)                                       \
    __extension__({                                                         \
        size_t at_ = (size_t)(wanted)-1;                                    \
        if ((wanted) == 0 || at_ >= (n) || (table)[at_]->id != (wanted))    \
            for (at_ = 0; at_ < (n) && (table)[at_]->id != (wanted); at_++) \
                ;                                                           \
        (wanted) ? at_ : (n);                                               \
    })

static int read_mappings(const struct reader *r, struct prof__report *out)
{
    const profile *p = r->p;
    struct prof__report_mapping *m = prof__arena_array(r->a, p->n_mapping + 1, sizeof(*m));

    if (!m)
        return -ENOMEM;
    for (size_t i = 0; i < p->n_mapping; i++) {
        const Perftools__Profiles__Mapping *from = p->mapping[i];

        m[i] = (struct prof__report_mapping) { .start = from->memory_start,
                                               .limit = from->memory_limit,
                                               .offset = from->file_offset,
                                               .is_program = i == 0,
                                               .file = string_at(r, from->filename),
                                               .build_id = string_at(r, from->build_id),
                                               .has_functions = from->has_functions,
                                               .has_filenames = from->has_filenames,
                                               .has_line_numbers = from->has_line_numbers,
                                               .has_inline_frames = from->has_inline_frames };
    }
    m[p->n_mapping].file = m[p->n_mapping].build_id = ""; /* of those that name none */
    out->mapping = m;
    out->n_mappings = p->n_mapping + 1;
    return 0;
}

static uint32_t own_line_of(const struct prof__location *l, const struct prof__report_mapping *m)
{
    uint32_t i = 0;

    while (i < l->n_lines && !prof__is_my_code(&(struct prof__frame) {
                                 l->line[i].name, l->line[i].file, m->file, m->is_program }))
        i++;
    return i;
}

static int read_locations(const struct reader *r, struct prof__report *out)
{
    const profile *p = r->p;
    struct prof__location *locations = prof__arena_array(r->a, p->n_location, sizeof(*locations));

    if (!locations && p->n_location)
        return -ENOMEM;
    for (size_t i = 0; i < p->n_location; i++) {
        const Perftools__Profiles__Location *from = p->location[i];
        struct prof__location *l = &locations[i];
        struct prof__line *lines = prof__arena_array(r->a, from->n_line + 1, sizeof(*lines));

        if (!lines)
            return -ENOMEM;
        l->address = from->address;
        l->mapping = (uint32_t)POSITION_OF(p->mapping, p->n_mapping, from->mapping_id);
        for (size_t j = 0; j < from->n_line; j++) {
            size_t at = POSITION_OF(p->function, p->n_function, from->line[j]->function_id);

            if (at >= p->n_function)
                continue;
            const Perftools__Profiles__Function *f = p->function[at];
            const char *name = string_at(r, f->name), *linked = string_at(r, f->system_name);
            lines[l->n_lines++] = (struct prof__line) { .function = *linked ? linked : name,
                                                        .name = *name ? name : linked,
                                                        .file = string_or_null(r, f->filename),
                                                        .home = string_or_null(r, f->filename),
                                                        .line = (uint32_t)from->line[j]->line,
                                                        .start_line = (uint32_t)f->start_line };
        }
        l->line = lines;
        l->own_line = own_line_of(l, &out->mapping[l->mapping]);
    }
    out->location = locations;
    out->n_locations = p->n_location;
    return 0;
}

static int read_labels(const struct reader *r, const Perftools__Profiles__Sample *from,
                       struct prof__report_sample *s)
{
    struct prof__label *labels = prof__arena_array(r->a, from->n_label + 1, sizeof(*labels));

    if (!labels)
        return -ENOMEM;
    for (size_t k = 0; k < from->n_label; k++)
        labels[k] = (struct prof__label) { .key = string_at(r, from->label[k]->key),
                                           .value = string_or_null(r, from->label[k]->str),
                                           .number = from->label[k]->num,
                                           .unit = string_or_null(r, from->label[k]->num_unit) };
    s->label = labels;
    s->n_labels = (uint32_t)from->n_label;
    return 0;
}

static int read_samples(const struct reader *r, struct prof__report *out)
{
    const profile *p = r->p;
    struct prof__report_sample *samples = prof__arena_array(r->a, p->n_sample, sizeof(*samples));

    if (!samples && p->n_sample)
        return -ENOMEM;
    for (size_t i = 0; i < p->n_sample; i++) {
        const Perftools__Profiles__Sample *from = p->sample[i];
        struct prof__report_sample *s = &samples[out->n_samples];
        uint32_t *at = prof__arena_array(r->a, from->n_location_id + 1, sizeof(*at));

        if (!at || read_labels(r, from, s) < 0)
            return -ENOMEM;
        s->n_locations = 0;
        for (size_t k = 0; k < from->n_location_id; k++) {
            size_t l = POSITION_OF(p->location, p->n_location, from->location_id[k]);

            if (l < p->n_location)
                at[s->n_locations++] = (uint32_t)l;
        }
        s->location = at;
        for (size_t v = 0; v < out->n_values && v < from->n_value; v++)
            s->value[v] = from->value[v];
        out->n_samples += s->n_locations > 0; /* one without a stack is nowhere to be shown */
    }
    out->sample = samples;
    return 0;
}

static int read_types(const struct reader *r, struct prof__report *out)
{
    const profile *p = r->p;
    struct prof__value_type *types = prof__arena_array(r->a, PROF__VALUES_MAX, sizeof(*types));
    const char **comments = prof__arena_array(r->a, p->n_comment + 1, sizeof(*comments));

    if (!types || !comments)
        return -ENOMEM;
    if (p->n_sample_type == 0 || p->n_sample_type > PROF__VALUES_MAX)
        return -EINVAL;
    for (size_t i = 0; i < p->n_sample_type; i++)
        types[i] = (struct prof__value_type) { string_at(r, p->sample_type[i]->type),
                                               string_at(r, p->sample_type[i]->unit) };
    for (size_t i = 0; i < p->n_comment; i++)
        comments[i] = string_at(r, p->comment[i]);
    out->value_type = types;
    out->n_values = p->n_sample_type;
    out->comment = comments;
    out->n_comments = p->n_comment;
    out->default_type = string_or_null(r, p->default_sample_type);
    out->period = p->period;
    out->period_type = p->period_type
                           ? (struct prof__value_type) { string_at(r, p->period_type->type),
                                                         string_at(r, p->period_type->unit) }
                           : types[0];
    out->time_ns = p->time_nanos;
    out->duration_ns = p->duration_nanos;
    return 0;
}

int profile_read(const void *data, size_t size, struct prof__arena *a, struct prof__report *ret)
{
    struct prof__report out = { .name = "", .has_own_lines = true };
    void *plain;

    if (is_gzip(data, size)) {
        int r = gunzip(data, size, a, &plain, &size);

        if (r < 0)
            return r;
        data = plain;
    }
    profile *p = perftools__profiles__profile__unpack(NULL, size, data);
    if (!p)
        return -EINVAL;
    struct reader reader = { .p = p, .a = a };
    int r = keep_strings(&reader);
    if (r == 0)
        r = read_types(&reader, &out);
    if (r == 0)
        r = read_mappings(&reader, &out);
    if (r == 0)
        r = read_locations(&reader, &out);
    if (r == 0)
        r = read_samples(&reader, &out);
    perftools__profiles__profile__free_unpacked(p, NULL);
    if (r == 0)
        *ret = out;
    return r;
}

int profile_choose(struct prof__report *r, const char *type)
{
    for (size_t i = 0; type && i < r->n_values; i++)
        if (strcmp(r->value_type[i].type, type) == 0) {
            r->default_type = r->value_type[i].type;
            return 0;
        }
    return type ? -ENOENT : 0;
}

/* --- differences ------------------------------------------------------------------------------ */

/* Samples by a hash of what makes two of them the same. */
struct joiner {
    struct prof__arena *a;
    struct prof__report_sample *sample;
    uint64_t *hash; /* of each sample */
    uint32_t *slot; /* open addressing, index + 1 */
    size_t n, n_slots;
};

static uint64_t hash_of_frame(const struct prof__report *r, uint32_t location, uint64_t hash)
{
    const struct prof__location *l = &r->location[location];

    for (uint32_t i = 0; i < l->n_lines; i++) {
        const struct prof__line *line = &l->line[i];

        hash = prof__hash_more(hash, prof__hash_bytes(line->name, strlen(line->name)));
        if (line->file)
            hash = prof__hash_more(hash, prof__hash_bytes(line->file, strlen(line->file)));
        hash = prof__hash_more(hash, line->line);
    }
    /* Without a name, the place in the file, which is the same in the next run. */
    if (l->n_lines == 0) {
        const struct prof__report_mapping *m = &r->mapping[l->mapping];

        hash = prof__hash_more(hash, prof__hash_bytes(m->file, strlen(m->file)));
        hash = prof__hash_more(hash, l->address - m->start + m->offset);
    }
    return hash;
}

static uint64_t hash_of(const struct prof__report *r, const struct prof__report_sample *s)
{
    uint64_t hash = prof__hash(s->n_locations);

    for (uint32_t i = 0; i < s->n_locations; i++)
        hash = hash_of_frame(r, s->location[i], hash);
    for (uint32_t i = 0; i < s->n_labels; i++) {
        const struct prof__label *l = &s->label[i];

        hash = prof__hash_more(hash, prof__hash_bytes(l->key, strlen(l->key)));
        hash = l->value ? prof__hash_more(hash, prof__hash_bytes(l->value, strlen(l->value)))
                        : prof__hash_more(hash, (uint64_t)l->number);
    }
    return hash;
}

/* 64 bits of hash stand for the stack: of a million stacks two meet once in 37 million times. */
static int join(struct joiner *j, const struct prof__report *r, uint32_t offset, int64_t sign)
{
    for (size_t i = 0; i < r->n_samples; i++) {
        const struct prof__report_sample *from = &r->sample[i];
        uint64_t hash = hash_of(r, from);
        size_t at = hash & (j->n_slots - 1);

        while (j->slot[at] && j->hash[j->slot[at] - 1] != hash)
            at = (at + 1) & (j->n_slots - 1);
        if (!j->slot[at]) {
            struct prof__report_sample *to = &j->sample[j->n];
            uint32_t *location = prof__arena_array(j->a, from->n_locations, sizeof(*location));

            if (!location)
                return -ENOMEM;
            for (uint32_t k = 0; k < from->n_locations; k++)
                location[k] = from->location[k] + offset;
            *to = *from;
            to->location = location;
            memset(to->value, 0, sizeof(to->value));
            j->hash[j->n++] = hash;
            j->slot[at] = (uint32_t)j->n;
        }
        struct prof__report_sample *to = &j->sample[j->slot[at] - 1];
        for (size_t v = 0; v < r->n_values; v++)
            to->value[v] = prof__add_saturate(to->value[v], sign * from->value[v]);
    }
    return 0;
}

/* Locations and mappings of both, one behind the other. */
static int put_together(const struct prof__report *now, const struct prof__report *before,
                        struct prof__arena *a, struct prof__report *ret)
{
    struct prof__location *l =
        prof__arena_array(a, now->n_locations + before->n_locations + 1, sizeof(*l));
    struct prof__report_mapping *m =
        prof__arena_array(a, now->n_mappings + before->n_mappings + 1, sizeof(*m));

    if (!l || !m)
        return -ENOMEM;
    for (size_t i = 0; i < now->n_locations; i++)
        l[i] = now->location[i];
    for (size_t i = 0; i < before->n_locations; i++) {
        l[now->n_locations + i] = before->location[i];
        l[now->n_locations + i].mapping += (uint32_t)now->n_mappings;
    }
    for (size_t i = 0; i < now->n_mappings; i++)
        m[i] = now->mapping[i];
    for (size_t i = 0; i < before->n_mappings; i++)
        m[now->n_mappings + i] = before->mapping[i];
    ret->location = l;
    ret->n_locations = now->n_locations + before->n_locations;
    ret->mapping = m;
    ret->n_mappings = now->n_mappings + before->n_mappings;
    return 0;
}

static bool has_value(const struct prof__report_sample *s)
{
    for (size_t v = 0; v < PROF__VALUES_MAX; v++)
        if (s->value[v])
            return true;
    return false;
}

int profile_subtract(const struct prof__report *now, const struct prof__report *before,
                     struct prof__arena *a, struct prof__report *ret)
{
    struct joiner j = { .a = a, .n_slots = 64 };
    size_t most = now->n_samples + before->n_samples;
    struct prof__report out = *now;

    if (now->n_values != before->n_values)
        return -EINVAL;
    for (size_t v = 0; v < now->n_values; v++)
        if (strcmp(now->value_type[v].type, before->value_type[v].type) != 0)
            return -EINVAL;
    while (j.n_slots < 2 * most)
        j.n_slots *= 2;
    j.sample = prof__arena_array(a, most + 1, sizeof(*j.sample));
    j.hash = prof__arena_array(a, most + 1, sizeof(*j.hash));
    j.slot = prof__arena_array(a, j.n_slots, sizeof(*j.slot));
    if (!j.sample || !j.hash || !j.slot || put_together(now, before, a, &out) < 0 ||
        join(&j, now, 0, 1) < 0 || join(&j, before, (uint32_t)now->n_locations, -1) < 0)
        return -ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < j.n; i++)
        if (has_value(&j.sample[i]))
            j.sample[n++] = j.sample[i];
    out.sample = j.sample;
    out.n_samples = n;
    out.duration_ns = now->time_ns - before->time_ns;
    *ret = out;
    return 0;
}
