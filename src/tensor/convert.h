/* The one path between element types: every float format to and from float and double, rounding to nearest
 * with ties to even; rows of elements to and from the compute types (float, double, int64); ONNX's Cast;
 * packing below a byte. Elements are in memory form (one byte for types narrower than that). Strings and
 * complex types are not handled here. */
#ifndef IFD_TENSOR_CONVERT_H
#define IFD_TENSOR_CONVERT_H

#include "tensor/dtype.h"

float ifd_f16_to_f32(uint16_t h);
uint16_t ifd_f32_to_f16(float x);
uint16_t ifd_f64_to_f16(double x);
float ifd_bf16_to_f32(uint16_t h);
uint16_t ifd_f32_to_bf16(float x);

/* A float format of 8 bits or fewer (float8…, float6…, float4e2m1); saturate as Cast's attribute says.
 * float8e8m0 rounds as Cast's "nearest": ties go up; a negative value, which ONNX leaves undefined, is
 * NaN. */
float ifd_small_to_f32(ifd_dtype t, uint8_t code);
uint8_t ifd_f32_to_small(ifd_dtype t, float x, bool saturate);

/* n elements of dtype t at p to a compute type. To int64 floats truncate toward zero and clamp, NaN is 0,
 * uint64 wraps. */
void ifd_load_f32(ifd_dtype t, const void *p, float *out, int64_t n);
void ifd_load_f64(ifd_dtype t, const void *p, double *out, int64_t n);
void ifd_load_i64(ifd_dtype t, const void *p, int64_t *out, int64_t n);
/* And back, rounded once to nearest even. Storing floats to integer types truncates toward zero and clamps
 * (NaN is 0); storing integers to narrower integers wraps, as numpy's astype does. Formats of 8 bits or fewer
 * saturate. */
void ifd_store_f32(ifd_dtype t, void *p, const float *in, int64_t n);
void ifd_store_f64(ifd_dtype t, void *p, const double *in, int64_t n);
void ifd_store_i64(ifd_dtype t, void *p, const int64_t *in, int64_t n);

/* Cast's round_mode, for float8e8m0 alone. */
typedef enum ifd_round_mode { IFD_ROUND_UP, IFD_ROUND_DOWN, IFD_ROUND_NEAREST } ifd_round_mode;
/* n elements of one type to another as ONNX's Cast has it (Operators.md, Cast): rounded once, the tables of
 * saturate included; integers wrap. A float outside an integer type, which ONNX leaves undefined, goes the
 * way of its own test cases: truncated to int32 (int64 for uint32 and 64-bit types), where NaN and what does
 * not fit become the most negative number, then wrapped. in and out must not overlap. */
void ifd_cast(ifd_dtype to, void *out, ifd_dtype from, const void *in, int64_t n, bool saturate,
              ifd_round_mode round_mode);

/* Elements narrower than a byte between a file's packing (a string of bits, low bits of a byte first) and a
 * byte each (sign-extended for INT4 and INT2); plain copies for other types. */
void ifd_unpack(ifd_dtype t, const void *packed, void *out, int64_t n);
/* Writes ifd_packed_bytes(t, n) bytes, unused bits 0. */
void ifd_pack(ifd_dtype t, const void *in, void *packed, int64_t n);

#endif
