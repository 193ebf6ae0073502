#include "kernels/pool/pool.h"
#include "kernels/fold.h"

enum { Z, Y, X, ROOM = 4096 };

typedef struct range {
  int64_t from, to;
} range;

static int64_t ceil_div(int64_t a, int64_t b) { return a <= 0 ? -(-a / b) : (a - 1) / b + 1; }
static int64_t max_of(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }

/* Taps of window o that lie in the image. */
static range taps_of(const ifd_k_pool_shape *p, int axis, int64_t o) {
  const int64_t at = o * p->stride[axis] - p->begin[axis], d = p->dilation[axis];
  return (range){min_of(max_of(ceil_div(-at, d), 0), p->kernel[axis]),
                 max_of(min_of(ceil_div(p->image[axis] - at, d), p->kernel[axis]), 0)};
}
/* What a window counts along an axis: its taps in the image, or also those in the padding. */
static int64_t count_of(const ifd_k_pool_shape *p, int axis, int64_t o) {
  if (p->count_padding) {
    const int64_t room = p->image[axis] + p->begin[axis] + p->end[axis] - o * p->stride[axis];
    return min_of(p->kernel[axis], ceil_div(room, p->dilation[axis]));
  }
  const range t = taps_of(p, axis, o);
  return max_of(t.to - t.from, 0);
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
  float *y; /* of the row */
} row;

/* ---- columns: over z and y ---- */

IFD_INLINE void step_columns(float *t, const float *x, size_t n, bool average) {
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const v16 a = v16_load(t + i), b = v16_load(x + i);
    v16_store(t + i, average ? v16_add(a, b) : v16_greater(a, b));
  }
  if (i < n) {
    const int rest = (int)(n - i);
    const v16 a = v16_load_n(t + i, rest), b = v16_load_n(x + i, rest);
    v16_store_n(t + i, average ? v16_add(a, b) : v16_greater(a, b), rest);
  }
}

/* t = the columns [from, to) of the row's windows; false if the windows have no row in the image */
IFD_INLINE bool reduce_columns(const row *r, int lanes, int64_t from, int64_t to, bool average, float *t) {
  const ifd_k_pool_shape *p = r->p;
  const range z = taps_of(p, Z, r->oz), y = taps_of(p, Y, r->oy);
  const size_t n = (size_t)((to - from) * lanes);
  bool any = false;
  for (int64_t kz = z.from; kz < z.to; kz++)
    for (int64_t ky = y.from; ky < y.to; ky++) {
      const int64_t iz = r->oz * p->stride[Z] + kz * p->dilation[Z] - p->begin[Z];
      const int64_t iy = r->oy * p->stride[Y] + ky * p->dilation[Y] - p->begin[Y];
      const float *x = r->x + ((iz * p->image[Y] + iy) * p->image[X] + from) * lanes;
      if (any)
        step_columns(t, x, n, average);
      else
        memcpy(t, x, n * sizeof *t);
      any = true;
    }
  return any;
}

/* ---- windows: over x ---- */

/* y[i] = step(y[i], t[i * stride]) */
IFD_INLINE void step_windows(float *restrict y, const float *restrict t, int64_t n, int64_t stride,
                             bool average) {
  for (int64_t i = 0; i < n; i++) {
    const float a = y[i], b = t[i * stride];
    y[i] = average ? a + b : (a > b) | (a != a) ? a : b;
  }
}

/* Windows [first, last) of a plane's row from the columns t, of which t[0] is column `from`. */
IFD_INLINE void plane_windows(const row *r, int64_t first, int64_t last, const float *t, int64_t from,
                              bool average) {
  const ifd_k_pool_shape *p = r->p;
  const int64_t s = p->stride[X], taps_from = taps_of(p, X, last - 1).from, taps_to = taps_of(p, X, first).to;
  for (int64_t k = taps_from; k < taps_to; k++) {
    const int64_t at = k * p->dilation[X] - p->begin[X]; /* column of window 0 */
    const int64_t o = max_of(first, ceil_div(-at, s)), end = min_of(last, ceil_div(p->image[X] - at, s));
    if (o >= end) continue;
    if (s == 1)
      step_windows(r->y + o, t + (o + at - from), end - o, 1, average);
    else if (s == 2)
      step_windows(r->y + o, t + (2 * o + at - from), end - o, 2, average);
    else
      step_windows(r->y + o, t + (o * s + at - from), end - o, s, average);
  }
}

/* The same of a block of channels. */
IFD_INLINE void block_windows(const row *r, int64_t first, int64_t last, const float *t, int64_t from,
                              bool average) {
  const ifd_k_pool_shape *p = r->p;
  for (int64_t o = first; o < last; o++) {
    const range taps = taps_of(p, X, o);
    v16 v = v16_load(r->y + o * 16);
    const int64_t at = o * p->stride[X] - p->begin[X] - from; /* of tap 0 in t */
    for (int64_t k = taps.from; k < taps.to; k++) {
      const v16 a = v16_load(t + (at + k * p->dilation[X]) * 16);
      v = average ? v16_add(v, a) : v16_greater(v, a);
    }
    v16_store(r->y + o * 16, v);
  }
}

/* One window wider than the room for its columns: column by column. */
IFD_INLINE void wide_window(const row *r, int lanes, int64_t o, bool average) {
  const ifd_k_pool_shape *p = r->p;
  const range taps = taps_of(p, X, o);
  float t[16];
  for (int64_t k = taps.from; k < taps.to; k++) {
    const int64_t at = o * p->stride[X] + k * p->dilation[X] - p->begin[X];
    if (reduce_columns(r, lanes, at, at + 1, average, t))
      step_columns(r->y + o * lanes, t, (size_t)lanes, average);
  }
}

/* ---- rows ---- */

IFD_INLINE void reduce_row(const row *r, int lanes, bool average) {
  const ifd_k_pool_shape *p = r->p;
  const int64_t n = p->windows[X], s = p->stride[X], reach = (p->kernel[X] - 1) * p->dilation[X];
  const int64_t room = ROOM / lanes, step = reach < room ? (room - reach - 1) / s + 1 : 1;
  _Alignas(64) float t[ROOM];
  for (int64_t i = 0; i < n * lanes; i++) r->y[i] = average ? 0 : -INFINITY;
  for (int64_t first = 0; first < n; first += step) {
    const int64_t last = min_of(first + step, n);
    if (reach >= room) {
      wide_window(r, lanes, first, average);
      continue;
    }
    const int64_t from = min_of(max_of(first * s - p->begin[X], 0), p->image[X]);
    const int64_t to = min_of((last - 1) * s - p->begin[X] + reach + 1, p->image[X]);
    if (to <= from || !reduce_columns(r, lanes, from, to, average, t)) continue;
    if (lanes == 1)
      plane_windows(r, first, last, t, from, average);
    else
      block_windows(r, first, last, t, from, average);
  }
}

static void divide(float *y, int64_t n, int64_t count) {
  const float divisor = (float)count;
  for (int64_t i = 0; i < n; i++) y[i] /= divisor;
}

static void divide_row(const row *r, int lanes) {
  const ifd_k_pool_shape *p = r->p;
  const int64_t rows = count_of(p, Z, r->oz) * count_of(p, Y, r->oy);
  const range inner = inner_windows(p, X);
  for (int64_t o = 0; o < inner.from; o++) divide(r->y + o * lanes, lanes, rows * count_of(p, X, o));
  divide(r->y + inner.from * lanes, (inner.to - inner.from) * lanes, rows * p->kernel[X]);
  for (int64_t o = inner.to; o < p->windows[X]; o++)
    divide(r->y + o * lanes, lanes, rows * count_of(p, X, o));
}

static void rows(const ifd_k_pool_shape *p, int lanes, const float *x, float *y, size_t first, size_t last) {
  for (size_t i = first; i < last; i++) {
    const int64_t n = p->windows[X] * lanes;
    const row r = {p, x, (int64_t)i / p->windows[Y], (int64_t)i % p->windows[Y], y + (int64_t)i * n};
    if (p->average) {
      if (lanes == 1)
        reduce_row(&r, 1, true);
      else
        reduce_row(&r, 16, true);
      divide_row(&r, lanes);
    } else if (lanes == 1) {
      reduce_row(&r, 1, false);
    } else {
      reduce_row(&r, 16, false);
    }
  }
}

const struct ifd_k_pool_table IFD_K(ifd_k_pool) = {.rows = rows};
