/* Which algorithm a convolution takes, how it splits, and its packed weights: the same for every ISA. */
#include <string.h>

#include "base/checked.h"
#include "kernels/conv/conv.h"

ifd_k_conv_algo ifd_k_conv_choose(const ifd_k_conv_shape *shape, bool exact, bool plain_input) {
  (void)shape, (void)exact, (void)plain_input;
  return IFD_K_CONV_GROUPED;
}

const char *ifd_k_conv_algo_name(ifd_k_conv_algo algo) {
  static const char *const names[IFD_K_N_CONV_ALGOS] = {"direct", "winograd 4x4", "depthwise", "grouped",
                                                        "first"};
  return names[algo];
}

static int64_t product(const int64_t *n) { return n[IFD_K_D] * n[IFD_K_H] * n[IFD_K_W]; }

bool ifd_k_conv_plan_init(ifd_k_conv_plan *plan, const ifd_k_conv_shape *shape, ifd_k_conv_algo algo,
                          int64_t batch) {
  *plan = (ifd_k_conv_plan){.shape = *shape, .algo = algo, .batch = batch};
  plan->packed_len =
      sizeof(float) * 16 *
      (size_t)(ifd_ceil_div(shape->m, 16) * (shape->c / shape->groups) * product(shape->kernel));
  plan->rows = plan->blocks = 1;
  plan->row_tasks = shape->out[IFD_K_D] * shape->out[IFD_K_H];
  plan->block_tasks = ifd_ceil_div(shape->m, 16);
  plan->n_tasks = batch * plan->row_tasks * plan->block_tasks;
  return true;
}

void ifd_k_conv_pack(const ifd_k_conv_plan *plan, const float *w, float *packed) {
  const ifd_k_conv_shape *s = &plan->shape;
  int64_t taps = product(s->kernel), c_group = s->c / s->groups, m_group = s->m / s->groups;
  memset(packed, 0, plan->packed_len);
  for (int64_t m = 0; m < s->m; m++)
    for (int64_t c = 0; c < c_group; c++)
      for (int64_t t = 0; t < taps; t++) {
        int64_t from = s->transposed ? ((m / m_group * c_group + c) * m_group + m % m_group) * taps + t
                                     : (m * c_group + c) * taps + t;
        packed[((m / 16 * c_group + c) * taps + t) * 16 + m % 16] = w[from];
      }
}
