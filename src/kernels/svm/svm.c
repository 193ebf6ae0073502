#include "kernels/svm/svm.h"
#include "kernels/vmath.h"

#define UNROLL_ _Pragma("GCC unroll 8")

/* Blocks whose chains run side by side, against the latency of an fma. */
enum { AT_ONCE = 8, AT_ONCE_F64 = 4 };

/* ---- bounded kernels ---- */

IFD_INLINE void bounded(const ifd_k_svm_vectors *p, int n, bool distance, const float *x, const float *v,
                        double *k) {
  const int64_t apart = p->n_features * 16;
  const v16 gamma = v16_set1((float)p->gamma), coef0 = v16_set1((float)p->coef0);
  v16 sum[AT_ONCE];
  UNROLL_ for (int b = 0; b < n; b++) sum[b] = v16_zero();
  for (int64_t f = 0; f < p->n_features; f++, v += 16) {
    const v16 a = v16_set1(x[f]);
    UNROLL_ for (int b = 0; b < n; b++) {
      v16 w = v16_load(v + b * apart);
      v16 d = distance ? v16_sub(a, w) : a;
      sum[b] = v16_fma(d, distance ? d : w, sum[b]);
    }
  }
  for (int b = 0; b < n; b++) {
    v16 scaled = v16_mul(gamma, sum[b]);
    v16 y = distance ? v16_exp(v16_neg(scaled)) : v16_tanh(v16_add(scaled, coef0));
    d16_store(k + b * 16, v16_to_d16(y));
  }
}

static void rbf(const ifd_k_svm_vectors *p, int n, const float *x, const float *v, double *k) {
  if (n == AT_ONCE)
    bounded(p, AT_ONCE, true, x, v, k);
  else
    for (int b = 0; b < n; b++) bounded(p, 1, true, x, v + b * p->n_features * 16, k + b * 16);
}
static void sigmoid(const ifd_k_svm_vectors *p, int n, const float *x, const float *v, double *k) {
  if (n == AT_ONCE)
    bounded(p, AT_ONCE, false, x, v, k);
  else
    for (int b = 0; b < n; b++) bounded(p, 1, false, x, v + b * p->n_features * 16, k + b * 16);
}

/* ---- products ---- */

/* (gamma x·v + coef0)^degree, or x·v alone. */
IFD_INLINE d16 power(const ifd_k_svm_vectors *p, d16 sum) {
  if (p->kernel == IFD_K_SVM_LINEAR) return sum;
  const d16 line = d16_fma(d16_set1(p->gamma), sum, d16_set1(p->coef0));
  d16 y = d16_set1(1);
  for (int i = 0; i < p->degree; i++) y = d16_mul(y, line);
  return y;
}

IFD_INLINE void products(const ifd_k_svm_vectors *p, int n, const float *x, const float *v, double *k) {
  const int64_t apart = p->n_features * 16;
  d16 sum[AT_ONCE_F64];
  UNROLL_ for (int b = 0; b < n; b++) sum[b] = d16_set1(0);
  for (int64_t f = 0; f < p->n_features; f++, v += 16) {
    const d16 a = d16_set1(x[f]);
    UNROLL_ for (int b = 0; b < n; b++) sum[b] = d16_fma(a, v16_to_d16(v16_load(v + b * apart)), sum[b]);
  }
  for (int b = 0; b < n; b++) d16_store(k + b * 16, power(p, sum[b]));
}

static void product(const ifd_k_svm_vectors *p, int n, const float *x, const float *v, double *k) {
  int b = 0;
  for (; b + AT_ONCE_F64 <= n; b += AT_ONCE_F64)
    products(p, AT_ONCE_F64, x, v + b * p->n_features * 16, k + b * 16);
  for (; b < n; b++) products(p, 1, x, v + b * p->n_features * 16, k + b * 16);
}

/* ---- all vectors ---- */

static void kernels(const ifd_k_svm_vectors *p, const float *x, double *k) {
  static void (*const of[])(const ifd_k_svm_vectors *, int, const float *, const float *,
                            double *) = {[IFD_K_SVM_LINEAR] = product,
                                         [IFD_K_SVM_POLY] = product,
                                         [IFD_K_SVM_RBF] = rbf,
                                         [IFD_K_SVM_SIGMOID] = sigmoid};
  for (int64_t b = 0; b < p->n_blocks; b += AT_ONCE) {
    const int n = p->n_blocks - b < AT_ONCE ? (int)(p->n_blocks - b) : AT_ONCE;
    of[p->kernel](p, n, x, p->vectors + b * p->n_features * 16, k + b * 16);
  }
}

static d16 load_d16(const double *k, int n) {
  double some[16] = {0};
  if (n == 16) return d16_load(k);
  for (int i = 0; i < n; i++) some[i] = k[i];
  return d16_load(some);
}

static double dot(const double *k, const float *w, int64_t n) {
  d16 sum = d16_set1(0);
  double lane[16];
  for (int64_t i = 0; i < n; i += 16) {
    const int rest = n - i < 16 ? (int)(n - i) : 16;
    sum = d16_fma(load_d16(k + i, rest), v16_to_d16(v16_load_n(w + i, rest)), sum);
  }
  d16_store(lane, sum);
  for (int width = 8; width; width /= 2)
    for (int i = 0; i < width; i++) lane[i] += lane[i + width];
  return lane[0];
}

const struct ifd_k_svm_table IFD_K(ifd_k_svm) = {.kernels = kernels, .dot = dot};
