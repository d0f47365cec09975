/*
 * buffer.c - bytes that grow, by doubling.
 */
#include "buffer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 1024

static int reserve(struct prof__buffer *b, size_t more)
{
    size_t capacity = b->capacity ? b->capacity : FIRST_CAPACITY;
    char *data = NULL;

    if (b->error)
        return b->error;
    if (more <= b->capacity - b->size)
        return 0;
    if (more <= (size_t)-1 / 2 - b->size) {
        while (capacity < b->size + more)
            capacity *= 2;
        data = realloc(b->data, capacity);
    }
    if (!data)
        return b->error = -ENOMEM;
    b->data = data;
    b->capacity = capacity;
    return 0;
}

int prof__buffer_add(void *buffer, const void *data, size_t size)
{
    struct prof__buffer *b = buffer;
    int r = reserve(b, size);

    if (r < 0)
        return r;
    if (size)
        memcpy(b->data + b->size, data, size);
    b->size += size;
    return 0;
}

int prof__buffer_puts(struct prof__buffer *b, const char *text)
{
    return prof__buffer_add(b, text, strlen(text));
}

int prof__buffer_printf(struct prof__buffer *b, const char *format, ...)
{
    va_list args, again;
    int r;

    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    r = size < 0 ? -EINVAL : reserve(b, (size_t)size + 1);
    if (r == 0) {
        vsnprintf(b->data + b->size, (size_t)size + 1, format, again);
        b->size += (size_t)size; /* the NUL stays beyond the end */
    }
    va_end(again);
    va_end(args);
    return r;
}

void prof__buffer_free(struct prof__buffer *b)
{
    free(b->data);
    *b = (struct prof__buffer) { 0 };
}
