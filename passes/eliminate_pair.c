#include "pass/quant.h"

#include <math.h>

/* Operators that undo what the one before did, and choices between one thing and itself. */

static ifd_status not_not(ifd_rewrite *rw, ifd_node *node) {
  const ifd_node *first = ifd_rw_producer(node->inputs[0], "Not");
  return first ? ifd_rw_replace(rw, node->outputs[0], first->inputs[0]) : IFD_OK;
}

/* ---- Cast of Cast ---- */

/* Bits of a number's significant part, its sign aside; 0 for types that are not looked at. */
static int significant_bits(ifd_dtype t) {
  static const int of_float[IFD_N_DTYPES] = {
      [IFD_FLOAT16] = 11, [IFD_BFLOAT16] = 8, [IFD_FLOAT] = 24, [IFD_DOUBLE] = 53};
  if (t == IFD_BOOL) return 1;
  if (ifd_dtype_is_float(t)) return of_float[t];
  return ifd_dtype_is_integer(t) ? ifd_dtypes[t].bits - (ifd_dtypes[t].class == IFD_CLASS_INT) : 0;
}

/* Whether every number of one type is one of the other: 65504 is too little for 16 bits. */
static bool holds(ifd_dtype wide, ifd_dtype t) {
  int bits = significant_bits(t), room = significant_bits(wide);
  if (!bits || !room || wide == IFD_BOOL) return wide == t;
  if (ifd_dtype_is_float(t))
    return wide == t || wide == IFD_DOUBLE || (wide == IFD_FLOAT && ifd_dtype_is_half(t));
  if (ifd_dtype_is_float(wide)) return bits <= room && (bits < 16 || wide != IFD_FLOAT16);
  bool has_sign = ifd_dtypes[t].class == IFD_CLASS_INT;
  return bits <= room && (!has_sign || ifd_dtypes[wide].class == IFD_CLASS_INT);
}

/* Casts of a number that an integer does not hold differ from type to type: from floats, such a cast is not
 * that from integers. */
static ifd_status cast_cast(ifd_rewrite *rw, ifd_node *node) {
  const ifd_node *first = ifd_rw_producer(node->inputs[0], "Cast");
  ifd_node *cast;
  if (!first) return IFD_OK;
  ifd_dtype from = ifd_rw_dtype(rw, first->inputs[0]), over = ifd_rw_dtype(rw, node->inputs[0]),
            to = ifd_rw_dtype(rw, node->outputs[0]);
  if (!holds(over, from)) return ifd_rw_refuse(rw, "the Cast before it rounds");
  if (from == to) return ifd_rw_replace(rw, node->outputs[0], first->inputs[0]);
  if (ifd_dtype_is_float(from) != ifd_dtype_is_float(over) && !holds(to, from)) return IFD_OK;
  if (ifd_value_only_reader(node->inputs[0]) != node) return IFD_OK;
  TRY(ifd_rw_add_like(rw, &cast, node, first->inputs, 1));
  return ifd_rw_replace(rw, node->outputs[0], cast->outputs[0]);
}

/* ---- QuantizeLinear of DequantizeLinear ---- */

/* k * s / s is within two roundings of k, and rounds to it: unless a product leaves the range of floats. */
static bool is_ordinary(const ifd_tensor *scale) {
  for (int64_t i = 0, n = ifd_tensor_count(scale); i < n; i++) {
    double s = ifd_tensor_get_f64(scale, i);
    if (!(s >= 1e-30 && s <= 1e30)) return false;
  }
  return true;
}

static ifd_status quantize_dequantized(ifd_rewrite *rw, ifd_node *node) {
  ifd_dequantized d;
  if (!ifd_rw_dequantized(rw, node->inputs[0], &d)) return IFD_OK;
  const ifd_tensor *scale = ifd_rw_constant(rw, d.scale);
  const ifd_value *zero = ifd_node_input(node, 2);
  bool same =
      ifd_rw_same_content(rw, d.scale, node->inputs[1]) && !zero == !d.zero &&
      (!zero || ifd_rw_same_content(rw, d.zero, zero)) &&
      (ifd_rw_is_one(rw, d.scale) || ifd_node_int(node, "axis", 1) == ifd_node_int(d.node, "axis", 1));
  if (!same) return ifd_rw_refuse(rw, "the numbers it rounds were of another scale or zero point");
  if (!scale || !is_ordinary(scale) || ifd_node_int(node, "block_size", 0) ||
      ifd_rw_dtype(rw, node->outputs[0]) != ifd_rw_dtype(rw, d.q))
    return IFD_OK;
  return ifd_rw_replace(rw, node->outputs[0], d.q);
}

/* ---- one thing or itself ---- */

static ifd_status forward(ifd_rewrite *rw, ifd_node *node, ifd_value *x) {
  return ifd_rw_same_shape(rw, x, node->outputs[0]) ? ifd_rw_replace(rw, node->outputs[0], x) : IFD_OK;
}

static ifd_status choose(ifd_rewrite *rw, ifd_node *node) {
  int last = node->n_inputs - 1;
  bool same = last >= 1 && node->inputs[last] == node->inputs[last - 1];
  bool all = last == (ifd_node_is(node, "Where") ? 2 : 1);
  return same && all && node->inputs[last] ? forward(rw, node, node->inputs[last]) : IFD_OK;
}

/* ---- Clip of Clip ---- */

static double clip(double x, const float bounds[2]) { return fmin(fmax(x, bounds[0]), bounds[1]); }

/* Before opset 11 the bounds are attributes. */
static ifd_status add_clip(ifd_rewrite *rw, ifd_node **out, ifd_value *x, const ifd_node *at, double lo,
                           double hi) {
  ifd_value *in[3] = {x};
  bool inputs = at->opset >= 11;
  if (inputs && lo > -INFINITY) TRY(ifd_rw_add_scalar(rw, &in[1], ifd_rw_dtype(rw, x), lo, "min"));
  if (inputs && hi < INFINITY) TRY(ifd_rw_add_scalar(rw, &in[2], ifd_rw_dtype(rw, x), hi, "max"));
  TRY(ifd_rw_add_node(rw, out, "Clip", in, in[2] ? 3 : in[1] ? 2 : 1, 1));
  if (!inputs && lo > -INFINITY) TRY(ifd_node_set_float(ifd_rw_error(rw), *out, "min", (float)lo));
  if (!inputs && hi < INFINITY) TRY(ifd_node_set_float(ifd_rw_error(rw), *out, "max", (float)hi));
  return IFD_OK;
}

static ifd_status clip_clip(ifd_rewrite *rw, ifd_node *node) {
  ifd_node *first = node->inputs[0] ? node->inputs[0]->producer : NULL, *both;
  float inner[2], outer[2];
  ifd_dtype t = ifd_rw_dtype(rw, node->inputs[0]);
  if (!first || (t != IFD_FLOAT && t != IFD_FLOAT16) || ifd_value_only_reader(node->inputs[0]) != node ||
      !ifd_node_is_any(first, "Relu Clip") || ifd_node_is_open(first) || !ifd_rw_clip_of(rw, first, inner) ||
      !ifd_rw_clip_of(rw, node, outer))
    return IFD_OK;
  TRY(add_clip(rw, &both, first->inputs[0], node, clip(inner[0], outer), clip(inner[1], outer)));
  return ifd_rw_replace(rw, node->outputs[0], both->outputs[0]);
}

const ifd_pass ifd_pass_eliminate_pair = {
    .summary = "removes what is undone at once (Not of Not, Cast there and back, QuantizeLinear of "
               "DequantizeLinear), makes one Clip of two",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"Not", IFD_EXACT, not_not},
                                {"Cast", IFD_EXACT, cast_cast},
                                {"QuantizeLinear", IFD_EXACT, quantize_dequantized},
                                {"Where Min Max And Or", IFD_EXACT, choose},
                                {"Relu Clip", IFD_EXACT, clip_clip},
                                {0}},
};
