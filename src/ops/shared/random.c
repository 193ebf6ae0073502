#include "ops/shared/random.h"

#include <math.h>

enum { N = IFD_RANDOM_STATE, M = 397 };

static void seed_with(ifd_random *r, uint32_t seed) {
  for (int i = 0; i < N; i++) {
    r->state[i] = seed;
    seed = 1812433253u * (seed ^ seed >> 30) + (uint32_t)i + 1;
  }
  r->at = IFD_RANDOM_UNIFORM;
  r->has_spare = false;
}

/* Splitmix64 (Steele, Lea & Flood 2014): seeds that do not resemble each other. */
static uint32_t next_seed(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return (uint32_t)(z >> 32);
}

void ifd_random_start(ifd_random *r, ifd_eval *x) {
  const ifd_attr *a = ifd_node_find_attr(x->node, "seed");
  double seed = a && a->type == IFD_ATTR_FLOAT ? a->f : a ? (double)a->i : NAN;
  bool usable = fabs(seed) < 0x1p63;
  uint32_t low = a && a->type == IFD_ATTR_INT ? (uint32_t)a->i : usable ? (uint32_t)(int64_t)seed : 0;
  seed_with(r, usable ? low : next_seed(x->random));
}

static uint32_t twist(uint32_t high, uint32_t low) {
  uint32_t y = (high & 0x80000000u) | (low & 0x7fffffffu);
  return y >> 1 ^ (-(y & 1) & 0x9908b0dfu);
}

static uint32_t temper(uint32_t y) {
  y ^= y >> 11;
  y ^= y << 7 & 0x9d2c5680u;
  y ^= y << 15 & 0xefc60000u;
  return y ^ y >> 18;
}

void ifd_random_refill(ifd_random *r) {
  uint32_t *s = r->state;
  for (int i = 0; i < N - M; i++) s[i] = s[i + M] ^ twist(s[i], s[i + 1]);
  for (int i = N - M; i < N - 1; i++) s[i] = s[i + M - N] ^ twist(s[i], s[i + 1]);
  s[N - 1] = s[M - 1] ^ twist(s[N - 1], s[0]);
  for (int i = 0; i < IFD_RANDOM_UNIFORM; i++) {
    uint32_t high = temper(s[2 * i]) >> 5, low = temper(s[2 * i + 1]) >> 6;
    r->uniform[i] = (high * 0x1p26 + low) * 0x1p-53;
  }
  r->at = 0;
}

double ifd_random_normal(ifd_random *r) {
  if (r->has_spare) {
    r->has_spare = false;
    return r->spare;
  }
  double u, v, square;
  do {
    u = 2 * ifd_random_uniform(r) - 1;
    v = 2 * ifd_random_uniform(r) - 1;
    square = u * u + v * v;
  } while (square >= 1 || square == 0);
  double factor = sqrt(-2 * log(square) / square);
  r->spare = factor * u;
  r->has_spare = true;
  return factor * v;
}

/* NumPy compares with exp(log(q)), which differs from q in its last bits: only a number as close needs it. */
int ifd_random_bernoulli(ifd_random *r, double p) {
  const double rarer[] = {p, 1 - p}; /* picked without a branch that nobody foresees */
  double q = 1 - rarer[p > .5], u = ifd_random_uniform(r);
  if (fabs(u - q) <= 1e-14) q = exp(log(q));
  return (u > q) ^ (p > .5);
}
