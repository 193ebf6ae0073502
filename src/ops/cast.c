/* Cast, CastLike, BitCast, and infold's own RoundFloat16 and RoundBFloat16: the nearest value of that type,
 * as a float, which is a Cast there and back. */
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/elements.h"
#include "ops/shared/eltwise_work.h"
#include "ops/shared/text.h"
#include "tensor/convert.h"

/* ---- values ---- */

static ifd_status numbers_to_strings(ifd_eval *x, const ifd_tensor *in, ifd_tensor *out) {
  ifd_str *to = out->data;
  for (int64_t i = 0, n = ifd_tensor_count(in); i < n; i++) {
    to[i] = ifd_number_text(x->scratch, in->dtype, in->data, i);
    EXPECT(x->err, to[i].s, NO_MEMORY, "out of memory");
  }
  return IFD_OK;
}

static ifd_status strings_to_numbers(ifd_eval *x, const ifd_tensor *in, ifd_tensor *out) {
  const ifd_str *from = in->data;
  for (int64_t i = 0, n = ifd_tensor_count(in); i < n; i++)
    EXPECT(x->err, ifd_number_parse(from[i], out->dtype, out->data, i), BAD_INPUT,
           "element %lld is no number: a string of %zu bytes", (long long)i, from[i].len);
  return IFD_OK;
}

/* Attribute round_mode in the order of ifd_round_mode. */
static ifd_status round_mode_attr(ifd_eval *x, ifd_round_mode *out) {
  static const char *const names[] = {"up", "down", "nearest"};
  for (int m = 0; m < 3; m++)
    if (ifd_node_string_is(x->node, "round_mode", "up", names[m])) {
      *out = (ifd_round_mode)m;
      return IFD_OK;
    }
  FAIL(x->err, BAD_MODEL, "attribute round_mode is none of up, down, nearest");
}

/* Until opset 24, saturation spared the infinities of the types that have none: they became NaN. */
static void mark_infinities(const ifd_tensor *in, ifd_tensor *out) {
  if (out->dtype != IFD_FLOAT8E4M3FNUZ && out->dtype != IFD_FLOAT8E5M2FNUZ) return;
  enum { NAN_CODE = 0x80 };
  for (int64_t i = 0, n = ifd_tensor_count(in); i < n; i++)
    if (isinf(ifd_tensor_get_f64(in, i))) ((uint8_t *)out->data)[i] = NAN_CODE;
}

static ifd_status cast(ifd_eval *x, ifd_dtype to) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  ifd_tensor *out;
  ifd_round_mode round_mode;
  TRY(round_mode_attr(x, &round_mode));
  if (in->dtype == to || (x->float64 && to == IFD_FLOAT && in->dtype == IFD_DOUBLE))
    return ifd_eval_forward(x, 0, 0);
  TRY(ifd_eval_out(x, &out, 0, to, &in->shape));
  if (to == IFD_STRING) return numbers_to_strings(x, in, out);
  if (in->dtype == IFD_STRING) return strings_to_numbers(x, in, out);
  EXPECT(x->err,
         ifd_dtypes[in->dtype].class != IFD_CLASS_COMPLEX && ifd_dtypes[to].class != IFD_CLASS_COMPLEX,
         UNSUPPORTED, "a cast from %s to %s", ifd_dtype_name(in->dtype), ifd_dtype_name(to));
  ifd_cast(out->dtype, out->data, in->dtype, in->data, ifd_tensor_count(in),
           ifd_node_int(x->node, "saturate", 1), round_mode);
  return IFD_OK;
}

/* ---- attribute `to` ---- */

static ifd_status to_attr(ifd_error *err, const ifd_node *node, ifd_dtype *out) {
  int64_t to = ifd_node_int(node, "to", 0);
  EXPECT(err, ifd_dtype_valid(to), BAD_MODEL, "attribute to: no type has number %lld", (long long)to);
  *out = (ifd_dtype)to;
  return IFD_OK;
}

/* Before opset 6 the type is named, as in TensorProto: "FLOAT". */
static ifd_status to_attr_1(ifd_error *err, const ifd_node *node, ifd_dtype *out) {
  ifd_str name = ifd_node_string(node, "to", "");
  char lower[32] = "";
  for (size_t i = 0; i < name.len && i < sizeof lower - 1; i++)
    lower[i] = (char)(name.s[i] >= 'A' && name.s[i] <= 'Z' ? name.s[i] - 'A' + 'a' : name.s[i]);
  *out = name.len < sizeof lower ? ifd_dtype_find(lower, name.len) : IFD_UNDEFINED;
  EXPECT(err, *out != IFD_UNDEFINED, BAD_MODEL, "attribute to: no type has the name given");
  return IFD_OK;
}

static ifd_status eval_Cast_1(ifd_eval *x) {
  ifd_dtype to;
  TRY(to_attr_1(x->err, x->node, &to));
  return cast(x, to);
}

static ifd_status eval_Cast(ifd_eval *x) {
  ifd_dtype to;
  TRY(to_attr(x->err, x->node, &to));
  return cast(x, to);
}

static ifd_status eval_CastLike(ifd_eval *x) { return cast(x, ifd_eval_in(x, 1)->dtype); }

static ifd_status with_marked_infinities(ifd_eval *x, ifd_status (*eval)(ifd_eval *x)) {
  TRY(eval(x));
  if (ifd_dtype_is_float(ifd_eval_in(x, 0)->dtype)) mark_infinities(ifd_eval_in(x, 0), &x->out[0].tensor);
  return IFD_OK;
}

static ifd_status eval_Cast_19(ifd_eval *x) { return with_marked_infinities(x, eval_Cast); }
static ifd_status eval_CastLike_19(ifd_eval *x) { return with_marked_infinities(x, eval_CastLike); }

/* ---- BitCast ---- */

/* Elements of less than a byte lie in one each, sign-extended where the type has a sign. */
static void reinterpret_narrow(const ifd_tensor *in, ifd_tensor *out, int bits) {
  const uint8_t *from = in->data;
  for (int64_t i = 0, n = ifd_tensor_count(in); i < n; i++) {
    uint8_t code = from[i] & ((1u << bits) - 1);
    if (ifd_dtypes[out->dtype].class == IFD_CLASS_INT)
      ifd_tensor_set_i64(out, i, (int64_t)((uint64_t)code << (64 - bits)) >> (64 - bits));
    else
      ((uint8_t *)out->data)[i] = code;
  }
}

/* The bits of a float64 run's float32 values are those they have as float32. */
static ifd_status as_float32(ifd_eval *x, ifd_tensor *t) {
  float *narrow;
  int64_t n = ifd_tensor_count(t);
  ALLOC(x->err, narrow, ifd_new_array(x->scratch, float, n));
  ifd_load_f32(t->dtype, t->data, narrow, n);
  t->dtype = IFD_FLOAT;
  t->data = narrow;
  return IFD_OK;
}

static ifd_status eval_BitCast(ifd_eval *x) {
  ifd_tensor in = *ifd_eval_in(x, 0), *out;
  ifd_dtype to;
  TRY(to_attr(x->err, x->node, &to));
  int bits = ifd_dtypes[to].bits;
  if (x->float64 && in.dtype == IFD_DOUBLE && bits == 32) TRY(as_float32(x, &in));
  EXPECT(x->err, bits && bits == ifd_dtypes[in.dtype].bits, BAD_INPUT, "%s and %s differ in width",
         ifd_dtype_name(in.dtype), ifd_dtype_name(to));
  TRY(ifd_eval_out(x, &out, 0, to, &in.shape));
  if (out->dtype != to)
    ifd_load_f64(to, in.data, out->data, ifd_tensor_count(&in));
  else if (bits < 8)
    reinterpret_narrow(&in, out, bits);
  else if (ifd_tensor_count(&in))
    memcpy(out->data, in.data, ifd_tensor_bytes(&in));
  return IFD_OK;
}

/* ---- on kernels ---- */

typedef struct cast_params {
  ifd_el_cast_row *row; /* or the one path between all types */
  ifd_dtype to, from;
} cast_params;

static void run_cast(const void *params, const ifd_args *args, const char *const *in, char *out, size_t n) {
  const cast_params *p = params;
  (void)args;
  if (p->row)
    p->row(in[0], out, n);
  else
    ifd_cast(p->to, out, p->from, in[0], (int64_t)n, true, IFD_ROUND_UP);
}

/* Types that saturation and rounding modes are about are left to the evaluation. */
static bool is_plain_number(ifd_dtype t) {
  ifd_dtype_class class = ifd_dtypes[t].class;
  bool number = class == IFD_CLASS_FLOAT || class == IFD_CLASS_INT || class == IFD_CLASS_UINT;
  return t == IFD_BOOL || (number && ifd_dtypes[t].bits >= (class == IFD_CLASS_FLOAT ? 16 : 8));
}

static ifd_status lower_cast(ifd_lower *x) {
  cast_params p = {.to = x->out[0]->dtype, .from = x->in[0]->dtype};
  if (p.to == p.from) return ifd_lower_copy(x);
  if (!is_plain_number(p.to) || !is_plain_number(p.from)) return IFD_OK;
  p.row = ifd_k_eltwise(x->isa)->cast(p.to, p.from);
  ifd_loop loop = {
      .n_operands = 1, .operands = {{.size = ifd_dtype_size(p.from)}}, .shape = {x->in[0]->shape}};
  TRY(ifd_loop_plan(&loop, x));
  x->work->algorithm = "rows";
  return ifd_loop_launch(&loop, x, run_cast, &p, sizeof p, p.row ? 1 : 8, 0);
}

static ifd_status lower_BitCast(ifd_lower *x) {
  bool whole = ifd_dtypes[x->in[0]->dtype].bits >= 8;
  return whole && ifd_dtypes[x->out[0]->dtype].bits >= 8 ? ifd_lower_copy(x) : IFD_OK;
}

/* ---- RoundFloat16, RoundBFloat16 ---- */

IFD_COMPUTE_F64(RoundFloat16, (double)ifd_f16_to_f32(ifd_f64_to_f16(a)))
IFD_COMPUTE_F64(RoundBFloat16, (double)ifd_bf16_to_f32(ifd_f32_to_bf16((float)a)))
static const ifd_elementwise RoundFloat16 = {.f64 = RoundFloat16_f64};
static const ifd_elementwise RoundBFloat16 = {.f64 = RoundBFloat16_f64};
static ifd_status eval_RoundFloat16(ifd_eval *x) {
  return ifd_elementwise_eval(x, &RoundFloat16, IFD_UNDEFINED, NULL);
}
static ifd_status eval_RoundBFloat16(ifd_eval *x) {
  return ifd_elementwise_eval(x, &RoundBFloat16, IFD_UNDEFINED, NULL);
}

/* ---- inference ---- */

static ifd_status infer_to(ifd_infer *x, ifd_dtype to) {
  TRY(ifd_infer_same_as(x, 0, 0, to));
  return to == IFD_INT64 || to == IFD_INT32 ? ifd_elements_forward(x, 0) : IFD_OK;
}

static ifd_status infer_Cast_1(ifd_infer *x) {
  ifd_dtype to;
  TRY(to_attr_1(x->err, x->node, &to));
  return infer_to(x, to);
}

static ifd_status infer_Cast(ifd_infer *x) {
  ifd_dtype to;
  TRY(to_attr(x->err, x->node, &to));
  return infer_to(x, to);
}

static ifd_status infer_BitCast(ifd_infer *x) {
  ifd_dtype to;
  TRY(to_attr(x->err, x->node, &to));
  return ifd_infer_same_as(x, 0, 0, to);
}

static ifd_status infer_CastLike(ifd_infer *x) { return infer_to(x, ifd_infer_dtype(x, 1)); }

#define ROW(name_, since_, infer_, eval_, lower_)                                                            \
  {                                                                                                          \
    .name = #name_, .since = since_, .flags = IFD_OP_ELEMENTWISE, .infer = infer_, .eval = eval_,            \
    .lower = lower_                                                                                          \
  }
#define CAST_LIKE(since_, eval_)                                                                             \
  { .name = "CastLike", .since = since_, .infer = infer_CastLike, .eval = eval_, .lower = lower_cast }
#define ROUND(name_)                                                                                         \
  {                                                                                                          \
    .name = #name_, .domain = "infold", .flags = IFD_OP_ELEMENTWISE, .infer = ifd_infer_like_first,          \
    .eval = eval_##name_, .lower = ifd_lower_elementwise                                                     \
  }
const ifd_op ifd_ops_cast[] = {ROW(Cast, 1, infer_Cast_1, eval_Cast_1, lower_cast),
                               ROW(Cast, 6, infer_Cast, eval_Cast, lower_cast),
                               ROW(Cast, 19, infer_Cast, eval_Cast_19, lower_cast),
                               ROW(Cast, 24, infer_Cast, eval_Cast, lower_cast),
                               CAST_LIKE(15, eval_CastLike),
                               CAST_LIKE(19, eval_CastLike_19),
                               CAST_LIKE(24, eval_CastLike),
                               ROW(BitCast, 26, infer_BitCast, eval_BitCast, lower_BitCast),
                               ROUND(RoundFloat16),
                               ROUND(RoundBFloat16),
                               {0}};
