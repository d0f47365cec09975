/*
 * locations.h - places become locations: functions with their lines, or what is said instead.
 */
#ifndef PROF_PROFILE_LOCATIONS_H
#define PROF_PROFILE_LOCATIONS_H

#include "profile/places.h"
#include "profile/registry.h"
#include "profile/report.h"

/* What the report tells beside its numbers; those beyond are left out. */
struct prof__comments {
    const char *text[24];
    size_t n;
};

/* `text` lives as long as the report; NULL, for want of memory, is none. */
static inline void prof__comment(struct prof__comments *c, const char *text)
{
    if (text && c->n < ARRAY_LEN(c->text))
        c->text[c->n++] = text;
}

/* What stands for a frame that is none: "[lost: table full]". */
const char *prof__pseudo_name(uint64_t pc);

/* Of all places, which have been mapped: into ret_report->location, and their numbers into the
 * places. What stood in the way of better names becomes a comment. -ENOMEM. */
int prof__locations_make(struct prof__places *p, const struct prof_profile *profile,
                         const struct prof__report_options *o, struct prof__comments *comments,
                         struct prof__report *ret_report);

/* Is all of it an allocator's own code: malloc, operator new and their kin? */
bool prof__location_is_allocator(const struct prof__location *l);

#endif
