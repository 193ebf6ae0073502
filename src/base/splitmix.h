/* Reproducible numbers that look random: SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
 * generators, 2014). */
#ifndef IFD_BASE_SPLITMIX_H
#define IFD_BASE_SPLITMIX_H

#include <stdint.h>

/* The next 64 bits; any state is a seed. */
static inline uint64_t ifd_splitmix_next(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

#endif
