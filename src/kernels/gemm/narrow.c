#include "kernels/gemm/narrow.h"

#include "base/checked.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/ukr.h"
#include "kernels/half.h"
#include "kernels/quant/bytes.h"

/* What the numbers of a block of one panel share. */
typedef struct block {
  v16 scale, zero;
} block;

IFD_INLINE block block_of(const ifd_k_narrow *b, int64_t panel, int64_t index) {
  if (!b->scale) return (block){v16_zero(), v16_zero()};
  int64_t at = (panel * ifd_ceil_div(b->k, b->block) + index) * 16;
  v16 zero = b->zero ? i16_to_v16(i16_load_bytes(b->zero + at)) : v16_set1(b->added);
  return (block){v16_load(b->scale + at), zero};
}

IFD_INLINE v16 scaled(i16 v, const block *k) { return v16_mul(v16_sub(i16_to_v16(v), k->zero), k->scale); }
IFD_INLINE i16 low_half(i16 two) { return i16_and(two, i16_set1(15)); }
IFD_INLINE i16 high_half(i16 two) { return i16_srl(two, 4); }
/* Row k of a panel. */
IFD_INLINE v16 widened(const uint8_t *b, const ifd_k_narrow_form form, const block *shared, int64_t k) {
  if (form == IFD_K_NARROW_FLOAT16) return v16_load_float16(b + k * 32);
  if (form == IFD_K_NARROW_BFLOAT16) return v16_load_bfloat16(b + k * 32);
  if (form == IFD_K_NARROW_BYTES) return scaled(i16_load_bytes(b + k * 16), shared);
  i16 two = i16_load_bytes(b + k / 2 * 16);
  return scaled(k % 2 ? high_half(two) : low_half(two), shared);
}

/* ---- as floats ---- */

/* Rows [k0, k1) of a block. */
IFD_INLINE void widen(float *to, const uint8_t *b, const ifd_k_narrow_form form, const block *shared,
                      int64_t k0, int64_t k1) {
  int64_t k = k0;
  for (; form == IFD_K_NARROW_HALVES && k % 2 == 0 && k + 1 < k1; k += 2, to += 32) {
    i16 two = i16_load_bytes(b + k / 2 * 16);
    v16_store(to, scaled(low_half(two), shared));
    v16_store(to + 16, scaled(high_half(two), shared));
  }
  for (; k < k1; k++, to += 16) v16_store(to, widened(b, form, shared, k));
}

/* A constant in each case: no step asks again. */
#define EACH_FORM(X)                                                                                         \
  X(HALVES)                                                                                                  \
  X(BYTES)                                                                                                   \
  X(FLOAT16)                                                                                                 \
  X(BFLOAT16)
#define WIDEN(form)                                                                                          \
  static void widen_##form(float *to, const uint8_t *b, const block *shared, int64_t k0, int64_t k1) {       \
    widen(to, b, IFD_K_NARROW_##form, shared, k0, k1);                                                       \
  }
EACH_FORM(WIDEN)

void IFD_K(ifd_narrow_widen)(float *to, const ifd_k_narrow *b, int64_t n_panels, int64_t k0, int64_t k1) {
  typedef void rows(float *to, const uint8_t *b, const block *shared, int64_t k0, int64_t k1);
#define ENTRY(form) [IFD_K_NARROW_##form] = widen_##form,
  static rows *const kernels[] = {EACH_FORM(ENTRY)};
#undef ENTRY
  for (int64_t p = 0; p < n_panels; p++) {
    const uint8_t *panel = ifd_k_narrow_from(b, p * 16).b;
    for (int64_t k = k0, end; k < k1; to += (end - k) * 16, k = end) {
      int64_t index = k / b->block;
      block shared = block_of(b, p, index);
      end = ifd_min_i64(k1, (index + 1) * b->block);
      kernels[b->form](to, panel, &shared, k, end);
    }
  }
}

/* ---- one row ---- */

/* Each number is read once: from the register where it becomes a float it goes straight into its sum. */

#define EACH_VECTOR _Pragma("GCC unroll 4") for (int v = 0; v < NV; v++)
enum { CHAIN = IFD_UKR_CHAIN * 16 };

IFD_INLINE void add_step(const int NV, const ifd_k_narrow_form form, v16 *sum, const block *shared,
                         const float *a, const uint8_t *b, size_t apart, int64_t k) {
  v16 x = v16_set1(a[k]);
  EACH_VECTOR v16_add_product(&sum[v], x, widened(b + (size_t)v * apart, form, &shared[v], k));
}

/* Two steps whose integers are halves of the same bytes. */
IFD_INLINE void add_pair(const int NV, v16 *sum, const block *shared, const float *a, const uint8_t *b,
                         size_t apart, int64_t k) {
  v16 x = v16_set1(a[k]), y = v16_set1(a[k + 1]);
  EACH_VECTOR {
    i16 two = i16_load_bytes(b + (size_t)v * apart + k / 2 * 16);
    v16_add_product(&sum[v], x, scaled(low_half(two), &shared[v]));
    v16_add_product(&sum[v], y, scaled(high_half(two), &shared[v]));
  }
}

/* Steps [k, end) of a block. */
IFD_INLINE void add_steps(const int NV, const ifd_k_narrow_form form, v16 *sum, const block *shared,
                          const float *a, const uint8_t *b, size_t apart, int64_t k, int64_t end) {
  if (form == IFD_K_NARROW_HALVES) {
    if (k % 2) add_step(NV, form, sum, shared, a, b, apart, k++);
    for (; k + 1 < end; k += 2) add_pair(NV, sum, shared, a, b, apart, k);
  }
  for (; k < end; k++) add_step(NV, form, sum, shared, a, b, apart, k);
}

/* The sums of NV panels, by chains as tiles have them. */
IFD_INLINE void add_panels(const int NV, const ifd_k_narrow_form form, float *sums, const ifd_k_narrow *b,
                           const float *a) {
  const size_t apart = ifd_k_narrow_len(form, 16, b->k);
  block shared[IFD_UKR_MAX_VECTORS];
  v16 sum[IFD_UKR_MAX_VECTORS], chain[IFD_UKR_MAX_VECTORS];
  EACH_VECTOR sum[v] = chain[v] = v16_zero();
  for (int64_t k = 0, end; k < b->k; k = end) {
    int64_t index = k / b->block;
    end = ifd_min_i64(ifd_min_i64(b->k, (k / CHAIN + 1) * CHAIN), (index + 1) * b->block);
    EACH_VECTOR shared[v] = block_of(b, v, index);
    add_steps(NV, form, chain, shared, a, b->b, apart, k, end);
    if (end % CHAIN && end < b->k) continue;
    EACH_VECTOR sum[v] = end <= CHAIN ? chain[v] : v16_add(sum[v], chain[v]);
    EACH_VECTOR chain[v] = v16_zero();
  }
  EACH_VECTOR v16_store(sums + v * 16, sum[v]);
}

typedef void panels(float *sums, const ifd_k_narrow *b, const float *a);
#define PANELS(form, NV)                                                                                     \
  static void form##_##NV(float *sums, const ifd_k_narrow *b, const float *a) {                              \
    add_panels(NV, IFD_K_NARROW_##form, sums, b, a);                                                         \
  }
#define EACH_NV(form) PANELS(form, 1) PANELS(form, 2) PANELS(form, 3) PANELS(form, 4)
EACH_FORM(EACH_NV)

void IFD_K(ifd_narrow_row)(const ifd_k_product *g, int64_t j0, int64_t j1) {
#define ENTRY(form) [IFD_K_NARROW_##form] = {NULL, form##_1, form##_2, form##_3, form##_4},
  static panels *const kernels[][IFD_UKR_MAX_VECTORS + 1] = {EACH_FORM(ENTRY)};
#undef ENTRY
  const ifd_k_epilogue e = g->epilogue ? *g->epilogue : IFD_K_EPILOGUE_NONE;
  const int64_t c_vs = g->c_vs ? g->c_vs : 16;
  float sums[IFD_UKR_MAX_VECTORS * 16];
  for (int64_t j = j0, n; j < j1; j += n) {
    n = ifd_min_i64(j1 - j, IFD_UKR_MAX_VECTORS * 16);
    const ifd_k_narrow from = ifd_k_narrow_from(g->narrow, j);
    kernels[from.form][ifd_ceil_div(n, 16)](sums, &from, g->a);
    IFD_K(ifd_k_finish)
    (&e, &(ifd_k_tile){.sums = sums,
                       .sums_rs = 16,
                       .sums_vs = 16,
                       .y = g->c + j / 16 * c_vs,
                       .y_rs = g->c_rs,
                       .y_vs = c_vs,
                       .other = e.join ? e.other + j : NULL,
                       .other_rs = e.other_rs,
                       .other_vs = 16,
                       .bias = e.bias ? e.bias + j : NULL,
                       .row_bias = e.row_bias,
                       .n_rows = 1,
                       .n_cols = n});
  }
}
