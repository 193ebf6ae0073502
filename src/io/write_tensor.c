#include <limits.h>
#include <string.h>

#include "io/write.h"
#include "tensor/convert.h"

bool ifd_tensor_is(const ifd_tensor *a, const ifd_tensor *b) {
  return a->data == b->data && a->dtype == b->dtype && a->splat == b->splat && a->packed == b->packed &&
         ifd_shape_equal(&a->shape, &b->shape);
}

void *ifd_copy_message(ifd_message_writer *w, const ProtobufCMessageDescriptor *type, const void *origin) {
  void *message = ifd_arena_alloc(w->arena, type->sizeof_message);
  if (message && origin) return memcpy(message, origin, type->sizeof_message);
  if (message) type->message_init(message);
  return message;
}

/* The elements in memory form, all of them. */
static ifd_status expanded(ifd_message_writer *w, const void **out, const ifd_tensor *t) {
  *out = t->data;
  if (!t->splat && !t->packed) return IFD_OK;
  ifd_tensor dense;
  TRY(ifd_tensor_new(w->err, &dense, w->arena, t->dtype, &t->shape));
  ifd_tensor_expand(t, dense.data);
  *out = dense.data;
  return IFD_OK;
}

ifd_status ifd_write_bytes(ifd_message_writer *w, ProtobufCBinaryData *out, const ifd_tensor *t) {
  int64_t n = ifd_tensor_count(t);
  int bits = ifd_dtypes[t->dtype].bits;
  *out = (ProtobufCBinaryData){ifd_packed_bytes(t->dtype, n), t->data};
  if (!n || (!t->splat && (t->packed || bits >= 8))) return IFD_OK;
  const void *elements;
  TRY(expanded(w, &elements, t));
  if (bits >= 8) {
    out->data = (uint8_t *)elements;
    return IFD_OK;
  }
  ALLOC(w->err, out->data, ifd_arena_alloc(w->arena, out->len));
  ifd_pack(t->dtype, elements, out->data, n);
  return IFD_OK;
}

static ifd_status put_strings(ifd_message_writer *w, Onnx__TensorProto *p, const ifd_tensor *t) {
  const void *elements;
  TRY(expanded(w, &elements, t));
  const ifd_str *from = elements;
  p->n_string_data = (size_t)ifd_tensor_count(t);
  ALLOC(w->err, p->string_data, ifd_new_array(w->arena, ProtobufCBinaryData, p->n_string_data));
  for (size_t i = 0; i < p->n_string_data; i++)
    p->string_data[i] = (ProtobufCBinaryData){from[i].len, (uint8_t *)from[i].s};
  return IFD_OK;
}

ifd_status ifd_write_tensor(ifd_message_writer *w, Onnx__TensorProto **out, const ifd_tensor *t,
                            const char *name) {
  Onnx__TensorProto *p;
  ALLOC(w->err, p, ifd_copy_message(w, &onnx__tensor_proto__descriptor, NULL));
  p->name = (char *)name;
  p->has_data_type = true;
  p->data_type = t->dtype;
  p->n_dims = (size_t)t->shape.rank;
  ALLOC(w->err, p->dims, ifd_arena_memdup(w->arena, t->shape.dim, p->n_dims * sizeof *p->dims));
  *out = p;
  if (t->dtype == IFD_STRING) return put_strings(w, p, t);
  p->has_raw_data = true;
  return ifd_write_bytes(w, &p->raw_data, t);
}

/* ---- files ---- */

/* Where protobuf-c's packer puts bytes; a failure is kept until it is done. */
typedef struct file_buffer {
  ProtobufCBuffer base;
  ifd_error *err;
  ifd_writer *file;
  ifd_status status;
} file_buffer;

static void append(ProtobufCBuffer *base, size_t len, const uint8_t *data) {
  file_buffer *buffer = (file_buffer *)base;
  if (buffer->status == IFD_OK) buffer->status = ifd_writer_append(buffer->err, buffer->file, data, len);
}

ifd_status ifd_write_message(ifd_error *err, ifd_writer *file, const ProtobufCMessage *message) {
  size_t size = protobuf_c_message_get_packed_size(message);
  EXPECT(err, size <= INT_MAX, LIMIT, "%s of %zu bytes: protobuf allows 2 GiB",
         message->descriptor->short_name, size);
  file_buffer buffer = {.base = {append}, .err = err, .file = file};
  protobuf_c_message_pack_to_buffer(message, &buffer.base);
  return buffer.status;
}
