#include "symbolize.h"
int prof__symbolize(struct prof__arena *a, const struct prof__lookup *lookup, size_t n, struct prof__symbols *ret) { for (size_t i = 0; i < n; i++) ret[i].n = 0; return 0; }
size_t prof__symbolize_cached(void) { return 0; }
void prof__symbolize_fork_child(void) {}
