/* Support vector machines: the kernel function of a sample and every support vector, and the weighted sums of
 * these. Kernels that are bounded are computed in float; products, of which large ones cancel in the sums, in
 * double. Each is one chain over the features, each sum sixteen chains in double whose ends are added in
 * pairs: neither depends on other samples or the ISA. Source: Chang & Lin, "LIBSVM", 2011. */
#ifndef IFD_KERNELS_SVM_SVM_H
#define IFD_KERNELS_SVM_SVM_H

#include <stdint.h>

typedef enum ifd_k_svm_kernel {
  IFD_K_SVM_LINEAR,  /* x·v */
  IFD_K_SVM_POLY,    /* (gamma x·v + coef0)^degree */
  IFD_K_SVM_RBF,     /* exp(-gamma |x - v|²) */
  IFD_K_SVM_SIGMOID, /* tanh(gamma x·v + coef0) */
} ifd_k_svm_kernel;

typedef struct ifd_k_svm_vectors {
  ifd_k_svm_kernel kernel;
  double gamma, coef0;
  int degree;                   /* not negative */
  int64_t n_features, n_blocks; /* of 16 support vectors */
  const float *vectors;         /* [n_blocks][n_features][16], zeros beyond the last vector */
} ifd_k_svm_vectors;

struct ifd_k_svm_table {
  /* k [n_blocks * 16]: of x [n_features] and each vector. */
  void (*kernels)(const ifd_k_svm_vectors *p, const float *x, double *k);
  /* Σ k[i] w[i] of n elements. */
  double (*dot)(const double *k, const float *w, int64_t n);
};

#endif
