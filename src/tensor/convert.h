/* The one path between element types: every float format to and from float/double, rounding to nearest, ties
 * to even; rows of elements to and from the compute types (float, double, int64, uint64). */
#ifndef IFD_TENSOR_CONVERT_H
#define IFD_TENSOR_CONVERT_H

#include "tensor/dtype.h"

float ifd_f16_to_f32(uint16_t h);
uint16_t ifd_f32_to_f16(float x);
uint16_t ifd_f64_to_f16(double x);
float ifd_bf16_to_f32(uint16_t h);
uint16_t ifd_f32_to_bf16(float x);

/* A small float format of 8 bits or fewer (float8e4m3fn … float4e2m1, float8e8m0); saturate as Cast's
 * attribute says. */
float ifd_small_to_f32(ifd_dtype t, uint8_t code);
uint8_t ifd_f32_to_small(ifd_dtype t, float x, bool saturate);

/* n elements of dtype t at p (in memory form: one byte for sub-byte types) to a compute type. Strings and
 * complex types are not handled (complex: see the operators that take it). */
void ifd_load_f32(ifd_dtype t, const void *p, float *out, int64_t n);
void ifd_load_f64(ifd_dtype t, const void *p, double *out, int64_t n);
void ifd_load_i64(ifd_dtype t, const void *p, int64_t *out, int64_t n); /* uint64 wraps; floats truncate */
/* And back, rounded once to nearest even. Storing floating values to integer types truncates toward zero and
 * clamps; storing integers to narrower integers wraps (as numpy's astype does). saturate: small float
 * formats. */
void ifd_store_f32(ifd_dtype t, void *p, const float *in, int64_t n);
void ifd_store_f64(ifd_dtype t, void *p, const double *in, int64_t n);
void ifd_store_i64(ifd_dtype t, void *p, const int64_t *in, int64_t n);

/* Sub-byte elements between a file's packing (low bits first) and a byte each (sign-extended for INT4/INT2).
 */
void ifd_unpack(ifd_dtype t, const void *packed, void *out, int64_t n);
void ifd_pack(ifd_dtype t, const void *in, void *packed, int64_t n);

#endif
