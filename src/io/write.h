/* What the writers of protos share; for src/io/ alone.
 *
 * A model is written as a tree of messages made in a scratch arena. Whatever has an origin starts as a
 * shallow copy of it, so that fields infold does not know come along; what the graph says is then put over
 * it. Payloads are borrowed from the model wherever they lie as they are written, and never copied. Nothing
 * depends on addresses or on time: equal models give equal bytes. */
#ifndef IFD_IO_WRITE_H
#define IFD_IO_WRITE_H

#include <string.h>

#include "base/vec.h"
#include "io/file.h"
#include "ir/ir.h"
#include "onnx.pb-c.h"

/* An initializer that could be moved to a file of external data. */
typedef struct ifd_payload {
  Onnx__TensorProto **place; /* where the graph refers to it */
  const ifd_tensor *tensor;  /* what it holds */
} ifd_payload;

typedef struct ifd_message_writer {
  ifd_error *err;
  ifd_arena *arena; /* scratch, for as long as the messages are used */
  const ifd_model *model;
  bool elsewhere; /* the model's external data will not be there for what is written */
  IFD_VEC(ifd_payload) payloads;
  ifd_map names; /* made up while writing */
} ifd_message_writer;

/* A tensor as TensorProto: strings in string_data, others in raw_data. */
ifd_status ifd_write_tensor(ifd_message_writer *w, Onnx__TensorProto **out, const ifd_tensor *tensor,
                            const char *name);
/* The elements as raw_data has them: packed, a splat written out. Not for strings. */
ifd_status ifd_write_bytes(ifd_message_writer *w, ProtobufCBinaryData *out, const ifd_tensor *tensor);
static inline bool ifd_is_external(const Onnx__TensorProto *p) {
  return p->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
}
/* Whether two tensors are the same one, by where they lie and what they say; elements are not compared. */
bool ifd_tensor_is(const ifd_tensor *a, const ifd_tensor *b);

/* A type with its symbolic dims by name. NULL for &ifd_type_unknown. */
ifd_status ifd_write_type(ifd_message_writer *w, Onnx__TypeProto **out, const ifd_type *type);
/* Whether the proto says what the type says. */
bool ifd_type_is_written(const ifd_dims *dims, const ifd_type *type, const Onnx__TypeProto *proto);

ifd_status ifd_write_attr(ifd_message_writer *w, Onnx__AttributeProto **out, const ifd_attr *attr);
ifd_status ifd_write_graph(ifd_message_writer *w, Onnx__GraphProto **out, const ifd_graph *graph);
ifd_status ifd_write_function(ifd_message_writer *w, Onnx__FunctionProto **out, const ifd_function *function);
ifd_status ifd_write_model(ifd_message_writer *w, Onnx__ModelProto **out);
/* opset_import with these versions: the entries of the origin as far as they are right. */
ifd_status ifd_write_opsets(ifd_message_writer *w, Onnx__OperatorSetIdProto ***out, size_t *n_out,
                            const ifd_opset *opsets, int n);

/* Appends the message to a file. LIMIT when it is larger than protobuf allows (2 GiB). */
ifd_status ifd_write_message(ifd_error *err, ifd_writer *file, const ProtobufCMessage *message);

/* A copy of the origin of a message in the writer's arena, or a new one where origin is NULL; NULL when out
 * of memory. */
void *ifd_copy_message(ifd_message_writer *w, const ProtobufCMessageDescriptor *type, const void *origin);

/* Puts a text into a string field unless it says so already; an absent field counts as "". */
#define IFD_SET_TEXT(field, text)                                                                            \
  do {                                                                                                       \
    if (strcmp((field) ? (field) : "", text) != 0) (field) = (char *)(text);                                 \
  } while (0)

#endif
