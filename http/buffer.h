/*
 * buffer.h - bytes that grow: the body of an answer, or of a request.
 *
 * Answers are built whole before the first byte is sent, so that every one has a Content-Length
 * and a failure half way is still an error status. The memory is malloc's, taken by a thread that
 * is hidden from the heap profile.
 *
 * What all of them hold together is counted until it is released, so that clients which do not
 * read their answers cannot take ever more: from PROF__BUFFERS_MAX on, no request begins.
 */
#ifndef PROF_HTTP_BUFFER_H
#define PROF_HTTP_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

#define PROF__BUFFERS_MAX ((size_t)64 * 1024 * 1024)

struct prof__buffer {
    char *data; /* NULL while nothing was added */
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

/* Append what is in the file `path`, of `max` bytes at most. 0 or -errno, -ENOMEM sticking. Not
 * with stdio: its list of open files is locked by fork(), which a handler may call in our midst. */
int prof__buffer_add_file(struct prof__buffer *b, const char *path, size_t max);

/* The same as a string, which lives as long as the buffer; "" when it cannot be read. */
const char *prof__buffer_read(struct prof__buffer *b, const char *path, size_t max);

/* Release the memory; the buffer is empty and may be used again. */
void prof__buffer_free(struct prof__buffer *b);

/* Take the bytes out, for prof__buffer_release(); the buffer is empty. */
void *prof__buffer_take(struct prof__buffer *b);
void prof__buffer_release(void *data);

/* Count `size` bytes that somebody else holds for a request, and no longer. Any thread. */
void prof__buffers_count(size_t size);
void prof__buffers_uncount(size_t size);

/* There is no room for `more` bytes beside what is held. Any thread. */
bool prof__buffers_full(size_t more);

#endif
