#include "ir/text_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/splitmix.h"
#include "tensor/convert.h"

/* ---- elements ---- */

/* An integer in [low, high], negative ones as their two's complement. */
static ifd_status parse_integer(ifd_parser *p, const ifd_literal *literal, int64_t low, uint64_t high,
                                uint64_t *out) {
  errno = 0;
  if (literal->text[0] == '-') {
    int64_t v = strtoll(literal->text, NULL, 10);
    *out = (uint64_t)v;
    EXPECT_AT(&p->lexer, !errno && v >= low, "%s is out of range", literal->text);
  } else {
    *out = strtoull(literal->text, NULL, 10);
    EXPECT_AT(&p->lexer, !errno && *out <= high, "%s is out of range", literal->text);
  }
  return IFD_OK;
}

/* The low bytes of an integer. */
static void store_bits(ifd_dtype dtype, uint64_t bits, void *to) {
  size_t size = ifd_dtype_size(dtype);
  for (size_t i = 0; i < size; i++) ((uint8_t *)to)[i] = (uint8_t)(bits >> (8 * i));
}

static ifd_status parse_whole(ifd_parser *p, const ifd_literal *literal, ifd_dtype dtype, void *to) {
  const ifd_dtype_info *info = &ifd_dtypes[dtype];
  bool is_signed = info->class == IFD_CLASS_INT;
  int bits = info->class == IFD_CLASS_BOOL ? 1 : info->bits - is_signed;
  uint64_t high = UINT64_MAX >> (64 - bits), value;
  EXPECT_AT(&p->lexer, !literal->is_float, "%s is no element of %s", literal->text, info->name);
  TRY(parse_integer(p, literal, is_signed ? -(int64_t)high - 1 : 0, high, &value));
  store_bits(dtype, value, to);
  return IFD_OK;
}

/* Of types without a literal of their own ONNX writes the bits as an integer; a number with a point is ours,
 * and rounded. */
static ifd_status parse_small_float(ifd_parser *p, const ifd_literal *literal, ifd_dtype dtype, void *to) {
  uint64_t bits;
  if (literal->is_float) {
    double x = strtod(literal->text, NULL);
    ifd_store_f64(dtype, to, &x, 1);
    return IFD_OK;
  }
  TRY(parse_integer(p, literal, 0, UINT64_MAX >> (64 - ifd_dtypes[dtype].bits), &bits));
  store_bits(dtype, bits, to);
  return IFD_OK;
}

static ifd_status parse_number(ifd_parser *p, ifd_dtype dtype, void *to) {
  ifd_literal literal;
  TRY(ifd_lexer_number(&p->lexer, &literal));
  if (dtype == IFD_FLOAT || dtype == IFD_COMPLEX64) {
    float x = strtof(literal.text, NULL);
    memcpy(to, &x, sizeof x);
  } else if (dtype == IFD_DOUBLE || dtype == IFD_COMPLEX128) {
    double x = strtod(literal.text, NULL);
    memcpy(to, &x, sizeof x);
  } else if (ifd_dtypes[dtype].class == IFD_CLASS_FLOAT) {
    return parse_small_float(p, &literal, dtype, to);
  } else {
    return parse_whole(p, &literal, dtype, to);
  }
  return IFD_OK;
}

static ifd_status parse_element(ifd_parser *p, ifd_dtype dtype, char *to) {
  if (dtype == IFD_STRING) return ifd_lexer_string(&p->lexer, (ifd_str *)to);
  TRY(parse_number(p, dtype, to));
  if (ifd_dtypes[dtype].class != IFD_CLASS_COMPLEX) return IFD_OK;
  TRY(ifd_lexer_expect(&p->lexer, ","));
  return parse_number(p, dtype, to + ifd_dtype_size(dtype) / 2);
}

/* ---- tensors ---- */

static ifd_status parse_elements(ifd_parser *p, ifd_tensor *out, ifd_dtype dtype, const ifd_shape *shape) {
  ifd_lexer *x = &p->lexer;
  int64_t n = ifd_shape_count(shape);
  /* an element is at least a character and a comma: memory is not taken on the word of a shape alone */
  EXPECT_AT(x, n <= x->end - x->at, "fewer elements than %lld", (long long)n);
  TRY(ifd_tensor_new(x->err, out, x->arena, dtype, shape));
  for (int64_t i = 0; i < n; i++) {
    if (i) EXPECT_AT(x, ifd_lexer_take(x, ","), "%lld elements instead of %lld", (long long)i, (long long)n);
    TRY(parse_element(p, dtype, (char *)out->data + (size_t)i * ifd_dtype_size(dtype)));
  }
  EXPECT_AT(x, ifd_lexer_take(x, "}"), "'}' was expected after %lld elements", (long long)n);
  return IFD_OK;
}

static ifd_status parse_splat(ifd_parser *p, ifd_tensor *out, ifd_dtype dtype, const ifd_shape *shape) {
  TRY(ifd_shape_check(p->lexer.err, shape, ifd_dtype_size(dtype)));
  *out = (ifd_tensor){.dtype = dtype, .splat = true, .shape = *shape};
  ALLOC(p->lexer.err, out->data, ifd_arena_alloc_data(p->lexer.arena, ifd_dtype_size(dtype)));
  return parse_element(p, dtype, out->data);
}

/* The sum of twelve uniform numbers less 6: nearly normal, and the same bits everywhere. */
static double next_normal(uint64_t *state) {
  double sum = -6;
  for (int i = 0; i < 12; i++) sum += (double)(ifd_splitmix_next(state) >> 11) * 0x1p-53;
  return sum;
}

static void fill_random(ifd_tensor *t, uint64_t state) {
  int64_t n = ifd_tensor_count(t);
  bool is_signed = ifd_dtypes[t->dtype].class == IFD_CLASS_INT;
  for (int64_t i = 0; i < n; i++)
    if (ifd_dtype_is_float(t->dtype)) {
      ifd_tensor_set_f64(t, i, 0.1 * next_normal(&state));
    } else {
      int64_t v = (int64_t)(ifd_splitmix_next(&state) >> 60) - (is_signed ? 8 : 0);
      ifd_tensor_set_i64(t, i, t->dtype == IFD_BOOL ? v & 1 : v);
    }
}

static ifd_status parse_random(ifd_parser *p, ifd_tensor *out, ifd_dtype dtype, const ifd_shape *shape) {
  int64_t seed;
  TRY(ifd_lexer_int(&p->lexer, &seed));
  EXPECT_AT(&p->lexer, dtype != IFD_STRING && ifd_dtypes[dtype].class != IFD_CLASS_COMPLEX,
            "random elements of %s", ifd_dtype_name(dtype));
  TRY(ifd_tensor_new(p->lexer.err, out, p->lexer.arena, dtype, shape));
  fill_random(out, (uint64_t)seed);
  return IFD_OK;
}

static ifd_status shape_of(ifd_parser *p, ifd_shape *out, const ifd_type *type) {
  bool is_tensor = type->kind == IFD_KIND_TENSOR || type->kind == IFD_KIND_SPARSE_TENSOR;
  EXPECT_AT(&p->lexer, is_tensor && type->has_rank, "elements need a tensor's type with a shape");
  out->rank = type->rank;
  for (int i = 0; i < type->rank; i++) {
    EXPECT_AT(&p->lexer, ifd_dim_is_number(type->dims[i]), "elements need a shape of numbers");
    out->dim[i] = type->dims[i];
  }
  return ifd_shape_check(p->lexer.err, out, ifd_dtype_size(type->dtype));
}

ifd_status ifd_parse_tensor(ifd_parser *p, ifd_tensor *out, const ifd_type *type) {
  ifd_lexer *x = &p->lexer;
  ifd_shape shape;
  TRY(shape_of(p, &shape, type));
  if (ifd_lexer_peek_word(x, "splat")) {
    ifd_lexer_take(x, "splat");
    return parse_splat(p, out, type->dtype, &shape);
  }
  if (ifd_lexer_peek_word(x, "random")) {
    ifd_lexer_take(x, "random");
    return parse_random(p, out, type->dtype, &shape);
  }
  EXPECT_AT(x, ifd_lexer_peek(x) != '[', "external data is not read from text");
  TRY(ifd_lexer_expect(x, "{"));
  EXPECT_AT(x, !ifd_lexer_take(x, "…"), "this constant was shortened when it was printed");
  return parse_elements(p, out, type->dtype, &shape);
}
