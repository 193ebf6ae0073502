/* Weights of convolutions in the order in which the kernels read them; see phase.h and winograd.h. */
#include <string.h>

#include "kernels/conv/task.h"
#include "kernels/launch.h"
#include "kernels/conv/winograd.h"
#include "kernels/conv/winograd_line.h"
#include "kernels/transpose.h"

enum { LANES = 16 };

/* Weight [group][channel of m][channel of c][tap], m_apart and c_apart floats between channels; a splat is
 * one element, nothing apart. A share packs panels [begin, end), each of 16 output channels. */
typedef struct weights {
  const ifd_k_conv_shape *s;
  const ifd_float_anywhere *w;
  bool splat;
  int64_t c_group, m_group, taps;
  int64_t c_apart, m_apart, group_apart, tap_apart;
  int64_t begin, end;
} weights;

/* Of lanes [begin, end) the output channels: where the taps of their group's first input channel begin.
 * apart: floats from each to the next, where all are there and of one group; else 0. */
typedef struct lanes {
  int64_t begin, end, apart;
  const ifd_float_anywhere *row[LANES];
} lanes;

/* Those of the 16 output channels from m on that are of [begin, end). */
static lanes lanes_from(const weights *w, int64_t m, int64_t begin, int64_t end) {
  lanes of = {.begin = ifd_max_i64(0, begin - m), .end = ifd_min_i64(LANES, end - m)};
  for (int64_t l = of.begin; l < of.end; l++)
    of.row[l] = w->w + (m + l) / w->m_group * w->group_apart + (m + l) % w->m_group * w->m_apart;
  if (of.end - of.begin == LANES && m % w->m_group + LANES <= w->m_group) of.apart = w->m_apart;
  return of;
}

static bool has_lane(const lanes *of, int64_t l) { return l >= of->begin && l < of->end; }

/* n <= 16 floats of each row, from the at-th on, as n lines; zeros in lanes that are none. */
static void turn(const weights *w, const lanes *of, int64_t at, int64_t n, float *to) {
  v16 t[LANES];
  if (n == LANES && of->apart) {
    ifd_turn_square(to, LANES, of->row[0] + at, of->apart);
    return;
  }
  for (int64_t l = 0; l < LANES; l++)
    t[l] = !has_lane(of, l) ? v16_zero()
           : w->splat       ? v16_set1(*w->w)
           : n == LANES     ? v16_load(of->row[l] + at)
                            : v16_load_n(of->row[l] + at, (int)n);
  v16_transpose(t);
  for (int64_t i = 0; i < n; i++) v16_store(to + i * LANES, t[i]);
}

/* The same of one float, that of a tap of input channel c. */
static void pick(const weights *w, const lanes *of, int64_t c, int64_t tap, float *to) {
  for (int64_t l = 0; l < LANES; l++)
    to[l] = has_lane(of, l) ? of->row[l][c * w->c_apart + tap * w->tap_apart] : 0;
}

/* ---- products ---- */

/* Tap of the kernel that is tap t of a phase. */
static int64_t kernel_tap(const ifd_k_conv_shape *s, const ifd_conv_phase *p, int64_t t) {
  int64_t at[IFD_K_DIMS], tap = 0;
  for (int d = IFD_K_DIMS; d-- > 0; t /= p->axis[d].n_taps) at[d] = t % p->axis[d].n_taps;
  for (int d = 0; d < IFD_K_DIMS; d++)
    tap = tap * s->kernel[d] + p->axis[d].tap_begin + at[d] * p->axis[d].tap_apart;
  return tap;
}

/* All taps of n channels, in memory [channel][tap], as [tap][tap_steps, channel first][16]. */
static void pack_block(const weights *w, const lanes *of, float *to, int64_t b, int64_t n,
                       int64_t tap_steps) {
  float t[LANES][LANES];
  for (int64_t at = 0, c = 0, tap = 0; at < n * w->taps; at += LANES) {
    int64_t rows = ifd_min_i64(n * w->taps - at, LANES);
    bool straight = w->taps == 1;
    turn(w, of, b * w->taps + at, rows, straight ? to : *t);
    for (int64_t i = 0; i < rows && !straight; i++) {
      v16_store(to + (tap * tap_steps + c) * LANES, v16_load(t[i]));
      if (++tap == w->taps) tap = 0, c++;
    }
  }
}

static void pack_phase_block(const weights *w, const ifd_conv_phase *p, const lanes *of, float *to, int64_t b,
                             int64_t n) {
  for (int64_t t = 0; t < p->n_taps; t++)
    for (int64_t c = b, tap = kernel_tap(w->s, p, t); c < b + n; c++, to += LANES) pick(w, of, c, tap, to);
}

/* [phase][group][panel][block of channels][tap][channel][16], or the taps before the blocks */
static void pack_direct(const weights *w, float *to) {
  const ifd_k_conv_shape *s = w->s;
  bool taps_first = ifd_conv_taps_first(s);
  int64_t panels = ifd_conv_panels(s, IFD_K_CONV_DIRECT);
  for (int64_t phase = 0; phase < ifd_conv_n_phases(s); phase++) {
    ifd_conv_phase p = ifd_conv_phase_at(s, phase);
    for (int64_t panel = w->begin; panel < w->end; panel++) {
      int64_t m = panel / panels * w->m_group;
      lanes of = lanes_from(w, (m / LANES + panel % panels) * LANES, m, m + w->m_group);
      float *at = to + (p.taps_before * s->groups * panels + panel * p.n_taps) * w->c_group * LANES;
      for (int64_t b = 0; b < w->c_group; b += LANES, at += LANES * (taps_first ? 1 : p.n_taps) * LANES) {
        int64_t n = ifd_min_i64(LANES, w->c_group - b);
        if (s->transposed)
          pack_phase_block(w, &p, &of, at, b, n);
        else
          pack_block(w, &of, at, b, n, taps_first ? w->c_group : n);
      }
    }
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
  int64_t columns = ifd_conv_product_columns(s, algo), panels = ifd_conv_panels(s, algo);
  for (int64_t j = w->begin * LANES; j < w->end * LANES; j++) {
    int64_t g = j / (panels * LANES), column = j % (panels * LANES);
    float *at = to + j / LANES * w->c_group * boxes.n_taps * LANES + j % LANES;
    ifd_conv_column c = ifd_conv_column_at(s, algo, ifd_min_i64(column, columns - 1));
    const ifd_float_anywhere *row = w->w + g * w->group_apart + c.channel * w->m_apart;
    for (int64_t b = 0; b < w->c_group; b += LANES)
      for (int64_t t = 0; t < boxes.n_taps; t++) {
        int64_t tap = column < columns ? box_tap(s, &boxes, &c, t) : -1;
        for (int64_t i = b; i < ifd_min_i64(b + LANES, w->c_group); i++, at += LANES)
          *at = tap < 0 ? 0 : row[i * w->c_apart + tap * w->tap_apart];
      }
  }
}
static void pack_phases(const weights *w, float *to) { pack_boxes(w, IFD_K_CONV_PHASES, to); }
static void pack_phases_out(const weights *w, float *to) { pack_boxes(w, IFD_K_CONV_PHASES_OUT, to); }

/* ---- lanes ---- */

/* All taps of all channels of the group of each output channel, as they lie. */
static void pack_taps(const weights *w, const lanes *of, float *to) {
  for (int64_t at = 0, n = w->c_group * w->taps; at < n; at += LANES)
    turn(w, of, at, ifd_min_i64(n - at, LANES), to + at * LANES);
}

static void pack_phase_taps(const weights *w, const ifd_conv_phase *p, const lanes *of, float *to) {
  for (int64_t c = 0; c < w->c_group; c++)
    for (int64_t t = 0; t < p->n_taps; t++, to += LANES) pick(w, of, c, kernel_tap(w->s, p, t), to);
}

/* [phase][panel][channel of the group][tap][16]; for a first layer, of one group, every tap of every
 * channel */
static void pack_lanes(const weights *w, float *to) {
  const ifd_k_conv_shape *s = w->s;
  int64_t panels = ifd_ceil_div(s->m, LANES);
  for (int64_t phase = 0; phase < ifd_conv_n_phases(s); phase++) {
    ifd_conv_phase p = ifd_conv_phase_at(s, phase);
    for (int64_t panel = w->begin; panel < w->end; panel++) {
      lanes of = lanes_from(w, panel * LANES, 0, s->m);
      float *at = to + (p.taps_before * panels + panel * p.n_taps) * w->c_group * LANES;
      if (s->transposed)
        pack_phase_taps(w, &p, &of, at);
      else
        pack_taps(w, &of, at);
    }
  }
}

/* ---- Winograd ---- */

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

/* Some lanes in double. */
#if defined(IFD_ISA_avx512)
enum { PART = 8 };
#elif defined(IFD_ISA_avx2)
enum { PART = 4 };
#else
enum { PART = 2 };
#endif
typedef double part __attribute__((vector_size(PART * sizeof(double))));
typedef float floats __attribute__((vector_size(PART * sizeof(float))));

IFD_INLINE part load_part(const float *from) {
  floats v;
  memcpy(&v, from, sizeof v);
  return __builtin_convertvector(v, part);
}
IFD_INLINE void store_part(float *to, part v) {
  const floats rounded = __builtin_convertvector(v, floats);
  memcpy(to, &rounded, sizeof rounded);
}

/* G w of a column of three: rows of opposite points differ in the sign of the middle term alone. */
IFD_INLINE void transform_column(const double g[IFD_WINOGRAD_IN][3], int in, const part w[3],
                                 part to[IFD_WINOGRAD_IN]) {
  to[0] = g[0][0] * w[0];
  _Pragma("GCC unroll 2") for (int i = 1; i < in - 1; i += 2) {
    const part even = g[i][0] * w[0] + g[i][2] * w[2], odd = g[i][1] * w[1];
    to[i] = even + odd, to[i + 1] = even - odd;
  }
  to[in - 1] = w[2];
}

/* G w of one 3×3 kernel in some lanes: [in][column]. */
IFD_INLINE void transform_columns(const double g[IFD_WINOGRAD_IN][3], int in, const float *w,
                                  part to[IFD_WINOGRAD_IN][3]) {
  _Pragma("GCC unroll 3") for (int x = 0; x < 3; x++) {
    const part column[3] = {load_part(w + x * LANES), load_part(w + (3 + x) * LANES),
                            load_part(w + (6 + x) * LANES)};
    part all[IFD_WINOGRAD_IN];
    transform_column(g, in, column, all);
    _Pragma("GCC unroll 6") for (int i = 0; i < in; i++) to[i][x] = all[i];
  }
}

/* G w Gᵀ of one 3×3 kernel in each lane. */
IFD_INLINE void transform_lanes(const double g[IFD_WINOGRAD_IN][3], int in, const float *w,
                                float *restrict to, int64_t plane) {
  for (int l = 0; l < LANES; l += PART) {
    part half[IFD_WINOGRAD_IN][3], line[IFD_WINOGRAD_IN];
    transform_columns(g, in, w + l, half);
    float *at = to + l;
    _Pragma("GCC unroll 6") for (int i = 0; i < in; i++) {
      transform_column(g, in, half[i], line);
      _Pragma("GCC unroll 6") for (int j = 0; j < in; j++, at += plane) store_part(at, line[j]);
    }
  }
}

/* G w of one 3×3 kernel in each lane, `line` floats between the lines. */
IFD_INLINE void transform_half(const double g[IFD_WINOGRAD_IN][3], int in, const float *w, float *restrict to,
                               int64_t line) {
  for (int l = 0; l < LANES; l += PART) {
    part half[IFD_WINOGRAD_IN][3];
    transform_columns(g, in, w + l, half);
    _Pragma("GCC unroll 6") for (int i = 0; i < in; i++) for (int x = 0; x < 3; x++)
        store_part(to + i * line + x * LANES + l, half[i][x]);
  }
}

/* The same of n kernels. Planes are often a power of two apart, so that the lines of all would share a few
 * sets of each cache: those of some kernels are made in L1 and copied. */
IFD_INLINE void transform_kernels(const double g[IFD_WINOGRAD_IN][3], int in, float (*kernels)[LANES],
                                  int64_t n, float *to, int64_t plane) {
  enum { TOGETHER = 8 };
  float made[IFD_WINOGRAD_IN * IFD_WINOGRAD_IN][TOGETHER][LANES];
  for (int64_t from = 0, some; from < n; from += some, to += some * LANES) {
    some = ifd_min_i64(n - from, TOGETHER);
    for (int64_t k = 0; k < some; k++)
      transform_lanes(g, in, kernels[(from + k) * 9], made[0][k], TOGETHER * LANES);
    for (int64_t i = 0; i < in * in; i++) memcpy(to + i * plane, made[i], (size_t)some * sizeof made[i][0]);
  }
}

/* Of each part, k is (block of channels, tap of depth, channel): whole [plane][panel][k][16], half
 * [panel][line of planes][k][3][16], zeros for channels of another group. Kernels that lie side by side are
 * turned together. */
IFD_INLINE void pack_winograd(const weights *w, float *to, int in, bool half) {
  const ifd_k_conv_shape first = ifd_conv_part(w->s, 0);
  double g[IFD_WINOGRAD_IN][3];
  float kernels[LANES * 9][LANES];
  winograd_g(in, g);
  int64_t depth = w->s->kernel[IFD_K_D], step = half ? 3 * LANES : LANES, all = ifd_ceil_div(first.m, LANES);
  int64_t part_len = (half ? 1 : in) * in * all * first.c * depth * step, together = depth == 1 ? LANES : 1;
  for (int64_t i = w->begin; i < w->end; i++) {
    const ifd_k_conv_shape s = ifd_conv_part(w->s, i / all);
    int64_t steps = s.c * depth, panels = ifd_ceil_div(s.m, LANES), panel = steps * step * (half ? in : 1);
    int64_t apart = steps * step * (half ? 1 : panels); /* lines or planes */
    int64_t m0 = i / all * first.m;
    float *at = to + i / all * part_len + i % all * panel;
    for (int64_t b = 0; b < s.c; b += LANES)
      for (int64_t d = 0; d < depth; d++)
        for (int64_t c = b, n; c < ifd_min_i64(b + LANES, s.c); c += n) {
          int64_t group = c / w->c_group, of_group = c % w->c_group, m = m0 + group * w->m_group;
          lanes of = lanes_from(w, i * LANES, m, m + w->m_group);
          n = ifd_min_i64(ifd_min_i64(together, ifd_min_i64(b + LANES, s.c) - c), w->c_group - of_group);
          for (int64_t t = 0; t < n * 9; t += LANES)
            turn(w, &of, (of_group * depth + d) * 9 + t, ifd_min_i64(n * 9 - t, LANES), kernels[t]);
          for (int64_t k = 0; k < n && half; k++) transform_half(g, in, kernels[k * 9], at + k * step, apart);
          if (!half) transform_kernels(g, in, kernels, n, at, apart);
          at += n * step;
        }
  }
}
static void pack_winograd_4(const weights *w, float *to) { pack_winograd(w, to, 6, false); }
static void pack_winograd_2(const weights *w, float *to) { pack_winograd(w, to, 4, false); }
static void pack_winograd_half(const weights *w, float *to) { pack_winograd(w, to, 6, true); }
static void pack_winograd_2_half(const weights *w, float *to) { pack_winograd(w, to, 4, true); }

/* G of F(9 - r, r) by the points of winograd_line.h: of p (1, p, p² …) / Π (p - q) over the other ones. */
static void winograd_line_g(double g[IFD_WINOGRAD_LINE_POINTS][5], int64_t taps) {
  static const double points[] = {0, 0.5, -0.5, 1, -1, 2, -2};
  enum { FINITE = sizeof points / sizeof *points };
  for (int i = 0; i < FINITE; i++) {
    double power = 1;
    for (int j = 0; j < FINITE; j++)
      if (j != i) power /= points[i] - points[j];
    for (int64_t x = 0; x < taps; x++, power *= points[i]) g[i][x] = power;
  }
  for (int64_t x = 0; x < taps; x++) g[FINITE][x] = x == taps - 1;
}

/* Tap of the kernel that is tap x of a part, of all phases', at tap `other` of the other axes, or -1. */
static int64_t line_tap(const ifd_k_conv_shape *s, const ifd_winograd_line_cut *cut, int64_t other,
                        int64_t part, int64_t x) {
  int64_t at[IFD_K_DIMS], tap = 0, per_phase = cut->parts / cut->phases;
  int64_t along = part / per_phase + s->stride[cut->axis] * (part % per_phase * cut->taps + x);
  for (int d = IFD_K_DIMS; d-- > 0;) {
    at[d] = d == cut->axis ? along : other % s->kernel[d];
    if (d != cut->axis) other /= s->kernel[d];
  }
  for (int d = 0; d < IFD_K_DIMS; d++) tap = tap * s->kernel[d] + at[d];
  return at[cut->axis] < s->kernel[cut->axis] ? tap : -1;
}

/* G w of the taps w of a part in each lane, `plane` floats between points. */
static void transform_part(double g[IFD_WINOGRAD_LINE_POINTS][5], int64_t taps, float w[5][LANES],
                           float *restrict to, int64_t plane) {
  for (int i = 0; i < IFD_WINOGRAD_LINE_POINTS; i++, to += plane) {
    double sum[LANES] = {0};
    for (int64_t x = 0; x < taps; x++)
      for (int l = 0; l < LANES; l++) sum[l] += g[i][x] * (double)w[x][l];
    for (int l = 0; l < LANES; l++) to[l] = (float)sum[l];
  }
}

/* [group][point][panel][block of channels][tap of the other axes][part][channel][16] */
static void pack_winograd_line(const weights *w, float *to) {
  const ifd_k_conv_shape *s = w->s;
  ifd_winograd_line_cut cut = ifd_winograd_line_cut_of(s);
  double g[IFD_WINOGRAD_LINE_POINTS][5];
  winograd_line_g(g, cut.taps);
  int64_t panels = ifd_ceil_div(w->m_group, LANES);
  int64_t panel = w->c_group * cut.others * cut.parts * LANES, plane = panel * panels;
  for (int64_t i = w->begin; i < w->end; i++) {
    lanes of = lanes_from(w, i * LANES, 0, s->m);
    float *at = to + i / panels * IFD_WINOGRAD_LINE_POINTS * plane + i % panels * panel;
    for (int64_t b = 0; b < w->c_group; b += LANES)
      for (int64_t t = 0; t < cut.others * cut.parts; t++)
        for (int64_t c = b; c < ifd_min_i64(b + LANES, w->c_group); c++, at += LANES) {
          float taps[5][LANES] = {0};
          for (int64_t x = 0; x < cut.taps; x++) {
            int64_t tap = line_tap(s, &cut, t / cut.parts, t % cut.parts, x);
            if (tap >= 0) pick(w, &of, c, tap, taps[x]);
          }
          transform_part(g, cut.taps, taps, at, plane);
        }
  }
}

/* ---- planar ---- */

/* As they are: a plane of outputs reads them one by one. */
static void pack_planar(const weights *w, float *to) {
  int64_t each = w->c_group * w->taps, end = ifd_min_i64(w->end * LANES, w->s->m) * each;
  for (int64_t i = w->begin * LANES * each; i < end; i++) to[i] = w->splat ? *w->w : w->w[i];
}

/* ---- all ---- */

static int64_t panels_of(const ifd_k_conv_plan *plan) {
  const ifd_k_conv_shape *s = &plan->shape;
  bool product = plan->algo == IFD_K_CONV_DIRECT || ifd_conv_has_boxes(plan->algo);
  return product ? s->groups * ifd_conv_panels(s, plan->algo) : ifd_ceil_div(s->m, LANES);
}

void IFD_K(ifd_conv_pack)(const ifd_k_conv_plan *plan, const ifd_float_anywhere *w, bool splat, float *packed,
                          int share, int n_shares) {
  static void (*const packs[IFD_K_N_CONV_ALGOS])(const weights *, float *) = {
      [IFD_K_CONV_DIRECT] = pack_direct,
      [IFD_K_CONV_WINOGRAD] = pack_winograd_4,
      [IFD_K_CONV_WINOGRAD_2] = pack_winograd_2,
      [IFD_K_CONV_WINOGRAD_HALF] = pack_winograd_half,
      [IFD_K_CONV_WINOGRAD_2_HALF] = pack_winograd_2_half,
      [IFD_K_CONV_WINOGRAD_LINE] = pack_winograd_line,
      [IFD_K_CONV_DEPTHWISE] = pack_lanes,
      [IFD_K_CONV_EXPANDED] = pack_lanes,
      [IFD_K_CONV_GROUPED] = pack_lanes,
      [IFD_K_CONV_PHASES] = pack_phases,
      [IFD_K_CONV_PHASES_OUT] = pack_phases_out,
      [IFD_K_CONV_FIRST] = pack_lanes,
      [IFD_K_CONV_FRAMES] = pack_lanes,
      [IFD_K_CONV_PLANAR] = pack_planar};
  const ifd_k_conv_shape *s = &plan->shape;
  weights all = {.s = s,
                 .w = w,
                 .splat = splat,
                 .c_group = s->c / s->groups,
                 .m_group = s->m / s->groups,
                 .taps = ifd_conv_volume(s->kernel)};
  if (!splat) {
    all.tap_apart = 1;
    all.c_apart = all.taps * (s->transposed ? all.m_group : 1);
    all.m_apart = all.taps * (s->transposed ? 1 : all.c_group);
    all.group_apart = all.taps * all.c_group * all.m_group;
  }
  ifd_packing_share(panels_of(plan), share, n_shares, &all.begin, &all.end);
  packs[plan->algo](&all, packed);
}
