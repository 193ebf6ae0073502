/* Weights of convolutions in the order in which the kernels read them; see phase.h and winograd.h. */
#include <string.h>

#include "kernels/conv/phase.h"
#include "kernels/conv/winograd.h"

enum { LANES = 16 };

typedef struct weights {
  const ifd_k_conv_shape *s;
  const ifd_float_anywhere *w;
  int64_t c_group, m_group, taps;
} weights;

/* Tap of the kernel that output channel m applies to input channel c of its group. */
static float weight_at(const weights *w, int64_t m, int64_t c, int64_t tap) {
  int64_t group = m / w->m_group;
  int64_t at = w->s->transposed ? (group * w->c_group + c) * w->m_group + m % w->m_group : m * w->c_group + c;
  return w->w[at * w->taps + tap];
}

/* Tap of the kernel that is tap t of a phase. */
static int64_t kernel_tap(const ifd_k_conv_shape *s, const ifd_conv_phase *p, int64_t t) {
  int64_t at[IFD_K_DIMS], tap = 0;
  for (int d = IFD_K_DIMS; d-- > 0; t /= p->axis[d].n_taps) at[d] = t % p->axis[d].n_taps;
  for (int d = 0; d < IFD_K_DIMS; d++)
    tap = tap * s->kernel[d] + p->axis[d].tap_begin + at[d] * p->axis[d].tap_apart;
  return tap;
}

/* Output channels [m, end), one step of k: to 16 lanes, zeros beyond. */
static float *pack_step(const weights *w, float *to, int64_t m, int64_t end, int64_t c, int64_t tap) {
  for (int64_t l = 0; l < LANES; l++) to[l] = m + l < end ? weight_at(w, m + l, c, tap) : 0;
  return to + LANES;
}

/* [phase][group][panel][block of channels][tap][channel][16] */
static void pack_direct(const weights *w, float *to) {
  const ifd_k_conv_shape *s = w->s;
  for (int64_t phase = 0; phase < ifd_conv_n_phases(s); phase++) {
    ifd_conv_phase p = ifd_conv_phase_at(s, phase);
    for (int64_t g = 0; g < s->groups; g++)
      for (int64_t m = g * w->m_group, end = m + w->m_group; m < end; m += LANES)
        for (int64_t b = 0; b < w->c_group; b += LANES)
          for (int64_t t = 0; t < p.n_taps; t++)
            for (int64_t c = b; c < ifd_min_i64(b + LANES, w->c_group); c++)
              to = pack_step(w, to, m, end, c, kernel_tap(s, &p, t));
  }
}

/* Tap of the kernel that a column of boxes applies at tap t of these, or -1. */
static int64_t box_tap(const ifd_k_conv_shape *s, const ifd_conv_phase *boxes, const ifd_conv_column *column,
                       int64_t t) {
  int64_t at[IFD_K_DIMS], tap = 0;
  for (int d = IFD_K_DIMS; d-- > 0; t /= boxes->axis[d].n_taps) {
    int64_t reach = t % boxes->axis[d].n_taps * s->stride[d] + column->rest[d];
    at[d] = reach / s->dilation[d];
    if (reach % s->dilation[d] || at[d] >= s->kernel[d]) return -1;
  }
  for (int d = 0; d < IFD_K_DIMS; d++) tap = tap * s->kernel[d] + at[d];
  return tap;
}

/* [group][panel of columns][block of channels][tap][channel][16] */
static void pack_boxes(const weights *w, ifd_k_conv_algo algo, float *to) {
  const ifd_k_conv_shape *s = w->s;
  ifd_conv_phase boxes = ifd_conv_boxes(s);
  int64_t columns = ifd_conv_product_columns(s, algo), panels = ifd_ceil_div(columns, LANES);
  for (int64_t j = 0; j < s->groups * panels * LANES; j++) {
    int64_t g = j / (panels * LANES), column = j % (panels * LANES);
    float *at = to + j / LANES * w->c_group * boxes.n_taps * LANES + j % LANES;
    ifd_conv_column c = ifd_conv_column_at(s, algo, ifd_min_i64(column, columns - 1));
    for (int64_t b = 0; b < w->c_group; b += LANES)
      for (int64_t t = 0; t < boxes.n_taps; t++) {
        int64_t tap = column < columns ? box_tap(s, &boxes, &c, t) : -1;
        for (int64_t i = b; i < ifd_min_i64(b + LANES, w->c_group); i++, at += LANES)
          *at = tap < 0 ? 0 : weight_at(w, g * w->m_group + c.channel, i, tap);
      }
  }
}
static void pack_phases(const weights *w, float *to) { pack_boxes(w, IFD_K_CONV_PHASES, to); }
static void pack_phases_out(const weights *w, float *to) { pack_boxes(w, IFD_K_CONV_PHASES_OUT, to); }

/* [phase][block][channel of the group][tap][16]; for a first layer, of one group, every tap of every channel
 */
static void pack_lanes(const weights *w, float *to) {
  const ifd_k_conv_shape *s = w->s;
  for (int64_t phase = 0; phase < ifd_conv_n_phases(s); phase++) {
    ifd_conv_phase p = ifd_conv_phase_at(s, phase);
    for (int64_t m = 0; m < s->m; m += LANES)
      for (int64_t c = 0; c < w->c_group; c++)
        for (int64_t t = 0; t < p.n_taps; t++) to = pack_step(w, to, m, s->m, c, kernel_tap(s, &p, t));
  }
}

/* G of F(n×n, 3×3), whose finite points are a, b and their negatives: the rows of points p are (1, p, p²) / Π
 * (p - q) over the other points q. (Of n = 2 the first row's sign is in Bᵀ instead.) */
static void winograd_g(int64_t in, double g[IFD_WINOGRAD_IN][3]) {
  static const double points[2][IFD_WINOGRAD_IN - 1] = {{0, 1, -1}, {0, 0.75, -0.75, 1.5, -1.5}};
  const double *of = points[in == IFD_WINOGRAD_IN];
  int n = (int)in - 1;
  for (int i = 0; i < n; i++) {
    double p = of[i], scale = in == 4 && i == 0 ? -1 : 1;
    for (int j = 0; j < n; j++)
      if (j != i) scale *= p - of[j];
    g[i][0] = 1 / scale, g[i][1] = p / scale, g[i][2] = p * p / scale;
  }
  g[n][0] = g[n][1] = 0, g[n][2] = 1;
}

/* G w Gᵀ of one 3×3 kernel in each lane. */
static void transform_lanes(const double g[IFD_WINOGRAD_IN][3], int64_t in, const double w[9][LANES],
                            float *to, int64_t plane) {
  for (int64_t i = 0; i < in; i++) {
    double row[3][LANES];
    for (int x = 0; x < 3; x++)
      for (int l = 0; l < LANES; l++)
        row[x][l] = g[i][0] * w[x][l] + g[i][1] * w[3 + x][l] + g[i][2] * w[6 + x][l];
    for (int64_t j = 0; j < in; j++, to += plane)
      for (int l = 0; l < LANES; l++)
        to[l] = (float)(row[0][l] * g[j][0] + row[1][l] * g[j][1] + row[2][l] * g[j][2]);
  }
}

/* [plane][panel][block of channels][tap of depth][channel][16] */
static void pack_winograd(const weights *w, float *to, int64_t in) {
  const ifd_k_conv_shape *s = w->s;
  double g[IFD_WINOGRAD_IN][3];
  winograd_g(in, g);
  int64_t depth = s->kernel[IFD_K_D], plane = ifd_ceil_div(s->m, LANES) * s->c * depth * LANES;
  for (int64_t m = 0; m < s->m; m += LANES)
    for (int64_t b = 0; b < s->c; b += LANES)
      for (int64_t d = 0; d < depth; d++)
        for (int64_t c = b; c < ifd_min_i64(b + LANES, s->c); c++, to += LANES) {
          double kernel[9][LANES];
          for (int t = 0; t < 9; t++)
            for (int l = 0; l < LANES; l++)
              kernel[t][l] = m + l < s->m ? (double)weight_at(w, m + l, c, d * 9 + t) : 0;
          transform_lanes(g, in, kernel, to, plane);
        }
}
static void pack_winograd_4(const weights *w, float *to) { pack_winograd(w, to, 6); }
static void pack_winograd_2(const weights *w, float *to) { pack_winograd(w, to, 4); }

/* As they are: a plane of outputs reads them one by one. */
static void pack_planar(const weights *w, float *to) {
  memcpy(to, w->w, sizeof *to * (size_t)(w->s->m * w->c_group * w->taps));
}

void ifd_k_conv_pack(const ifd_k_conv_plan *plan, const ifd_float_anywhere *w, float *packed) {
  static void (*const packs[IFD_K_N_CONV_ALGOS])(const weights *, float *) = {
      [IFD_K_CONV_DIRECT] = pack_direct,         [IFD_K_CONV_WINOGRAD] = pack_winograd_4,
      [IFD_K_CONV_WINOGRAD_2] = pack_winograd_2, [IFD_K_CONV_DEPTHWISE] = pack_lanes,
      [IFD_K_CONV_GROUPED] = pack_lanes,         [IFD_K_CONV_PHASES] = pack_phases,
      [IFD_K_CONV_PHASES_OUT] = pack_phases_out, [IFD_K_CONV_FIRST] = pack_lanes,
      [IFD_K_CONV_FRAMES] = pack_lanes,          [IFD_K_CONV_PLANAR] = pack_planar};
  const ifd_k_conv_shape *s = &plan->shape;
  weights all = {s, w, s->c / s->groups, s->m / s->groups, ifd_conv_volume(s->kernel)};
  packs[plan->algo](&all, packed);
}
