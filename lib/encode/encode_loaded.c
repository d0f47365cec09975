/*
 * encode_loaded.c - libprotobuf-c, in libprof.so (base/optional.h).
 */
#include <protobuf-c/protobuf-c.h>

#include "base/optional.h"
#include "encode/encode.h"

/* The generated code takes its address, and knows by it what has been left out. */
const char protobuf_c_empty_string[] = "";

static struct prof__optional libprotobuf_c;

PROF__OPTIONAL(size_t, protobuf_c_message_get_packed_size, (const ProtobufCMessage *m), (m))
PROF__OPTIONAL(size_t, protobuf_c_message_pack, (const ProtobufCMessage *m, uint8_t *to), (m, to))
/* Nobody calls these, but the generated code has functions that do. */
PROF__OPTIONAL(size_t, protobuf_c_message_pack_to_buffer,
               (const ProtobufCMessage *m, ProtobufCBuffer *to), (m, to))
PROF__OPTIONAL(ProtobufCMessage *, protobuf_c_message_unpack,
               (const ProtobufCMessageDescriptor *d, ProtobufCAllocator *a, size_t n,
                const uint8_t *data),
               (d, a, n, data))
PROF__OPTIONAL_VOID(protobuf_c_message_free_unpacked, (ProtobufCMessage * m, ProtobufCAllocator *a),
                    (m, a))

static struct prof__optional libprotobuf_c = {
    .soname = PROF__SONAME_PROTOBUF_C,
    .package = "libprotobuf-c1",
    .without = "are no profiles but as text (debug=1) and folded (format=folded)",
    .function = { PROF__OPTIONAL_PLACE(protobuf_c_message_get_packed_size),
                  PROF__OPTIONAL_PLACE(protobuf_c_message_pack),
                  PROF__OPTIONAL_PLACE(protobuf_c_message_pack_to_buffer),
                  PROF__OPTIONAL_PLACE(protobuf_c_message_unpack),
                  PROF__OPTIONAL_PLACE(protobuf_c_message_free_unpacked) },
};

__attribute__((constructor(103))) static void add(void)
{
    prof__optional_add(&libprotobuf_c);
}

bool prof__encode_can_pprof(void)
{
    return prof__optional_need(&libprotobuf_c);
}
