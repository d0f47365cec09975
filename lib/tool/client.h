/*
 * client.h - asks a process over HTTP.
 */
#ifndef PROF_TOOL_CLIENT_H
#define PROF_TOOL_CLIENT_H

#include "tool/ctl.h"
#include "tool/reach.h"

struct reply {
    int status;
    char *body; /* with a NUL behind it; to be freed */
    size_t size;
};

struct ask {
    const char *method; /* NULL: GET */
    const char *path;   /* after /debug/pprof/ */
    const char *token;
    const char *body;           /* of a POST */
    double seconds;             /* that the answer takes by itself */
    const char *what;           /* a word for the bar */
    bool quiet;                 /* tell nothing on stderr */
    bool (*is_over)(void *arg); /* asked ten times a second: has the user had enough? NULL: never */
    void *arg;
};

/* CTL_OK and an answer of status 200, or another exit status, told. CTL_FAILED without a word when
 * is_over() said so. */
int client_ask(const struct target *t, const struct ask *a, struct reply *ret);

#endif
