#include "tensor/tensor.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "tensor/convert.h"

/* ---- shapes ---- */

bool ifd_shape_equal(const ifd_shape *a, const ifd_shape *b) {
  if (a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++)
    if (a->dim[i] != b->dim[i]) return false;
  return true;
}

/* Loops over rows that hold nothing must end, too. */
enum { MOST_OF_NOTHING = INT32_MAX };

static bool is_empty(const ifd_shape *s) {
  bool empty = false;
  for (int i = 0; i < s->rank; i++) empty |= s->dim[i] == 0;
  return empty;
}

/* Dimensions of 0 are left out of the product, so that no partial product (a stride, a span) can overflow
 * either. */
ifd_status ifd_shape_check(ifd_error *err, const ifd_shape *s, size_t element_size) {
  EXPECT(err, s->rank >= 0 && s->rank <= IFD_MAX_RANK, UNSUPPORTED, "rank %d is more than %d dimensions",
         s->rank, IFD_MAX_RANK);
  int64_t bytes = element_size > 1 ? (int64_t)element_size : 1;
  bool empty = is_empty(s);
  for (int i = 0; i < s->rank; i++) {
    EXPECT(err, s->dim[i] >= 0, BAD_INPUT, "dimension %d is negative: %lld", i, (long long)s->dim[i]);
    EXPECT(err, !s->dim[i] || (ifd_mul_i64(&bytes, bytes, s->dim[i]) && bytes <= PTRDIFF_MAX), LIMIT,
           "a tensor is larger than memory can address (dimension %d is %lld)", i, (long long)s->dim[i]);
    EXPECT(err, !empty || bytes <= MOST_OF_NOTHING, LIMIT,
           "a tensor without elements is too large (dimension %d is %lld)", i, (long long)s->dim[i]);
  }
  return IFD_OK;
}

const char *ifd_shape_text(const ifd_shape *s, char *text, size_t n) {
  size_t at = (size_t)snprintf(text, n, "[");
  for (int i = 0; i < s->rank && at < n; i++)
    at += (size_t)snprintf(text + at, n - at, "%s%lld", i ? "," : "", (long long)s->dim[i]);
  if (at < n) snprintf(text + at, n - at, "]");
  return text;
}

ifd_status ifd_shape_broadcast(ifd_error *err, ifd_shape *out, const ifd_shape *a, const ifd_shape *b) {
  ifd_shape r = {.rank = a->rank > b->rank ? a->rank : b->rank};
  for (int i = 0; i < r.rank; i++) {
    int ia = i - (r.rank - a->rank), ib = i - (r.rank - b->rank);
    int64_t da = ia < 0 ? 1 : a->dim[ia], db = ib < 0 ? 1 : b->dim[ib];
    if (da != db && da != 1 && db != 1) {
      char ta[256], tb[256];
      FAIL(err, BAD_INPUT, "shapes %s and %s cannot be broadcast together", ifd_shape_text(a, ta, sizeof ta),
           ifd_shape_text(b, tb, sizeof tb));
    }
    r.dim[i] = da == 1 ? db : da;
  }
  TRY(ifd_shape_check(err, &r, 1));
  *out = r;
  return IFD_OK;
}

void ifd_shape_strides(const ifd_shape *s, int64_t *strides) {
  int64_t stride = 1;
  for (int i = s->rank - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= s->dim[i];
  }
}

void ifd_shape_broadcast_strides(const ifd_shape *s, const ifd_shape *out, int64_t *strides) {
  int64_t own[IFD_MAX_RANK];
  ifd_shape_strides(s, own);
  for (int i = 0; i < out->rank; i++) {
    int j = i - (out->rank - s->rank);
    strides[i] = j < 0 || s->dim[j] == 1 ? 0 : own[j];
  }
}

/* ---- counted buffers ---- */

ifd_buf *ifd_buf_create(ifd_budget *budget, size_t size) {
  size_t whole;
  if (!ifd_add_size(&whole, sizeof(ifd_buf), size)) return NULL;
  ifd_buf *buf = ifd_budget_alloc(budget, whole);
  if (!buf) return NULL;
  atomic_init(&buf->refs, 1);
  buf->budget = budget;
  buf->size = whole;
  return buf;
}

ifd_buf *ifd_buf_ref(ifd_buf *buf) {
  if (buf) atomic_fetch_add_explicit(&buf->refs, 1, memory_order_relaxed);
  return buf;
}

void ifd_buf_unref(ifd_buf *buf) {
  if (buf && atomic_fetch_sub_explicit(&buf->refs, 1, memory_order_acq_rel) == 1)
    ifd_budget_free(buf->budget, buf, buf->size);
}

/* ---- tensors ---- */

/* Eight elements take as many bytes as one takes bits. */
size_t ifd_packed_bytes(ifd_dtype dtype, int64_t count) {
  int64_t bits = ifd_dtypes[dtype].bits;
  return (size_t)(count / 8 * bits + (count % 8 * bits + 7) / 8);
}

ifd_status ifd_tensor_new_raw(ifd_error *err, ifd_tensor *out, ifd_arena *arena, ifd_dtype dtype,
                              const ifd_shape *s) {
  TRY(ifd_shape_check(err, s, ifd_dtype_size(dtype)));
  ifd_tensor t = {.dtype = dtype, .shape = *s};
  ALLOC(err, t.data, ifd_arena_alloc_raw_data(arena, ifd_tensor_bytes(&t)));
  *out = t;
  return IFD_OK;
}

ifd_status ifd_tensor_new(ifd_error *err, ifd_tensor *out, ifd_arena *arena, ifd_dtype dtype,
                          const ifd_shape *s) {
  TRY(ifd_tensor_new_raw(err, out, arena, dtype, s));
  memset(out->data, 0, ifd_tensor_bytes(out));
  return IFD_OK;
}

ifd_status ifd_tensor_create(ifd_error *err, ifd_tensor *out, ifd_budget *budget, ifd_dtype dtype,
                             const ifd_shape *s) {
  TRY(ifd_shape_check(err, s, ifd_dtype_size(dtype)));
  ifd_tensor t = {.dtype = dtype, .shape = *s};
  ALLOC(err, t.buf, ifd_buf_create(budget, ifd_tensor_bytes(&t)));
  t.data = t.buf->data;
  if (dtype == IFD_STRING) memset(t.data, 0, ifd_tensor_bytes(&t));
  *out = t;
  return IFD_OK;
}

/* Copies the first of n elements over the others, doubling what is copied as long as it is near at hand. */
static void repeat_first(char *dst, int64_t n, size_t size) {
  const size_t all = (size_t)n * size, near = 16384;
  for (size_t done = size, step; done < all; done += step) {
    step = done < near ? done : near; /* whole elements: their size is a power of two */
    step = step < all - done ? step : all - done;
    memcpy(dst + done, dst, step);
  }
}

void ifd_tensor_expand(const ifd_tensor *t, void *dst) {
  int64_t n = ifd_tensor_count(t), stored = t->splat && n ? 1 : n;
  if (!n) return;
  size_t size = ifd_dtype_size(t->dtype);
  if (t->packed && ifd_dtypes[t->dtype].bits < 8)
    ifd_unpack(t->dtype, t->data, dst, stored);
  else
    memcpy(dst, t->data, (size_t)stored * size);
  if (t->splat) repeat_first(dst, n, size);
}

static bool has_numbers(ifd_dtype t) { return t != IFD_STRING && ifd_dtypes[t].class != IFD_CLASS_COMPLEX; }

enum {
  GROUP = 512
}; /* packed elements looked at together; a multiple of eight, which take as many bytes as one
      takes bits */
typedef union group {
  _Alignas(8) uint8_t bytes[GROUP * 8];
} group;

/* Where n elements from the i-th on lie; packed ones are copied, from the last multiple of eight on. */
static const void *elements(const ifd_tensor *t, int64_t i, int64_t n, group *copy) {
  size_t size = ifd_dtype_size(t->dtype);
  if (t->splat) i = 0;
  if (!t->packed) return (const char *)t->data + (size_t)i * size;
  ifd_tensor part = {.dtype = t->dtype, .packed = true, .shape = {.rank = 1, .dim = {i % 8 + n}}};
  part.data = (char *)t->data + ifd_packed_bytes(t->dtype, i - i % 8);
  ifd_tensor_expand(&part, copy->bytes);
  return copy->bytes + (size_t)(i % 8) * size;
}

double ifd_tensor_get_f64(const ifd_tensor *t, int64_t i) {
  double x = 0;
  group copy;
  if (has_numbers(t->dtype)) ifd_load_f64(t->dtype, elements(t, i, 1, &copy), &x, 1);
  return x;
}

void ifd_tensor_get_f64s(const ifd_tensor *t, int64_t i, double *out, int64_t n) {
  group copy;
  int64_t step = t->splat ? 1 : t->packed ? GROUP - 8 : n;
  for (int64_t k = 0; k < n; k += step) {
    int64_t some = ifd_min_i64(step, n - k);
    if (has_numbers(t->dtype))
      ifd_load_f64(t->dtype, elements(t, i + k, some, &copy), out + k, some);
    else
      memset(out + k, 0, (size_t)some * sizeof *out);
  }
}

int64_t ifd_tensor_get_i64(const ifd_tensor *t, int64_t i) {
  int64_t x = 0;
  group copy;
  if (has_numbers(t->dtype)) ifd_load_i64(t->dtype, elements(t, i, 1, &copy), &x, 1);
  return x;
}

static void *own_element(ifd_tensor *t, int64_t i) {
  assert(!t->splat && !t->packed && has_numbers(t->dtype));
  return (char *)t->data + (size_t)i * ifd_dtype_size(t->dtype);
}

void ifd_tensor_set_f64(ifd_tensor *t, int64_t i, double x) {
  ifd_store_f64(t->dtype, own_element(t, i), &x, 1);
}

void ifd_tensor_set_f64s(ifd_tensor *t, int64_t i, const double *in, int64_t n) {
  if (n) ifd_store_f64(t->dtype, own_element(t, i), in, n);
}

void ifd_tensor_set_i64(ifd_tensor *t, int64_t i, int64_t x) {
  const ifd_dtype_info *info = &ifd_dtypes[t->dtype];
  if (info->bits < 64 && ifd_dtype_is_integer(t->dtype)) {
    bool is_signed = info->class == IFD_CLASS_INT;
    int64_t most = ((int64_t)1 << (info->bits - is_signed)) - 1;
    x = ifd_max_i64(is_signed ? -most - 1 : 0, ifd_min_i64(x, most));
  }
  ifd_store_i64(t->dtype, own_element(t, i), &x, 1);
}

/* ---- values ---- */

ifd_list *ifd_list_create(ifd_budget *budget, int cap) {
  ifd_list *list = ifd_budget_alloc(budget, sizeof *list);
  if (!list) return NULL;
  list->budget = budget;
  list->n = 0;
  list->cap = cap;
  list->items = NULL;
  atomic_init(&list->refs, 1);
  if (cap > 0 && !(list->items = ifd_budget_alloc(budget, (size_t)cap * sizeof *list->items))) {
    ifd_budget_free(budget, list, sizeof *list);
    return NULL;
  }
  return list;
}

void ifd_list_unref(ifd_list *list) {
  if (!list || atomic_fetch_sub_explicit(&list->refs, 1, memory_order_acq_rel) != 1) return;
  for (int i = 0; i < list->n; i++) ifd_datum_unref(&list->items[i]);
  ifd_budget_free(list->budget, list->items, (size_t)list->cap * sizeof *list->items);
  ifd_budget_free(list->budget, list, sizeof *list);
}

static bool grow(ifd_list *list) {
  if (list->cap > INT32_MAX / 2) return false;
  int cap = list->cap ? list->cap * 2 : 4;
  ifd_datum *items = ifd_budget_alloc(list->budget, (size_t)cap * sizeof *items);
  if (!items) return false;
  if (list->n) memcpy(items, list->items, (size_t)list->n * sizeof *items);
  ifd_budget_free(list->budget, list->items, (size_t)list->cap * sizeof *items);
  list->items = items;
  list->cap = cap;
  return true;
}

bool ifd_list_push(ifd_list *list, const ifd_datum *item) {
  assert(atomic_load(&list->refs) == 1);
  if (list->n == list->cap && !grow(list)) return false;
  list->items[list->n++] = *item;
  return true;
}

void ifd_datum_ref(ifd_datum *out, const ifd_datum *in) {
  ifd_buf_ref(in->tensor.buf);
  if (in->list) atomic_fetch_add_explicit(&in->list->refs, 1, memory_order_relaxed);
  *out = *in;
}

void ifd_datum_unref(ifd_datum *d) {
  ifd_buf *buf = d->tensor.buf;
  ifd_list *list = d->list;
  *d = (ifd_datum){0};
  ifd_buf_unref(buf);
  ifd_list_unref(list);
}

/* Strings and their bytes move into one buffer: the elements first, then the bytes in their order. */
static ifd_status own_strings(ifd_error *err, ifd_tensor *out, const ifd_tensor *in, ifd_budget *budget) {
  int64_t n = ifd_tensor_count(in);
  const ifd_str *from = in->data;
  size_t bytes = (size_t)n * sizeof *from;
  for (int64_t i = 0; i < n; i++)
    EXPECT(err, ifd_add_size(&bytes, bytes, from[in->splat ? 0 : i].len), LIMIT,
           "strings are larger than memory");
  ifd_tensor t = {.dtype = IFD_STRING, .shape = in->shape};
  ALLOC(err, t.buf, ifd_buf_create(budget, bytes));
  ifd_str *to = t.data = t.buf->data;
  char *at = (char *)(to + n);
  for (int64_t i = 0; i < n; i++) {
    ifd_str s = from[in->splat ? 0 : i];
    if (s.len) memcpy(at, s.s, s.len);
    to[i] = (ifd_str){at, s.len};
    at += s.len;
  }
  *out = t;
  return IFD_OK;
}

static ifd_status own_tensor(ifd_error *err, ifd_tensor *out, const ifd_tensor *in, ifd_budget *budget) {
  if (in->buf) {
    ifd_buf_ref(in->buf);
    *out = *in;
    return IFD_OK;
  }
  TRY(ifd_shape_check(err, &in->shape, ifd_dtype_size(in->dtype)));
  if (in->dtype == IFD_STRING) return own_strings(err, out, in, budget);
  TRY(ifd_tensor_create(err, out, budget, in->dtype, &in->shape));
  ifd_tensor_expand(in, out->data);
  return IFD_OK;
}

/* Kinds whose value is, at least in part, a tensor of its own. */
static bool has_tensor(ifd_kind kind) { return kind == IFD_KIND_TENSOR || kind == IFD_KIND_MAP; }

static bool owns_all(const ifd_datum *d) {
  if (has_tensor(d->kind) && !d->tensor.buf) return false;
  for (int i = 0; d->list && i < d->list->n; i++)
    if (!owns_all(&d->list->items[i])) return false;
  return true;
}

static ifd_status own_items(ifd_error *err, ifd_list *out, const ifd_list *in) {
  for (int i = 0; i < in->n; i++) {
    ifd_datum item;
    TRY(ifd_datum_own(err, &item, &in->items[i], out->budget));
    ifd_list_push(out, &item); /* has room: made with in->n */
  }
  return IFD_OK;
}

ifd_status ifd_datum_own(ifd_error *err, ifd_datum *out, const ifd_datum *in, ifd_budget *budget) {
  if (owns_all(in)) {
    ifd_datum_ref(out, in);
    return IFD_OK;
  }
  ifd_datum d = {.kind = in->kind, .elem_kind = in->elem_kind, .elem = in->elem};
  if (has_tensor(in->kind)) TRY(own_tensor(err, &d.tensor, &in->tensor, budget));
  ifd_status status = IFD_OK;
  if (in->list) {
    d.list = ifd_list_create(budget, in->list->n);
    status = d.list ? own_items(err, d.list, in->list) : ifd_error_set(err, IFD_NO_MEMORY, "out of memory");
  }
  if (status == IFD_OK)
    *out = d;
  else
    ifd_datum_unref(&d);
  return status;
}
