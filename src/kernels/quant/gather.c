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
typedef uint64_t half __attribute__((vector_size(32)));
typedef uint64_t wide __attribute__((vector_size(16)));
typedef uint64_t eight;
typedef uint32_t four;

typedef struct flip {
  uint64_t as_widest, as_half, as_wide, as_eight;
  uint32_t as_four;
} flip;

static inline flip flip_of(uint8_t byte) {
  uint64_t all = byte * 0x0101010101010101u;
  return (flip){all, all, all, all, (uint32_t)all};
}

static inline void copy_bytes(uint8_t *restrict to, const uint8_t *restrict from, int64_t n, flip flips) {
  COPY_AS(widest, n)
  COPY_AS(wide, n)
  COPY_AS(eight, n)
  COPY_AS(four, n)
  for (int64_t i = 0; i < n; i++) to[i] = from[i] ^ (uint8_t)flips.as_four;
}

/* n pieces of so many bytes and some more, up to whole registers: one or a few moves. */
#define COPY_SPILLING(type)                                                                                  \
  static inline void spill_##type(uint8_t *to, int64_t stride, const uint8_t *from, int64_t step,            \
                                  int64_t bytes, int64_t n, flip flips) {                                    \
    const type all = (type){0} + flips.as_##type;                                                            \
    for (; n > 0; n--, to += stride, from += step)                                                           \
      for (int64_t i = 0; i < bytes; i += (int64_t)sizeof(type)) {                                           \
        type v;                                                                                              \
        memcpy(&v, from + i, sizeof v);                                                                      \
        v ^= all;                                                                                            \
        memcpy(to + i, &v, sizeof v);                                                                        \
      }                                                                                                      \
  }
COPY_SPILLING(widest)
COPY_SPILLING(half)
COPY_SPILLING(wide)

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

/* What a row reads of one line of an image: runs of neighbouring taps, each in one piece. */
typedef struct run {
  int64_t taps, c, pixel; /* bytes of a tap, of a pixel with all its channels */
  int64_t width, step;    /* columns, from an output place's run to the next one's */
  uint8_t fill;
  flip flips;
} run;

/* From a column that may be outside. */
static inline void copy_edge(const run *r, uint8_t *to, const uint8_t *line, int64_t column) {
  memset(to, r->fill, (size_t)(r->taps * r->c));
  int64_t first = column < 0 ? -column : 0, last = ifd_min_i64(r->taps, r->width - column);
  if (first < last)
    copy_bytes(to + first * r->c, line + (column + first) * r->pixel, (last - first) * r->c, r->flips);
}

/* Places [from, to) of n whose runs are inside, and of which whole registers may be read. */
static inline void find_inside(const run *r, const uint8_t *line, const uint8_t *end, int64_t column,
                               int64_t n, int64_t *from, int64_t *to) {
  int64_t last = r->width - r->taps, readable = end - line - whole_registers(r->taps * r->c);
  *from = *to = 0;
  if (readable < 0) return;
  last = ifd_min_i64(last, readable / r->pixel);
  *from = column < 0 ? ifd_min_i64(ifd_ceil_div(-column, r->step), n) : 0;
  *to = last < column ? *from : ifd_max_i64(*from, ifd_min_i64((last - column) / r->step + 1, n));
}

/* The runs of n places from column `column` on, `stride` bytes apart; a line that is NULL is padding. What
 * may be spilled behind a run is written later. */
static inline void copy_runs(const run *r, uint8_t *to, int64_t stride, const uint8_t *line,
                             const uint8_t *end, int64_t column, int64_t n, bool spills) {
  const int64_t bytes = r->taps * r->c, next = r->step * r->pixel;
  int64_t from, last, o = 0;
  if (!line) {
    for (; o < n; o++) memset(to + o * stride, r->fill, (size_t)bytes);
    return;
  }
  find_inside(r, line, end, column, n, &from, &last);
  for (; o < from; o++) copy_edge(r, to + o * stride, line, column + o * r->step);
  const uint8_t *x = line + (column + o * r->step) * r->pixel;
  if (!spills)
    for (; o < last; o++, x += next) copy_bytes(to + o * stride, x, bytes, r->flips);
  else if (bytes <= (int64_t)sizeof(wide))
    spill_wide(to + o * stride, stride, x, next, 1, last - o, r->flips);
  else if (bytes <= (int64_t)sizeof(half))
    spill_half(to + o * stride, stride, x, next, 1, last - o, r->flips);
  else
    spill_widest(to + o * stride, stride, x, next, bytes, last - o, r->flips);
  o = last;
  for (; o < n; o++) copy_edge(r, to + o * stride, line, column + o * r->step);
}

void IFD_K(ifd_quant_gather)(const void *source, uint8_t *to, int64_t stride, int64_t i0, int64_t i1) {
  const ifd_k_quant_image *g = source;
  const ifd_k_conv_shape *s = g->shape;
  bool whole = s->groups == 1 && s->dilation[IFD_K_W] == 1; /* a line of taps lies in one piece */
  const run r = {.taps = whole ? s->kernel[IFD_K_W] : 1,
                 .c = s->c / s->groups,
                 .pixel = s->c,
                 .width = s->in[IFD_K_W],
                 .step = s->stride[IFD_K_W],
                 .fill = g->fill,
                 .flips = flip_of(g->flip)};
  const int64_t bytes = r.taps * r.c;
  for (int64_t i = i0; i < i1;) {
    span p = span_from(s, i, i1);
    uint8_t *first = to + (i - i0) * stride, *at = first;
    for (int64_t d = 0; d < s->kernel[IFD_K_D]; d++)
      for (int64_t h = 0; h < s->kernel[IFD_K_H]; h++) {
        const uint8_t *line = ifd_quant_line(g, p.sample, p.at, d, h);
        int64_t column = p.at[IFD_K_W] * r.step - s->pad[IFD_K_W];
        for (int64_t w = 0; w < s->kernel[IFD_K_W]; w += r.taps, at += bytes) {
          bool spills = at - first + whole_registers(bytes) <= stride;
          copy_runs(&r, at, stride, line, g->end, column + w * s->dilation[IFD_K_W], p.n, spills);
        }
      }
    i += p.n;
  }
}

/* ---- lines ---- */

enum { MOST_MERGED = 64 };

/* n pixels of a line, from column `column` on, `step` columns apart. */
static void copy_pixels(const run *r, uint8_t *to, const uint8_t *line, int64_t column, int64_t n) {
  int64_t from, last;
  if (!line) {
    memset(to, r->fill, (size_t)(n * r->c));
    return;
  }
  find_inside(r, line, line + r->width * r->pixel + (int64_t)sizeof(widest) + r->c, column, n, &from, &last);
  memset(to, r->fill, (size_t)(from * r->c));
  memset(to + last * r->c, r->fill, (size_t)((n - last) * r->c));
  const uint8_t *x = line + (column + from * r->step) * r->pixel;
  if (r->step == 1 && r->pixel == r->c) {
    copy_bytes(to + from * r->c, x, (last - from) * r->c, r->flips);
    return;
  }
  for (int64_t o = from; o < last; o++, x += r->step * r->pixel) copy_bytes(to + o * r->c, x, r->c, r->flips);
}

/* Pixels of several lines side by side: where each is, and from one to the next; 0 where all are one. */
typedef struct side {
  const uint8_t *at;
  int64_t next;
} side;

/* n pixels of all sides, each by one move that spills over what is written next. `merge` is a constant where
 * this is inlined, or any number. */
#define MERGE_AS(type)                                                                                       \
  IFD_INLINE void merge_##type##_of(const int64_t merge, const run *r, uint8_t *to, side *sides,             \
                                    int64_t n) {                                                             \
    const type all = (type){0} + r->flips.as_##type;                                                         \
    const int64_t c = r->c;                                                                                  \
    for (; n > 0; n--) _Pragma("GCC unroll 3") for (int64_t g = 0; g < merge; g++, to += c) {                \
        type v;                                                                                              \
        memcpy(&v, sides[g].at, sizeof v);                                                                   \
        v ^= all;                                                                                            \
        memcpy(to, &v, sizeof v);                                                                            \
        sides[g].at += sides[g].next;                                                                        \
      }                                                                                                      \
  }                                                                                                          \
  static void merge_##type(const run *r, int64_t merge, uint8_t *to, side *sides, int64_t n) {               \
    side few[3] = {sides[0], sides[1], sides[merge - 1]};                                                    \
    if (merge > 3) {                                                                                         \
      merge_##type##_of(merge, r, to, sides, n);                                                             \
      return;                                                                                                \
    }                                                                                                        \
    merge == 2 ? merge_##type##_of(2, r, to, few, n) : merge_##type##_of(3, r, to, few, n);                  \
    memcpy(sides, few, (size_t)merge * sizeof *few);                                                         \
  }
MERGE_AS(four)
MERGE_AS(eight)
MERGE_AS(wide)
MERGE_AS(half)

/* As copy_pixels, of lines side by side, of at most 32 channels. Behind the last pixels may be nothing that
 * is written next. */
static void merge_pixels(const run *r, uint8_t *to, const uint8_t *const *lines, int64_t merge,
                         int64_t column, int64_t n) {
  static void (*const merge_pixel[])(const run *, int64_t, uint8_t *, side *,
                                     int64_t) = {merge_four, merge_eight, merge_wide, merge_half};
  const int kind = r->c <= 4 ? 0 : r->c <= 8 ? 1 : r->c <= 16 ? 2 : 3;
  const int64_t size = 4 << kind, pixel = merge * r->c, last = ifd_max_i64(0, r->width - column);
  int64_t from = column < 0 ? ifd_min_i64(ifd_ceil_div(-column, r->step), n) : 0;
  int64_t end = ifd_max_i64(from, ifd_min_i64(ifd_ceil_div(last, r->step), n));
  uint8_t fill[MOST_MERGED];
  side sides[MOST_MERGED];
  memset(fill, r->fill ^ (uint8_t)r->flips.as_four, sizeof fill);
  for (int64_t g = 0; g < merge; g++)
    sides[g] = lines[g] ? (side){lines[g] + (column + from * r->step) * r->pixel, r->step * r->pixel}
                        : (side){fill, 0};
  memset(to, r->fill, (size_t)(from * pixel));
  memset(to + end * pixel, r->fill, (size_t)((n - end) * pixel));
  int64_t whole = ifd_max_i64(from, end - ifd_ceil_div(size, r->c));
  merge_pixel[kind](r, merge, to + from * pixel, sides, whole - from);
  for (int64_t o = whole; o < end; o++)
    for (int64_t g = 0; g < merge; g++) {
      copy_bytes(to + o * pixel + g * r->c, sides[g].at, r->c, r->flips);
      sides[g].at += sides[g].next;
    }
}

/* The lines that stand side by side in line y of a plane, counted over all samples. */
static void find_lines(const ifd_k_quant_image *g, const ifd_k_quant_lines *l, int64_t y, int64_t phase,
                       const uint8_t **lines) {
  const ifd_k_conv_shape *s = g->shape;
  int64_t sample = y / l->height;
  int64_t h = y % l->height * l->axis[0].stride + phase - s->pad[IFD_K_H];
  for (int64_t i = 0; i < l->merge; i++, h += s->dilation[IFD_K_H]) {
    bool inside = h >= 0 && h < s->in[IFD_K_H] && sample < l->samples;
    lines[i] = inside ? g->x + (sample * s->in[IFD_K_H] + h) * s->in[IFD_K_W] * s->c : NULL;
  }
}

/* Pixels [i, end) of the plane of one phase. */
static void copy_plane(const ifd_k_quant_image *g, const ifd_k_quant_lines *l, uint8_t *to,
                       const int64_t phase[2], int64_t i, int64_t end) {
  const ifd_k_conv_shape *s = g->shape;
  const int64_t line = l->width * l->step;
  const uint8_t *lines[MOST_MERGED];
  const run r = {.taps = 1,
                 .c = l->pixel / l->merge,
                 .pixel = s->c,
                 .width = s->in[IFD_K_W],
                 .step = l->axis[1].stride,
                 .fill = g->fill,
                 .flips = flip_of(g->flip)};
  while (i < end) {
    int64_t x = i % line, n = ifd_min_i64(end - i, line - x);
    int64_t column = x * r.step + phase[1] - s->pad[IFD_K_W];
    find_lines(g, l, i / line, phase[0], lines);
    if (l->merge == 1)
      copy_pixels(&r, to, lines[0], column, n);
    else
      merge_pixels(&r, to, lines, l->merge, column, n);
    to += n * l->pixel, i += n;
  }
}

void IFD_K(ifd_quant_copy_lines)(const ifd_k_quant_image *g, const ifd_k_quant_lines *l, uint8_t *to,
                                 int64_t plane, int64_t i0, int64_t i1) {
  for (int64_t h = 0; h < l->axis[0].phases; h++)
    for (int64_t w = 0; w < l->axis[1].phases; w++, to += plane)
      copy_plane(g, l, to, (int64_t[]){h * l->axis[0].phase, w * l->axis[1].phase}, i0 * l->step,
                 (i1 + l->reach) * l->step);
}

void IFD_K(ifd_quant_line_offsets)(const ifd_k_quant_lines *l, int64_t plane, int64_t *offsets) {
  for (int64_t h = 0; h < l->axis[0].pieces; h++)
    for (int64_t w = 0; w < l->axis[1].pieces; w++) {
      int64_t y = h * l->axis[0].apart, x = w * l->axis[1].apart;
      int64_t phase = y % l->axis[0].stride / l->axis[0].phase * l->axis[1].phases +
                      x % l->axis[1].stride / l->axis[1].phase;
      int64_t pixels = y / l->axis[0].stride * l->width * l->step + x / l->axis[1].stride;
      *offsets++ = phase * plane + pixels * l->pixel;
    }
}
