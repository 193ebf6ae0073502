/* What measures a machine: as much of one thing as a core can do, and nothing else. */
#ifndef IFD_KERNELS_PEAK_PEAK_H
#define IFD_KERNELS_PEAK_PEAK_H

#include <stddef.h>
#include <stdint.h>

struct ifd_k_peak_table {
  int64_t chains; /* of 16 lanes each: as many as stay in registers */
  /* n rounds of fused multiply-adds that wait for nothing but the ones before them in their chain, all in
   * registers: x = x * a + b from 0, in all lanes of all chains, and their sum. A round
   * is 16 * chains multiply-adds. */
  float (*multiply)(float a, float b, int64_t n);
  /* The sum of n floats, by lanes of 64; n is a multiple of that. */
  float (*read)(const float *x, size_t n);
};

#endif
