#include "gzip.h"
int prof__gzip_open(struct prof__arena *a, prof_sink_fn *sink, void *arg, struct prof__gzip **ret) { return -12; }
int prof__gzip_write(struct prof__gzip *z, const void *d, size_t n) { return 0; }
int prof__gzip_close(struct prof__gzip *z) { return 0; }
