/* NumPy's .npy files (format versions 1 to 3, numpy.lib.format) from and to tensors.
 *
 * Types that NumPy does not have are there as the bytes that ml_dtypes stores, in NumPy's words a void of one
 * or two bytes ("|V2" for bfloat16): what they mean follows from the type that is wanted. String tensors are
 * arrays of fixed width, '<U' (UTF-32) or 'S' (bytes), whose elements cannot end in NUL. Arrays of Python
 * objects and structured arrays are refused; the header is parsed, never evaluated. */
#ifndef IFD_IO_NPY_H
#define IFD_IO_NPY_H

#include "tensor/tensor.h"

/* The tensor in `len` bytes, which owns its memory. When `owner` is given and keeps the bytes, elements that
 * lie as in memory stay there; otherwise they are copied. wanted says what void elements are (IFD_UNDEFINED:
 * refused). Errors: BAD_FILE, UNSUPPORTED, LIMIT, NO_MEMORY. */
ifd_status ifd_npy_read(ifd_error *err, ifd_tensor *out, const void *bytes, size_t len, ifd_buf *owner,
                        ifd_dtype wanted, ifd_budget *budget);
ifd_status ifd_npy_read_file(ifd_error *err, ifd_tensor *out, const char *path, ifd_dtype wanted,
                             ifd_budget *budget);

/* What a .npy file of a tensor holds: a header, then elements that are the tensor's own where they lie as in
 * a file. */
typedef struct ifd_npy_parts {
  const char *header;
  size_t header_len;
  const void *data;
  size_t data_len;
} ifd_npy_parts;
/* Made in the arena. Strings are written as '<U' when all are UTF-8, else as 'S'. */
ifd_status ifd_npy_write(ifd_error *err, ifd_npy_parts *out, const ifd_tensor *tensor, ifd_arena *arena);

#endif
