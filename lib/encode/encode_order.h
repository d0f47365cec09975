/*
 * encode_order.h - in which order samples are written.
 */
#ifndef PROF_ENCODE_ENCODE_ORDER_H
#define PROF_ENCODE_ENCODE_ORDER_H

#include "encode/encode.h"

/* Which value a reader shows first: the default type's, else the last. */
size_t prof__report_default_value(const struct prof__report *r);

/*
 * The order to write samples in: by the default value, largest magnitude first, equal ones as the
 * report has them. So equal reports give equal bytes, and a reader that cuts the end off loses
 * least. Indexes of r->sample; NULL when out of memory.
 */
const uint32_t *prof__report_order(const struct prof__report *r, struct prof__arena *a);

#endif
