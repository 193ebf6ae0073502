#include <string.h>

#include "io/read.h"

/* The places where a TensorProto may hold its elements. */
typedef enum place { RAW, FLOATS, INT32S, STRINGS, INT64S, DOUBLES, UINT64S, N_PLACES } place;

static const char *const place_names[N_PLACES] = {"raw_data",   "float_data",  "int32_data", "string_data",
                                                  "int64_data", "double_data", "uint64_data"};

/* What a TensorProto holds in a place. */
typedef struct stored {
  const void *data;
  size_t n; /* elements of the array; bytes for RAW */
  bool given;
} stored;

static void look_into(const Onnx__TensorProto *proto, stored *places) {
  places[RAW] = (stored){proto->raw_data.data, proto->raw_data.len, proto->has_raw_data};
  places[FLOATS] = (stored){proto->float_data, proto->n_float_data, proto->n_float_data};
  places[INT32S] = (stored){proto->int32_data, proto->n_int32_data, proto->n_int32_data};
  places[STRINGS] = (stored){proto->string_data, proto->n_string_data, proto->n_string_data};
  places[INT64S] = (stored){proto->int64_data, proto->n_int64_data, proto->n_int64_data};
  places[DOUBLES] = (stored){proto->double_data, proto->n_double_data, proto->n_double_data};
  places[UINT64S] = (stored){proto->uint64_data, proto->n_uint64_data, proto->n_uint64_data};
}

/* The array of an element type, and its elements' size there (onnx.proto, TensorProto). */
static place array_of(ifd_dtype dtype, size_t *size) {
  *size = 8;
  switch (dtype) {
  case IFD_DOUBLE:
  case IFD_COMPLEX128: return DOUBLES;
  case IFD_INT64: return INT64S;
  case IFD_UINT32:
  case IFD_UINT64: return UINT64S;
  case IFD_STRING: *size = sizeof(ProtobufCBinaryData); return STRINGS;
  default: *size = 4; return dtype == IFD_FLOAT || dtype == IFD_COMPLEX64 ? FLOATS : INT32S;
  }
}

/* Elements of 2 and 4 bits share a number of the array as they would a byte; those of 6 bits do not. */
static bool shares_numbers(ifd_dtype dtype) {
  return ifd_dtypes[dtype].bits == 2 || ifd_dtypes[dtype].bits == 4;
}

/* Numbers that the array holds for `count` elements. */
static size_t array_length(ifd_dtype dtype, int64_t count) {
  if (ifd_dtypes[dtype].class == IFD_CLASS_COMPLEX) return 2 * (size_t)count;
  return shares_numbers(dtype) ? ifd_packed_bytes(dtype, count) : (size_t)count;
}

static ifd_status read_shape(ifd_error *err, ifd_shape *out, const int64_t *dims, size_t n_dims,
                             size_t element_size) {
  EXPECT(err, n_dims <= IFD_MAX_RANK, UNSUPPORTED, "rank %zu is more than %d dimensions", n_dims,
         IFD_MAX_RANK);
  ifd_shape shape = {.rank = (int)n_dims};
  for (int i = 0; i < shape.rank; i++) {
    EXPECT(err, dims[i] >= 0, BAD_MODEL, "dims: dimension %d is negative: %lld", i, (long long)dims[i]);
    shape.dim[i] = dims[i];
  }
  TRY_IN(err, ifd_shape_check(err, &shape, element_size), "dims");
  *out = shape;
  return IFD_OK;
}

/* ---- elements ---- */

static bool is_aligned(const ifd_tensor *t, const void *data) {
  size_t size = ifd_dtype_size(t->dtype), align = size < 8 ? size : 8;
  return (uintptr_t)data % align == 0;
}

enum { LEAST_PACKED = 1 << 16 }; /* bytes that are worth the trouble of not being aligned */

/* The tensor's data is at `data`, or in a copy of it where elements would not be aligned there. */
static ifd_status borrow_or_copy(ifd_reader *r, ifd_tensor *t, const void *data, size_t len) {
  bool aligned = t->packed || is_aligned(t, data);
  if (aligned || (r->packs && len >= LEAST_PACKED)) {
    t->data = (void *)data;
    t->packed |= !aligned;
    return IFD_OK;
  }
  ALLOC(r->err, t->data, ifd_arena_alloc_data(r->arena, len));
  memcpy(t->data, data, len);
  return IFD_OK;
}

/* Kernels take a bool to be 0 or 1; files may hold other bytes. */
static ifd_status normalize_bools(ifd_reader *r, ifd_tensor *t) {
  int64_t n = ifd_tensor_count(t), i = 0;
  const uint8_t *from = t->data;
  while (i < n && from[i] <= 1) i++;
  if (i == n) return IFD_OK;
  uint8_t *to;
  ALLOC(r->err, to, ifd_arena_alloc_data(r->arena, (size_t)n));
  for (i = 0; i < n; i++) to[i] = from[i] != 0;
  t->data = to;
  return IFD_OK;
}

static ifd_status from_bytes(ifd_reader *r, ifd_tensor *t, const char *field, const void *data, size_t len) {
  EXPECT(r->err, t->dtype != IFD_STRING, BAD_MODEL, "%s: strings can only be in string_data", field);
  size_t due = ifd_packed_bytes(t->dtype, ifd_tensor_count(t));
  char text[256];
  EXPECT(r->err, len == due, BAD_MODEL, "%s holds %zu bytes, %s%s takes %zu", field, len,
         ifd_dtype_name(t->dtype), ifd_shape_text(&t->shape, text, sizeof text), due);
  TRY(borrow_or_copy(r, t, data, len));
  return t->dtype == IFD_BOOL ? normalize_bools(r, t) : IFD_OK;
}

static ifd_status from_strings(ifd_reader *r, ifd_tensor *t, const ProtobufCBinaryData *from, size_t n) {
  ifd_str *to;
  ALLOC(r->err, to, ifd_new_array(r->arena, ifd_str, n));
  for (size_t i = 0; i < n; i++) to[i] = (ifd_str){(const char *)from[i].data, from[i].len};
  t->data = to;
  return IFD_OK;
}

/* Elements narrower than those of their array: the low bytes of each. */
static ifd_status narrow(ifd_reader *r, ifd_tensor *t, const char *from, size_t n, size_t from_size) {
  size_t size = ifd_dtype_size(t->dtype);
  char *to;
  ALLOC(r->err, to, ifd_arena_alloc_data(r->arena, n * size));
  for (size_t i = 0; i < n; i++) memcpy(to + i * size, from + i * from_size, size);
  t->data = to;
  return t->dtype == IFD_BOOL ? normalize_bools(r, t) : IFD_OK;
}

static ifd_status from_array(ifd_reader *r, ifd_tensor *t, const char *field, const stored *array,
                             size_t size) {
  size_t due = array_length(t->dtype, ifd_tensor_count(t));
  char text[256];
  EXPECT(r->err, array->n == due, BAD_MODEL, "%s holds %zu elements, %s%s takes %zu", field, array->n,
         ifd_dtype_name(t->dtype), ifd_shape_text(&t->shape, text, sizeof text), due);
  if (t->dtype == IFD_STRING) return from_strings(r, t, array->data, array->n);
  t->packed = shares_numbers(t->dtype);
  bool complex = ifd_dtypes[t->dtype].class == IFD_CLASS_COMPLEX;
  if (!complex && ifd_dtype_size(t->dtype) != size) return narrow(r, t, array->data, array->n, size);
  t->data = (void *)array->data;
  return IFD_OK;
}

/* ---- tensors ---- */

/* The one place that holds elements; N_PLACES when none does. */
static ifd_status find_place(ifd_error *err, place *out, const stored *places) {
  *out = N_PLACES;
  for (int p = RAW; p < N_PLACES; p++) {
    if (!places[p].given) continue;
    EXPECT(err, *out == N_PLACES, BAD_MODEL, "the tensor has both %s and %s", place_names[*out],
           place_names[p]);
    *out = (place)p;
  }
  return IFD_OK;
}

static ifd_status read_external(ifd_reader *r, ifd_tensor *t, const Onnx__TensorProto *proto, place p) {
  EXPECT(r->err, p == N_PLACES, BAD_MODEL, "the tensor has %s, and external_data as well", place_names[p]);
  const void *data;
  size_t due = ifd_packed_bytes(t->dtype, ifd_tensor_count(t));
  TRY_IN(r->err, ifd_files_find(r->err, &data, r->files, proto, due), "external_data");
  return from_bytes(r, t, "external_data", data, due);
}

static ifd_status read_elements(ifd_reader *r, ifd_tensor *t, const Onnx__TensorProto *proto) {
  stored places[N_PLACES];
  place p;
  size_t size;
  look_into(proto, places);
  TRY(find_place(r->err, &p, places));
  if (proto->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
    return read_external(r, t, proto, p);
  EXPECT(r->err, proto->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT, BAD_MODEL,
         "data_location %d does not exist", (int)proto->data_location);
  if (p == RAW) return from_bytes(r, t, place_names[RAW], places[RAW].data, places[RAW].n);
  place due = array_of(t->dtype, &size);
  EXPECT(r->err, p == due || p == N_PLACES, BAD_MODEL, "elements of type %s are in %s, not in %s or raw_data",
         ifd_dtype_name(t->dtype), place_names[p], place_names[due]);
  return from_array(r, t, place_names[due], &places[due], size);
}

ifd_status ifd_read_tensor(ifd_reader *r, ifd_tensor *out, const Onnx__TensorProto *proto) {
  ifd_tensor t = {0};
  EXPECT(r->err, !proto->segment, UNSUPPORTED, "segment: tensors in chunks are not supported");
  TRY_IN(r->err, ifd_read_dtype(r->err, &t.dtype, proto->data_type), "data_type");
  TRY(read_shape(r->err, &t.shape, proto->dims, proto->n_dims, ifd_dtype_size(t.dtype)));
  int bits = ifd_dtypes[t.dtype].bits;
  t.packed = bits > 0 && bits < 8;
  TRY(read_elements(r, &t, proto));
  static const char nothing;
  if (!t.data) t.data = (void *)&nothing; /* an array of no elements */
  *out = t;
  return IFD_OK;
}

/* ---- sparse tensors ---- */

/* The linear index of the k-th element, from its one or `rank` numbers. */
static ifd_status linear_index(ifd_error *err, int64_t *out, const ifd_shape *shape, const int64_t *indices,
                               int64_t k, bool linear) {
  if (linear) {
    EXPECT(err, indices[k] >= 0 && indices[k] < ifd_shape_count(shape), BAD_MODEL,
           "indices: %lld (number %lld) is outside of the tensor", (long long)indices[k], (long long)k);
    *out = indices[k];
    return IFD_OK;
  }
  const int64_t *at = indices + k * shape->rank;
  *out = 0;
  for (int i = 0; i < shape->rank; i++) {
    EXPECT(err, at[i] >= 0 && at[i] < shape->dim[i], BAD_MODEL,
           "indices: %lld (number %lld, axis %d) is outside of the tensor", (long long)at[i], (long long)k,
           i);
    *out = *out * shape->dim[i] + at[i];
  }
  return IFD_OK;
}

/* Moves each value to its place in the dense tensor, which is zero elsewhere. */
static ifd_status scatter(ifd_reader *r, ifd_tensor *t, const ifd_tensor *values, const ifd_tensor *indices) {
  int64_t n = ifd_tensor_count(values), last = -1, to;
  size_t size = ifd_dtype_size(t->dtype);
  char *from;
  ALLOC(r->err, from, ifd_arena_alloc_data(r->arena, (size_t)n * size));
  ifd_tensor_expand(values, from);
  for (int64_t k = 0; k < n; k++, last = to) {
    TRY(linear_index(r->err, &to, &t->shape, indices->data, k, indices->shape.rank == 1));
    EXPECT(r->err, to > last, BAD_MODEL, "indices: number %lld is not above the one before", (long long)k);
    memcpy((char *)t->data + (size_t)to * size, from + (size_t)k * size, size);
  }
  return IFD_OK;
}

static ifd_status check_indices(ifd_error *err, const ifd_tensor *indices, int64_t n, int rank) {
  const ifd_shape *s = &indices->shape;
  EXPECT(err, indices->dtype == IFD_INT64, BAD_MODEL, "indices are %s, not int64",
         ifd_dtype_name(indices->dtype));
  EXPECT(err, (s->rank == 1 || (s->rank == 2 && s->dim[1] == rank)) && s->dim[0] == n, BAD_MODEL,
         "indices must be of shape [%lld] or [%lld,%d]", (long long)n, (long long)n, rank);
  return IFD_OK;
}

ifd_status ifd_read_sparse_tensor(ifd_reader *r, ifd_tensor *out, const Onnx__SparseTensorProto *proto) {
  ifd_tensor values, indices, t;
  ifd_shape shape;
  EXPECT(r->err, proto->values && proto->indices, BAD_MODEL, "a sparse tensor without values or indices");
  TRY_IN(r->err, ifd_read_tensor(r, &values, proto->values), "values");
  TRY_IN(r->err, ifd_read_tensor(r, &indices, proto->indices), "indices");
  TRY(read_shape(r->err, &shape, proto->dims, proto->n_dims, ifd_dtype_size(values.dtype)));
  EXPECT(r->err, values.shape.rank == 1 && shape.rank > 0, BAD_MODEL,
         "a sparse tensor needs values of rank 1 and dims");
  TRY(check_indices(r->err, &indices, ifd_tensor_count(&values), shape.rank));
  TRY_IN(r->err, ifd_tensor_new(r->err, &t, r->arena, values.dtype, &shape), "made dense, %lld elements",
         (long long)ifd_shape_count(&shape));
  TRY(scatter(r, &t, &values, &indices));
  *out = t;
  return IFD_OK;
}
