#include "kernels/kernels.h"

#ifdef IFD_X86
#define TABLES(family)                                                                                       \
  { &ifd_k_##family##_ref, &ifd_k_##family##_avx2, &ifd_k_##family##_avx512 }
#else
#define TABLES(family)                                                                                       \
  { &ifd_k_##family##_ref, &ifd_k_##family##_ref, &ifd_k_##family##_ref }
#endif
#define X(family)                                                                                            \
  extern const struct ifd_k_##family##_table ifd_k_##family##_ref, ifd_k_##family##_avx2,                    \
      ifd_k_##family##_avx512;                                                                               \
  const struct ifd_k_##family##_table *ifd_k_##family(ifd_isa isa) {                                         \
    static const struct ifd_k_##family##_table *const tables[IFD_N_ISAS] = TABLES(family);                   \
    return tables[isa];                                                                                      \
  }
#include "kernels.inc"
