/* Shapes, tensors and the other values that ONNX knows (sequences, optionals, maps).
 *
 * A tensor is dense, row-major, of at most IFD_MAX_RANK dimensions; each element takes ifd_dtype_size bytes
 * in memory, so types narrower than a byte are one byte an element here and packed only in files. A splat
 * holds one element that stands for all. Data is borrowed from whoever `buf` or the context names: a mapped
 * file, an arena, a run's slab, or a counted buffer (`buf`), which lets sequences share tensors without
 * copying. */
#ifndef IFD_TENSOR_TENSOR_H
#define IFD_TENSOR_TENSOR_H

#include "base/arena.h"
#include "base/checked.h"
#include "base/status.h"
#include "tensor/dtype.h"

enum { IFD_MAX_RANK = 12 };

typedef struct ifd_shape {
  int rank;
  int64_t dim[IFD_MAX_RANK];
} ifd_shape;

/* Memory shared by several values; freed with its last reference. */
typedef struct ifd_buf {
  _Atomic int refs;
  ifd_budget *budget;
  size_t size; /* bytes of the whole allocation, this header included */
  _Alignas(64) char data[];
} ifd_buf;

typedef struct ifd_tensor {
  ifd_dtype dtype;
  bool splat;  /* data is one element for all */
  bool packed; /* constants only: elements lie as in a file, those narrower than a byte side by side, low bits
                  first, wider ones at any address */
  ifd_shape shape;
  void *data;   /* NULL only when there are no elements */
  ifd_buf *buf; /* what keeps data alive, or NULL when data is borrowed */
} ifd_tensor;

typedef enum ifd_kind {
  IFD_KIND_UNKNOWN,
  IFD_KIND_TENSOR,
  IFD_KIND_SEQUENCE,
  IFD_KIND_OPTIONAL,
  IFD_KIND_MAP,
  IFD_KIND_SPARSE_TENSOR
} ifd_kind;

typedef struct ifd_datum ifd_datum;
/* Elements of a sequence (any kinds), or the one element of a present optional; counted and immutable when
 * shared. */
typedef struct ifd_list {
  _Atomic int refs;
  ifd_budget *budget;
  int n, cap;
  ifd_datum *items;
} ifd_list;

/* Any ONNX value at run time.
 * TENSOR: tensor. SEQUENCE: list (NULL is empty), elem the dtype of its tensors. OPTIONAL: list (NULL is
 * absent, else one item). MAP: tensor holds the keys (1-D, int64 or string), list one tensor: the values in
 * the same order. */
struct ifd_datum {
  ifd_kind kind;
  ifd_kind elem_kind; /* of a sequence or optional */
  ifd_dtype elem;     /* dtype of tensors inside a sequence or optional */
  ifd_tensor tensor;
  ifd_list *list;
};

/* ---- shapes ---- */
/* Product of the dimensions (1 for rank 0); dimensions are >= 0 and their product was checked when the shape
 * was made. */
static inline int64_t ifd_shape_count(const ifd_shape *s) {
  int64_t n = 1;
  for (int i = 0; i < s->rank; i++) n *= s->dim[i];
  return n;
}
/* Product of dim[from..to). */
static inline int64_t ifd_shape_span(const ifd_shape *s, int from, int to) {
  int64_t n = 1;
  for (int i = from; i < to; i++) n *= s->dim[i];
  return n;
}
bool ifd_shape_equal(const ifd_shape *a, const ifd_shape *b);
/* Fails unless every dim >= 0, rank fits, and count * element_size fits in ptrdiff_t. */
ifd_status ifd_shape_check(ifd_error *err, const ifd_shape *s, size_t element_size);
/* "[2,3,4]" into text of n bytes; returns text. */
const char *ifd_shape_text(const ifd_shape *s, char *text, size_t n);
/* Multidirectional broadcasting (ONNX Broadcasting.md): out of a and b, or BAD_INPUT. */
ifd_status ifd_shape_broadcast(ifd_error *err, ifd_shape *out, const ifd_shape *a, const ifd_shape *b);
/* Row-major strides in elements. */
void ifd_shape_strides(const ifd_shape *s, int64_t *strides);
/* Strides of a operand of shape s seen in `out` (0 where broadcast), aligned to the last dimension. */
void ifd_shape_broadcast_strides(const ifd_shape *s, const ifd_shape *out, int64_t *strides);

/* ---- tensors ---- */
static inline int64_t ifd_tensor_count(const ifd_tensor *t) { return ifd_shape_count(&t->shape); }
static inline size_t ifd_tensor_bytes(const ifd_tensor *t) {
  return (size_t)(t->splat ? 1 : ifd_tensor_count(t)) * ifd_dtype_size(t->dtype);
}
/* Bytes that count elements of dtype take in a file. */
size_t ifd_packed_bytes(ifd_dtype dtype, int64_t count);
/* Bytes from t->data on that a constant lies in. */
static inline size_t ifd_tensor_stored_bytes(const ifd_tensor *t) {
  return t->packed && !t->splat ? ifd_packed_bytes(t->dtype, ifd_tensor_count(t)) : ifd_tensor_bytes(t);
}
/* A new counted buffer of `size` bytes, not zeroed, or NULL. */
ifd_buf *ifd_buf_create(ifd_budget *budget, size_t size);
ifd_buf *ifd_buf_ref(ifd_buf *buf);
void ifd_buf_unref(ifd_buf *buf);
/* Tensor with data of its own from the arena, zeroed. */
ifd_status ifd_tensor_new(ifd_error *err, ifd_tensor *out, ifd_arena *arena, ifd_dtype dtype,
                          const ifd_shape *s);
/* The same, not zeroed: of numbers that are all written before they are read. */
ifd_status ifd_tensor_new_raw(ifd_error *err, ifd_tensor *out, ifd_arena *arena, ifd_dtype dtype,
                              const ifd_shape *s);
/* Tensor with data in a counted buffer, not zeroed (string elements are). */
ifd_status ifd_tensor_create(ifd_error *err, ifd_tensor *out, ifd_budget *budget, ifd_dtype dtype,
                             const ifd_shape *s);
/* Dense, unpacked copy of any constant's elements [0, count) into dst (count * size bytes). */
void ifd_tensor_expand(const ifd_tensor *t, void *dst);
/* Element i as double / int64 (floats truncate, bool 0/1); 0 for strings. Splat and packed are understood. */
double ifd_tensor_get_f64(const ifd_tensor *t, int64_t i);
int64_t ifd_tensor_get_i64(const ifd_tensor *t, int64_t i);
/* Stores x rounded to the tensor's type (integers saturate as C casts do not: out of range is clamped). */
void ifd_tensor_set_f64(ifd_tensor *t, int64_t i, double x);
/* n elements from the i-th on; many times faster than one by one. Writing: not to a splat or packed
 * tensor. */
void ifd_tensor_get_f64s(const ifd_tensor *t, int64_t i, double *out, int64_t n);
void ifd_tensor_set_f64s(ifd_tensor *t, int64_t i, const double *in, int64_t n);
void ifd_tensor_set_i64(ifd_tensor *t, int64_t i, int64_t x);

/* ---- values ---- */
ifd_list *ifd_list_create(ifd_budget *budget, int cap);
void ifd_list_unref(ifd_list *list);
/* Takes over item's references; false when out of memory (item is then still the caller's). */
bool ifd_list_push(ifd_list *list, const ifd_datum *item);
/* Another reference to the same value. A borrowed tensor (buf NULL) stays borrowed. */
void ifd_datum_ref(ifd_datum *out, const ifd_datum *in);
/* Drops what the value holds and leaves it UNKNOWN. */
void ifd_datum_unref(ifd_datum *d);
/* A value that owns its memory: borrowed tensors are copied, others referenced. */
ifd_status ifd_datum_own(ifd_error *err, ifd_datum *out, const ifd_datum *in, ifd_budget *budget);

#endif
