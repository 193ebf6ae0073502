#include "kernels/conv/line.h"

/* Neighbouring outputs whose sums are in registers together. */
#if defined(IFD_ISA_avx512)
enum { AT_ONCE = 8 };
#else
enum { AT_ONCE = 4 };
#endif
#define UNROLL_ _Pragma("GCC unroll 8")

IFD_INLINE v16 first_sum(const ifd_conv_sink *to, int64_t o) {
  return to->init ? v16_load(to->init + o * 16) : v16_zero();
}

IFD_INLINE void put(const ifd_conv_sink *to, int64_t o, v16 sum) {
  if (to->fused.fits) sum = ifd_conv_fused_of(&to->fused, sum, to->other ? to->other + o * 16 : NULL);
  v16_store(to->y + o * 16, sum);
}

/* As many times N outputs from o on as come before end, all their taps inside the line. Where n_w, step and
 * tap_step are constants, each vector of x is loaded once for all the taps it meets. */
IFD_INLINE int64_t sum_inside(const int N, const ifd_conv_line *l, int64_t o, int64_t end,
                              const ifd_conv_sink *to) {
  for (; o + N <= end; o += N) {
    v16 sum[AT_ONCE];
    UNROLL_ for (int i = 0; i < N; i++) sum[i] = first_sum(to, o + i);
    const float *x_d = l->x + (l->begin + o * l->step) * 16, *w_d = l->w;
    for (int64_t d = 0; d < l->n_d; d++, x_d += l->x_d, w_d += l->w_d) {
      const float *x = x_d, *w = w_d;
      for (int64_t h = 0; h < l->n_h; h++, x += l->x_h, w += l->w_h)
        UNROLL_ for (int64_t k = 0; k < l->n_w; k++) {
          v16 wv = v16_load(w + k * 16);
          UNROLL_ for (int i = 0; i < N; i++) sum[i] =
              v16_fma(v16_load(x + (i * l->step + k * l->tap_step) * 16), wv, sum[i]);
        }
    }
    UNROLL_ for (int i = 0; i < N; i++) put(to, o + i, sum[i]);
  }
  return o;
}

/* Outputs up to `end` of which some tap lies outside the line. */
IFD_INLINE int64_t sum_edge(const ifd_conv_line *l, int64_t o, int64_t end, const ifd_conv_sink *to) {
  const ifd_conv_axis axis = {.begin = l->begin, .step = l->step, .n_taps = l->n_w, .tap_step = l->tap_step};
  for (; o < end; o++) {
    v16 sum = first_sum(to, o);
    int64_t first, n = ifd_conv_taps_inside(&axis, l->width, o, &first), n_d = n ? l->n_d : 0;
    for (int64_t d = 0; d < n_d; d++)
      for (int64_t h = 0; h < l->n_h; h++) {
        const float *x = l->x + d * l->x_d + h * l->x_h + (l->begin + o * l->step + first * l->tap_step) * 16;
        const float *w = l->w + d * l->w_d + h * l->w_h + first * 16;
        for (int64_t k = 0; k < n; k++)
          sum = v16_fma(v16_load(x + k * l->tap_step * 16), v16_load(w + k * 16), sum);
      }
    put(to, o, sum);
  }
  return o;
}

IFD_INLINE void run_line(const ifd_conv_line *l, int64_t o, int64_t end, const ifd_conv_sink *to) {
  int64_t reach = (l->n_w - 1) * l->tap_step, least = l->begin + ifd_min_i64(0, reach);
  int64_t most = l->begin + ifd_max_i64(0, reach);
  int64_t inside = least < 0 ? ifd_ceil_div(-least, l->step) : 0;
  int64_t inside_end = most < l->width ? (l->width - 1 - most) / l->step + 1 : 0;
  inside_end = l->n_d * l->n_h * l->n_w == 0 ? 0 : ifd_min_i64(inside_end, end);
  o = sum_edge(l, o, ifd_min_i64(end, inside), to);
  o = sum_inside(AT_ONCE, l, o, inside_end, to);
  o = sum_inside(AT_ONCE / 2, l, o, inside_end, to);
  o = sum_inside(1, l, o, inside_end, to);
  sum_edge(l, o, end, to);
}

/* Copies, so that stores to y are known to leave them alone; with constants where it matters. */
IFD_INLINE void run_copy(const ifd_conv_line *line, int64_t n_w, int64_t step, int64_t tap_step, int64_t o,
                         int64_t end, const ifd_conv_sink *sink) {
  ifd_conv_line l = *line;
  ifd_conv_sink to = *sink;
  l.n_w = n_w, l.step = step, l.tap_step = tap_step;
  run_line(&l, o, end, &to);
}

#define KERNELS(X) X(3, 1) X(3, 2) X(5, 1) X(5, 2) X(7, 1)
#define KERNEL(n_w, step)                                                                                    \
  static __attribute__((noinline)) void line_##n_w##_##step(const ifd_conv_line *l, int64_t o, int64_t end,  \
                                                            const ifd_conv_sink *to) {                       \
    run_copy(l, n_w, step, 1, o, end, to);                                                                   \
  }
KERNELS(KERNEL)
static void line_any(const ifd_conv_line *l, int64_t o, int64_t end, const ifd_conv_sink *to) {
  run_copy(l, l->n_w, l->step, l->tap_step, o, end, to);
}

ifd_conv_line_kernel IFD_K(ifd_conv_line_find)(const ifd_conv_line *l) {
#define ROW(n_w, step) {n_w, step, line_##n_w##_##step},
  static const struct {
    int64_t n_w, step;
    ifd_conv_line_kernel run;
  } rows[] = {KERNELS(ROW)};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (rows[i].n_w == l->n_w && rows[i].step == l->step && l->tap_step == 1) return rows[i].run;
  return line_any;
}
