/*
 * buffer.c - bytes that grow, by doubling. Before them in memory stands how many there is room for.
 */
#include "buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_CAPACITY 1024
#define FILE_PIECE     4096

struct block {
    size_t capacity;
    alignas(max_align_t) char data[];
};

static atomic_size_t held;

/* Relaxed: a number to compare with, and nothing else is read on the strength of it. */
void prof__buffers_count(size_t size)
{
    atomic_fetch_add_explicit(&held, size, memory_order_relaxed);
}

void prof__buffers_uncount(size_t size)
{
    atomic_fetch_sub_explicit(&held, size, memory_order_relaxed);
}

bool prof__buffers_full(size_t more)
{
    size_t now = atomic_load_explicit(&held, memory_order_relaxed);

    return more > PROF__BUFFERS_MAX || now > PROF__BUFFERS_MAX - more;
}

static struct block *block_of(void *data)
{
    return data ? (struct block *)((char *)data - offsetof(struct block, data)) : NULL;
}

static int reserve(struct prof__buffer *b, size_t more)
{
    size_t capacity = b->capacity ? b->capacity : FIRST_CAPACITY;
    struct block *block = NULL;

    if (b->error)
        return b->error;
    if (more <= b->capacity - b->size)
        return 0;
    if (more <= SIZE_MAX / 4 - b->size) {
        while (capacity < b->size + more)
            capacity *= 2;
        block = realloc(block_of(b->data), sizeof(*block) + capacity);
    }
    if (!block)
        return b->error = -ENOMEM;
    prof__buffers_count(capacity - b->capacity);
    block->capacity = capacity;
    b->data = block->data;
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

void *prof__buffer_take(struct prof__buffer *b)
{
    void *data = b->data;

    *b = (struct prof__buffer) { 0 };
    return data;
}

void prof__buffer_release(void *data)
{
    struct block *block = block_of(data);

    if (block)
        prof__buffers_uncount(block->capacity);
    free(block);
}

int prof__buffer_add_file(struct prof__buffer *b, const char *path, size_t max)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int r = fd < 0 ? -errno : 0;

    for (size_t left = max; r == 0 && left > 0;) {
        size_t n = left < FILE_PIECE ? left : FILE_PIECE;

        r = reserve(b, n);
        if (r < 0)
            break;
        ssize_t got = read(fd, b->data + b->size, n);
        if (got == 0)
            break;
        if (got > 0)
            b->size += (size_t)got, left -= (size_t)got;
        else if (errno != EINTR)
            r = -errno;
    }
    if (fd >= 0)
        close(fd);
    return r;
}

void prof__buffer_free(struct prof__buffer *b)
{
    prof__buffer_release(prof__buffer_take(b));
}

const char *prof__buffer_read(struct prof__buffer *b, const char *path, size_t max)
{
    prof__buffer_add_file(b, path, max);
    prof__buffer_add(b, "", 1);
    return b->error ? "" : b->data;
}
