#include "kernels/quant/image.h"

/* Exactly n bytes, by chunks of which the last may overlap the one before. */
#define COPY_AS(type, n)                                                                                     \
  if ((n) >= (int64_t)sizeof(type)) {                                                                        \
    for (int64_t i = 0;; i += (int64_t)sizeof(type)) {                                                       \
      if (i > (n) - (int64_t)sizeof(type)) i = (n) - (int64_t)sizeof(type);                                  \
      type v;                                                                                                \
      memcpy(&v, from + i, sizeof v);                                                                        \
      v ^= (type){0} + flips.as_##type;                                                                      \
      memcpy(to + i, &v, sizeof v);                                                                          \
      if (i == (n) - (int64_t)sizeof(type)) return;                                                          \
    }                                                                                                        \
  }
#if defined(IFD_ISA_avx512)
typedef uint64_t widest __attribute__((vector_size(64)));
#elif defined(IFD_ISA_avx2)
typedef uint64_t widest __attribute__((vector_size(32)));
#else
typedef uint64_t widest __attribute__((vector_size(16)));
#endif
typedef uint64_t wide __attribute__((vector_size(16)));
typedef uint64_t eight;
typedef uint32_t four;

typedef struct flip {
  uint64_t as_widest, as_wide, as_eight;
  uint32_t as_four;
} flip;

static inline flip flip_of(uint8_t byte) {
  uint64_t all = byte * 0x0101010101010101u;
  return (flip){all, all, all, (uint32_t)all};
}

static inline void copy_bytes(uint8_t *restrict to, const uint8_t *restrict from, int64_t n, flip flips) {
  COPY_AS(widest, n)
  COPY_AS(wide, n)
  COPY_AS(eight, n)
  COPY_AS(four, n)
  for (int64_t i = 0; i < n; i++) to[i] = from[i] ^ (uint8_t)flips.as_four;
}

/* n bytes and some more, up to whole registers: one or a few moves. */
static inline void copy_spilling(uint8_t *to, const uint8_t *from, int64_t n, flip flips) {
  for (int64_t i = 0; i < n; i += (int64_t)sizeof(widest)) {
    widest v;
    memcpy(&v, from + i, sizeof v);
    v ^= (widest){0} + flips.as_widest;
    memcpy(to + i, &v, sizeof v);
  }
}

static inline int64_t whole_registers(int64_t n) {
  return ifd_ceil_div(n, (int64_t)sizeof(widest)) * (int64_t)sizeof(widest);
}

/* Output places side by side. */
typedef struct span {
  int64_t sample, at[IFD_K_DIMS], n;
} span;

static span span_from(const ifd_k_conv_shape *s, int64_t row, int64_t end) {
  int64_t line = row / s->out[IFD_K_W];
  span p = {.at[IFD_K_W] = row % s->out[IFD_K_W]};
  p.at[IFD_K_H] = line % s->out[IFD_K_H];
  line /= s->out[IFD_K_H];
  p.at[IFD_K_D] = line % s->out[IFD_K_D];
  p.sample = line / s->out[IFD_K_D];
  p.n = ifd_min_i64(end - row, s->out[IFD_K_W] - p.at[IFD_K_W]);
  return p;
}

/* A run of `taps` neighbouring taps from column `column` of a line, or of padding where line is NULL. What
 * may be spilled behind it is written later. */
static inline void copy_run(const ifd_k_quant_image *g, uint8_t *to, const uint8_t *line, int64_t column,
                            int64_t taps, bool spills, flip flips) {
  int64_t c = g->shape->c / g->shape->groups, width = g->shape->in[IFD_K_W], first = 0, last = taps;
  if (!line || column < 0 || column + taps > width) {
    memset(to, g->fill, (size_t)(taps * c));
    first = column < 0 ? -column : 0;
    last = ifd_min_i64(taps, width - column);
    if (!line || first >= last) return;
  }
  if (spills && first == 0 && last == taps) {
    const uint8_t *from = line + column * g->shape->c;
    if (g->end - from >= whole_registers(taps * c)) {
      copy_spilling(to, from, taps * c, flips);
      return;
    }
  }
  copy_bytes(to + first * c, line + (column + first) * g->shape->c, (last - first) * c, flips);
}

void IFD_K(ifd_quant_gather)(const void *source, uint8_t *to, int64_t stride, int64_t i0, int64_t i1) {
  const ifd_k_quant_image *g = source;
  const ifd_k_conv_shape *s = g->shape;
  const flip flips = flip_of(g->flip);
  int64_t c = s->c / s->groups;
  bool whole = s->groups == 1 && s->dilation[IFD_K_W] == 1; /* a line of taps lies in one piece */
  int64_t run = whole ? s->kernel[IFD_K_W] : 1;
  for (int64_t i = i0; i < i1;) {
    span p = span_from(s, i, i1);
    uint8_t *at = to + (i - i0) * stride;
    for (int64_t d = 0; d < s->kernel[IFD_K_D]; d++)
      for (int64_t h = 0; h < s->kernel[IFD_K_H]; h++) {
        const uint8_t *line = ifd_quant_line(g, p.sample, p.at, d, h);
        for (int64_t w = 0; w < s->kernel[IFD_K_W]; w += run, at += run * c) {
          bool spills = at - (to + (i - i0) * stride) + whole_registers(run * c) <= stride;
          for (int64_t o = 0; o < p.n; o++)
            copy_run(g, at + o * stride, line,
                     (p.at[IFD_K_W] + o) * s->stride[IFD_K_W] + w * s->dilation[IFD_K_W] - s->pad[IFD_K_W],
                     run, spills, flips);
        }
      }
    i += p.n;
  }
}
