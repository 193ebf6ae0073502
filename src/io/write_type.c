#include <string.h>

#include "io/write.h"

/* ---- comparing ---- */

static bool dim_is_written(const ifd_dims *dims, ifd_dim d, const Onnx__TensorShapeProto__Dimension *proto) {
  switch (proto->value_case) {
  case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE:
    return proto->dim_value < 0 ? !ifd_dim_is_number(d) && !ifd_dim_name(dims, d) : d == proto->dim_value;
  case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM: {
    if (ifd_dim_is_number(d)) return false;
    const char *name = ifd_dim_name(dims, d), *written = proto->dim_param;
    return name ? strcmp(name, written) == 0 : !*written || strcmp(written, "?") == 0;
  }
  default: return !ifd_dim_is_number(d) && !ifd_dim_name(dims, d);
  }
}

static bool shape_is_written(const ifd_dims *dims, const ifd_type *type,
                             const Onnx__TensorShapeProto *proto) {
  if (!proto || !type->has_rank) return !proto && !type->has_rank;
  if (proto->n_dim != (size_t)type->rank) return false;
  for (int i = 0; i < type->rank; i++)
    if (!dim_is_written(dims, type->dims[i], proto->dim[i])) return false;
  return true;
}

static bool elem_is_written(const ifd_dims *dims, const ifd_type *type, const Onnx__TypeProto *elem) {
  return ifd_type_is_written(dims, type->elem ? type->elem : &ifd_type_unknown, elem);
}

bool ifd_type_is_written(const ifd_dims *dims, const ifd_type *type, const Onnx__TypeProto *proto) {
  switch (proto ? proto->value_case : ONNX__TYPE_PROTO__VALUE__NOT_SET) {
  case ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE:
    return type->kind == IFD_KIND_TENSOR && type->dtype == (ifd_dtype)proto->tensor_type->elem_type &&
           shape_is_written(dims, type, proto->tensor_type->shape);
  case ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE:
    return type->kind == IFD_KIND_SPARSE_TENSOR &&
           type->dtype == (ifd_dtype)proto->sparse_tensor_type->elem_type &&
           shape_is_written(dims, type, proto->sparse_tensor_type->shape);
  case ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE:
    return type->kind == IFD_KIND_SEQUENCE && elem_is_written(dims, type, proto->sequence_type->elem_type);
  case ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE:
    return type->kind == IFD_KIND_OPTIONAL && elem_is_written(dims, type, proto->optional_type->elem_type);
  case ONNX__TYPE_PROTO__VALUE_MAP_TYPE:
    return type->kind == IFD_KIND_MAP && type->dtype == (ifd_dtype)proto->map_type->key_type &&
           elem_is_written(dims, type, proto->map_type->value_type);
  default: return type->kind == IFD_KIND_UNKNOWN;
  }
}

/* ---- making ---- */

static ifd_status write_dim(ifd_message_writer *w, Onnx__TensorShapeProto__Dimension **out, ifd_dim d) {
  Onnx__TensorShapeProto__Dimension *p;
  char text[256];
  ALLOC(w->err, p, ifd_copy_message(w, &onnx__tensor_shape_proto__dimension__descriptor, NULL));
  *out = p;
  if (ifd_dim_is_number(d)) {
    p->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    p->dim_value = d;
    return IFD_OK;
  }
  ifd_dim_text(w->model->dims, d, text, sizeof text);
  if (strcmp(text, "?") == 0) return IFD_OK;
  p->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
  ALLOC(w->err, p->dim_param, ifd_arena_strdup(w->arena, text));
  return IFD_OK;
}

/* NULL for an unknown rank. */
static ifd_status write_shape(ifd_message_writer *w, Onnx__TensorShapeProto **out, const ifd_type *type) {
  *out = NULL;
  if (!type->has_rank) return IFD_OK;
  ALLOC(w->err, *out, ifd_copy_message(w, &onnx__tensor_shape_proto__descriptor, NULL));
  (*out)->n_dim = (size_t)type->rank;
  ALLOC(w->err, (*out)->dim, ifd_new_array(w->arena, Onnx__TensorShapeProto__Dimension *, type->rank));
  for (int i = 0; i < type->rank; i++) TRY(write_dim(w, &(*out)->dim[i], type->dims[i]));
  return IFD_OK;
}

static ifd_status write_tensor_type(ifd_message_writer *w, Onnx__TypeProto *p, const ifd_type *type) {
  Onnx__TypeProto__Tensor *t;
  ALLOC(w->err, t, ifd_copy_message(w, &onnx__type_proto__tensor__descriptor, NULL));
  t->has_elem_type = true;
  t->elem_type = type->dtype;
  p->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  p->tensor_type = t;
  return write_shape(w, &t->shape, type);
}

static ifd_status write_sparse_type(ifd_message_writer *w, Onnx__TypeProto *p, const ifd_type *type) {
  Onnx__TypeProto__SparseTensor *t;
  ALLOC(w->err, t, ifd_copy_message(w, &onnx__type_proto__sparse_tensor__descriptor, NULL));
  t->has_elem_type = true;
  t->elem_type = type->dtype;
  p->value_case = ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE;
  p->sparse_tensor_type = t;
  return write_shape(w, &t->shape, type);
}

static ifd_status write_elem(ifd_message_writer *w, Onnx__TypeProto **out, const ifd_type *type) {
  *out = NULL;
  return type->elem ? ifd_write_type(w, out, type->elem) : IFD_OK;
}

static ifd_status write_container(ifd_message_writer *w, Onnx__TypeProto *p, const ifd_type *type) {
  if (type->kind == IFD_KIND_SEQUENCE) {
    p->value_case = ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE;
    ALLOC(w->err, p->sequence_type, ifd_copy_message(w, &onnx__type_proto__sequence__descriptor, NULL));
    return write_elem(w, &p->sequence_type->elem_type, type);
  }
  if (type->kind == IFD_KIND_OPTIONAL) {
    p->value_case = ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE;
    ALLOC(w->err, p->optional_type, ifd_copy_message(w, &onnx__type_proto__optional__descriptor, NULL));
    return write_elem(w, &p->optional_type->elem_type, type);
  }
  p->value_case = ONNX__TYPE_PROTO__VALUE_MAP_TYPE;
  ALLOC(w->err, p->map_type, ifd_copy_message(w, &onnx__type_proto__map__descriptor, NULL));
  p->map_type->has_key_type = true;
  p->map_type->key_type = type->dtype;
  return write_elem(w, &p->map_type->value_type, type);
}

ifd_status ifd_write_type(ifd_message_writer *w, Onnx__TypeProto **out, const ifd_type *type) {
  *out = NULL;
  if (type->kind == IFD_KIND_UNKNOWN) return IFD_OK;
  ALLOC(w->err, *out, ifd_copy_message(w, &onnx__type_proto__descriptor, NULL));
  if (type->kind == IFD_KIND_TENSOR) return write_tensor_type(w, *out, type);
  if (type->kind == IFD_KIND_SPARSE_TENSOR) return write_sparse_type(w, *out, type);
  return write_container(w, *out, type);
}
