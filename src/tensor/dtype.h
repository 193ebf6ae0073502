/* Element types and their facts. */
#ifndef IFD_TENSOR_DTYPE_H
#define IFD_TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ifd_dtype {
#define X(name, number, text, bits, bytes, class) IFD_##name = number,
#include "tensor/dtype.inc"
#undef X
  IFD_N_DTYPES
} ifd_dtype;

typedef enum ifd_dtype_class {
  IFD_CLASS_NONE,
  IFD_CLASS_FLOAT,
  IFD_CLASS_INT,
  IFD_CLASS_UINT,
  IFD_CLASS_BOOL,
  IFD_CLASS_COMPLEX,
  IFD_CLASS_STRING
} ifd_dtype_class;

/* An element of a string tensor: bytes (UTF-8 by ONNX), not terminated; lives in the arena or buffer of its
 * tensor. */
typedef struct ifd_str {
  const char *s;
  size_t len;
} ifd_str;

typedef struct ifd_dtype_info {
  const char *name; /* "float", as ONNX's text form spells it */
  int bits;         /* in a file; 0 for strings */
  int size;         /* bytes in memory */
  ifd_dtype_class class;
} ifd_dtype_info;

extern const ifd_dtype_info ifd_dtypes[IFD_N_DTYPES];

static inline size_t ifd_dtype_size(ifd_dtype t) { return (size_t)ifd_dtypes[t].size; }
static inline const char *ifd_dtype_name(ifd_dtype t) { return ifd_dtypes[t].name; }
static inline bool ifd_dtype_is_float(ifd_dtype t) { return ifd_dtypes[t].class == IFD_CLASS_FLOAT; }
/* The floats of 16 bits, and the integers of 8. */
static inline bool ifd_dtype_is_half(ifd_dtype t) { return t == IFD_FLOAT16 || t == IFD_BFLOAT16; }
static inline bool ifd_dtype_is_byte(ifd_dtype t) { return t == IFD_UINT8 || t == IFD_INT8; }
static inline bool ifd_dtype_is_integer(ifd_dtype t) {
  return ifd_dtypes[t].class == IFD_CLASS_INT || ifd_dtypes[t].class == IFD_CLASS_UINT;
}
/* A TensorProto.DataType number that this version of ONNX knows. */
static inline bool ifd_dtype_valid(int64_t number) { return number > 0 && number < IFD_N_DTYPES; }
/* IFD_UNDEFINED when no type is called so. */
ifd_dtype ifd_dtype_find(const char *name, size_t len);

#endif
