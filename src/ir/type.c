
#include "ir/cut_text.h"
#include "ir/ir.h"

const ifd_type ifd_type_unknown = {.kind = IFD_KIND_UNKNOWN};

static const ifd_type *new_type(ifd_arena *arena, const ifd_type *type) {
  return ifd_arena_memdup(arena, type, sizeof *type);
}

const ifd_type *ifd_type_tensor(ifd_arena *arena, ifd_dtype dtype, int rank, const ifd_dim *dims) {
  const ifd_dim *copy = ifd_arena_memdup(arena, dims, (size_t)rank * sizeof *dims);
  if (!copy) return NULL;
  ifd_type type = {.kind = IFD_KIND_TENSOR, .dtype = dtype, .has_rank = true, .rank = rank, .dims = copy};
  return new_type(arena, &type);
}

const ifd_type *ifd_type_tensor_unranked(ifd_arena *arena, ifd_dtype dtype) {
  return new_type(arena, &(ifd_type){.kind = IFD_KIND_TENSOR, .dtype = dtype});
}

const ifd_type *ifd_type_of(ifd_arena *arena, ifd_kind kind, const ifd_type *elem) {
  return new_type(arena, &(ifd_type){.kind = kind, .elem = elem});
}

const ifd_type *ifd_type_map(ifd_arena *arena, ifd_dtype key, const ifd_type *value) {
  return new_type(arena, &(ifd_type){.kind = IFD_KIND_MAP, .dtype = key, .elem = value});
}

const ifd_type *ifd_type_of_tensor(ifd_arena *arena, const ifd_tensor *tensor) {
  return ifd_type_tensor(arena, tensor->dtype, tensor->shape.rank, tensor->shape.dim);
}

bool ifd_type_equal(const ifd_type *a, const ifd_type *b) {
  for (; a != b; a = a->elem, b = b->elem) {
    if (!a || !b || a->kind != b->kind || a->dtype != b->dtype || a->has_rank != b->has_rank) return false;
    if (a->has_rank && a->rank != b->rank) return false;
    for (int i = 0; a->has_rank && i < a->rank; i++)
      if (a->dims[i] != b->dims[i]) return false;
  }
  return true;
}

static void put_shape(ifd_cut_text *t, const ifd_dims *dims, const ifd_type *type) {
  char dim[256];
  if (type->has_rank && !type->rank) return; /* ONNX: float is a scalar, float[] of unknown rank */
  ifd_cut_text_put(t, "[");
  for (int i = 0; type->has_rank && i < type->rank; i++)
    ifd_cut_text_put(t, "%s%s", i ? "," : "", ifd_dim_text(dims, type->dims[i], dim, sizeof dim));
  ifd_cut_text_put(t, "]");
}

static void put_type(ifd_cut_text *t, const ifd_dims *dims, const ifd_type *type) {
  static const char *const around[] = {[IFD_KIND_SEQUENCE] = "seq(",
                                       [IFD_KIND_OPTIONAL] = "optional(",
                                       [IFD_KIND_SPARSE_TENSOR] = "sparse_tensor("};
  if (!type || type->kind == IFD_KIND_UNKNOWN) {
    ifd_cut_text_put(t, "?");
  } else if (type->kind == IFD_KIND_TENSOR || type->kind == IFD_KIND_SPARSE_TENSOR) {
    bool sparse = type->kind == IFD_KIND_SPARSE_TENSOR;
    ifd_cut_text_put(t, "%s%s", sparse ? around[type->kind] : "", ifd_dtype_name(type->dtype));
    put_shape(t, dims, type);
    if (sparse) ifd_cut_text_put(t, ")");
  } else {
    if (type->kind == IFD_KIND_MAP)
      ifd_cut_text_put(t, "map(%s, ", ifd_dtype_name(type->dtype));
    else
      ifd_cut_text_put(t, "%s", around[type->kind]);
    put_type(t, dims, type->elem);
    ifd_cut_text_put(t, ")");
  }
}

const char *ifd_type_text(const ifd_dims *dims, const ifd_type *type, char *text, size_t n) {
  ifd_cut_text t = ifd_cut_text_begin(text, n);
  put_type(&t, dims, type);
  return text;
}
