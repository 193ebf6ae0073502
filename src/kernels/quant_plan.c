/* Sizes and splitting of integer products: the same for every ISA. */
#include "kernels/launch.h"
#include "kernels/quant/quant.h"
#include "kernels/quant/sizes.h"

enum { QUAD = 4 };

size_t ifd_k_quant_scratch_len(const ifd_k_quant_product *p, int64_t m) {
  return ifd_quant_sizes_of(p, m).len;
}

/* Tiles take pieces of 64 bytes, and so fast that gathering costs more than rows that are no output places;
 * other instructions do not. Pixels that are read ahead are not worth more than half of what a block may
 * hold.
 */
bool ifd_k_quant_lines_init(ifd_k_quant_lines *l, const ifd_k_conv_shape *s, int64_t samples, ifd_dot dot) {
  const int64_t piece = dot == IFD_DOT_AMX ? 64 : QUAD;
  const double most = dot == IFD_DOT_AMX ? 1.3 : 1.05; /* rows to an output place */
  int64_t step[2], out[2];                             /* whole strides from the first tap to the last */
  *l = (ifd_k_quant_lines){.samples = samples * s->in[IFD_K_D], .pixel = s->c / s->groups};
  if (l->pixel % piece || s->in[IFD_K_D] != s->out[IFD_K_D] || s->kernel[IFD_K_D] != 1) return false;
  for (int i = 0; i < 2; i++) {
    int d = i ? IFD_K_W : IFD_K_H;
    int64_t reach = (s->kernel[d] - 1) * s->dilation[d];
    step[i] = reach / s->stride[d], out[i] = s->out[d];
    l->phases[i] = ifd_min_i64(s->stride[d], reach + 1);
  }
  l->height = out[0] + step[0], l->width = out[1] + step[1];
  l->taps = s->kernel[IFD_K_H] * s->kernel[IFD_K_W];
  l->reach = step[0] * l->width + step[1];
  l->m = ((l->samples - 1) * l->height + out[0] - 1) * l->width + out[1];
  double real = (double)(l->samples * out[0] * out[1]),
         bytes = (double)(l->pixel * l->phases[0] * l->phases[1]);
  return (double)l->m <= most * real && (double)l->reach * bytes <= IFD_QUANT_L2 / 2;
}

size_t ifd_k_quant_depthwise_scratch_len(const ifd_k_conv_shape *shape) {
  return ifd_quant_depthwise_sizes_of(shape).len;
}

/* A sum costs as much to finish, and a weight to read, as so many products. Rows are shared out first, since
 * a task packs the rows of A that it reads. */
ifd_k_quant_grid ifd_k_quant_split(int64_t m, int64_t n, int64_t k) {
  const double task = 1 << 23, finish = 256, weight = 32;
  int64_t wish = ifd_tasks_worth(((double)m + weight) * (double)n * ((double)k + finish), task);
  int64_t n_m = ifd_max_i64(1, ifd_min_i64(wish, m / 56));
  int64_t n_n = ifd_min_i64(ifd_ceil_div(wish, n_m), ifd_ceil_div(n, 128));
  ifd_k_quant_grid g = {.m_step = ifd_ceil_div(m, n_m),
                        .n_step = ifd_ceil_div(ifd_ceil_div(n, n_n), 64) * 64};
  if (n_m > 1) g.m_step = ifd_ceil_div(g.m_step, 112) * 112;
  g.n_m = ifd_ceil_div(m, g.m_step);
  g.n_tasks = g.n_m * ifd_ceil_div(n, g.n_step);
  return g;
}
