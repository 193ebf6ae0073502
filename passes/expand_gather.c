#include "pass/foreign.h"

/* GatherBlockQuantized, an embedding of a language model (domain com.microsoft): rows of a table of integers
 * of a few bits in blocks. ONNX says that as DequantizeLinear by blocks, then Gather. */

enum { DATA, INDICES, SCALES, ZEROS };

typedef struct table {
  int64_t bits;    /* of an integer in uint8, else 0 */
  ifd_dtype dtype; /* of integers */
} table;

static bool find_table(const ifd_node *node, const ifd_tensor *data, table *t) {
  static const ifd_dtype dtypes[] = {[2] = IFD_UINT2, [4] = IFD_UINT4, [8] = IFD_UINT8};
  *t = (table){.dtype = data->dtype};
  if (data->dtype == IFD_UINT4 || data->dtype == IFD_INT4) return true;
  t->bits = ifd_node_int(node, "bits", 4);
  if (data->dtype != IFD_UINT8 || (t->bits != 2 && t->bits != 4 && t->bits != 8)) return false;
  t->dtype = dtypes[t->bits];
  return true;
}

/* Integers of a few bits in whole bytes along the last axis, the least first. */
static ifd_status unpack(ifd_rewrite *rw, ifd_value **x, const table *t) {
  const ifd_tensor *from = ifd_rw_constant(rw, *x);
  if (!t->bits || t->bits == 8) return IFD_OK;
  ifd_tensor to = *from;
  to.dtype = t->dtype, to.packed = true;
  to.shape.dim[to.shape.rank - 1] *= 8 / t->bits;
  return ifd_rw_add_constant(rw, x, &to, (*x)->name);
}

/* Zero points as scales have them: where a line of these ends within a byte, the rest of it is skipped. */
static ifd_status zeros_of(ifd_rewrite *rw, ifd_value **out, const ifd_tensor *scale, const ifd_tensor *zero,
                           const table *t) {
  int64_t bits = t->bits, per_byte = 8 / bits, n = scale->shape.dim[scale->shape.rank - 1];
  int64_t line = ifd_ceil_div(n, per_byte);
  ifd_tensor to;
  TRY(ifd_tensor_new(ifd_rw_error(rw), &to, ifd_rw_arena(rw), t->dtype, &scale->shape));
  for (int64_t i = 0; i < ifd_tensor_count(scale); i++) {
    int64_t at = i % n, v = 1 << (bits - 1);
    if (zero)
      v = ifd_tensor_get_i64(zero, i / n * line + at / per_byte) >> at % per_byte * bits & ((1 << bits) - 1);
    ifd_tensor_set_i64(&to, i, v);
  }
  return ifd_rw_add_constant(rw, out, &to, "zero_point");
}

static const char *check(const ifd_node *node, const ifd_tensor *data, const ifd_tensor *scale,
                         const ifd_tensor *zero, table *t) {
  if (!data || !scale || (ifd_node_has_input(node, ZEROS) && !zero)) return "its table is not constant";
  if (!find_table(node, data, t) || data->splat) return "its table is not of integers of 2, 4 or 8 bits";
  int rank = scale->shape.rank;
  if (rank < 1 || rank != data->shape.rank || ifd_tensor_count(scale) == 0) return "its scales do not fit";
  if (!zero) return NULL;
  int64_t n = scale->shape.dim[rank - 1], line = t->bits ? ifd_ceil_div(n, 8 / t->bits) : n;
  bool fits = zero->dtype == data->dtype && ifd_tensor_count(zero) == ifd_tensor_count(scale) / n * line;
  return fits ? NULL : "its zero points do not fit";
}

static ifd_status expand(ifd_rewrite *rw, ifd_node *node) {
  const ifd_tensor *data, *scale, *zero;
  ifd_node *real, *picked;
  table t;
  if (!ifd_is_foreign(node, 13, 7)) return IFD_OK;
  data = ifd_rw_constant(rw, node->inputs[DATA]), scale = ifd_rw_constant(rw, node->inputs[SCALES]);
  zero = ifd_rw_constant(rw, ifd_node_input(node, ZEROS));
  const char *why = check(node, data, scale, zero, &t);
  if (why) return ifd_rw_refuse(rw, "%s", why);
  int since = t.bits == 2 ? 25 : 21;
  if (ifd_rw_opset(node) < since && !ifd_rw_for_running(rw))
    return ifd_rw_refuse(rw, "ONNX has scales of blocks from opset %d on", since);
  ifd_value *in[] = {node->inputs[DATA], node->inputs[SCALES], ifd_node_input(node, ZEROS)};
  TRY(unpack(rw, &in[0], &t));
  if (t.bits) TRY(zeros_of(rw, &in[2], scale, zero, &t));
  TRY(ifd_rw_add_node(rw, &real, "DequantizeLinear", in, in[2] ? 3 : 2, 1));
  ifd_foreign_raise(real, since);
  TRY(ifd_node_set_int(ifd_rw_error(rw), real, "axis", ifd_node_int(node, "quantize_axis", 1)));
  TRY(ifd_node_set_int(ifd_rw_error(rw), real, "block_size", ifd_node_int(node, "block_size", 128)));
  TRY(ifd_rw_add_node(rw, &picked, "Gather", (ifd_value *[]){real->outputs[0], node->inputs[INDICES]}, 2, 1));
  picked->name = node->name;
  TRY(ifd_node_set_int(ifd_rw_error(rw), picked, "axis", ifd_node_int(node, "gather_axis", 0)));
  return ifd_rw_replace(rw, node->outputs[0], picked->outputs[0]);
}

const ifd_pass ifd_pass_expand_gather = {
    .summary = "writes rows picked from a quantized table as ONNX's own operators",
    .phase = IFD_PHASE_SIMPLIFY,
    .defines = true,
    .rules = (const ifd_rule[]){{"com.microsoft.GatherBlockQuantized", IFD_EXACT, expand}, {0}},
};
