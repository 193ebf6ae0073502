/* A convolution as products. Outputs fall in phases, one but for transposed convolutions of stride > 1, whose
 * outputs of equal remainder modulo the stride form one phase each. Within a phase every output place reads
 * the same taps of the kernel at the same distances:
 *
 *     y[y_begin + o * y_step] = Σ_c Σ_t x[begin + o * step + t * tap_step] * w[tap_begin + t * tap_apart]
 *
 * in each dimension, zeros outside x. Or all phases are columns of one product: output o is of box
 * (o + pad) / stride, place `remainder` in it, and every box reads inputs box - t, t < n_taps, with weight
 * (t * stride + remainder) / dilation where the kernel has that, else 0. Nothing here depends on the ISA. */
#ifndef IFD_KERNELS_CONV_PHASE_H
#define IFD_KERNELS_CONV_PHASE_H

#include "base/checked.h"
#include "kernels/conv/conv.h"

typedef struct ifd_conv_axis {
  int64_t n_places, n_taps;
  int64_t begin, step, tap_step;
  int64_t tap_begin, tap_apart;
  int64_t taps_before; /* those of the phases before, of this axis alone */
  int64_t y_begin, y_step;
} ifd_conv_axis;

typedef struct ifd_conv_phase {
  ifd_conv_axis axis[IFD_K_DIMS];
  int64_t n_places, n_taps;              /* products over the axes */
  int64_t taps_before;                   /* of all phases of lower index */
  int64_t n_full, n_part, k_part, steps; /* segments of k of a group, as ifd_product has them; steps in all */
} ifd_conv_phase;

static inline int64_t ifd_conv_volume(const int64_t *n) { return n[IFD_K_D] * n[IFD_K_H] * n[IFD_K_W]; }

/* The least number of groups whose channels, of inputs and outputs, are whole blocks, or all there are: a
 * part, which Winograd's algorithms take for a convolution of its own. There are at most 16; the last part
 * may have fewer. */
static inline int64_t ifd_conv_part_groups(const ifd_k_conv_shape *s) {
  int64_t c = s->c / s->groups, m = s->m / s->groups, n = 1;
  while (n < s->groups && (n * c % 16 || n * m % 16)) n++;
  return n;
}
static inline int64_t ifd_conv_n_parts(const ifd_k_conv_shape *s) {
  return ifd_ceil_div(s->groups, ifd_conv_part_groups(s));
}
static inline ifd_k_conv_shape ifd_conv_part(const ifd_k_conv_shape *s, int64_t part) {
  int64_t n = ifd_conv_part_groups(s), left = s->groups - part * n;
  ifd_k_conv_shape of = *s;
  of.groups = ifd_min_i64(n, left);
  of.c = s->c / s->groups * of.groups, of.m = s->m / s->groups * of.groups;
  return of;
}

/* The blocks [*first, *end) of a part's inputs in which output block b meets channels of its lanes' groups.
 * So many output blocks from b on, of one group, meet the same. */
static inline int64_t ifd_conv_met_blocks(const ifd_k_conv_shape *part, int64_t b, int64_t *first,
                                          int64_t *end) {
  int64_t c = part->c / part->groups, m = part->m / part->groups, group = b * 16 / m;
  int64_t last = ifd_min_i64(b * 16 + 16, part->m) - 1;
  *first = group * c / 16;
  *end = ifd_ceil_div((last / m + 1) * c, 16);
  return ifd_max_i64(1, (group + 1) * m / 16 - b);
}

static inline int64_t ifd_conv_n_phases(const ifd_k_conv_shape *s) {
  double n = 1;
  for (int d = 0; d < IFD_K_DIMS && s->transposed; d++) n *= (double)s->stride[d];
  return n < 0x1p60 ? (int64_t)n : (int64_t)1 << 60;
}

/* The least tap >= 0 with tap * dilation = rest modulo stride, or -1; *apart is how far the next one is. By
 * Euclid's algorithm: g and b are u and v times the dilation. */
static inline int64_t ifd_conv_first_tap(int64_t dilation, int64_t stride, int64_t rest, int64_t *apart) {
  int64_t g = stride, u = 0, b = dilation % stride, v = 1;
  while (b) {
    int64_t q = g / b, next = g - q * b, w = u - q * v;
    g = b, b = next, u = v, v = w;
  }
  *apart = stride / g;
  return rest % g ? -1 : (rest / g % *apart * u % *apart + *apart) % *apart;
}

/* How many of n taps meet a lower remainder than `rest`: whole rounds of the remainders, and the taps
 * left. */
static inline int64_t ifd_conv_taps_below(int64_t n, int64_t dilation, int64_t stride, int64_t apart,
                                          int64_t rest) {
  int64_t left = n % apart, below = n / apart * ifd_ceil_div(rest, stride / apart);
  if (dilation == 1) return below + ifd_min_i64(left, rest);
  for (int64_t t = 0; t < left; t++) below += t * dilation % stride < rest;
  return below;
}

/* Phase `rest` of a transposed convolution: the taps t with t * dilation = rest modulo the stride, which meet
 * the outputs o with o + pad = rest, at input (o + pad - t * dilation) / stride. */
static inline ifd_conv_axis ifd_conv_transposed_axis(const ifd_k_conv_shape *s, int d, int64_t rest) {
  int64_t stride = s->stride[d], apart;
  int64_t tap = ifd_conv_first_tap(s->dilation[d], stride, rest, &apart);
  int64_t first = ((rest - s->pad[d]) % stride + stride) % stride;
  ifd_conv_axis a = {.step = 1, .y_begin = first, .y_step = stride};
  a.n_places = first < s->out[d] ? (s->out[d] - first - 1) / stride + 1 : 0;
  a.taps_before = ifd_conv_taps_below(s->kernel[d], s->dilation[d], stride, apart, rest);
  if (tap < 0 || tap >= s->kernel[d]) return a;
  a.tap_begin = tap, a.tap_apart = apart;
  a.n_taps = (s->kernel[d] - 1 - tap) / apart + 1;
  a.begin = (first + s->pad[d] - tap * s->dilation[d]) / stride;
  a.tap_step = -(apart * s->dilation[d] / stride);
  return a;
}

/* Boxes of `stride` outputs, the last and the first of which may lie outside in part. */
static inline int64_t ifd_conv_box_taps(const ifd_k_conv_shape *s, int d) {
  return (s->kernel[d] - 1) * s->dilation[d] / s->stride[d] + 1;
}
static inline ifd_conv_axis ifd_conv_box_axis(const ifd_k_conv_shape *s, int d) {
  int64_t stride = s->stride[d], first = ifd_floor_div(s->pad[d], stride);
  return (ifd_conv_axis){.n_places = ifd_floor_div(s->pad[d] + s->out[d] - 1, stride) + 1 - first,
                         .n_taps = ifd_conv_box_taps(s, d),
                         .begin = first,
                         .step = 1,
                         .tap_step = -1,
                         .tap_apart = 1,
                         .y_begin = first * stride - s->pad[d],
                         .y_step = stride};
}

/* Sums over the axes of a phase, of c channels in a group. */
static inline ifd_conv_phase ifd_conv_sum_axes(ifd_conv_phase p, const ifd_k_conv_shape *s) {
  int64_t c = s->c / s->groups;
  p.n_places = p.n_taps = 1;
  for (int d = 0; d < IFD_K_DIMS; d++) {
    p.taps_before = p.taps_before * s->kernel[d] + p.n_taps * p.axis[d].taps_before;
    p.n_places *= p.axis[d].n_places;
    p.n_taps *= p.axis[d].n_taps;
  }
  p.n_full = c / 16 * p.n_taps;
  p.n_part = c % 16 ? p.n_taps : 0;
  p.k_part = c % 16;
  p.steps = c * p.n_taps;
  return p;
}

/* All phases together. */
static inline ifd_conv_phase ifd_conv_boxes(const ifd_k_conv_shape *s) {
  ifd_conv_phase p = {0};
  for (int d = 0; d < IFD_K_DIMS; d++) p.axis[d] = ifd_conv_box_axis(s, d);
  return ifd_conv_sum_axes(p, s);
}

static inline ifd_conv_phase ifd_conv_phase_at(const ifd_k_conv_shape *s, int64_t index) {
  ifd_conv_phase p = {0};
  for (int d = IFD_K_DIMS; d-- > 0; index /= s->transposed ? s->stride[d] : 1) {
    p.axis[d] = s->transposed ? ifd_conv_transposed_axis(s, d, index % s->stride[d])
                              : (ifd_conv_axis){.n_places = s->out[d],
                                                .n_taps = s->kernel[d],
                                                .begin = -s->pad[d],
                                                .step = s->stride[d],
                                                .tap_step = s->dilation[d],
                                                .tap_apart = 1,
                                                .y_step = 1};
  }
  return ifd_conv_sum_axes(p, s);
}

/* Floats of a sample of c channels. */
static inline int64_t ifd_conv_sample(int64_t c, const int64_t *size, bool plain) {
  return (plain ? c : ifd_ceil_div(c, 16) * 16) * ifd_conv_volume(size);
}

/* Whether groups are whole blocks of channels, or all there is. */
static inline bool ifd_conv_whole_blocks(const ifd_k_conv_shape *s) {
  return s->groups == 1 || (s->c / s->groups % 16 == 0 && s->m / s->groups % 16 == 0);
}
static inline bool ifd_conv_has_boxes(ifd_k_conv_algo algo) {
  return algo == IFD_K_CONV_PHASES || algo == IFD_K_CONV_PHASES_OUT;
}
/* Columns of a group's product. */
static inline int64_t ifd_conv_product_columns(const ifd_k_conv_shape *s, ifd_k_conv_algo algo) {
  return s->m / s->groups * (ifd_conv_has_boxes(algo) ? ifd_conv_n_phases(s) : 1);
}
/* Its panels of 16 columns, which are blocks of y, so that sums go there as they are: a group that begins at
 * a lane has its columns from there on, and may take one panel more. */
static inline int64_t ifd_conv_panels(const ifd_k_conv_shape *s, ifd_k_conv_algo algo) {
  int64_t n = ifd_conv_product_columns(s, algo), lane = s->groups > 1 ? 16 - ifd_min_i64(16, n & -n) : 0;
  return ifd_ceil_div(n + (ifd_conv_has_boxes(algo) ? 0 : lane), 16);
}

/* Whether outputs are one line of several taps each, as in one dimension: a strip of x is then copied once,
 * padded, and read in place at every tap. */
static inline bool ifd_conv_is_line(const ifd_k_conv_shape *s) {
  for (int d = 0; d < IFD_K_W; d++)
    if (s->in[d] != 1 || s->out[d] != 1 || s->kernel[d] != 1 || s->pad[d] != 0) return false;
  return !s->transposed && s->kernel[IFD_K_W] > 1 && s->stride[IFD_K_W] <= s->kernel[IFD_K_W] &&
         s->out[IFD_K_W] > 1 && ifd_conv_whole_blocks(s);
}

/* Whether the segments of k are, tap by tap, the blocks of channels, so that taps may be left out. */
static inline bool ifd_conv_taps_first(const ifd_k_conv_shape *s) {
  return !s->transposed && s->kernel[IFD_K_D] * s->kernel[IFD_K_H] == 1 && s->kernel[IFD_K_W] > 1 &&
         s->c / s->groups % 16 == 0;
}

/* Outputs [*from, *end) of a line, of those before `end`, meet a tap inside x. */
static inline void ifd_conv_tap_reach(const ifd_k_conv_shape *s, int64_t tap, int64_t *from, int64_t *end) {
  int64_t i = tap * s->dilation[IFD_K_W] - s->pad[IFD_K_W], stride = s->stride[IFD_K_W];
  *from = i < 0 ? ifd_ceil_div(-i, stride) : 0;
  *end = ifd_min_i64(*end, i < s->in[IFD_K_W] ? (s->in[IFD_K_W] - 1 - i) / stride + 1 : 0);
}

/* Whether a line's outputs leave out the taps that they meet in the padding: where these are many. The chain
 * of an output is then of those inside alone. */
static inline bool ifd_conv_skips_padding(const ifd_k_conv_shape *s) {
  double inside = 0, all = (double)s->out[IFD_K_W] * (double)s->kernel[IFD_K_W];
  if (!ifd_conv_is_line(s) || !ifd_conv_taps_first(s)) return false;
  for (int64_t t = 0; t < s->kernel[IFD_K_W]; t++) {
    int64_t from, end = s->out[IFD_K_W];
    ifd_conv_tap_reach(s, t, &from, &end);
    if (from < end) inside += (double)(end - from);
  }
  return inside < 0.75 * all;
}

/* [block of channels][column % stride][pitch][16], of what `rows` outputs read; where taps lie farther apart
 * than these, [block of channels][tap][rows][16]. */
typedef struct ifd_conv_strip {
  int64_t rows, pitch, block; /* floats of a block */
  bool by_taps;
  size_t table, len; /* bytes of the places of all segments; with the strip */
} ifd_conv_strip;

/* Of up to n rows: as many as leave the strip in L2. */
static inline ifd_conv_strip ifd_conv_strip_of(const ifd_k_conv_shape *s, int64_t n) {
  enum { VECTORS = 1 << 12, ROWS = 112 };
  int64_t stride = s->stride[IFD_K_W], blocks = ifd_ceil_div(s->c / s->groups, 16);
  ifd_conv_strip z = {.rows = ifd_min_i64(n, ifd_max_i64(ROWS, VECTORS / (blocks * stride)))};
  z.by_taps = s->dilation[IFD_K_W] / stride >= z.rows;
  z.pitch = z.by_taps ? z.rows : z.rows + (s->kernel[IFD_K_W] - 1) * s->dilation[IFD_K_W] / stride;
  z.block = (z.by_taps ? s->kernel[IFD_K_W] : stride) * z.pitch * 16;
  z.table = (sizeof(int64_t) * (size_t)(blocks * s->kernel[IFD_K_W]) + 63) / 64 * 64;
  z.len = z.table + sizeof(float) * (size_t)(blocks * z.block);
  return z;
}

/* Where a column of boxes goes. Blocked, the channels of a phase are side by side; unblocked, the phases of a
 * channel are, which along W are outputs side by side. */
typedef struct ifd_conv_column {
  int64_t channel, rest[IFD_K_DIMS]; /* of the group; the remainders */
} ifd_conv_column;

static inline ifd_conv_column ifd_conv_column_at(const ifd_k_conv_shape *s, ifd_k_conv_algo algo,
                                                 int64_t column) {
  int64_t m = s->m / s->groups, n = ifd_conv_n_phases(s);
  bool out = algo == IFD_K_CONV_PHASES_OUT;
  int64_t phase = out ? column % n : column / m;
  ifd_conv_column c = {.channel = out ? column / n : column % m};
  for (int d = IFD_K_DIMS; d-- > 0; phase /= s->stride[d]) c.rest[d] = phase % s->stride[d];
  return c;
}

/* Whether place i of a phase reads input place i and no other: x is then the operand of the product as it
 * lies. */
static inline bool ifd_conv_reads_as_it_lies(const ifd_conv_phase *p, const ifd_k_conv_shape *s) {
  for (int d = 0; d < IFD_K_DIMS; d++) {
    const ifd_conv_axis *a = &p->axis[d];
    if (a->n_taps != 1 || a->begin != 0 || a->step != 1 || a->n_places != s->in[d]) return false;
  }
  return true;
}

#endif
