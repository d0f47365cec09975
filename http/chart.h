/*
 * chart.h - a picture of the last hour, for the index page.
 */
#ifndef PROF_HTTP_CHART_H
#define PROF_HTTP_CHART_H

#include "buffer.h"

/* Memory of the process and its heap over time, as HTML with an SVG in it, that needs no script and
 * no attribute `style`; the page's style sheet has the classes (chart.c). Nothing, if there are not
 * two moments to connect. 0 or a negative errno. */
int prof__chart(struct prof__buffer *out);

/* The rules of those classes. */
extern const char prof__chart_style[];

#endif
