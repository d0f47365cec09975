/*
 * symbol_loaded.c - liblzma and libzstd, with which debug information is packed, in libprof.so
 * (base/optional.h).
 */
#ifdef PROF__HAVE_LZMA
#include <lzma.h>
#endif
#ifdef PROF__HAVE_ZSTD
#include <zstd.h>
#endif

#include "base/optional.h"

#ifdef PROF__HAVE_LZMA
PROF__OPTIONAL_FIRST(liblzma, lzma_ret, lzma_stream_decoder,
                     (lzma_stream * s, uint64_t memory, uint32_t flags), (s, memory, flags),
                     LZMA_PROG_ERROR)
PROF__OPTIONAL(lzma_ret, lzma_code, (lzma_stream * s, lzma_action action), (s, action))
PROF__OPTIONAL_VOID(lzma_end, (lzma_stream * s), (s))

static struct prof__optional liblzma = {
    .soname = PROF__SONAME_LZMA,
    .package = "liblzma5",
    .without = "are no names from .gnu_debugdata",
    .function = { PROF__OPTIONAL_PLACE(lzma_stream_decoder), PROF__OPTIONAL_PLACE(lzma_code),
                  PROF__OPTIONAL_PLACE(lzma_end) },
};
#endif

#ifdef PROF__HAVE_ZSTD
PROF__OPTIONAL_FIRST(libzstd, ZSTD_DCtx *, ZSTD_createDCtx, (void), (), NULL)
PROF__OPTIONAL(size_t, ZSTD_DCtx_setParameter,
               (ZSTD_DCtx * z, ZSTD_dParameter parameter, int value), (z, parameter, value))
PROF__OPTIONAL(size_t, ZSTD_decompressStream,
               (ZSTD_DCtx * z, ZSTD_outBuffer *to, ZSTD_inBuffer *from), (z, to, from))
PROF__OPTIONAL(unsigned, ZSTD_isError, (size_t code), (code))
PROF__OPTIONAL(size_t, ZSTD_freeDCtx, (ZSTD_DCtx * z), (z))

static struct prof__optional libzstd = {
    .soname = PROF__SONAME_ZSTD,
    .package = "libzstd1",
    .without = "are no lines of files whose debug information is packed by zstd",
    .function = { PROF__OPTIONAL_PLACE(ZSTD_createDCtx),
                  PROF__OPTIONAL_PLACE(ZSTD_DCtx_setParameter),
                  PROF__OPTIONAL_PLACE(ZSTD_decompressStream), PROF__OPTIONAL_PLACE(ZSTD_isError),
                  PROF__OPTIONAL_PLACE(ZSTD_freeDCtx) },
};
#endif

__attribute__((constructor(103))) static void add(void)
{
#ifdef PROF__HAVE_LZMA
    prof__optional_add(&liblzma);
#endif
#ifdef PROF__HAVE_ZSTD
    prof__optional_add(&libzstd);
#endif
}
