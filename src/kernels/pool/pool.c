#include "kernels/pool/greater.h"
#include "kernels/fold.h"

/* ROOM floats hold the columns of some windows; SLACK more may be read, or written before what follows them.
 * LINES image rows meet at once. */
enum { Z, Y, X, ROOM = 4096, SLACK = 64, LINES = 16 };

typedef struct range {
  int64_t from, to;
} range;

/* Most steps are 1, and a division takes as long as a vector of windows. */
static int64_t ceil_div(int64_t a, int64_t b) { return b == 1 ? a : a <= 0 ? -(-a / b) : (a - 1) / b + 1; }
static int64_t max_of(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }

/* Taps of window o that lie in the image. */
static range taps_of(const ifd_k_pool_shape *p, int axis, int64_t o) {
  const int64_t at = o * p->stride[axis] - p->begin[axis], d = p->dilation[axis];
  if (at >= 0 && at + (p->kernel[axis] - 1) * d < p->image[axis]) return (range){0, p->kernel[axis]};
  return (range){min_of(max_of(ceil_div(-at, d), 0), p->kernel[axis]),
                 max_of(min_of(ceil_div(p->image[axis] - at, d), p->kernel[axis]), 0)};
}
/* What a window counts along an axis: its taps in the image, or also those in the padding. */
static int64_t count_of(const ifd_k_pool_shape *p, int axis, int64_t o) {
  const range t = taps_of(p, axis, o);
  if (!p->count_padding || t.to - t.from == p->kernel[axis]) return max_of(t.to - t.from, 0);
  const int64_t room = p->image[axis] + p->begin[axis] + p->end[axis] - o * p->stride[axis];
  return min_of(p->kernel[axis], ceil_div(room, p->dilation[axis]));
}
/* The windows all of whose taps lie in the image. */
static range inner_windows(const ifd_k_pool_shape *p, int axis) {
  const int64_t s = p->stride[axis], reach = (p->kernel[axis] - 1) * p->dilation[axis];
  const int64_t from = min_of(ceil_div(p->begin[axis], s), p->windows[axis]);
  return (range){
      from, max_of(min_of(ceil_div(p->image[axis] + p->begin[axis] - reach, s), p->windows[axis]), from)};
}

/* One row of windows. */
typedef struct row {
  const ifd_k_pool_shape *p;
  const float *x; /* of the plane or block */
  int64_t oz, oy;
  float *y;            /* of the row */
  const float *counts; /* what an average's windows that are made count along x */
} row;

IFD_INLINE v16 neutral(bool average) { return v16_set1(average ? 0 : -INFINITY); }
IFD_INLINE v16 step(v16 a, v16 b, bool average) { return average ? v16_add(a, b) : v16_greater(a, b); }

/* ---- columns: over z and y ---- */

/* t = t joined with the n lines x, or the lines alone */
IFD_INLINE void join_lines(const float *const *x, int n, bool alone, size_t width, bool average, float *t) {
  for (size_t i = 0; i < width; i += 16) {
    const int rest = width - i < 16 ? (int)(width - i) : 16;
    v16 v = v16_load_n(alone ? x[0] + i : t + i, rest);
    for (int k = alone; k < n; k++) v = step(v, v16_load_n(x[k] + i, rest), average);
    v16_store(t + i, v);
  }
}

/* t = the columns [from, to) of the row's windows; false if the windows have no row in the image */
IFD_INLINE bool reduce_columns(const row *r, int lanes, int64_t from, int64_t to, bool average, float *t) {
  const ifd_k_pool_shape *p = r->p;
  const range z = taps_of(p, Z, r->oz), y = taps_of(p, Y, r->oy);
  const size_t width = (size_t)((to - from) * lanes);
  const float *lines[LINES];
  bool alone = true;
  int n = 0;
  for (int64_t kz = z.from; kz < z.to; kz++)
    for (int64_t ky = y.from; ky < y.to; ky++) {
      const int64_t iz = r->oz * p->stride[Z] + kz * p->dilation[Z] - p->begin[Z];
      const int64_t iy = r->oy * p->stride[Y] + ky * p->dilation[Y] - p->begin[Y];
      lines[n++] = r->x + ((iz * p->image[Y] + iy) * p->image[X] + from) * lanes;
      if (n < LINES) continue;
      join_lines(lines, n, alone, width, average, t);
      alone = false, n = 0;
    }
  if (n) join_lines(lines, n, alone, width, average, t);
  return !alone || n;
}

IFD_INLINE void fill(float *t, int64_t n, v16 value) {
  for (int64_t i = 0; i < n; i += 16) v16_store(t + i, value);
}

/* ---- windows: over x ---- */

/* lane k is t[k * stride], k < n */
IFD_INLINE v16 load_strided(const float *t, int64_t stride, int n) {
  if (stride == 1) return v16_load(t);
  if (stride == 2) return v16_even(v16_load(t), v16_load(t + 16));
  if (stride == 4 && n == 16)
    return v16_even(v16_even(v16_load(t), v16_load(t + 16)), v16_even(v16_load(t + 32), v16_load(t + 48)));
  float f[16] = {0};
  for (int k = 0; k < n; k++) f[k] = t[k * stride];
  return v16_load(f);
}

/* n windows of a plane's row from their columns t, which padding completes; an average of `rows` rows. */
IFD_INLINE void plane_windows(const ifd_k_pool_shape *p, const float *t, const float *counts, v16 rows,
                              float *y, int64_t n, int64_t stride, bool average) {
  for (int64_t o = 0; o < n; o += 16, t += 16 * stride) {
    const int some = n - o < 16 ? (int)(n - o) : 16;
    v16 v = neutral(average);
    for (int64_t k = 0; k < p->kernel[X]; k++)
      v = step(v, load_strided(t + k * p->dilation[X], stride, some), average);
    if (average) v = v16_div(v, v16_mul(rows, v16_load(counts + o)));
    v16_store_n(y + o, v, some);
  }
}

/* The same of a block of channels. */
IFD_INLINE void block_windows(const ifd_k_pool_shape *p, const float *t, const float *counts, v16 rows,
                              float *y, int64_t n, bool average) {
  for (int64_t o = 0; o < n; o++) {
    v16 v = neutral(average);
    for (int64_t k = 0; k < p->kernel[X]; k++)
      v = step(v, v16_load(t + (o * p->stride[X] + k * p->dilation[X]) * 16), average);
    if (average) v = v16_div(v, v16_mul(rows, v16_set1(counts[o])));
    v16_store(y + o * 16, v);
  }
}

/* Windows [o, o + n) of a row from their columns. */
IFD_INLINE void windows(const row *r, int lanes, const float *t, int64_t o, int64_t n, bool average) {
  const ifd_k_pool_shape *p = r->p;
  const float *counts = average ? r->counts : NULL;
  const v16 rows = v16_set1(average ? (float)(count_of(p, Z, r->oz) * count_of(p, Y, r->oy)) : 1);
  float *y = r->y + o * lanes;
  if (lanes == 16)
    block_windows(p, t, counts, rows, y, n, average);
  else if (p->stride[X] == 1)
    plane_windows(p, t, counts, rows, y, n, 1, average);
  else if (p->stride[X] == 2)
    plane_windows(p, t, counts, rows, y, n, 2, average);
  else
    plane_windows(p, t, counts, rows, y, n, p->stride[X], average);
}

/* One window wider than the room for its columns: column by column. */
IFD_INLINE void wide_window(const row *r, int lanes, int64_t o, bool average) {
  const ifd_k_pool_shape *p = r->p;
  const range taps = taps_of(p, X, o);
  float t[16];
  v16 v = neutral(average);
  for (int64_t k = taps.from; k < taps.to; k++) {
    const int64_t at = o * p->stride[X] + k * p->dilation[X] - p->begin[X];
    if (reduce_columns(r, lanes, at, at + 1, average, t)) v = step(v, v16_load_n(t, lanes), average);
  }
  const int64_t count = count_of(p, Z, r->oz) * count_of(p, Y, r->oy) * count_of(p, X, o);
  v16_store_n(r->y + o * lanes, average ? v16_div(v, v16_set1((float)count)) : v, lanes);
}

/* ---- rows ---- */

/* t = the columns of windows [o, o + n) of a row, which padding completes */
IFD_INLINE void pad_columns(const row *r, int lanes, int64_t o, int64_t n, bool average, float *t) {
  enum { READ = 32 }; /* beyond the last column */
  const ifd_k_pool_shape *p = r->p;
  const int64_t s = p->stride[X], start = o * s - p->begin[X]; /* of t in the image */
  const int64_t width = (n - 1) * s + (p->kernel[X] - 1) * p->dilation[X] + 1;
  const int64_t from = min_of(max_of(-start, 0), width),
                to = max_of(min_of(p->image[X] - start, width), from);
  fill(t, from * lanes, neutral(average));
  if (from == to || !reduce_columns(r, lanes, start + from, start + to, average, t + from * lanes))
    fill(t + from * lanes, (to - from) * lanes, neutral(average));
  fill(t + to * lanes, (width - to) * lanes + READ, neutral(average));
}

/* What windows [o, o + n) count along x. */
static void fill_counts(const ifd_k_pool_shape *p, int64_t o, int64_t n, float *counts) {
  const range inner = inner_windows(p, X);
  fill(counts, n, v16_set1((float)p->kernel[X]));
  for (int64_t i = o; i < min_of(inner.from, o + n); i++) counts[i - o] = (float)count_of(p, X, i);
  for (int64_t i = max_of(inner.to, o); i < o + n; i++) counts[i - o] = (float)count_of(p, X, i);
}

/* Rows [first, last) of windows. The columns of some short ones are gathered before their windows are: what
 * was just stored in pieces would be waited for. */
IFD_INLINE void reduce_rows(const ifd_k_pool_shape *p, int lanes, const float *x, float *y, int64_t first,
                            int64_t last, bool average) {
  enum { AT_ONCE = 8 };
  const int64_t n = p->windows[X], s = p->stride[X], reach = (p->kernel[X] - 1) * p->dilation[X];
  const int64_t room = ROOM / lanes, most = reach < room ? (room - reach - 1) / s + 1 : 0;
  const int64_t apart = (((n - 1) * s + reach + 1) * lanes + SLACK + 15) / 16 * 16;
  const int64_t at_once = lanes == 1 && n <= most ? max_of(min_of(ROOM / apart, AT_ONCE), 1) : 1;
  _Alignas(64) float t[ROOM + SLACK], counts[ROOM + SLACK];
  row r[AT_ONCE];
  if (average && n <= most) fill_counts(p, 0, n, counts);
  for (int64_t i = first, rows; i < last; i += rows) {
    rows = min_of(at_once, last - i);
    for (int64_t k = 0; k < rows; k++)
      r[k] = (row){p, x, (i + k) / p->windows[Y], (i + k) % p->windows[Y], y + (i + k) * n * lanes, counts};
    for (int64_t o = 0; o < n && !most; o++) wide_window(r, lanes, o, average);
    for (int64_t o = 0, some; o < n && most; o += some) {
      some = min_of(most, n - o);
      if (average && n > most) fill_counts(p, o, some, counts);
      for (int64_t k = 0; k < rows; k++) pad_columns(&r[k], lanes, o, some, average, t + k * apart);
      for (int64_t k = 0; k < rows; k++) windows(&r[k], lanes, t + k * apart, o, some, average);
    }
  }
}

static void rows(const ifd_k_pool_shape *p, int lanes, const float *x, float *y, size_t first, size_t last) {
  const int64_t from = (int64_t)first, to = (int64_t)last;
  if (p->average && lanes == 1)
    reduce_rows(p, 1, x, y, from, to, true);
  else if (p->average)
    reduce_rows(p, 16, x, y, from, to, true);
  else if (lanes == 1)
    reduce_rows(p, 1, x, y, from, to, false);
  else
    reduce_rows(p, 16, x, y, from, to, false);
}

const struct ifd_k_pool_table IFD_K(ifd_k_pool) = {
    .rows = rows, .greater_f32 = IFD_K(ifd_pool_greater_f32), .greater_f64 = IFD_K(ifd_pool_greater_f64)};
