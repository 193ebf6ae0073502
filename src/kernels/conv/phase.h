/* A convolution as products. Outputs fall in phases, one but for transposed convolutions of stride > 1, whose
 * outputs of equal remainder modulo the stride form one phase each. Within a phase every output place reads
 * the same taps of the kernel at the same distances:
 *
 *     y[y_begin + o * y_step] = Σ_c Σ_t x[begin + o * step + t * tap_step] * w[tap_begin + t * tap_apart]
 *
 * in each dimension, zeros outside x. Nothing here depends on the ISA. */
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

static inline int64_t ifd_conv_n_phases(const ifd_k_conv_shape *s) {
  return s->transposed ? ifd_conv_volume(s->stride) : 1;
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

/* How many of n taps meet a lower remainder than `rest`: whole rounds of the remainders, and the taps left.
 */
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

static inline ifd_conv_phase ifd_conv_phase_at(const ifd_k_conv_shape *s, int64_t index) {
  ifd_conv_phase p = {.n_places = 1, .n_taps = 1};
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
  for (int d = 0; d < IFD_K_DIMS; d++) {
    p.taps_before = p.taps_before * s->kernel[d] + p.n_taps * p.axis[d].taps_before;
    p.n_places *= p.axis[d].n_places;
    p.n_taps *= p.axis[d].n_taps;
  }
  int64_t c = s->c / s->groups;
  p.n_full = c / 16 * p.n_taps;
  p.n_part = c % 16 ? p.n_taps : 0;
  p.k_part = c % 16;
  p.steps = c * p.n_taps;
  return p;
}

/* Floats of a sample of c channels. */
static inline int64_t ifd_conv_sample(int64_t c, const int64_t *size, bool plain) {
  return (plain ? c : ifd_ceil_div(c, 16) * 16) * ifd_conv_volume(size);
}

/* Whether groups are whole blocks of channels, or all there is. */
static inline bool ifd_conv_whole_blocks(const ifd_k_conv_shape *s) {
  return s->groups == 1 || (s->c / s->groups % 16 == 0 && s->m / s->groups % 16 == 0);
}
/* Whether sums of the product go to places or lanes that are not side by side. */
static inline bool ifd_conv_scatters(const ifd_k_conv_shape *s) {
  return s->transposed || (s->groups > 1 && s->m / s->groups % 16 != 0);
}

/* Whether output place i reads input place i and no other: x is then the operand of the product as it lies.
 */
static inline bool ifd_conv_pointwise(const ifd_k_conv_shape *s) {
  for (int d = 0; d < IFD_K_DIMS; d++)
    if (s->kernel[d] != 1 || s->stride[d] != 1 || s->pad[d] != 0 || s->in[d] != s->out[d]) return false;
  return true;
}

#endif
