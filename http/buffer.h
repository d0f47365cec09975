/*
 * buffer.h - bytes that grow: the body of an answer, or of a request.
 *
 * Answers are built whole before the first byte is sent, so that every one has a Content-Length
 * and a failure half way is still an error status. The memory is malloc's, taken by a thread that
 * is hidden from the heap profile.
 */
#ifndef PROF_HTTP_BUFFER_H
#define PROF_HTTP_BUFFER_H

#include <stddef.h>

struct prof__buffer {
    char *data; /* malloc'ed; NULL while nothing was added */
    size_t size;
    size_t capacity;
    int error; /* of the first call that failed; all later ones fail likewise */
};

/* Append; 0 or -ENOMEM. Has the shape of prof_sink_fn, `buffer` being a struct prof__buffer. */
int prof__buffer_add(void *buffer, const void *data, size_t size);

/* Append text. Errors stick, so of many calls it is enough to look at the last. */
int prof__buffer_puts(struct prof__buffer *b, const char *text);
int prof__buffer_printf(struct prof__buffer *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Release the memory; the buffer is empty and may be used again. */
void prof__buffer_free(struct prof__buffer *b);

#endif
