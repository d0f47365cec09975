/*
 * module_history.h - the objects that are loaded and those that were, with the era of each.
 */
#ifndef PROF_SYMBOL_MODULE_HISTORY_H
#define PROF_SYMBOL_MODULE_HISTORY_H

#include "symbol/modules.h"

/* Copies: `file` is the best path known, `path` what the linker calls the object. */
struct prof__history {
    struct prof__module *loaded, *gone;
    size_t n_loaded, n_gone;
    uint32_t fresh; /* the era of what comes to a place that another has had */
};

/* Look at what is loaded now, and tell eras.h of places that have been used. -ENOMEM. */
int prof__history_refresh(void);

/* Memory from `a`. -ENOMEM. */
int prof__history_copy(struct prof__arena *a, struct prof__history *ret_history);

/* A better path, and the inode, of the loaded module that starts where `m` does. */
void prof__history_set_file(const struct prof__module *m);

void prof__history_fork_child(void);

#endif
