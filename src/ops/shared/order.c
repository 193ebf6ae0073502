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

/* A double's bits are ordered as sign and magnitude. */
static int64_t key_of(double x) {
  int64_t bits;
  if (x != x) return INT64_MAX;
  x += 0.0; /* -0 becomes 0 */
  memcpy(&bits, &x, sizeof bits);
  return bits < 0 ? INT64_MIN - bits : bits;
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

static ifd_status float_keys(ifd_error *err, int64_t *keys, ifd_dtype dtype, const void *data, int64_t n,
                             ifd_arena *arena) {
  double *v;
  ALLOC(err, v, ifd_new_array(arena, double, n));
  ifd_load_f64(dtype, data, v, n);
  for (int64_t i = 0; i < n; i++) keys[i] = key_of(v[i]);
  return IFD_OK;
}

static ifd_status complex_keys(ifd_error *err, int64_t *keys, const ifd_tensor *t, int64_t n,
                               ifd_arena *arena) {
  int64_t *parts;
  ALLOC(err, parts, ifd_new_array(arena, int64_t, 2 * n));
  TRY(float_keys(err, parts, t->dtype == IFD_COMPLEX64 ? IFD_FLOAT : IFD_DOUBLE, t->data, 2 * n, arena));
  return rank(err, keys, n, arena, compare_pairs, parts);
}

ifd_status ifd_order_keys(ifd_error *err, int64_t **out, ifd_arena *arena, const ifd_tensor *t) {
  int64_t n = ifd_tensor_count(t), *keys;
  ALLOC(err, keys, ifd_new_array(arena, int64_t, n));
  *out = keys;
  if (t->dtype == IFD_STRING) return rank(err, keys, n, arena, compare_strings, t->data);
  if (ifd_dtypes[t->dtype].class == IFD_CLASS_COMPLEX) return complex_keys(err, keys, t, n, arena);
  if (ifd_dtype_is_float(t->dtype)) return float_keys(err, keys, t->dtype, t->data, n, arena);
  ifd_load_i64(t->dtype, t->data, keys, n);
  if (t->dtype == IFD_UINT64)
    for (int64_t i = 0; i < n; i++) keys[i] ^= INT64_MIN;
  return IFD_OK;
}
