/* NumPy's .npz archives: .npy files in a ZIP archive, by name. */
#ifndef IFD_IO_NPZ_H
#define IFD_IO_NPZ_H

#include "tensor/tensor.h"

/* An archive to read, mapped. Members that are not .npy files are not seen. */
typedef struct ifd_npz ifd_npz;

/* Errors: IO, BAD_FILE, NO_MEMORY. */
ifd_status ifd_npz_open(ifd_error *err, ifd_npz **out, const char *path, ifd_budget *budget);
/* NULL is fine. */
void ifd_npz_close(ifd_npz *npz);
int ifd_npz_count(const ifd_npz *npz);
/* The name of array i, without ".npy"; the archive's. */
const char *ifd_npz_name(const ifd_npz *npz, int i);
/* Its number, or -1. */
int ifd_npz_find(const ifd_npz *npz, const char *name);
/* Array i (see ifd_npy_read); it owns its memory. NO_MEMORY when the member unpacked would pass the
 * budget. */
ifd_status ifd_npz_read(ifd_error *err, ifd_tensor *out, ifd_npz *npz, int i, ifd_dtype wanted);

typedef struct ifd_npz_entry {
  const char *name;
  const ifd_tensor *tensor;
} ifd_npz_entry;
/* An archive that appears whole or not at all; members are stored, not compressed, in this order, with fixed
 * dates: equal arrays give equal bytes. */
ifd_status ifd_npz_write(ifd_error *err, const char *path, const ifd_npz_entry *entries, int n);

#endif
