/*
 * elf_unpack.c - sections that are compressed: in the ELF way (zlib, zstd), in GNU's of old (a name
 * that starts with ".zdebug" and a head of its own), and whole files within a section (xz).
 *
 * What a section claims to hold decides how much memory is asked for, so claims are bounded by what
 * its bytes can hold at most. Scratch memory is the arena's; only zstd takes from
 * malloc, up to 8 MiB, its interface for that being no stable one.
 */
#include "symbol/elf_unpack.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define ZLIB_CONST
#include <zlib.h>
#ifdef PROF__HAVE_LZMA
#include <lzma.h>
#endif
#ifdef PROF__HAVE_ZSTD
#include <zstd.h>
#endif

#include "symbol/deadline.h"

enum {
    CHUNK = 1 << 16,
    ROUND = 1 << 20,         /* bytes made between two looks at the clock */
    WINDOW_LOG_MAX = 23,     /* what zstd may look back, 8 MiB: all levels but --ultra */
    PACKED_MAX = 1 << 28,    /* bytes of a section that is taken in whole */
    EMBEDDED_MAX = 64 << 20, /* of a file in a file: symbols, so some MiB at most */
    LZMA_MEMORY = 80 << 20,  /* xz -9 wants 65 MiB, what distributions use 9 */
};

/* The head of a .zdebug_ section: its size when decompressed, big-endian. */
struct gnu_head {
    char magic[4];
    unsigned char size[8];
};

static bool is_gnu(const struct prof__elf *e, const Elf64_Shdr *s)
{
    return s->sh_name < e->names_size && strncmp(e->names + s->sh_name, ".zdebug_", 8) == 0;
}

/* Bytes before the compressed ones. */
static size_t head_size(const struct prof__elf *e, const Elf64_Shdr *s)
{
    return is_gnu(e, s) ? sizeof(struct gnu_head) : sizeof(Elf64_Chdr);
}

int prof__elf_section_size(const struct prof__elf *e, const Elf64_Shdr *s, uint64_t *ret_size,
                           enum prof__packing *ret_packing)
{
    struct gnu_head g;
    Elf64_Chdr c;

    *ret_packing = PROF__PLAIN;
    if (is_gnu(e, s)) {
        if (s->sh_size <= sizeof(g) || !prof__elf_read(e, s->sh_offset, &g, sizeof(g)) ||
            memcmp(g.magic, "ZLIB", sizeof(g.magic)) != 0)
            return -EINVAL;
        uint64_t size;
        memcpy(&size, g.size, sizeof(size));
        c.ch_type = ELFCOMPRESS_ZLIB;
        c.ch_size = be64toh(size);
    } else if (!(s->sh_flags & SHF_COMPRESSED)) {
        *ret_size = s->sh_size;
        return 0;
    } else if (s->sh_size <= sizeof(c) || !prof__elf_read(e, s->sh_offset, &c, sizeof(c))) {
        return -EINVAL;
    }
    switch (c.ch_type) {
    case ELFCOMPRESS_ZLIB:
        *ret_packing = PROF__ZLIB;
        /* Deflate cannot do better than 1032:1, so a larger claim is a lie. */
        if (c.ch_size / 1032 > s->sh_size)
            return -EINVAL;
        break;
    case 2: /* ELFCOMPRESS_ZSTD, which older headers lack */
        *ret_packing = PROF__ZSTD;
#ifndef PROF__HAVE_ZSTD
        return -ENOTSUP;
#endif
        break;
    default:
        return -ENOTSUP;
    }
    *ret_size = c.ch_size;
    return 0;
}

static void *take(void *arena, size_t n, size_t size)
{
    return prof__arena_array(arena, n, size);
}

static void *take_for_zlib(void *arena, unsigned n, unsigned size)
{
    return take(arena, n, size);
}

static void let_go(void *arena, void *p)
{
    (void)arena, (void)p; /* goes with the arena */
}

static int unpack_zlib(const struct prof__elf *e, struct prof__arena *a, uint64_t at, uint64_t end,
                       char *dst, uint64_t size)
{
    z_stream z = { .zalloc = take_for_zlib, .zfree = let_go, .opaque = a };
    char *chunk = prof__arena_alloc(a, CHUNK);
    uint64_t done = 0;
    int r = Z_OK;

    if (!chunk || inflateInit(&z) != Z_OK)
        return -ENOMEM;
    while (r == Z_OK && at < end && done < size) {
        size_t n = PROF_MIN((uint64_t)CHUNK, end - at);

        if (prof__late_now() || !prof__elf_read(e, at, chunk, n))
            break;
        at += n;
        z.next_in = (const Bytef *)chunk;
        z.avail_in = (uInt)n;
        while (r == Z_OK && z.avail_in > 0 && done < size) {
            uInt room = (uInt)PROF_MIN(size - done, (uint64_t)ROUND);

            z.next_out = (Bytef *)dst + done;
            z.avail_out = room;
            r = inflate(&z, Z_NO_FLUSH);
            done += room - z.avail_out;
            if (prof__late_now())
                break;
        }
    }
    inflateEnd(&z);
    return done == size ? 0 : prof__late_now() ? -ETIME : -EINVAL;
}

/* Its compressed bytes, whole. */
static int read_whole(const struct prof__elf *e, struct prof__arena *a, uint64_t at, uint64_t size,
                      const void **ret_bytes)
{
    if (size > PACKED_MAX)
        return -EINVAL;
    void *bytes = prof__arena_alloc(a, size);
    if (!bytes)
        return -ENOMEM;
    *ret_bytes = bytes;
    return prof__elf_read(e, at, bytes, size) ? 0 : -EINVAL;
}

#ifdef PROF__HAVE_ZSTD
static int unpack_zstd(const struct prof__elf *e, struct prof__arena *a, uint64_t at, uint64_t end,
                       char *dst, uint64_t size)
{
    ZSTD_DCtx *z = ZSTD_createDCtx();
    char *chunk = prof__arena_alloc(a, CHUNK);
    uint64_t done = 0;
    size_t left = 1; /* in the frame; an error */

    if (!z)
        return -ENOMEM;
    if (!chunk) {
        ZSTD_freeDCtx(z);
        return -ENOMEM;
    }
    ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
    while (at < end && done < size && !ZSTD_isError(left)) {
        ZSTD_inBuffer in = { chunk, PROF_MIN((uint64_t)CHUNK, end - at), 0 };

        if (!prof__elf_read(e, at, chunk, in.size))
            break;
        at += in.size;
        while (in.pos < in.size && done < size && !ZSTD_isError(left) && !prof__late_now()) {
            ZSTD_outBuffer out = { dst + done, PROF_MIN(size - done, (uint64_t)ROUND), 0 };

            left = ZSTD_decompressStream(z, &out, &in);
            done += out.pos;
        }
        if (prof__late_now())
            break;
    }
    ZSTD_freeDCtx(z);
    return done == size ? 0 : prof__late_now() ? -ETIME : -EINVAL;
}
#endif

int prof__elf_section_inflate(const struct prof__elf *e, struct prof__arena *a, const Elf64_Shdr *s,
                              void *dst, uint64_t size)
{
    uint64_t at = s->sh_offset + head_size(e, s), end = s->sh_offset + s->sh_size;
    enum prof__packing packing;
    uint64_t claimed;
    int r = prof__elf_section_size(e, s, &claimed, &packing);

    if (r < 0 || claimed != size)
        return -EINVAL; /* changed meanwhile */
#ifdef PROF__HAVE_ZSTD
    if (packing == PROF__ZSTD)
        return unpack_zstd(e, a, at, end, dst, size);
#endif
    return unpack_zlib(e, a, at, end, dst, size);
}

#ifdef PROF__HAVE_LZMA
int prof__elf_unpack(const struct prof__elf *e, struct prof__arena *a, const Elf64_Shdr *s,
                     const char **ret_bytes, uint64_t *ret_size)
{
    lzma_allocator allocator = { take, let_go, a };
    lzma_stream z = LZMA_STREAM_INIT;
    const void *packed;

    if (!s)
        return -ENOENT;
    if (s->sh_flags & SHF_COMPRESSED || s->sh_size > EMBEDDED_MAX / 8)
        return -EINVAL;
    int r = read_whole(e, a, s->sh_offset, s->sh_size, &packed);
    if (r < 0)
        return r;
    /* How much it will be stands at its end; that it grows is simpler than to look there. */
    size_t room = PROF_MAX((size_t)s->sh_size * 8, (size_t)CHUNK);
    char *bytes = prof__arena_alloc(a, room);
    z.allocator = &allocator;
    if (!bytes || lzma_stream_decoder(&z, LZMA_MEMORY, 0) != LZMA_OK)
        return -ENOMEM;
    z.next_in = packed;
    z.avail_in = s->sh_size;
    z.next_out = (uint8_t *)bytes;
    z.avail_out = PROF_MIN(room, (size_t)ROUND);
    lzma_ret state;
    while ((state = lzma_code(&z, LZMA_FINISH)) == LZMA_OK && z.avail_out == 0) {
        if (prof__late_now())
            break;
        if (z.total_out == room) {
            char *larger = room * 2 <= EMBEDDED_MAX ? prof__arena_alloc(a, room * 2) : NULL;

            if (!larger)
                break;
            memcpy(larger, bytes, room);
            bytes = larger;
            z.next_out = (uint8_t *)bytes + room;
            room *= 2;
        }
        z.avail_out = PROF_MIN(room - (size_t)z.total_out, (size_t)ROUND);
    }
    *ret_bytes = bytes;
    *ret_size = z.total_out;
    lzma_end(&z);
    return state == LZMA_STREAM_END ? 0 : prof__late_now() ? -ETIME : -EINVAL;
}
#else
int prof__elf_unpack(const struct prof__elf *e, struct prof__arena *a, const Elf64_Shdr *s,
                     const char **ret_bytes, uint64_t *ret_size)
{
    return s ? -ENOTSUP : -ENOENT;
}
#endif
