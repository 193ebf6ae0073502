#include "kernels/conv/conv.h"
#include "base/checked.h"

/* Input place that output o meets at a tap, or -1. */
static int64_t place(const ifd_k_conv_shape *s, int d, int64_t o, int64_t tap) {
  int64_t i = s->transposed ? o + s->pad[d] - tap * s->dilation[d]
                            : o * s->stride[d] + tap * s->dilation[d] - s->pad[d];
  if (s->transposed) {
    if (i % s->stride[d]) return -1;
    i /= s->stride[d];
  }
  return i >= 0 && i < s->in[d] ? i : -1;
}

static v16 sum_at(const ifd_k_conv_plan *p, const float *x, const float *w, int64_t block, const int64_t *o) {
  const ifd_k_conv_shape *s = &p->shape;
  int64_t c_group = s->c / s->groups, m_group = s->m / s->groups, plane = s->in[0] * s->in[1] * s->in[2];
  v16 sum = v16_zero();
  for (int64_t c = 0; c < c_group; c++)
    for (int64_t d = 0; d < s->kernel[0]; d++)
      for (int64_t h = 0; h < s->kernel[1]; h++)
        for (int64_t v = 0; v < s->kernel[2]; v++, w += 16) {
          int64_t at[] = {place(s, 0, o[0], d), place(s, 1, o[1], h), place(s, 2, o[2], v)};
          if (at[0] < 0 || at[1] < 0 || at[2] < 0) continue;
          float lane[16] = {0};
          for (int64_t m = block * 16, j = 0; j < 16 && m < s->m; j++, m++) {
            int64_t ch = m / m_group * c_group + c;
            lane[j] = x[(ch / 16 * plane + (at[0] * s->in[1] + at[1]) * s->in[2] + at[2]) * 16 + ch % 16];
          }
          sum = v16_fma(v16_load(lane), v16_load(w), sum);
        }
  return sum;
}

static void run(const ifd_k_conv_plan *p, const ifd_k_conv_args *args, int64_t task, void *scratch) {
  static const ifd_k_epilogue none = {.scale = 1};
  (void)scratch;
  const ifd_k_conv_shape *s = &p->shape;
  const ifd_k_epilogue *e = args->epilogue ? args->epilogue : &none;
  int64_t in = s->in[0] * s->in[1] * s->in[2], out = s->out[0] * s->out[1] * s->out[2];
  int64_t row = task % p->row_tasks, block = task / p->row_tasks % p->block_tasks,
          n = task / p->row_tasks / p->block_tasks;
  int64_t x_sample = args->x_sample ? args->x_sample : ifd_ceil_div(s->c, 16) * in * 16;
  int64_t y_sample = args->y_sample ? args->y_sample : ifd_ceil_div(s->m, 16) * out * 16;
  int64_t at = (block * out + row * s->out[2]) * 16, cols = ifd_min_i64(16, s->m - block * 16);
  for (int64_t o = 0; o < s->out[2]; o++) {
    float sum[16];
    v16_store(sum, sum_at(p, args->x + n * x_sample,
                          args->packed +
                              block * (s->c / s->groups) * s->kernel[0] * s->kernel[1] * s->kernel[2] * 16,
                          block, (int64_t[]){row / s->out[1], row % s->out[1], o}));
    IFD_K(ifd_k_finish)
    (e, &(ifd_k_tile){.sums = sum,
                      .y = args->y + n * y_sample + at + o * 16,
                      .other = e->join ? e->other + n * (e->other_rs ? e->other_rs : y_sample) + at + o * 16
                                       : NULL,
                      .bias = e->bias ? e->bias + block * 16 : NULL,
                      .n_rows = 1,
                      .n_cols = cols,
                      .fill = true});
  }
}

static void planar_to_blocked(float *y, const float *x, int64_t c, int64_t n_pixels, int64_t b0, int64_t b1) {
  for (int64_t b = b0; b < b1; b++)
    for (int64_t p = 0; p < n_pixels; p++)
      for (int64_t j = 0; j < 16; j++)
        y[(b * n_pixels + p) * 16 + j] = b * 16 + j < c ? x[(b * 16 + j) * n_pixels + p] : 0;
}
static void blocked_to_planar(float *y, const float *x, int64_t c, int64_t n_pixels, int64_t b0, int64_t b1) {
  for (int64_t b = b0; b < b1; b++)
    for (int64_t j = 0; j < 16 && b * 16 + j < c; j++)
      for (int64_t p = 0; p < n_pixels; p++) y[(b * 16 + j) * n_pixels + p] = x[(b * n_pixels + p) * 16 + j];
}
static void pixels_to_blocked(float *y, const float *x, int64_t c, int64_t n_pixels, int64_t p0, int64_t p1) {
  for (int64_t b = 0; b < ifd_ceil_div(c, 16); b++)
    for (int64_t p = p0; p < p1; p++)
      v16_store(y + (b * n_pixels + p) * 16,
                v16_load_n(x + p * c + b * 16, (int)ifd_min_i64(16, c - b * 16)));
}
static void blocked_to_pixels(float *y, const float *x, int64_t c, int64_t n_pixels, int64_t p0, int64_t p1) {
  for (int64_t b = 0; b < ifd_ceil_div(c, 16); b++)
    for (int64_t p = p0; p < p1; p++)
      v16_store_n(y + p * c + b * 16, v16_load(x + (b * n_pixels + p) * 16),
                  (int)ifd_min_i64(16, c - b * 16));
}

const struct ifd_k_conv_table IFD_K(ifd_k_conv) = {.run = run,
                                                   .planar_to_blocked = planar_to_blocked,
                                                   .blocked_to_planar = blocked_to_planar,
                                                   .pixels_to_blocked = pixels_to_blocked,
                                                   .blocked_to_pixels = blocked_to_pixels};
