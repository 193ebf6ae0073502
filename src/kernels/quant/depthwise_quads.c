/* Depthwise convolutions of bytes by fours: 64 channels at a time, pixels of four lines of taps interleaved
 * once for each column, then multiplied and added by one instruction for every column of taps. */
#include "kernels/quant/finish.h"
#include "kernels/quant/image.h"
#include "kernels/quant/sizes.h"

#if defined(IFD_ISA_avx512)
enum { CHANNELS = IFD_QUANT_CHANNELS, VECTORS = CHANNELS / 16, QUAD = 4, ONCE = IFD_QUANT_ONCE };

/* Interleaving leaves quarter v of each 16 channels to vector v: what is by channel is put in that order, and
 * packing undoes it. */
static void interleave_quarters(i16 *to, const i16 *from) {
  i16 a = _mm512_shuffle_i32x4(from[0], from[1], 0x44), b = _mm512_shuffle_i32x4(from[2], from[3], 0x44);
  i16 c = _mm512_shuffle_i32x4(from[0], from[1], 0xee), d = _mm512_shuffle_i32x4(from[2], from[3], 0xee);
  to[0] = _mm512_shuffle_i32x4(a, b, 0x88), to[1] = _mm512_shuffle_i32x4(a, b, 0xdd);
  to[2] = _mm512_shuffle_i32x4(c, d, 0x88), to[3] = _mm512_shuffle_i32x4(c, d, 0xdd);
}

/* 16 channels each from places `stride` bytes apart, of `panels` that are there. */
static void spread(void *to, const void *from, int64_t stride, int64_t panels) {
  i16 v[VECTORS];
  for (int64_t i = 0; i < VECTORS; i++)
    v[i] = i < panels ? i16_load((const int32_t *)((const char *)from + i * stride)) : i16_set1(0);
  interleave_quarters(to, v);
}

/* What a line of outputs reads and becomes, of channels [c, c + n). Quads of lines of taps are groups. */
typedef struct slice {
  int64_t n_lines, groups, columns; /* of taps */
  int64_t step, apart, begin, width;
  const uint8_t **lines; /* column 0 of each, or fill */
  const uint8_t *fill;
  int64_t pixel;
  __mmask64 channels;
  i16 flip;
  int8_t *weights;      /* [column of taps][group][vector][16][4] */
  i16 *quads;           /* [column][group][vector] */
  int32_t *add;         /* [vector][16], */
  float *scale, *shift; /* as these */
  const ifd_k_quant_finish *f;
} slice;

/* Weights and the finish of channels from c on. */
static void spread_all(const slice *s, const int8_t *packed, int64_t c, int64_t m) {
  const int64_t quads = s->columns * s->groups, panel = ifd_quant_quads(quads * QUAD) * 64,
                panels = ifd_ceil_div(m - c, 16);
  for (int64_t q = 0; q < quads; q++)
    spread(s->weights + q * CHANNELS * QUAD, packed + c / 16 * panel + q * 64, panel, panels);
  spread(s->add, s->f->add + c, 64, panels);
  spread(s->scale, s->f->scale + c, 64, panels);
  spread(s->shift, s->f->shift + c, 64, panels);
}

IFD_INLINE i16 load_channels(const slice *s, int64_t line, int64_t column) {
  if (line >= s->n_lines) return _mm512_setzero_si512();
  const bool inside = column >= 0 && column < s->width && s->lines[line] != s->fill;
  const uint8_t *x = inside ? s->lines[line] + column * s->pixel : s->fill;
  return _mm512_xor_si512(_mm512_maskz_loadu_epi8(s->channels, x), s->flip);
}

/* Columns [0, n) from the slice's begin on. */
static void interleave(const slice *s, int64_t begin, int64_t n) {
  i16 *to = s->quads;
  for (int64_t column = begin; column < begin + n; column++)
    for (int64_t g = 0; g < s->groups; g++, to += VECTORS) {
      i16 p[QUAD];
      for (int i = 0; i < QUAD; i++) p[i] = load_channels(s, g * QUAD + i, column);
      i16 a = _mm512_unpacklo_epi8(p[0], p[1]), b = _mm512_unpackhi_epi8(p[0], p[1]);
      i16 c = _mm512_unpacklo_epi8(p[2], p[3]), d = _mm512_unpackhi_epi8(p[2], p[3]);
      to[0] = _mm512_unpacklo_epi16(a, c), to[1] = _mm512_unpackhi_epi16(a, c);
      to[2] = _mm512_unpacklo_epi16(b, d), to[3] = _mm512_unpackhi_epi16(b, d);
    }
}

/* n outputs whose columns are interleaved. */
__attribute__((target("avx512vnni"))) static void sum_quads(const slice *s, uint8_t *y, int64_t y_step,
                                                            int64_t n) {
  const ifd_k_quant_finish *f = s->f;
  const int32_t lo = (int32_t)rintf(f->lo) + f->zero, hi = (int32_t)rintf(f->hi) + f->zero;
  const i16 zero = _mm512_set1_epi16((int16_t)f->zero);
  const v16 most = v16_set1(f->hi);
  for (int64_t o = 0; o < n; o++, y += y_step) {
    i16 sum[VECTORS];
    const i16 *w = (const i16 *)s->weights;
    for (int v = 0; v < VECTORS; v++) sum[v] = i16_load(s->add + v * 16);
    for (int64_t k = 0; k < s->columns; k++) {
      const i16 *q = s->quads + (o * s->step + k * s->apart) * s->groups * VECTORS;
      for (int64_t g = 0; g < s->groups; g++, q += VECTORS, w += VECTORS)
        for (int v = 0; v < VECTORS; v++) sum[v] = _mm512_dpbusd_epi32(sum[v], q[v], w[v]);
    }
    for (int v = 0; v < VECTORS; v++) {
      v16 value = v16_fma(i16_to_v16(sum[v]), v16_load(s->scale + v * 16), v16_load(s->shift + v * 16));
      sum[v] = v16_to_i16(v16_min(most, value));
    }
    _mm512_mask_storeu_epi8(y, s->channels, i16_nearest_lanes(sum, zero, lo < 0, lo, hi));
  }
}

static void run_line(const slice *s, uint8_t *y, int64_t y_step, int64_t n) {
  for (int64_t o = 0; o < n; o += ONCE) {
    int64_t some = ifd_min_i64(ONCE, n - o);
    interleave(s, s->begin + o * s->step, (some - 1) * s->step + (s->columns - 1) * s->apart + 1);
    sum_quads(s, y + o * y_step, y_step, some);
  }
}

static void find_lines(const ifd_k_quant_image *g, slice *s, int64_t r, int64_t c) {
  const ifd_k_conv_shape *h = g->shape;
  int64_t depth = r / h->out[IFD_K_H], l = 0;
  int64_t at[IFD_K_DIMS] = {depth % h->out[IFD_K_D], r % h->out[IFD_K_H]};
  for (int64_t i = 0; i < h->kernel[IFD_K_D]; i++)
    for (int64_t j = 0; j < h->kernel[IFD_K_H]; j++, l++) {
      const uint8_t *x = ifd_quant_line(g, depth / h->out[IFD_K_D], at, i, j);
      s->lines[l] = x ? x + c : s->fill;
    }
}

void IFD_K(ifd_quant_depthwise_quads)(const ifd_k_quant_image *g, const int8_t *packed,
                                      const ifd_k_quant_finish *f, void *y, int64_t r0, int64_t r1,
                                      void *scratch) {
  const ifd_k_conv_shape *h = g->shape;
  const ifd_quant_quads_sizes z = ifd_quant_quads_sizes_of(h);
  uint8_t fill[CHANNELS];
  char *at = scratch;
  slice s = {.n_lines = h->kernel[IFD_K_D] * h->kernel[IFD_K_H],
             .groups = z.groups,
             .columns = h->kernel[IFD_K_W],
             .step = h->stride[IFD_K_W],
             .apart = h->dilation[IFD_K_W],
             .begin = -h->pad[IFD_K_W],
             .width = h->in[IFD_K_W],
             .pixel = h->c,
             .flip = _mm512_set1_epi8((char)g->flip),
             .fill = fill,
             .quads = (i16 *)at,
             .weights = (int8_t *)(at + z.weights),
             .add = (int32_t *)(at + z.columns),
             .lines = (const uint8_t **)(at + z.lines),
             .f = f};
  s.scale = (float *)s.add + CHANNELS, s.shift = s.scale + CHANNELS;
  memset(fill, g->fill ^ g->flip, sizeof fill);
  for (int64_t c = 0; c < h->m; c += CHANNELS) {
    s.channels = h->m - c >= CHANNELS ? ~(__mmask64)0 : ((__mmask64)1 << (h->m - c)) - 1;
    spread_all(&s, packed, c, h->m);
    for (int64_t r = r0; r < r1; r++) {
      find_lines(g, &s, r, c);
      run_line(&s, (uint8_t *)y + r * h->out[IFD_K_W] * h->m + c, h->m, h->out[IFD_K_W]);
    }
  }
}

#else
void IFD_K(ifd_quant_depthwise_quads)(const ifd_k_quant_image *g, const int8_t *packed,
                                      const ifd_k_quant_finish *f, void *y, int64_t r0, int64_t r1,
                                      void *scratch) {
  (void)g, (void)packed, (void)f, (void)y, (void)r0, (void)r1, (void)scratch;
}
#endif
