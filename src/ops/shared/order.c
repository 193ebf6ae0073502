#include "ops/shared/order.h"

#include "tensor/convert.h"
#include <string.h>

/* ---- sorting ---- */

typedef struct sorter {
  int (*compare)(const void *context, int64_t a, int64_t b);
  const void *context;
} sorter;

static void merge(const sorter *s, int64_t *to, const int64_t *a, int64_t na, const int64_t *b, int64_t nb) {
  while (na && nb)
    if (s->compare(s->context, *b, *a) < 0)
      *to++ = *b++, nb--;
    else
      *to++ = *a++, na--;
  memcpy(to, na ? a : b, (size_t)(na + nb) * sizeof *to);
}

/* Merges runs of doubling length, back and forth between two arrays. */
ifd_status ifd_order_sort(ifd_error *err, int64_t *indices, int64_t n, ifd_arena *arena,
                          int (*compare)(const void *context, int64_t a, int64_t b), const void *context) {
  const sorter s = {compare, context};
  int64_t *from = indices, *to;
  ALLOC(err, to, ifd_new_array(arena, int64_t, n));
  for (int64_t run = 1; run < n; run *= 2) {
    for (int64_t i = 0; i < n; i += 2 * run) {
      int64_t na = ifd_min_i64(run, n - i), nb = ifd_max_i64(0, ifd_min_i64(run, n - i - run));
      merge(&s, to + i, from + i, na, from + i + na, nb);
    }
    int64_t *swap = from;
    from = to;
    to = swap;
  }
  if (from != indices) memcpy(indices, from, (size_t)n * sizeof *indices);
  return IFD_OK;
}

/* ---- keys ---- */

void ifd_order_number_keys(ifd_dtype dtype, const void *p, int64_t *keys, int64_t n) {
  enum { CHUNK = 256 };
  double v[CHUNK];
  const char *at = p;
  if (!ifd_dtype_is_float(dtype)) {
    ifd_load_i64(dtype, p, keys, n);
    for (int64_t i = 0; dtype == IFD_UINT64 && i < n; i++) keys[i] ^= INT64_MIN;
    return;
  }
  for (int64_t i = 0; i < n; i += CHUNK, at += CHUNK * ifd_dtype_size(dtype)) {
    int64_t m = ifd_min_i64(CHUNK, n - i);
    ifd_load_f64(dtype, at, v, m);
    for (int64_t k = 0; k < m; k++) keys[i + k] = ifd_order_key(v[k]);
  }
}

static int compare_keys(const void *context, int64_t a, int64_t b) {
  const int64_t *keys = context;
  return (keys[a] > keys[b]) - (keys[a] < keys[b]);
}

static int compare_strings(const void *context, int64_t a, int64_t b) {
  const ifd_str *x = (const ifd_str *)context + a, *y = (const ifd_str *)context + b;
  size_t n = x->len < y->len ? x->len : y->len;
  int order = n ? memcmp(x->s, y->s, n) : 0;
  return order ? order : (x->len > y->len) - (x->len < y->len);
}

/* By the keys of pairs: the real parts, then the imaginary ones. */
static int compare_pairs(const void *context, int64_t a, int64_t b) {
  int order = compare_keys(context, 2 * a, 2 * b);
  return order ? order : compare_keys(context, 2 * a + 1, 2 * b + 1);
}

/* Elements that are no numbers get their rank among the distinct ones. */
static ifd_status rank(ifd_error *err, int64_t *keys, int64_t n, ifd_arena *arena,
                       int (*compare)(const void *context, int64_t a, int64_t b), const void *context) {
  int64_t *order;
  ALLOC(err, order, ifd_new_array(arena, int64_t, n));
  for (int64_t i = 0; i < n; i++) order[i] = i;
  TRY(ifd_order_sort(err, order, n, arena, compare, context));
  for (int64_t i = 0, r = 0; i < n; i++) {
    if (i && compare(context, order[i - 1], order[i])) r++;
    keys[order[i]] = r;
  }
  return IFD_OK;
}

static ifd_status complex_keys(ifd_error *err, int64_t *keys, const ifd_tensor *t, int64_t n,
                               ifd_arena *arena) {
  int64_t *parts;
  ALLOC(err, parts, ifd_new_array(arena, int64_t, 2 * n));
  ifd_order_number_keys(t->dtype == IFD_COMPLEX64 ? IFD_FLOAT : IFD_DOUBLE, t->data, parts, 2 * n);
  return rank(err, keys, n, arena, compare_pairs, parts);
}

ifd_status ifd_order_keys(ifd_error *err, int64_t **out, ifd_arena *arena, const ifd_tensor *t) {
  int64_t n = ifd_tensor_count(t), *keys;
  ALLOC(err, keys, ifd_new_array(arena, int64_t, n));
  *out = keys;
  if (t->dtype == IFD_STRING) return rank(err, keys, n, arena, compare_strings, t->data);
  if (ifd_dtypes[t->dtype].class == IFD_CLASS_COMPLEX) return complex_keys(err, keys, t, n, arena);
  ifd_order_number_keys(t->dtype, t->data, keys, n);
  return IFD_OK;
}
