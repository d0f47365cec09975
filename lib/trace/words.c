/*
 * words.c - what tracks and items are called, for all encoders.
 */
#include <stdio.h>
#include <string.h>

#include "profile/lockstate.h"
#include "record/collect_lock.h"
#include "table/io_calls.h"
#include "table/labels.h"
#include "trace/encode.h"

const char *prof__track_name(const struct prof__timeline *t, uint32_t number,
                             char buf[PROF__TRACK_NAME_SIZE])
{
    const struct prof__track *track = &t->track[number];

    if (track->kind == PROF__TRACK_TASKS) {
        snprintf(buf, PROF__TRACK_NAME_SIZE, "tasks");
    } else if (track->kind == PROF__TRACK_LABELS || track->kind == PROF__TRACK_STATE) {
        const struct prof__track *of = &t->track[track->parent];

        snprintf(buf, PROF__TRACK_NAME_SIZE, "%s of %s %u",
                 track->kind == PROF__TRACK_STATE ? "state" : "labels", of->name, of->tid);
    } else if (track->name[0]) {
        snprintf(buf, PROF__TRACK_NAME_SIZE, "%s", track->name);
    } else {
        snprintf(buf, PROF__TRACK_NAME_SIZE, "thread %u", track->tid);
    }
    return buf;
}

const char *prof__track_who(const struct prof__timeline *t, uint32_t number,
                            char buf[PROF__TRACK_NAME_SIZE])
{
    const struct prof__track *track = &t->track[number];

    snprintf(buf, PROF__TRACK_NAME_SIZE, "%s %u", track->name[0] ? track->name : "thread",
             track->tid);
    return buf;
}

const char *prof__wait_end_name(const struct prof__item *i)
{
    if (i->open_end)
        return "not yet";
    switch (i->wait_end) {
    case PROF__WAIT_GOT:
        return "got it";
    case PROF__WAIT_GAVE_UP:
        return "gave up";
    default:
        return "cancelled";
    }
}

const char *prof__io_result(const struct prof__item *i, char buf[PROF__TRACK_NAME_SIZE])
{
    int32_t result = PROF__IO_RESULT(i->object);
    char why[PROF__TRACK_NAME_SIZE - 16];

    if (result == PROF__IO_CANCELLED)
        return "cancelled";
    if (result >= 0)
        snprintf(buf, PROF__TRACK_NAME_SIZE, "%d", result);
    else
        snprintf(buf, PROF__TRACK_NAME_SIZE, "error %d: %s", -result,
                 strerror_r(-result, why, sizeof(why)));
    return buf;
}

static const char *io_name(unsigned call)
{
#define NAME(name) [PROF__IO_##name] = #name,
    static const char *const names[] = { PROF__IO_CALLS(NAME) };
#undef NAME

    return call < ARRAY_LEN(names) ? names[call] : "system call";
}

const char *prof__item_name(const struct prof__item *i, char buf[PROF__ITEM_NAME_SIZE])
{
    switch (i->kind) {
    case PROF__ITEM_WAIT:
        snprintf(buf, PROF__ITEM_NAME_SIZE, "wait: %s",
                 prof__wait_kind_name((enum prof__wait_kind)i->wait_kind));
        return buf;
    case PROF__ITEM_IO:
        return io_name(i->wait_kind);
    case PROF__ITEM_STATE:
        return i->wait_kind == PROF__STATE_RUNNING ? "running"
               : i->wait_kind == PROF__STATE_READY ? "ready"
                                                   : "sleeping";
    case PROF__ITEM_LOST:
        if (i->value)
            snprintf(buf, PROF__ITEM_NAME_SIZE, "%lld events lost", (long long)i->value);
        return i->value ? buf : "older events lost";
    case PROF__ITEM_RELEASE:
        return "unlock";
    case PROF__ITEM_WAKE:
        return "wake";
    case PROF__ITEM_CREATE:
        return "create thread";
    case PROF__ITEM_START:
        return "thread starts";
    case PROF__ITEM_END:
        return "thread ends";
    case PROF__ITEM_CPU:
        return "cpu";
    case PROF__ITEM_LABELS: {
        struct prof__label_pair pair[PROF__LABELS_MAX];
        size_t n = prof__labels_get((uint32_t)i->object, pair, ARRAY_LEN(pair));
        int length = 0;

        buf[0] = '\0';
        for (size_t k = 0; k < n && length < PROF__ITEM_NAME_SIZE - 1; k++)
            length += snprintf(buf + length, PROF__ITEM_NAME_SIZE - (size_t)length, "%s%s=%s",
                               k ? " " : "", pair[k].key, pair[k].value);
        return buf;
    }
    default:
        return i->text ? i->text : "";
    }
}
