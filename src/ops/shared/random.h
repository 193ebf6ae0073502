/* The random generator of operators with a seed: the Mersenne Twister MT19937 (Matsumoto & Nishimura 1998)
 * seeded and read as numpy.random.RandomState does, so that a seeded operator draws what ONNX's own reference
 * draws. */
#ifndef IFD_OPS_SHARED_RANDOM_H
#define IFD_OPS_SHARED_RANDOM_H

#include "ops/op.h"

enum { IFD_RANDOM_STATE = 624, IFD_RANDOM_UNIFORM = IFD_RANDOM_STATE / 2 };
typedef struct ifd_random {
  uint32_t state[IFD_RANDOM_STATE];
  double uniform[IFD_RANDOM_UNIFORM]; /* those that the state gives, of which `at` are drawn */
  int at;
  bool has_spare; /* the second number of a pair of normal ones */
  double spare;
} ifd_random;

/* Seeded by the node's attribute `seed` (a float or an int), or, without one, by the run's generator, which
 * advances. */
void ifd_random_start(ifd_random *r, ifd_eval *x);
/* The next state. */
void ifd_random_refill(ifd_random *r);
/* Uniform in [0, 1), 53 bits. */
static inline double ifd_random_uniform(ifd_random *r) {
  if (r->at == IFD_RANDOM_UNIFORM) ifd_random_refill(r);
  return r->uniform[r->at++];
}
/* Standard normal, by Marsaglia's polar method. */
double ifd_random_normal(ifd_random *r);
/* 1 with probability p, else 0, by inversion of the binomial distribution. */
int ifd_random_bernoulli(ifd_random *r, double p);

#endif
