/*
 * gzip.c - zlib with its memory in an arena.
 *
 * Level 1: a profile is small integers and a few thousand names, so searching harder for matches
 * makes it a little smaller and takes several times as long (test/bench/encode_bench shows both).
 * What identifies the writer, time and operating system, is left zero, so equal input gives equal
 * output.
 *
 * zlib takes its 270 KiB when the stream is opened and nothing later; none of it comes from malloc.
 */
#include "encode/gzip.h"

#include <errno.h>
#include <limits.h>
#define ZLIB_CONST /* next_in is const, as it should be */
#include <zlib.h>

enum {
    LEVEL = 1,
    MEMORY_LEVEL = 8,     /* zlib's default */
    GZIP_FORMAT = 16,     /* added to the window bits */
    OUT_SIZE = 32 * 1024, /* handed to the sink at once */
};

struct prof__gzip {
    z_stream stream;
    gz_header header;
    prof_sink_fn *sink;
    void *arg;
    int error; /* the first one; nothing is written after it */
    unsigned char out[OUT_SIZE];
};

static void *arena_zalloc(void *arena, unsigned n, unsigned size)
{
    return prof__arena_array(arena, n, size);
}

static void arena_zfree(void *arena, void *p)
{
    /* goes with the arena */
}

int prof__gzip_open(struct prof__arena *a, prof_sink_fn *sink, void *arg,
                    struct prof__gzip **ret_gzip)
{
    struct prof__gzip *z = prof__arena_alloc(a, sizeof(*z));

    if (!z)
        return -ENOMEM;
    z->sink = sink;
    z->arg = arg;
    z->stream.zalloc = arena_zalloc;
    z->stream.zfree = arena_zfree;
    z->stream.opaque = a;
    z->stream.next_out = z->out;
    z->stream.avail_out = sizeof(z->out);
    if (deflateInit2(&z->stream, LEVEL, Z_DEFLATED, MAX_WBITS + GZIP_FORMAT, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM; /* the arguments being right, only memory can fail */
    deflateSetHeader(&z->stream, &z->header);
    *ret_gzip = z;
    return 0;
}

static int drain(struct prof__gzip *z)
{
    size_t size = sizeof(z->out) - z->stream.avail_out;
    int r = size ? z->sink(z->arg, z->out, size) : 0;

    z->stream.next_out = z->out;
    z->stream.avail_out = sizeof(z->out);
    return r < 0 ? r : 0;
}

/* Compress what is in the stream; Z_FINISH: and end it. */
static int deflate_all(struct prof__gzip *z, int flush)
{
    while (!z->error) {
        int r = deflate(&z->stream, flush);

        if (r == Z_STREAM_ERROR)
            return z->error = -EINVAL; /* written to after its end: a mistake of the caller */
        if (flush == Z_FINISH ? r == Z_STREAM_END : z->stream.avail_in == 0)
            break;
        if (z->stream.avail_out == 0)
            z->error = drain(z);
    }
    return z->error;
}

int prof__gzip_write(struct prof__gzip *z, const void *data, size_t size)
{
    const unsigned char *from = data;

    while (size > 0 && !z->error) {
        unsigned n = (unsigned)PROF_MIN(size, (size_t)INT_MAX);

        z->stream.next_in = from;
        z->stream.avail_in = n;
        deflate_all(z, Z_NO_FLUSH);
        from += n;
        size -= n;
    }
    return z->error;
}

int prof__gzip_sink(void *gzip, const void *data, size_t size)
{
    return prof__gzip_write(gzip, data, size);
}

int prof__gzip_close(struct prof__gzip *z)
{
    if (!z)
        return 0;
    if (deflate_all(z, Z_FINISH) == 0)
        z->error = drain(z);
    deflateEnd(&z->stream);
    return z->error;
}
