#include "kernels/gemm/few.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/pack.h"
#include "kernels/gemm/product.h"

/* Rows [i0, i1) of A by themselves. */
static void pack_segments(const void *source, float *to, int64_t i0, int64_t i1, int64_t s0, int64_t s1) {
  const ifd_k_product *g = source;
  int64_t k0 = s0 * 16, k1 = ifd_min_i64(s1 * 16, g->k);
  IFD_K(ifd_k_pack_a)
  (to, (i1 - i0) * 16, g->a + i0 * g->a_rs + k0 * g->a_cs, g->a_rs, g->a_cs, i1 - i0, k1 - k0);
}

static void run_f32(const ifd_k_product *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1, void *scratch) {
  if (i0 >= i1 || j0 >= j1) return;
  if (g->narrow && g->m == 1 && (g->a_vs ? g->a_vs == 16 : g->a_cs == 1)) {
    IFD_K(ifd_narrow_row)(g, j0, j1);
    return;
  }
  if (ifd_few_takes(g, i1 - i0, j1 - j0)) {
    IFD_K(ifd_few_rows)(g, i0, i1, j0, j1);
    return;
  }
  ifd_k_epilogue e = g->epilogue ? *g->epilogue : IFD_K_EPILOGUE_NONE;
  if (e.join) e.other += i0 * e.other_rs + j0;
  if (e.bias) e.bias += j0;
  if (e.row_bias) e.row_bias += i0;
  ifd_k_product task = *g;
  int64_t c_vs = g->c_vs ? g->c_vs : 16;
  bool packed = g->b_rs == 0 && g->b_cs == 0, packed_a = g->a_vs != 0;
  int64_t b_steps = g->b_steps ? g->b_steps : g->k;
  ifd_k_narrow narrow;
  if (g->narrow) narrow = ifd_k_narrow_from(g->narrow, j0);
  task.a += i0 * (packed_a ? 16 : g->a_rs);
  IFD_K(ifd_product_run)
  (&(ifd_product){.m = i1 - i0,
                  .n = j1 - j0,
                  .n_full = g->k / 16,
                  .n_part = g->k % 16 != 0,
                  .k_part = g->k % 16,
                  .pack = packed_a || (i1 - i0 == 1 && g->a_cs == 1) ? NULL : pack_segments,
                  .source = &task,
                  .a = task.a,
                  .a_segment = packed_a ? g->a_vs : 16,
                  .b = g->narrow ? NULL : g->b + (packed ? j0 * b_steps : j0 * g->b_cs),
                  .narrow = g->narrow ? &narrow : NULL,
                  .b_steps = g->b_steps,
                  .b_rs = g->b_rs,
                  .b_cs = g->b_cs,
                  .streams = packed && ifd_product_streams(g->n, g->k),
                  .c = g->c + i0 * g->c_rs + j0 / 16 * c_vs,
                  .c_rs = g->c_rs,
                  .c_vs = c_vs,
                  .other_rs = e.other_rs,
                  .other_vs = 16,
                  .epilogue = &e},
   scratch);
}

static void pack_f32(float *packed, const ifd_float_anywhere *b, int64_t b_rs, int64_t b_cs, int64_t k,
                     int64_t j0, int64_t j1) {
  IFD_K(ifd_k_pack_b)(packed + j0 * k, b + j0 * b_cs, b_rs, b_cs, k, j1 - j0);
}

static void pack_a_f32(float *packed, const ifd_k_product *g, int64_t i0, int64_t i1, int64_t s0,
                       int64_t s1) {
  int64_t k0 = s0 * 16, k1 = ifd_min_i64(s1 * 16, g->k);
  IFD_K(ifd_k_pack_a)
  (packed + s0 * g->m * 16 + i0 * 16, g->m * 16, g->a + i0 * g->a_rs + k0 * g->a_cs, g->a_rs, g->a_cs,
   i1 - i0, k1 - k0);
}

const struct ifd_k_gemm_table IFD_K(ifd_k_gemm) = {.pack_f32 = pack_f32,
                                                   .pack_a_f32 = pack_a_f32,
                                                   .run_f32 = run_f32,
                                                   .run_f64 = IFD_K(ifd_product_run_f64)};
