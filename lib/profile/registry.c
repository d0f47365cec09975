/*
 * registry.c - the profiles by name, sorted.
 *
 * A program has some ten of them: an array, a lock, and entries that are never removed, so that a
 * pointer to one stays good for ever.
 */
#include "profile/registry.h"

#include <string.h>

#include "base/error.h"
#include "base/fork.h"

enum { PROFILES_MAX = PROF__TABLES };

static struct prof__lock lock = PROF__LOCK_INIT(PROF__RANK_REGISTRY);
static struct prof_profile *profile[PROFILES_MAX];
static size_t n_profiles;

/* Index of the first that is not before `name`. */
static size_t position(const char *name)
{
    size_t i = 0;

    while (i < n_profiles && strcmp(profile[i]->name, name) < 0)
        i++;
    return i;
}

int prof__registry_add(struct prof_profile *p)
{
    int r = 0;

    uint64_t mask = prof__lock_masked(&lock);
    size_t at = position(p->name);
    if (at < n_profiles && strcmp(profile[at]->name, p->name) == 0) {
        r = -EEXIST;
    } else if (n_profiles == PROFILES_MAX) {
        r = -ENOSPC;
    } else {
        memmove(&profile[at + 1], &profile[at], (n_profiles - at) * sizeof(*profile));
        profile[at] = p;
        n_profiles++;
    }
    prof__unlock_masked(&lock, mask);
    return r;
}

struct prof_profile *prof_lookup(const char *name)
{
    struct prof_profile *found = NULL;

    if (!name)
        return NULL;
    uint64_t mask = prof__lock_masked(&lock);
    size_t at = position(name);
    if (at < n_profiles && strcmp(profile[at]->name, name) == 0)
        found = profile[at];
    prof__unlock_masked(&lock, mask);
    return found;
}

size_t prof_profiles(struct prof_profile **out, size_t cap)
{
    uint64_t mask = prof__lock_masked(&lock);
    size_t n = n_profiles;
    if (out)
        memcpy(out, profile, PROF_MIN(n, cap) * sizeof(*profile));
    prof__unlock_masked(&lock, mask);
    return n;
}

const char *prof_profile_name(const struct prof_profile *p)
{
    return p ? p->name : "";
}

const char *prof_profile_description(const struct prof_profile *p)
{
    return p && p->description ? p->description : "";
}

int64_t prof_profile_count(const struct prof_profile *p)
{
    if (!p)
        return prof_set_last_error(-EINVAL, "no profile given to prof_profile_count()");
    return p->count ? p->count(p) : (int64_t)prof__rows_count(p->table);
}

int prof_profile_status(const struct prof_profile *p, char *buf, size_t size)
{
    if (!p)
        return prof_set_last_error(-EINVAL, "no profile given to prof_profile_status()");
    if (size)
        buf[0] = '\0';
    return p->status ? p->status(buf, size) : 0;
}

/* --- values ---------------------------------------------------------------------------------- */

int64_t prof__values_total(const struct prof__values *raw, unsigned i, unsigned shift)
{
    uint64_t most = PROF_MIN(UINT64_MAX >> shift, (uint64_t)INT64_MAX), v = raw->value[i];

    if (raw->full & 1u << i)
        return (int64_t)most;
    v = (v >> shift) + (shift ? v >> (shift - 1) & 1 : 0);
    return (int64_t)PROF_MIN(v, most);
}

void prof__values_finish(const struct prof_profile *p, const struct prof__values *raw,
                         int64_t ret_value[PROF__VALUES_MAX])
{
    memset(ret_value, 0, PROF__VALUES_MAX * sizeof(*ret_value));
    if (p->finish)
        p->finish(raw, ret_value);
    else
        memcpy(ret_value, raw->value, p->n_values * sizeof(*ret_value));
}

/* --- fork ------------------------------------------------------------------------------------ */

static void fork_prepare(void)
{
    prof__lock(&lock);
}

static void fork_done(void)
{
    prof__unlock(&lock);
}

PROF__AT_FORK(PROF__RANK_REGISTRY, fork_prepare, fork_done, fork_done)
