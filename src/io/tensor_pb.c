#include "io/tensor_pb.h"

#include <string.h>

#include "io/read.h"
#include "io/wire.h"
#include "io/write.h"

/* SequenceProto.DataType and OptionalProto.DataType (they agree), and the messages of each kind. */
static const struct {
  int number;
  const ProtobufCMessageDescriptor *message;
} kinds[] = {[IFD_KIND_TENSOR] = {1, &onnx__tensor_proto__descriptor},
             [IFD_KIND_SPARSE_TENSOR] = {2, &onnx__sparse_tensor_proto__descriptor},
             [IFD_KIND_SEQUENCE] = {3, &onnx__sequence_proto__descriptor},
             [IFD_KIND_MAP] = {4, &onnx__map_proto__descriptor},
             [IFD_KIND_OPTIONAL] = {5, &onnx__optional_proto__descriptor}};

enum { N_KINDS = sizeof kinds / sizeof *kinds };

static ifd_kind kind_of_number(int number) {
  for (int k = 0; k < N_KINDS; k++)
    if (number && kinds[k].number == number) return (ifd_kind)k;
  return IFD_KIND_UNKNOWN;
}

static ifd_kind kind_of_message(const ProtobufCMessage *message) {
  for (int k = 0; k < N_KINDS; k++)
    if (kinds[k].message == message->descriptor) return (ifd_kind)k;
  return IFD_KIND_UNKNOWN;
}

static const ifd_type *elem_of(const ifd_type *type) { return type->elem ? type->elem : &ifd_type_unknown; }

/* The element type of the tensors inside a type. */
static ifd_dtype innermost(const ifd_type *type) {
  while (type->elem) type = type->elem;
  return type->kind == IFD_KIND_TENSOR ? type->dtype : IFD_UNDEFINED;
}

/* ---- reading ---- */

typedef struct pb_reader {
  ifd_reader r; /* its arena is scratch */
  ifd_budget *budget;
} pb_reader;

static ifd_status read_message(pb_reader *x, ifd_datum *out, const ProtobufCMessage *message,
                               const ifd_type *type);

static ifd_status own_tensor(pb_reader *x, ifd_datum *out, const ifd_tensor *tensor) {
  ifd_datum borrowed = {.kind = IFD_KIND_TENSOR, .tensor = *tensor};
  return ifd_datum_own(x->r.err, out, &borrowed, x->budget);
}

static ifd_status read_tensor(pb_reader *x, ifd_datum *out, const ProtobufCMessage *message) {
  ifd_tensor t;
  TRY(ifd_read_tensor(&x->r, &t, (const Onnx__TensorProto *)message));
  return own_tensor(x, out, &t);
}

static ifd_status read_sparse_tensor(pb_reader *x, ifd_datum *out, const ProtobufCMessage *message) {
  ifd_tensor t;
  TRY(ifd_read_sparse_tensor(&x->r, &t, (const Onnx__SparseTensorProto *)message));
  return own_tensor(x, out, &t);
}

/* The kind of the elements: as written, or where that is nothing as declared. */
static ifd_status read_elem_kind(pb_reader *x, ifd_kind *out, int number, const ifd_type *type) {
  *out = number ? kind_of_number(number) : elem_of(type)->kind;
  EXPECT(x->r.err, *out != IFD_KIND_UNKNOWN || !number, BAD_FILE, "elem_type %d does not exist", number);
  ifd_kind declared = elem_of(type)->kind;
  EXPECT(x->r.err, declared == IFD_KIND_UNKNOWN || declared == *out, BAD_INPUT,
         "elem_type %d where %d is declared", kinds[*out].number, kinds[declared].number);
  return IFD_OK;
}

static ifd_status append_item(pb_reader *x, ifd_datum *list, const ProtobufCMessage *message,
                              const ifd_type *type) {
  ifd_datum item;
  TRY(read_message(x, &item, message, elem_of(type)));
  if (ifd_list_push(list->list, &item)) return IFD_OK;
  ifd_datum_unref(&item);
  FAIL(x->r.err, NO_MEMORY, "out of memory");
}

/* n messages as the items of a sequence or optional. */
static ifd_status read_items(pb_reader *x, ifd_datum *out, ProtobufCMessage *const *messages, size_t n,
                             const ifd_type *type) {
  int count;
  TRY(ifd_read_count(x->r.err, &count, n, "values"));
  if (!n) return IFD_OK;
  ALLOC(x->r.err, out->list, ifd_list_create(x->budget, count));
  for (size_t i = 0; i < n; i++) TRY_IN(x->r.err, append_item(x, out, messages[i], type), "item %zu", i);
  const ifd_datum *first = &out->list->items[0];
  if (!out->elem) out->elem = first->kind == IFD_KIND_TENSOR ? first->tensor.dtype : first->elem;
  return IFD_OK;
}

static ifd_status read_sequence(pb_reader *x, ifd_datum *out, const Onnx__SequenceProto *p,
                                const ifd_type *type) {
  ProtobufCMessage **lists[N_KINDS] = {[IFD_KIND_TENSOR] = (ProtobufCMessage **)p->tensor_values,
                                       [IFD_KIND_SPARSE_TENSOR] =
                                           (ProtobufCMessage **)p->sparse_tensor_values,
                                       [IFD_KIND_SEQUENCE] = (ProtobufCMessage **)p->sequence_values,
                                       [IFD_KIND_MAP] = (ProtobufCMessage **)p->map_values,
                                       [IFD_KIND_OPTIONAL] = (ProtobufCMessage **)p->optional_values};
  size_t counts[N_KINDS] = {[IFD_KIND_TENSOR] = p->n_tensor_values,
                            [IFD_KIND_SPARSE_TENSOR] = p->n_sparse_tensor_values,
                            [IFD_KIND_SEQUENCE] = p->n_sequence_values,
                            [IFD_KIND_MAP] = p->n_map_values,
                            [IFD_KIND_OPTIONAL] = p->n_optional_values};
  ifd_kind kind;
  TRY(read_elem_kind(x, &kind, p->elem_type, type));
  for (int k = 0; k < N_KINDS; k++)
    EXPECT(x->r.err, k == (int)kind || !counts[k], BAD_FILE, "values of another kind than elem_type %d",
           p->elem_type);
  *out = (ifd_datum){.kind = IFD_KIND_SEQUENCE, .elem_kind = kind, .elem = innermost(type)};
  return read_items(x, out, lists[kind], counts[kind], type);
}

static ifd_status read_optional(pb_reader *x, ifd_datum *out, const Onnx__OptionalProto *p,
                                const ifd_type *type) {
  ProtobufCMessage *values[N_KINDS] = {[IFD_KIND_TENSOR] = (ProtobufCMessage *)p->tensor_value,
                                       [IFD_KIND_SPARSE_TENSOR] = (ProtobufCMessage *)p->sparse_tensor_value,
                                       [IFD_KIND_SEQUENCE] = (ProtobufCMessage *)p->sequence_value,
                                       [IFD_KIND_MAP] = (ProtobufCMessage *)p->map_value,
                                       [IFD_KIND_OPTIONAL] = (ProtobufCMessage *)p->optional_value};
  ifd_kind kind;
  TRY(read_elem_kind(x, &kind, p->elem_type, type));
  for (int k = 0; k < N_KINDS; k++)
    EXPECT(x->r.err, k == (int)kind || !values[k], BAD_FILE, "a value of another kind than elem_type %d",
           p->elem_type);
  *out = (ifd_datum){.kind = IFD_KIND_OPTIONAL, .elem_kind = kind, .elem = innermost(type)};
  return read_items(x, out, &values[kind], values[kind] ? 1 : 0, type);
}

/* ---- maps ---- */

static ifd_status read_keys(pb_reader *x, ifd_datum *out, const Onnx__MapProto *p) {
  bool strings = p->key_type == IFD_STRING;
  ifd_tensor keys = {.dtype = strings ? IFD_STRING : IFD_INT64,
                     .shape = {.rank = 1, .dim = {(int64_t)(strings ? p->n_string_keys : p->n_keys)}}};
  EXPECT(x->r.err, ifd_dtype_valid(p->key_type) && (strings || ifd_dtype_is_integer((ifd_dtype)p->key_type)),
         BAD_FILE, "key_type %d: integers or strings are allowed", p->key_type);
  EXPECT(x->r.err, strings ? !p->n_keys : !p->n_string_keys, BAD_FILE,
         "keys of another type than key_type %d", p->key_type);
  keys.data = p->keys;
  if (strings) {
    ifd_str *texts;
    ALLOC(x->r.err, texts, ifd_new_array(x->r.arena, ifd_str, p->n_string_keys));
    for (size_t i = 0; i < p->n_string_keys; i++)
      texts[i] = (ifd_str){(const char *)p->string_keys[i].data, p->string_keys[i].len};
    keys.data = texts;
  }
  return own_tensor(x, out, &keys);
}

/* Tensors of one element each to one tensor of all. */
static ifd_status join(pb_reader *x, ifd_datum *out, Onnx__TensorProto *const *protos, size_t n,
                       ifd_dtype declared) {
  ifd_tensor all = {.dtype = declared ? declared : IFD_FLOAT, .shape = {.rank = 1}}, one;
  for (size_t i = 0; i < n; i++) {
    TRY_IN(x->r.err, ifd_read_tensor(&x->r, &one, protos[i]), "value %zu", i);
    if (!i) {
      ifd_shape shape = {.rank = 1, .dim = {(int64_t)n}};
      TRY(ifd_tensor_new(x->r.err, &all, x->r.arena, one.dtype, &shape));
    }
    EXPECT(x->r.err, one.dtype == all.dtype && ifd_tensor_count(&one) == 1, UNSUPPORTED,
           "value %zu: the values of a map must be scalars of one type", i);
    ifd_tensor_expand(&one, (char *)all.data + i * ifd_dtype_size(all.dtype));
  }
  return own_tensor(x, out, &all);
}

static ifd_status read_map_values(pb_reader *x, ifd_datum *map, const Onnx__MapProto *p,
                                  const ifd_type *type) {
  ifd_datum values;
  size_t n = (size_t)ifd_tensor_count(&map->tensor);
  EXPECT(x->r.err, p->values ? p->values->n_tensor_values == n : !n, BAD_FILE,
         "a map of %zu keys needs as many tensors for values", n);
  ALLOC(x->r.err, map->list, ifd_list_create(x->budget, 1));
  TRY(join(x, &values, p->values ? p->values->tensor_values : NULL, n, innermost(type)));
  ifd_list_push(map->list, &values); /* has room */
  return IFD_OK;
}

static ifd_status read_map(pb_reader *x, ifd_datum *out, const Onnx__MapProto *p, const ifd_type *type) {
  TRY(read_keys(x, out, p));
  out->kind = IFD_KIND_MAP;
  return read_map_values(x, out, p, type);
}

static ifd_status read_kind(pb_reader *x, ifd_datum *out, const ProtobufCMessage *message,
                            const ifd_type *type) {
  switch (kind_of_message(message)) {
  case IFD_KIND_SEQUENCE: return read_sequence(x, out, (const Onnx__SequenceProto *)message, type);
  case IFD_KIND_OPTIONAL: return read_optional(x, out, (const Onnx__OptionalProto *)message, type);
  case IFD_KIND_MAP: return read_map(x, out, (const Onnx__MapProto *)message, type);
  case IFD_KIND_SPARSE_TENSOR: return read_sparse_tensor(x, out, message);
  default: return read_tensor(x, out, message);
  }
}

static ifd_status read_message(pb_reader *x, ifd_datum *out, const ProtobufCMessage *message,
                               const ifd_type *type) {
  ifd_datum value = {0};
  ifd_status status = read_kind(x, &value, message, type);
  if (status == IFD_OK)
    *out = value;
  else
    ifd_datum_unref(&value);
  return status;
}

static ifd_status read_bytes(ifd_error *err, ifd_datum *out, const void *bytes, size_t len,
                             const ifd_type *type, ifd_budget *budget) {
  ifd_arena arena;
  ProtobufCMessage *message;
  ifd_kind kind = type->kind == IFD_KIND_UNKNOWN ? IFD_KIND_TENSOR : type->kind;
  ifd_arena_init(&arena, budget);
  pb_reader x = {.r = {.err = err, .arena = &arena}, .budget = budget};
  ifd_status status = ifd_wire_unpack(err, &message, kinds[kind].message, bytes, len, &arena);
  if (status == IFD_OK) status = read_message(&x, out, message, type);
  ifd_arena_free(&arena);
  return status;
}

ifd_status ifd_pb_read_file(ifd_error *err, ifd_datum *out, const char *path, const ifd_type *type,
                            ifd_budget *budget) {
  ifd_file file;
  TRY(ifd_file_map(err, &file, path));
  ifd_status status = read_bytes(err, out, file.data, file.size, type, budget);
  ifd_file_unmap(&file);
  return status;
}

/* ---- writing ---- */

static ifd_status write_value(ifd_message_writer *w, ProtobufCMessage **out, const ifd_datum *value,
                              const ifd_type *type, const char *name);

/* The kind to write for the elements: of those that are there, else as declared. */
static ifd_kind elem_kind(const ifd_datum *value, const ifd_type *type) {
  if (value->list && value->list->n) return value->list->items[0].kind;
  ifd_kind declared = elem_of(type)->kind, known = value->elem_kind;
  return declared != IFD_KIND_UNKNOWN ? declared : known != IFD_KIND_UNKNOWN ? known : IFD_KIND_TENSOR;
}

static ifd_status write_items(ifd_message_writer *w, ProtobufCMessage ***out, size_t *n_out,
                              const ifd_list *list, const ifd_type *type) {
  int n = list ? list->n : 0;
  ALLOC(w->err, *out, ifd_new_array(w->arena, ProtobufCMessage *, n));
  for (int i = 0; i < n; i++) TRY(write_value(w, &(*out)[i], &list->items[i], elem_of(type), NULL));
  *n_out = (size_t)n;
  return IFD_OK;
}

static ifd_status write_sequence(ifd_message_writer *w, ProtobufCMessage **out, const ifd_datum *value,
                                 const ifd_type *type, const char *name) {
  Onnx__SequenceProto *p;
  ProtobufCMessage **items;
  size_t n;
  ALLOC(w->err, p, ifd_copy_message(w, &onnx__sequence_proto__descriptor, NULL));
  ifd_kind kind = elem_kind(value, type);
  p->name = (char *)name;
  p->has_elem_type = true;
  p->elem_type = kinds[kind].number;
  TRY(write_items(w, &items, &n, value->list, type));
  switch (kind) {
  case IFD_KIND_SEQUENCE: p->sequence_values = (Onnx__SequenceProto **)items, p->n_sequence_values = n; break;
  case IFD_KIND_MAP: p->map_values = (Onnx__MapProto **)items, p->n_map_values = n; break;
  case IFD_KIND_OPTIONAL: p->optional_values = (Onnx__OptionalProto **)items, p->n_optional_values = n; break;
  default: p->tensor_values = (Onnx__TensorProto **)items, p->n_tensor_values = n;
  }
  *out = &p->base;
  return IFD_OK;
}

/* An absent optional is written as elem_type 0: readers take any other for a value that is there. */
static ifd_status write_optional(ifd_message_writer *w, ProtobufCMessage **out, const ifd_datum *value,
                                 const ifd_type *type, const char *name) {
  Onnx__OptionalProto *p;
  ProtobufCMessage *item;
  ALLOC(w->err, p, ifd_copy_message(w, &onnx__optional_proto__descriptor, NULL));
  p->name = (char *)name;
  p->has_elem_type = true;
  *out = &p->base;
  if (!value->list || !value->list->n) return IFD_OK;
  p->elem_type = kinds[value->list->items[0].kind].number;
  TRY(write_value(w, &item, &value->list->items[0], elem_of(type), NULL));
  switch (value->list->items[0].kind) {
  case IFD_KIND_SEQUENCE: p->sequence_value = (Onnx__SequenceProto *)item; break;
  case IFD_KIND_MAP: p->map_value = (Onnx__MapProto *)item; break;
  case IFD_KIND_OPTIONAL: p->optional_value = (Onnx__OptionalProto *)item; break;
  default: p->tensor_value = (Onnx__TensorProto *)item;
  }
  return IFD_OK;
}

static ifd_status write_keys(ifd_message_writer *w, Onnx__MapProto *p, const ifd_tensor *keys) {
  size_t n = (size_t)ifd_tensor_count(keys);
  p->has_key_type = true;
  p->key_type = keys->dtype;
  if (keys->dtype != IFD_STRING) {
    p->keys = keys->data;
    p->n_keys = n;
    return IFD_OK;
  }
  const ifd_str *from = keys->data;
  ALLOC(w->err, p->string_keys, ifd_new_array(w->arena, ProtobufCBinaryData, n));
  for (size_t i = 0; i < n; i++) p->string_keys[i] = (ProtobufCBinaryData){from[i].len, (uint8_t *)from[i].s};
  p->n_string_keys = n;
  return IFD_OK;
}

/* The values of a map as a sequence of scalars. */
static ifd_status write_map_values(ifd_message_writer *w, Onnx__SequenceProto **out,
                                   const ifd_tensor *values) {
  Onnx__SequenceProto *p;
  size_t n = (size_t)ifd_tensor_count(values), size = ifd_dtype_size(values->dtype);
  ALLOC(w->err, p, ifd_copy_message(w, &onnx__sequence_proto__descriptor, NULL));
  p->has_elem_type = true;
  p->elem_type = kinds[IFD_KIND_TENSOR].number;
  p->n_tensor_values = n;
  ALLOC(w->err, p->tensor_values, ifd_new_array(w->arena, Onnx__TensorProto *, n));
  for (size_t i = 0; i < n; i++) {
    ifd_tensor one = {.dtype = values->dtype, .data = (char *)values->data + i * size};
    TRY(ifd_write_tensor(w, &p->tensor_values[i], &one, NULL));
  }
  *out = p;
  return IFD_OK;
}

static ifd_status write_map(ifd_message_writer *w, ProtobufCMessage **out, const ifd_datum *value,
                            const char *name) {
  Onnx__MapProto *p;
  ALLOC(w->err, p, ifd_copy_message(w, &onnx__map_proto__descriptor, NULL));
  p->name = (char *)name;
  TRY(write_keys(w, p, &value->tensor));
  *out = &p->base;
  return write_map_values(w, &p->values, &value->list->items[0].tensor);
}

static ifd_status write_tensor(ifd_message_writer *w, ProtobufCMessage **out, const ifd_datum *value,
                               const char *name) {
  Onnx__TensorProto *p;
  TRY(ifd_write_tensor(w, &p, &value->tensor, name));
  *out = &p->base;
  return IFD_OK;
}

static ifd_status write_value(ifd_message_writer *w, ProtobufCMessage **out, const ifd_datum *value,
                              const ifd_type *type, const char *name) {
  switch (value->kind) {
  case IFD_KIND_SEQUENCE: return write_sequence(w, out, value, type, name);
  case IFD_KIND_OPTIONAL: return write_optional(w, out, value, type, name);
  case IFD_KIND_MAP: return write_map(w, out, value, name);
  case IFD_KIND_TENSOR: return write_tensor(w, out, value, name);
  default: FAIL(w->err, UNSUPPORTED, "a value of this kind cannot be written");
  }
}

ifd_status ifd_pb_write_file(ifd_error *err, const char *path, const ifd_datum *value, const ifd_type *type,
                             const char *name) {
  ifd_arena arena;
  ifd_writer *file;
  ProtobufCMessage *message;
  ifd_arena_init(&arena, NULL);
  ifd_message_writer w = {.err = err, .arena = &arena};
  ifd_status status = write_value(&w, &message, value, type, name);
  if (status == IFD_OK) status = ifd_writer_begin(err, &file, path);
  if (status == IFD_OK) status = ifd_finish_file(err, file, ifd_write_message(err, file, message));
  ifd_arena_free(&arena);
  return status;
}
