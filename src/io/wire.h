/* From bytes on the wire to protobuf-c messages, safely and without copying payloads.
 *
 * protobuf-c's unpacker recurses without bound and copies every `bytes` field. So the bytes are skimmed once
 * before, driven by protobuf-c's own descriptor tables: nesting is bounded, every length is held against its
 * parent, varints and wire types are checked, strings must not hold NUL (protobuf-c would cut them). What the
 * unpacker then sees is a rewritten, small message in which every `bytes` field holds nothing but the number
 * of its payload; afterwards the fields of the result point to the payloads where they lie in the source. As
 * all `bytes` fields are replaced, none of a file's own can be taken for such a number.
 *
 * The message lives in the arena and borrows its payloads from the source bytes, which must live as long.
 * Unknown fields are kept by protobuf-c and are written again. A message must not hold a singular sub-message
 * twice: protobuf would merge them, which no writer of models relies on. */
#ifndef IFD_IO_WIRE_H
#define IFD_IO_WIRE_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/status.h"

/* Deepest nesting of messages: about 80 subgraphs. (protobuf's own C++ parser stops at 100 messages.) */
enum { IFD_WIRE_MAX_DEPTH = 256 };

/* The `len` bytes at `bytes` as a message of this type. BAD_FILE names the byte, message and field. */
ifd_status ifd_wire_unpack(ifd_error *err, ProtobufCMessage **out, const ProtobufCMessageDescriptor *type,
                           const void *bytes, size_t len, ifd_arena *arena);

#endif
