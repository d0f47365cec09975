#include "modules.h"
int prof__modules_load(struct prof__arena *a, struct prof__modules *ret) { ret->module = NULL; ret->n = 0; return 0; }
const struct prof__module *prof__modules_find(const struct prof__modules *m, uint64_t address, uint32_t epoch) { return NULL; }
void prof__modules_before_unload(void) {}
void prof__modules_after_unload(void) {}
void prof__modules_fork_child(void) {}
