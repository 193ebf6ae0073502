/* How a task of a float product walks through memory: blocks of columns, in them blocks of rows whose A is
 * packed, in them blocks of k. The chain of an element is the same whatever is chosen here. */
#ifndef IFD_KERNELS_GEMM_BLOCK_H
#define IFD_KERNELS_GEMM_BLOCK_H

#include "base/checked.h"

enum {
  IFD_K_GEMM_ROWS = 112, /* of A packed at a time: with K_BLOCK they stay in a quarter of a megabyte of L2 */
  IFD_K_GEMM_K_BLOCK = 512, /* a multiple of 16; longer sums wait in memory in between */
  IFD_K_GEMM_COLUMNS = 256, /* whose sums wait, or whose B is packed; multiples of 64 */
  IFD_K_GEMM_COLUMNS_PACKED = 1024,
};

typedef struct ifd_k_gemm_block {
  int64_t rows, columns;      /* the largest block of a task */
  size_t at, a, sums, b, len; /* offsets of the parts of scratch in bytes, and its length */
} ifd_k_gemm_block;

static inline size_t ifd_k_round_64(size_t n) { return (n + 63) / 64 * 64; }

static inline ifd_k_gemm_block ifd_k_gemm_block_of(int64_t n_rows, int64_t n_columns, int64_t k,
                                                   bool packed) {
  bool waits = k > IFD_K_GEMM_K_BLOCK;
  int64_t rows = ifd_min_i64(n_rows, IFD_K_GEMM_ROWS);
  int64_t most = waits || !packed ? IFD_K_GEMM_COLUMNS : IFD_K_GEMM_COLUMNS_PACKED;
  int64_t columns = ifd_min_i64(ifd_ceil_div(n_columns, 16) * 16, most), segments = ifd_ceil_div(k, 16);
  ifd_k_gemm_block block = {.rows = rows, .columns = columns};
  block.a = ifd_k_round_64(sizeof(int64_t) * (size_t)segments);
  block.sums = block.a + 64 * (size_t)segments * (size_t)rows;
  block.b = block.sums + (waits ? sizeof(float) * (size_t)rows * (size_t)columns : 0);
  block.len = block.b + (packed ? 0 : sizeof(float) * (size_t)columns * (size_t)k);
  return block;
}

#endif
