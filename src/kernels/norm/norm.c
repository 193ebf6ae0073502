#include "kernels/norm/norm.h"
#include "kernels/fold.h"
#include "kernels/vmath.h"

typedef struct moments {
  float mean, inv_std_dev;
} moments;

enum { ROWS_AT_ONCE = 4 };

/* Those of R rows; without a mean they are about 0. R and has_mean are constants where this is inlined. */
IFD_INLINE void moments_of_rows(const int R, const bool has_mean, moments *m, const float *x, size_t n,
                                float epsilon) {
  v16 sums[ROWS_AT_ONCE], means[ROWS_AT_ONCE];
  for (int r = 0; r < R; r++) m[r].mean = 0, means[r] = v16_zero();
  if (has_mean) v16_fold_rows(R, sums, x, n, n, v16_step_sum, means);
  for (int r = 0; r < R && has_mean; r++) {
    m[r].mean = v16_sum(sums[r]) / (float)n;
    means[r] = v16_set1(m[r].mean);
  }
  v16_fold_rows(R, sums, x, n, n, v16_step_deviation, means);
  for (int r = 0; r < R; r++) m[r].inv_std_dev = 1 / sqrtf(v16_sum(sums[r]) / (float)n + epsilon);
}

static moments moments_of(const float *x, size_t n, float epsilon) {
  moments m;
  moments_of_rows(1, true, &m, x, n, epsilon);
  return m;
}

/* ---- LayerNormalization, RMSNormalization ---- */

/* (x - mean) * factor * scale + bias of n <= 16 elements; NULL parameters are 1 and 0 */
IFD_INLINE void standardize_some(const float *x, int n, v16 mean, v16 factor, const float *scale,
                                 const float *bias, float *y) {
  v16 v = v16_mul(v16_sub(v16_load_n(x, n), mean), factor);
  if (scale && bias)
    v = v16_fma(v, v16_load_n(scale, n), v16_load_n(bias, n));
  else if (scale)
    v = v16_mul(v, v16_load_n(scale, n));
  else if (bias)
    v = v16_add(v, v16_load_n(bias, n));
  v16_store_n(y, v, n);
}

static void standardize_row(const float *x, size_t n, float mean, float factor, const float *scale,
                            const float *bias, float *y) {
  const v16 m = v16_set1(mean), f = v16_set1(factor);
  size_t i = 0;
  if (scale && bias)
    for (; i + 16 <= n; i += 16) standardize_some(x + i, 16, m, f, scale + i, bias + i, y + i);
  if (scale && !bias)
    for (; i + 16 <= n; i += 16) standardize_some(x + i, 16, m, f, scale + i, NULL, y + i);
  for (; i < n; i += 16)
    standardize_some(x + i, n - i < 16 ? (int)(n - i) : 16, m, f, scale ? scale + i : NULL,
                     bias ? bias + i : NULL, y + i);
}

/* Up to n_rows rows; how many. */
IFD_INLINE size_t layer_rows(const bool has_mean, moments *m, const float *x, size_t n_rows, size_t n,
                             const float *scale, const float *bias, float epsilon, float *y) {
  const size_t rows = n_rows < ROWS_AT_ONCE ? 1 : ROWS_AT_ONCE;
  if (rows == 1)
    moments_of_rows(1, has_mean, m, x, n, epsilon);
  else
    moments_of_rows(ROWS_AT_ONCE, has_mean, m, x, n, epsilon);
  for (size_t r = 0; r < rows; r++)
    standardize_row(x + r * n, n, m[r].mean, m[r].inv_std_dev, scale, bias, y + r * n);
  return rows;
}

static void layer(const float *x, size_t n_rows, size_t n, const float *scale, const float *bias,
                  float epsilon, float *y, float *mean, float *inv_std_dev) {
  moments m[ROWS_AT_ONCE];
  for (size_t r = 0, rows; r < n_rows; r += rows) {
    rows = layer_rows(true, m, x + r * n, n_rows - r, n, scale, bias, epsilon, y + r * n);
    for (size_t k = 0; k < rows && mean; k++) mean[r + k] = m[k].mean;
    for (size_t k = 0; k < rows && inv_std_dev; k++) inv_std_dev[r + k] = m[k].inv_std_dev;
  }
}

static void rms(const float *x, size_t n_rows, size_t n, const float *scale, float epsilon, float *y) {
  moments m[ROWS_AT_ONCE];
  for (size_t r = 0; r < n_rows;)
    r += layer_rows(false, m, x + r * n, n_rows - r, n, scale, NULL, epsilon, y + r * n);
}

/* ---- GroupNormalization, InstanceNormalization ---- */

static void group(const float *x, size_t channels, size_t plane, const float *scale, const float *bias,
                  size_t step, float epsilon, float *y) {
  const moments m = moments_of(x, channels * plane, epsilon);
  const v16 mean = v16_set1(m.mean);
  for (size_t c = 0; c < channels; c++, x += plane, y += plane) {
    const v16 factor = v16_set1(scale ? m.inv_std_dev * scale[c * step] : m.inv_std_dev);
    const v16 shift = v16_set1(bias ? bias[c * step] : 0);
    for (size_t i = 0; i < plane; i += 16) {
      const int rest = plane - i < 16 ? (int)(plane - i) : 16;
      v16_store_n(y + i, v16_fma(v16_sub(v16_load_n(x + i, rest), mean), factor, shift), rest);
    }
  }
}

/* ---- the same of blocked images ---- */

/* Each lane's sum over n pixels, in chains that do not wait for each other. */
IFD_INLINE v16 fold_pixels(const float *x, size_t n, ifd_fold_step *step, v16 c) {
  v16 a = v16_zero(), b = a, d = a, e = a;
  size_t i = 0;
  for (; i + 4 <= n; i += 4, x += 64) {
    a = step(a, v16_load(x), c), b = step(b, v16_load(x + 16), c);
    d = step(d, v16_load(x + 32), c), e = step(e, v16_load(x + 48), c);
  }
  for (; i < n; i++, x += 16) a = step(a, v16_load(x), c);
  return v16_add(v16_add(a, b), v16_add(d, e));
}

/* Each lane's mean and sum of squares of what differs from it, read once: those of pixels that stay in L1
 * join those so far (Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing
 * sample variances", 1979). */
static void moments_of_lanes(const float *x, size_t n, float *mean, float *squares) {
  enum { PIXELS = IFD_FOLD_BLOCK / 16 };
  v16 m = v16_zero(), s = v16_zero();
  for (size_t at = 0; at < n; at += PIXELS) {
    const size_t k = n - at < PIXELS ? n - at : PIXELS;
    const v16 part = v16_mul(fold_pixels(x + at * 16, k, v16_step_sum, m), v16_set1(1 / (float)k));
    const v16 apart = v16_sub(part, m), weight = v16_set1((float)k / (float)(at + k));
    const v16 more = fold_pixels(x + at * 16, k, v16_step_deviation, part);
    m = v16_fma(apart, weight, m);
    s = v16_add(v16_fma(v16_mul(apart, apart), v16_mul(weight, v16_set1((float)at)), s), more);
  }
  v16_store(mean, m), v16_store(squares, s);
}

/* Each channel's become its group's: the mean, and 1 / sqrt(variance + epsilon). */
static void join_lanes(float *mean, float *squares, size_t n, size_t plane, float epsilon) {
  float m = 0, s = 0;
  for (size_t c = 0; c < n; c++) m += mean[c];
  m /= (float)n;
  for (size_t c = 0; c < n; c++) s += squares[c] + (mean[c] - m) * (mean[c] - m) * (float)plane;
  s = 1 / sqrtf(s / ((float)n * (float)plane) + epsilon);
  for (size_t c = 0; c < n; c++) mean[c] = m, squares[c] = s;
}

/* Channels [0, n) of a block by their own numbers. */
static void standardize_block(const float *x, size_t n, size_t plane, const float *mean, const float *factor,
                              const float *shift, float *y) {
  const m16 lanes = m16_first((int)n);
  const v16 m = v16_load(mean), f = v16_load(factor), s = v16_load(shift);
  for (size_t i = 0; i < plane * 16; i += 16)
    v16_store(y + i, v16_select(lanes, v16_fma(v16_sub(v16_load(x + i), m), f, s), v16_zero()));
}

static void group_blocked(const float *x, size_t channels, size_t plane, size_t in_group, const float *scale,
                          const float *bias, size_t in_part, float epsilon, float *y, float *room) {
  const size_t blocks = (channels + 15) / 16;
  float *mean = room, *inv_std_dev = room + blocks * 16;
  for (size_t b = 0; b < blocks; b++)
    moments_of_lanes(x + b * plane * 16, plane, mean + b * 16, inv_std_dev + b * 16);
  for (size_t c = 0; c < channels; c += in_group)
    join_lanes(mean + c, inv_std_dev + c, in_group, plane, epsilon);
  for (size_t b = 0; b < blocks; b++) {
    float factor[16] = {0}, shift[16] = {0};
    const size_t n = channels - b * 16 < 16 ? channels - b * 16 : 16;
    for (size_t l = 0, c = b * 16; l < n; l++, c++)
      factor[l] = inv_std_dev[c] * scale[c / in_part], shift[l] = bias[c / in_part];
    standardize_block(x + b * plane * 16, n, plane, mean + b * 16, factor, shift, y + b * plane * 16);
  }
}

/* ---- BatchNormalization ---- */

IFD_INLINE v16 affine(v16 x, v16 factor, v16 shift, bool relu) {
  v16 v = v16_fma(x, factor, shift);
  return relu ? v16_max(v16_zero(), v) : v;
}

IFD_INLINE void affine_plane(const float *x, size_t n, float factor, float shift, bool relu, float *y) {
  const v16 f = v16_set1(factor), s = v16_set1(shift);
  size_t i = 0;
  for (; i + 16 <= n; i += 16) v16_store(y + i, affine(v16_load(x + i), f, s, relu));
  if (i < n) v16_store_n(y + i, affine(v16_load_n(x + i, (int)(n - i)), f, s, relu), (int)(n - i));
}

static void affine_planes(const float *x, size_t n_planes, size_t plane, const float *factor,
                          const float *shift, bool relu, float *y) {
  for (size_t c = 0; c < n_planes; c++)
    if (relu)
      affine_plane(x + c * plane, plane, factor[c], shift[c], true, y + c * plane);
    else
      affine_plane(x + c * plane, plane, factor[c], shift[c], false, y + c * plane);
}

IFD_INLINE void affine_row(const float *x, size_t n, const float *factor, const float *shift, bool relu,
                           float *y) {
  size_t i = 0;
  for (; i + 16 <= n; i += 16)
    v16_store(y + i, affine(v16_load(x + i), v16_load(factor + i), v16_load(shift + i), relu));
  if (i < n) {
    const int rest = (int)(n - i);
    v16 v = affine(v16_load_n(x + i, rest), v16_load_n(factor + i, rest), v16_load_n(shift + i, rest), relu);
    v16_store_n(y + i, v, rest);
  }
}

static void affine_rows(const float *x, size_t n_rows, size_t n, const float *factor, const float *shift,
                        bool relu, float *y) {
  for (size_t r = 0; r < n_rows; r++)
    if (relu)
      affine_row(x + r * n, n, factor, shift, true, y + r * n);
    else
      affine_row(x + r * n, n, factor, shift, false, y + r * n);
}

/* ---- LRN ---- */

/* s^-beta. Each lane by itself: what is special, such as 0 and infinity, is computed as powf does. */
IFD_INLINE v16 inverse_power(v16 s, float beta) {
  const v16 y = v16_set1(-beta);
  m16 special = m16_first(16);
  v16 power = v16_zero();
  if (fabsf(beta) < 1.9f) {
    special = m16_andnot(special, m16_and(v16_le(v16_set1(FLT_MIN), s), v16_le(s, v16_set1(FLT_MAX))));
    power = v16_pow_normal(s, y);
  }
  return m16_any(special) ? v16_select(special, v16_pow(s, y), power) : power;
}

IFD_INLINE v16 lrn_factor(const ifd_k_lrn *p, v16 squares) {
  return inverse_power(v16_fma(v16_set1(p->alpha), squares, v16_set1(p->bias)), p->beta);
}

/* n <= 16 elements of a channel, whose region are channels [first, first + n_channels). */
IFD_INLINE v16 lrn_of(const ifd_k_lrn *p, const float *x, const float *first, size_t n_channels, int n) {
  v16 squares = v16_zero();
  for (size_t k = 0; k < n_channels; k++) {
    v16 v = v16_load_n(first + k * p->plane, n);
    squares = v16_fma(v, v, squares);
  }
  return v16_mul(v16_load_n(x, n), lrn_factor(p, squares));
}

/* By stretches of the planes, of which those of a region stay near. */
static void lrn(const ifd_k_lrn *p, const float *x, size_t from, size_t to, float *y) {
  enum { STRETCH = 1024 };
  for (size_t at = 0; at < p->plane; at += STRETCH) {
    const size_t end = p->plane - at < STRETCH ? p->plane : at + STRETCH;
    for (size_t c = from; c < to; c++) {
      const size_t first = c < p->before ? 0 : c - p->before;
      const size_t last = p->channels - 1 - c < p->after ? p->channels - 1 : c + p->after;
      for (size_t i = at; i < end; i += 16) {
        const int n = end - i < 16 ? (int)(end - i) : 16;
        v16_store_n(y + c * p->plane + i,
                    lrn_of(p, x + c * p->plane + i, x + first * p->plane + i, last - first + 1, n), n);
      }
    }
  }
}

/* Squares of the regions of sixteen channels, which reach into those before and after: the same sums. */
IFD_INLINE v16 squares_around(const ifd_k_lrn *p, v16 before, v16 here, v16 after) {
  static const int32_t lanes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
                                  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
                                  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  v16 squares = v16_zero();
  for (int d = -(int)p->before; d <= (int)p->after; d++) {
    v16 met = d < 0 ? v16_select(m16_first(16 + d), here, before) : v16_select(m16_first(d), after, here);
    v16 v = v16_permute(met, i16_load(lanes + 16 + d));
    squares = v16_fma(v, v, squares);
  }
  return squares;
}

static void lrn_blocked(const ifd_k_lrn *p, const float *x, size_t from, size_t to, float *y) {
  const size_t n_blocks = (p->channels + 15) / 16, block = p->plane * 16;
  for (size_t b = from; b < to; b++) {
    const m16 channels = m16_first(p->channels - b * 16 < 16 ? (int)(p->channels - b * 16) : 16);
    for (size_t i = b * block; i < (b + 1) * block; i += 16) {
      v16 before = b == 0 ? v16_zero() : v16_load(x + i - block);
      v16 after = b == n_blocks - 1 ? v16_zero() : v16_load(x + i + block);
      v16 v = v16_load(x + i), squares = squares_around(p, before, v, after);
      v16_store(y + i, v16_select(channels, v16_mul(v, lrn_factor(p, squares)), v16_zero()));
    }
  }
}

const struct ifd_k_norm_table IFD_K(ifd_k_norm) = {.layer = layer,
                                                   .rms = rms,
                                                   .group = group,
                                                   .group_blocked = group_blocked,
                                                   .affine_planes = affine_planes,
                                                   .affine_rows = affine_rows,
                                                   .lrn = lrn,
                                                   .lrn_blocked = lrn_blocked};
