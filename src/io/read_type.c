#include <string.h>

#include "io/read.h"

ifd_status ifd_read_dtype(ifd_error *err, ifd_dtype *out, int64_t number) {
  EXPECT(err, ifd_dtype_valid(number), BAD_MODEL, "element type %lld does not exist", (long long)number);
  *out = (ifd_dtype)number;
  return IFD_OK;
}

/* Exporters write an unknown dimension as nothing at all, as -1, or with the name "" or "?". */
static ifd_dim read_dim(ifd_reader *r, const Onnx__TensorShapeProto__Dimension *proto) {
  ifd_dims *dims = r->model->dims;
  switch (proto->value_case) {
  case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE:
    return proto->dim_value >= 0 ? proto->dim_value : ifd_dim_unknown(dims);
  case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM:
    if (*proto->dim_param && strcmp(proto->dim_param, "?") != 0)
      return ifd_dim_symbol(dims, proto->dim_param);
    return ifd_dim_unknown(dims);
  default: return ifd_dim_unknown(dims);
  }
}

/* elem_type 0 and an absent shape both say that something is not known. */
static ifd_status read_tensor_type(ifd_reader *r, const ifd_type **out, ifd_kind kind, int32_t elem_type,
                                   const Onnx__TensorShapeProto *shape) {
  ifd_type type = {.kind = kind};
  if (elem_type) TRY(ifd_read_dtype(r->err, &type.dtype, elem_type));
  if (shape) {
    EXPECT(r->err, shape->n_dim <= IFD_MAX_RANK, UNSUPPORTED, "rank %zu is more than %d dimensions",
           shape->n_dim, IFD_MAX_RANK);
    type.has_rank = true;
    type.rank = (int)shape->n_dim;
    ifd_dim *dims;
    ALLOC(r->err, dims, ifd_new_array(r->arena, ifd_dim, shape->n_dim));
    for (size_t i = 0; i < shape->n_dim; i++) dims[i] = read_dim(r, shape->dim[i]);
    type.dims = dims;
  }
  ALLOC(r->err, *out, ifd_arena_memdup(r->arena, &type, sizeof type));
  return IFD_OK;
}

/* A sequence, optional or map (key is then its key type) of elements of a type. */
static ifd_status read_container(ifd_reader *r, const ifd_type **out, ifd_kind kind, ifd_dtype key,
                                 const Onnx__TypeProto *elem) {
  ifd_type type = {.kind = kind, .dtype = key};
  if (elem) TRY(ifd_read_type(r, &type.elem, elem));
  if (type.elem == &ifd_type_unknown) type.elem = NULL;
  ALLOC(r->err, *out, ifd_arena_memdup(r->arena, &type, sizeof type));
  return IFD_OK;
}

static ifd_status read_map_type(ifd_reader *r, const ifd_type **out, const Onnx__TypeProto__Map *map) {
  ifd_dtype key;
  TRY(ifd_read_dtype(r->err, &key, map->key_type));
  EXPECT(r->err, key == IFD_STRING || ifd_dtype_is_integer(key), BAD_MODEL,
         "the keys of a map are %s: integers or strings are allowed", ifd_dtype_name(key));
  return read_container(r, out, IFD_KIND_MAP, key, map->value_type);
}

ifd_status ifd_read_type(ifd_reader *r, const ifd_type **out, const Onnx__TypeProto *proto) {
  *out = &ifd_type_unknown;
  switch (proto ? proto->value_case : ONNX__TYPE_PROTO__VALUE__NOT_SET) {
  case ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE:
    return read_tensor_type(r, out, IFD_KIND_TENSOR, proto->tensor_type->elem_type,
                            proto->tensor_type->shape);
  case ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE:
    return read_tensor_type(r, out, IFD_KIND_SPARSE_TENSOR, proto->sparse_tensor_type->elem_type,
                            proto->sparse_tensor_type->shape);
  case ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE:
    return read_container(r, out, IFD_KIND_SEQUENCE, IFD_UNDEFINED, proto->sequence_type->elem_type);
  case ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE:
    return read_container(r, out, IFD_KIND_OPTIONAL, IFD_UNDEFINED, proto->optional_type->elem_type);
  case ONNX__TYPE_PROTO__VALUE_MAP_TYPE: return read_map_type(r, out, proto->map_type);
  default: return IFD_OK; /* nothing said, or an opaque type */
  }
}
