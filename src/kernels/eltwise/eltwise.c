#include "kernels/eltwise/rows.h"

enum { BLOCK = 1024 };

static void run_unary(const ifd_el_step *s, const float *x, bool is_one, float *y, size_t n) {
  IFD_K(ifd_el_unary_f32)[s->op](s->p, x, y, is_one ? 1 : n);
  for (size_t i = 1; is_one && i < n; i++) y[i] = y[0];
}

static void run_step(const ifd_el_step *s, float *const *value, const int *step, size_t n) {
  if (s->op < IFD_EL_N_UNARY) {
    run_unary(s, value[s->from[0]], !step[s->from[0]], value[s->to], n);
    return;
  }
  IFD_K(ifd_el_binary_f32)
  [s->op - IFD_EL_N_UNARY](value[s->from[0]], step[s->from[0]], value[s->from[1]], step[s->from[1]],
                           value[s->to], n);
}

static void chain(const ifd_el_step *steps, int n_steps, const float *const *in, const int *in_step, int n_in,
                  float *const *out, int n_out, size_t n) {
  _Alignas(64) float registers[IFD_EL_OUT - IFD_EL_REGISTER][BLOCK];
  float *value[IFD_EL_VALUES];
  int step[IFD_EL_VALUES];
  for (int v = 0; v < IFD_EL_VALUES; v++) step[v] = v < n_in ? in_step[v] : 1;
  for (int r = IFD_EL_REGISTER; r < IFD_EL_OUT; r++) value[r] = registers[r - IFD_EL_REGISTER];
  for (size_t at = 0; at < n; at += BLOCK) {
    for (int i = 0; i < n_in; i++) value[i] = (float *)in[i] + (in_step[i] ? at : 0);
    for (int i = 0; i < n_out; i++) value[IFD_EL_OUT + i] = out[i] + at;
    size_t length = n - at < BLOCK ? n - at : BLOCK;
    for (int s = 0; s < n_steps; s++) run_step(&steps[s], value, step, length);
  }
}

const struct ifd_k_eltwise_table IFD_K(ifd_k_eltwise) = {
    .unary = IFD_K(ifd_el_unary),
    .binary = IFD_K(ifd_el_binary),
    .integer = IFD_K(ifd_el_integer),
    .has_zero = IFD_K(ifd_el_has_zero),
    .select = IFD_K(ifd_el_select),
    .cast = IFD_K(ifd_el_cast),
    .quantize = IFD_K(ifd_el_quantize),
    .dequantize = IFD_K(ifd_el_dequantize),
    .chain = chain,
};
