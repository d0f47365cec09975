/*
 * redirected.h - what redirected_lib.c offers to redirected.c.
 */
#ifndef TEST_REDIRECTED_H
#define TEST_REDIRECTED_H

#include <stddef.h>

enum { MAKERS = 7, DROPPERS = 2, OTHERS = 4 };

struct plugin {
    void *(*make[MAKERS])(size_t size);
    void (*drop[DROPPERS])(void *p);
    int (*set_action)(int number);
    struct {
        const char *name;
        void (*function)(void); /* what it calls by that name */
    } other[OTHERS];
};

extern const struct plugin plugin;

#endif
