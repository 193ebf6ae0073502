/* Per-channel affine maps y = a[c]·x + b[c] along one axis, with a and b known: BatchNormalization in
 * inference, and Mul, Add, Sub, Div, Neg with a constant. Chains of them compose; linear operators take them
 * into their weights. All in double. */
#ifndef IFD_PASS_AFFINE_H
#define IFD_PASS_AFFINE_H

#include "pass/pass.h"

typedef struct ifd_affine {
  int64_t n; /* channels; 1: one pair for all */
  int axis;  /* of x, from the left; -1 when n is 1 */
  const double *a, *b;
  bool scales, shifts; /* some a is not 1; some b is not 0 */
  int n_nodes, n_bn;   /* nodes it stands for, BatchNormalizations among them */
  ifd_value *x;
} ifd_affine;

/* How a BatchNormalization runs, by the rules of its version (is_test, number of outputs, training_mode). */
bool ifd_bn_trains(const ifd_node *bn);

/* The map that `node` computes from the value it reads; false when it is none (then *why says why if it
 * nearly is; static text or in scratch). The rank of node's output must be known. */
ifd_status ifd_affine_of(ifd_rewrite *rw, const ifd_node *node, ifd_affine *out, bool *is_affine,
                         const char **why);

/* second after first, where both run along the same axis or one has a single pair. *out may be either. */
ifd_status ifd_affine_compose(ifd_rewrite *rw, const ifd_affine *first, const ifd_affine *second,
                              ifd_affine *out, bool *fits);

/* The chain of affine maps, of some tens at most, that ends in `last`, each inner value read by the next
 * alone; *n_nodes is 0 when last is none. */
ifd_status ifd_affine_chain(ifd_rewrite *rw, ifd_node *last, ifd_affine *out, const char **why);

/* Whether the one reader of last's output carries the chain on: then that node decides what becomes of it. */
ifd_status ifd_affine_goes_on(ifd_rewrite *rw, const ifd_node *last, bool *goes_on);

/* A constant vector of dtype, rounded once from double, of shape [n]. */
ifd_status ifd_affine_add_vector(ifd_rewrite *rw, ifd_value **out, ifd_dtype dtype, const double *v,
                                 int64_t n, const char *hint);
#endif
