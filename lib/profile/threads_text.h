/*
 * threads_text.h - threads one by one, for people: debug=2.
 */
#ifndef PROF_PROFILE_THREADS_TEXT_H
#define PROF_PROFILE_THREADS_TEXT_H

#include "profile/report.h"

/* 0, -ENOMEM, what prof__threads_take() says, or what the sink returned. */
int prof__threads_write_text(const struct prof_profile *p, const struct prof__report_options *o,
                             prof_sink_fn *sink, void *arg);

#endif
