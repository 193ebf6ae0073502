#include "tensor/dtype.h"

#include <string.h>

const ifd_dtype_info ifd_dtypes[IFD_N_DTYPES] = {
#define X(name, number, text, bits, bytes, class) [number] = {text, bits, bytes, IFD_CLASS_##class},
#include "tensor/dtype.inc"
#undef X
};

ifd_dtype ifd_dtype_find(const char *name, size_t len) {
  for (int t = 1; t < IFD_N_DTYPES; t++)
    if (strlen(ifd_dtypes[t].name) == len && memcmp(ifd_dtypes[t].name, name, len) == 0) return (ifd_dtype)t;
  return IFD_UNDEFINED;
}
