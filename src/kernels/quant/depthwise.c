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

/* sum + a * b, where a is in [0, 255] and b in [-255, 255] */
#if defined(IFD_ISA_avx512)
IFD_INLINE i16 add_product(i16 sum, i16 a, i16 b) { return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)); }
#elif defined(IFD_ISA_avx2)
IFD_INLINE i16 add_product(i16 sum, i16 a, i16 b) {
  return (i16){_mm256_add_epi32(sum.l, _mm256_madd_epi16(a.l, b.l)),
               _mm256_add_epi32(sum.h, _mm256_madd_epi16(a.h, b.h))};
}
#else
IFD_INLINE i16 add_product(i16 sum, i16 a, i16 b) { return i16_add(sum, i16_mul(a, b)); }
#endif

/* The packed weights of 16 channels, less their zero points, to [tap][16]. */
static void spread_weights(int32_t *to, const int8_t *panel, i16 zero, int64_t taps) {
  for (int64_t t = 0; t < taps; t += 4) {
    i16 quad = i16_load((const int32_t *)(panel + t * 16));
    i16 w[4] = {i16_sra(i16_sll(quad, 24), 24), i16_sra(i16_sll(quad, 16), 24), i16_sra(i16_sll(quad, 8), 24),
                i16_sra(quad, 24)};
    for (int64_t i = 0; i < 4 && t + i < taps; i++) i16_store(to + (t + i) * 16, i16_sub(w[i], zero));
  }
}

/* The lines of x that a line of outputs reads, 16 channels from c on, padding included: [d × h][columns][16].
 */
static void copy_lines(const ifd_k_quant_image *g, uint8_t *to, int64_t sample, const int64_t *at, int64_t c,
                       int64_t columns) {
  const ifd_k_conv_shape *s = g->shape;
  int64_t n = ifd_min_i64(16, s->c - c), left = s->pad[IFD_K_W], width = s->in[IFD_K_W];
  const i16 flip = i16_set1(g->flip);
  for (int64_t d = 0; d < s->kernel[IFD_K_D]; d++)
    for (int64_t h = 0; h < s->kernel[IFD_K_H]; h++, to += columns * 16) {
      const uint8_t *line = ifd_quant_line(g, sample, at, d, h);
      int64_t inside = line ? ifd_min_i64(columns, left + width) : 0;
      for (int64_t i = 0; i < columns; i++) {
        if (i < left || i >= inside)
          memset(to + i * 16, g->fill, 16);
        else if (n == 16)
          i16_store_bytes(to + i * 16, i16_xor(i16_load_bytes(line + (i - left) * s->c + c), flip));
        else
          for (int64_t k = 0; k < n; k++) to[i * 16 + k] = line[(i - left) * s->c + c + k] ^ g->flip;
      }
    }
}

typedef struct taps {
  const uint8_t *x; /* [line][columns][16] */
  const int32_t *w; /* [line][n][16] */
  int64_t lines, n, columns, step, apart;
} taps;

/* N outputs from o on. */
IFD_INLINE void sum_taps(const int N, const taps *t, int64_t o, i16 *sum) {
  UNROLL_ for (int i = 0; i < N; i++) sum[i] = i16_set1(0);
  const int32_t *w = t->w;
  for (int64_t line = 0; line < t->lines; line++) {
    const uint8_t *x = t->x + (line * t->columns + o * t->step) * 16;
    for (int64_t k = 0; k < t->n; k++, w += 16, x += t->apart * 16) {
      i16 wv = i16_load(w);
      UNROLL_ for (int i = 0; i < N; i++) sum[i] =
          add_product(sum[i], i16_load_bytes(x + i * t->step * 16), wv);
    }
  }
}

IFD_INLINE void put_all(const ifd_quant_store *s, int64_t o, int n, const i16 *sum) {
  const ifd_quant_column c = ifd_quant_column_at(s, 0);
  for (int i = 0; i < n; i++) switch (s->f.out) {
    case IFD_K_QUANT_INT8: ifd_quant_put(IFD_K_QUANT_INT8, s, &c, sum[i], o + i, 0, (int)s->lanes); break;
    case IFD_K_QUANT_FLOAT: ifd_quant_put(IFD_K_QUANT_FLOAT, s, &c, sum[i], o + i, 0, (int)s->lanes); break;
    case IFD_K_QUANT_INT32: ifd_quant_put(IFD_K_QUANT_INT32, s, &c, sum[i], o + i, 0, (int)s->lanes); break;
    }
}

static void run_line(const taps *t, int64_t n, const ifd_quant_store *s) {
  i16 sum[AT_ONCE];
  int64_t o = 0;
  for (; o + AT_ONCE <= n; o += AT_ONCE) {
    sum_taps(AT_ONCE, t, o, sum);
    put_all(s, o, AT_ONCE, sum);
  }
  for (; o < n; o++) {
    sum_taps(1, t, o, sum);
    put_all(s, o, 1, sum);
  }
}

void IFD_K(ifd_quant_depthwise)(const ifd_k_quant_image *g, const int8_t *packed,
                                const ifd_k_quant_finish *finish, void *y, int64_t r0, int64_t r1,
                                void *scratch) {
  const ifd_k_conv_shape *s = g->shape;
  ifd_quant_depthwise_sizes z = ifd_quant_depthwise_sizes_of(s);
  int64_t size = finish->out == IFD_K_QUANT_INT8 ? 1 : 4, width = s->out[IFD_K_W];
  uint8_t *lines = (uint8_t *)scratch + z.weights;
  taps t = {.x = lines,
            .w = scratch,
            .lines = s->kernel[IFD_K_D] * s->kernel[IFD_K_H],
            .n = s->kernel[IFD_K_W],
            .columns = z.columns,
            .step = s->stride[IFD_K_W],
            .apart = s->dilation[IFD_K_W]};
  for (int64_t c = 0; c < s->m; c += 16) {
    ifd_quant_store to = {
        .f = *finish, .c_rs = s->m * size, .size = size, .lanes = ifd_min_i64(16, s->m - c)};
    ifd_k_quant_finish *f = &to.f;
    i16 zero = f->b_zero ? i16_load(f->b_zero + c) : i16_set1(0);
    f->b_zero = NULL; /* it is in the weights */
    f->add += c, f->scale += c, f->shift += c;
    spread_weights(scratch, packed + c / 16 * ifd_quant_quads(z.taps) * 64, zero, z.taps);
    for (int64_t r = r0; r < r1; r++) { /* a line of outputs */
      int64_t depth = r / s->out[IFD_K_H];
      int64_t at[IFD_K_DIMS] = {depth % s->out[IFD_K_D], r % s->out[IFD_K_H]};
      copy_lines(g, lines, depth / s->out[IFD_K_D], at, c, z.columns);
      to.c = (char *)y + (r * width * s->m + c) * size;
      run_line(&t, width, &to);
    }
  }
}
