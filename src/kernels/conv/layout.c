/* Images between planes, pixels and blocks of 16 channels. */
#include "kernels/conv/task.h"
#include "kernels/gemm/pack.h"
#include "kernels/part.h"
#include "kernels/transpose.h"

void IFD_K(ifd_conv_planar_to_blocked)(float *y, const float *x, int64_t c, int64_t n_pixels, int64_t b0,
                                       int64_t b1) {
  for (int64_t b = b0; b < b1; b++) {
    int64_t n = ifd_min_i64(16, c - b * 16);
    IFD_K(ifd_k_pack_b)(y + b * n_pixels * 16, x + b * 16 * n_pixels, 1, n_pixels, n_pixels, n);
  }
}

/* The first n_pixels of 16 pixels to lines of the first n channels. */
static void turn_some(float *y, int64_t y_rs, int64_t n, const float *x, int64_t n_pixels) {
  v16 t[16];
  for (int i = 0; i < 16; i++) t[i] = i < n_pixels ? v16_load(x + i * 16) : v16_zero();
  v16_transpose(t);
  for (int j = 0; j < n; j++) v16_store_n(y + j * y_rs, t[j], (int)n_pixels);
}

void IFD_K(ifd_conv_blocked_to_planar)(float *y, const float *x, int64_t c, int64_t n_pixels, int64_t b0,
                                       int64_t b1) {
  for (int64_t b = b0; b < b1; b++) {
    int64_t n = ifd_min_i64(16, c - b * 16);
    const float *from = x + b * n_pixels * 16;
    float *to = y + b * 16 * n_pixels;
    int64_t p = 0;
    for (; n == 16 && p + 16 <= n_pixels; p += 16) ifd_turn_square(to + p, n_pixels, from + p * 16, 16);
    for (; p < n_pixels; p += 16)
      turn_some(to + p, n_pixels, n, from + p * 16, ifd_min_i64(16, n_pixels - p));
  }
}

void IFD_K(ifd_conv_pixels_to_blocked)(float *y, const float *x, int64_t c, int64_t n_pixels, int64_t p0,
                                       int64_t p1) {
  for (int64_t b = 0; b * 16 < c; b++) {
    int n = (int)ifd_min_i64(16, c - b * 16);
    for (int64_t p = p0; p < p1; p++) {
      const float *from = x + p * c + b * 16;
      v16_store(y + (b * n_pixels + p) * 16, n == 16 ? v16_load(from) : v16_load_n(from, n));
    }
  }
}

void IFD_K(ifd_conv_blocked_to_pixels)(float *y, const float *x, int64_t c, int64_t n_pixels, int64_t p0,
                                       int64_t p1) {
  for (int64_t b = 0; b * 16 < c; b++) {
    int n = (int)ifd_min_i64(16, c - b * 16);
    for (int64_t p = p0; p < p1; p++) {
      v16 v = v16_load(x + (b * n_pixels + p) * 16);
      if (n == 16)
        v16_store(y + p * c + b * 16, v);
      else
        v16_store_n(y + p * c + b * 16, v, n);
    }
  }
}

/* Some floats of another block, of which each lane of a part comes that is taken. */
typedef struct source {
  const float *x;
  i16 from;
  m16 taken;
} source;

/* What gives lanes to the part from `lane` on. */
static int sources_of(source *to, const ifd_k_lanes *lanes, int n, int lane) {
  enum { PIECES = 16 / IFD_REPEATED };
  int n_sources = 0;
  for (int i = 0; i < n * PIECES; i++) {
    const int block = i / PIECES, first = i % PIECES * IFD_REPEATED;
    int32_t from[16] = {0}, taken[16] = {0}, any = 0;
    for (int l = 0; l < IFD_PART; l++) {
      from[l] = lanes[block].from[lane + l] - first;
      taken[l] = from[l] >= 0 && from[l] < IFD_REPEATED;
      any |= taken[l];
    }
    if (any)
      to[n_sources++] = (source){lanes[block].x + first, part_load_lanes(from),
                                 v16_lt(v16_zero(), i16_to_v16(part_load_lanes(taken)))};
  }
  return n_sources;
}

/* n is a constant where there are few, as there mostly are. */
IFD_INLINE void pick_from(const int n, float *y, const source *sources, int64_t n_pixels) {
  source s[16]; /* in registers: stores to y leave it alone */
  for (int i = 0; i < n; i++) s[i] = sources[i];
  for (int64_t p = 0; p < n_pixels; p++) {
    v16 v = v16_zero();
    for (int i = 0; i < n; i++)
      v = v16_select(s[i].taken, part_permute_repeated(part_load_repeated(s[i].x + p * 16), s[i].from), v);
    part_store(y + p * 16, v);
  }
}

static void pick_part(float *y, const source *s, int n, int64_t n_pixels) {
  switch (n) {
  case 1: pick_from(1, y, s, n_pixels); break;
  case 2: pick_from(2, y, s, n_pixels); break;
  case 3: pick_from(3, y, s, n_pixels); break;
  case 4: pick_from(4, y, s, n_pixels); break;
  default: pick_from(n, y, s, n_pixels);
  }
}

void IFD_K(ifd_conv_pick)(float *y, const ifd_k_lanes *lanes, int n, int64_t n_pixels) {
  enum { NEAR = 64 }; /* pixels that stay in L1 */
  source sources[16 / IFD_PART][16];
  int n_sources[16 / IFD_PART];
  for (int i = 0; i < 16 / IFD_PART; i++) n_sources[i] = sources_of(sources[i], lanes, n, i * IFD_PART);
  for (int64_t p = 0; p < n_pixels; p += NEAR)
    for (int i = 0; i < 16 / IFD_PART; i++) {
      pick_part(y + p * 16 + i * IFD_PART, sources[i], n_sources[i], ifd_min_i64(NEAR, n_pixels - p));
      for (int k = 0; k < n_sources[i]; k++) sources[i][k].x += NEAR * 16;
    }
}
