/* Depthwise convolutions: 16 channels in lanes, neighbouring outputs of a line together. */
#include "kernels/quant/finish.h"
#include "kernels/quant/image.h"
#include "kernels/quant/sizes.h"

#if defined(IFD_ISA_avx512)
enum { AT_ONCE = 8 };
#else
enum { AT_ONCE = 4 };
#endif
#define UNROLL_ _Pragma("GCC unroll 8")

/* The packed weights of 16 channels, less their zero points, to [tap][16]. */
static void spread_weights(int32_t *to, const int8_t *panel, i16 zero, int64_t taps) {
  for (int64_t t = 0; t < taps; t += 4) {
    i16 quad = i16_load((const int32_t *)(panel + t * 16));
    i16 w[4] = {i16_sra(i16_sll(quad, 24), 24), i16_sra(i16_sll(quad, 16), 24), i16_sra(i16_sll(quad, 8), 24),
                i16_sra(quad, 24)};
    for (int64_t i = 0; i < 4 && t + i < taps; i++) i16_store(to + (t + i) * 16, i16_sub(w[i], zero));
  }
}

/* A line of x, 16 channels of it: pixel i is at x + i * pixel. */
typedef struct line {
  const uint8_t *x;
  int64_t pixel;
} line;

/* What a line of outputs reads: tap (l, k) of output o is column begin + o * step + k * apart of line l. */
typedef struct taps {
  line *lines;
  const int32_t *w; /* [line][n][16] */
  int64_t n_lines, n, begin, step, apart, width;
  uint8_t fill[16]; /* a pixel of padding */
  bool flips;       /* bytes ^ 128 are uint8, but for padding */
  char *y;          /* output 0, */
  int64_t y_step;   /* bytes to the next */
} taps;

IFD_INLINE i16 load_pixel(const uint8_t *p, bool flips) {
  i16 x = i16_load_bytes(p);
  return flips ? i16_xor(x, i16_set1(128)) : x;
}

/* N outputs from o on, all columns inside; N and `flips` are constants where this is inlined. */
IFD_INLINE void sum_taps(const int N, const bool flips, const taps *t, int64_t o, i16 *sum) {
  UNROLL_ for (int i = 0; i < N; i++) sum[i] = i16_set1(0);
  const int32_t *w = t->w;
  for (int64_t l = 0; l < t->n_lines; l++) {
    const int64_t pixel = t->lines[l].pixel, next = t->step * pixel;
    const uint8_t *x = t->lines[l].x + (t->begin + o * t->step) * pixel;
    for (int64_t k = 0; k < t->n; k++, w += 16, x += t->apart * pixel) {
      i16 wv = i16_load(w);
      UNROLL_ for (int i = 0; i < N; i++) sum[i] = add_words(sum[i], load_pixel(x + i * next, flips), wv);
    }
  }
}

/* One output, of which some columns may be padding. */
static i16 sum_edge(const taps *t, int64_t o) {
  i16 sum = i16_set1(0);
  const int32_t *w = t->w;
  for (int64_t l = 0; l < t->n_lines; l++)
    for (int64_t k = 0; k < t->n; k++, w += 16) {
      int64_t column = t->begin + o * t->step + k * t->apart;
      bool inside = column >= 0 && column < t->width && t->lines[l].x != t->fill;
      const uint8_t *x = inside ? t->lines[l].x + column * t->lines[l].pixel : t->fill;
      sum = add_words(sum, load_pixel(x, t->flips && inside), i16_load(w));
    }
  return sum;
}

IFD_INLINE void put_all(const taps *t, const ifd_quant_store *s, int64_t o, int n, const i16 *sum) {
  const ifd_quant_column c = ifd_quant_column_at(s, 0);
  char *to = t->y + o * t->y_step;
  for (int i = 0; i < n; i++, to += t->y_step) switch (s->f.out) {
    case IFD_K_QUANT_INT8: ifd_quant_put(IFD_K_QUANT_INT8, s, &c, sum[i], 0, to, (int)s->lanes); break;
    case IFD_K_QUANT_FLOAT: ifd_quant_put(IFD_K_QUANT_FLOAT, s, &c, sum[i], 0, to, (int)s->lanes); break;
    case IFD_K_QUANT_INT32: ifd_quant_put(IFD_K_QUANT_INT32, s, &c, sum[i], 0, to, (int)s->lanes); break;
    case IFD_K_QUANT_SUM: break; /* of products alone */
    }
}

/* As many times N outputs as come before `end`. */
IFD_INLINE int64_t run_inside(const int N, const bool flips, const taps *t, int64_t o, int64_t end,
                              const ifd_quant_store *s) {
  for (; o + N <= end; o += N) {
    i16 sum[AT_ONCE];
    sum_taps(N, flips, t, o, sum);
    put_all(t, s, o, N, sum);
  }
  return o;
}

static int64_t run_edge(const taps *t, int64_t o, int64_t end, const ifd_quant_store *s) {
  for (; o < end; o++) {
    i16 sum = sum_edge(t, o);
    put_all(t, s, o, 1, &sum);
  }
  return o;
}

/* n outputs. A padded line of int8 is no line of int8: then all is edge. */
static void run_line(const taps *t, int64_t n, bool padded, const ifd_quant_store *s) {
  int64_t last = t->begin + (t->n - 1) * t->apart; /* column of the last tap of output 0 */
  int64_t first = t->begin < 0 ? ifd_min_i64(n, ifd_ceil_div(-t->begin, t->step)) : 0;
  int64_t end = last < t->width ? ifd_min_i64(n, (t->width - 1 - last) / t->step + 1) : 0;
  if (padded && t->flips) end = 0;
  int64_t o = run_edge(t, 0, ifd_min_i64(first, n), s);
  if (t->flips) {
    o = run_inside(AT_ONCE, true, t, o, end, s);
    o = run_inside(1, true, t, o, end, s);
  } else {
    o = run_inside(AT_ONCE, false, t, o, end, s);
    o = run_inside(1, false, t, o, end, s);
  }
  run_edge(t, o, n, s);
}

/* The last channels, fewer than 16, with others beyond. */
static void copy_line(uint8_t *to, const uint8_t *from, int64_t pixel, int64_t width, int64_t n) {
  for (int64_t i = 0; i < width; i++) memcpy(to + i * 16, from + i * pixel, (size_t)n);
}

/* The lines that output line r reads, from channel c on. Whether some are padding. */
static bool find_lines(const ifd_k_quant_image *g, taps *t, int64_t r, int64_t c, uint8_t *copies) {
  const ifd_k_conv_shape *s = g->shape;
  int64_t depth = r / s->out[IFD_K_H], l = 0, n = s->c - c;
  int64_t at[IFD_K_DIMS] = {depth % s->out[IFD_K_D], r % s->out[IFD_K_H]};
  bool padded = false;
  for (int64_t d = 0; d < s->kernel[IFD_K_D]; d++)
    for (int64_t h = 0; h < s->kernel[IFD_K_H]; h++, l++, copies += t->width * 16) {
      const uint8_t *x = ifd_quant_line(g, depth / s->out[IFD_K_D], at, d, h);
      t->lines[l] = x ? (line){x + c, s->c} : (line){t->fill, 0};
      padded |= !x;
      if (!x || n >= 16) continue;
      copy_line(copies, x + c, s->c, t->width, n);
      t->lines[l] = (line){copies, 16};
    }
  return padded;
}

void IFD_K(ifd_quant_depthwise)(const ifd_k_quant_image *g, const int8_t *packed,
                                const ifd_k_quant_finish *finish, void *y, int64_t r0, int64_t r1,
                                void *scratch) {
  const ifd_k_conv_shape *s = g->shape;
  ifd_quant_depthwise_sizes z = ifd_quant_depthwise_sizes_of(s);
  int64_t size = ifd_k_quant_size(finish->out), width = s->out[IFD_K_W];
  uint8_t *copies = (uint8_t *)scratch + z.weights;
  taps t = {.lines = (line *)(copies + z.copies),
            .w = scratch,
            .n_lines = s->kernel[IFD_K_D] * s->kernel[IFD_K_H],
            .n = s->kernel[IFD_K_W],
            .begin = -s->pad[IFD_K_W],
            .step = s->stride[IFD_K_W],
            .apart = s->dilation[IFD_K_W],
            .width = s->in[IFD_K_W],
            .flips = g->flip != 0,
            .y_step = s->m * size};
  memset(t.fill, g->fill, sizeof t.fill);
  for (int64_t c = 0; c < s->m; c += 16) {
    ifd_quant_store to = {.f = *finish, .size = size, .lanes = ifd_min_i64(16, s->m - c)};
    ifd_k_quant_finish *f = &to.f;
    i16 zero = f->b_zero ? i16_load(f->b_zero + c) : i16_set1(0);
    f->b_zero = NULL; /* it is in the weights */
    f->add += c, f->scale += c, f->shift += c;
    spread_weights(scratch, packed + c / 16 * ifd_quant_quads(z.taps) * 64, zero, z.taps);
    for (int64_t r = r0; r < r1; r++) { /* a line of outputs */
      bool padded = find_lines(g, &t, r, c, copies);
      t.y = (char *)y + (r * width * s->m + c) * size;
      run_line(&t, width, padded, &to);
    }
  }
}
