#include "kernels/pool/greater.h"

/* Loops that the compiler makes vectors of. */
#define GREATER_BY(step, t, index_t)                                                                         \
  for (int64_t i = 0; i < n; i++) {                                                                          \
    const t a = x[i * (step)], b = best[i];                                                                  \
    const bool take = (a > b) | (a != a) | (index[i] < 0);                                                   \
    best[i] = take ? a : b;                                                                                  \
    index[i] = take ? at + (index_t)(i * (step)) : index[i];                                                 \
  }
#define GREATER(name, t, index_t)                                                                            \
  void IFD_K(name)(const t *restrict x, int64_t step, int64_t n, index_t at, t *restrict best,               \
                   index_t *restrict index) {                                                                \
    if (step == 1) {                                                                                         \
      GREATER_BY(1, t, index_t)                                                                              \
    } else if (step == 2) {                                                                                  \
      GREATER_BY(2, t, index_t)                                                                              \
    } else {                                                                                                 \
      GREATER_BY(step, t, index_t)                                                                           \
    }                                                                                                        \
  }
GREATER(ifd_pool_greater_f32, float, int32_t)
GREATER(ifd_pool_greater_f64, double, int64_t)
