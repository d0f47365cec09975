#include "encode.h"
int prof__encode_pprof(const struct prof__report *r, struct prof__arena *a, prof_sink_fn *sink, void *arg) { return 0; }
