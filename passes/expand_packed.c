#include <string.h>

#include "pass/foreign.h"
#include "pass/half.h"
#include "pass/ints.h"

/* MatMulNBits, which language models are exported with (domain com.microsoft): x times the transpose of a
 * matrix [N, K] of integers of a few bits, in blocks of block_size along K that each have a scale and a zero
 * point. ONNX says that as DequantizeLinear by blocks, from opset 21 on. Columns that are told by an index to
 * belong to blocks elsewhere go there, and those of x with them. Of 16-bit floats the whole product is one of
 * FLOAT, whose result is rounded. */

enum { A, B, SCALES, ZEROS, GROUPS, BIAS };

typedef struct packed {
  int64_t n, k, bits, block, blocks; /* of a row */
  int64_t wide;                      /* of a row made: k, or all that its blocks hold */
  ifd_dtype dtype;
  int64_t *order; /* column i is column order[i] of x; NULL: each is itself */
} packed;

static bool sizes_of(const ifd_node *node, packed *p) {
  static const ifd_dtype dtypes[] = {[2] = IFD_UINT2, [4] = IFD_UINT4, [8] = IFD_UINT8};
  enum { MOST = 1 << 30 };
  p->n = ifd_node_int(node, "N", 0);
  p->k = ifd_node_int(node, "K", 0);
  p->bits = ifd_node_int(node, "bits", 4);
  p->block = ifd_node_int(node, "block_size", 0);
  if (p->n < 1 || p->n > MOST || p->k < 1 || p->k > MOST || p->block < 16 || p->block > MOST) return false;
  if (p->bits != 2 && p->bits != 4 && p->bits != 8) return false;
  p->blocks = (p->k + p->block - 1) / p->block;
  p->dtype = dtypes[p->bits];
  return true;
}

/* Rows of n_from numbers of a few bits in whole bytes, the least first, as a tensor of rows of n_to; those in
 * `order` first, or else as they lie, where no row has more. */
static ifd_status unpack(ifd_rewrite *rw, ifd_value **out, const ifd_tensor *from, const packed *p,
                         int64_t n_from, int64_t n_to, const int64_t *order, const char *hint) {
  int64_t row_bytes = (n_from * p->bits + 7) / 8, per_byte = 8 / p->bits;
  const ifd_shape shape = {2, {p->n, n_to}};
  ifd_tensor t = {.dtype = p->dtype, .packed = true, .shape = shape, .data = from->data};
  if (row_bytes * per_byte == n_to && !from->splat && !order) return ifd_rw_add_constant(rw, out, &t, hint);
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), p->dtype, &shape));
  for (int64_t i = 0; i < p->n; i++)
    for (int64_t j = 0; j < n_to; j++) {
      int64_t at = order && j < p->k ? order[j] : j;
      int64_t byte = ifd_tensor_get_i64(from, i * row_bytes + at / per_byte);
      ifd_tensor_set_i64(&t, i * n_to + j, byte >> at % per_byte * p->bits & ((1 << p->bits) - 1));
    }
  return ifd_rw_add_constant(rw, out, &t, hint);
}

/* The middle of the range, where no zero points are given. */
static ifd_status middle(ifd_rewrite *rw, ifd_value **out, const packed *p) {
  ifd_tensor t;
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), p->dtype, &(ifd_shape){2, {p->n, p->blocks}}));
  for (int64_t i = 0; i < p->n * p->blocks; i++) ifd_tensor_set_i64(&t, i, 1 << (p->bits - 1));
  return ifd_rw_add_constant(rw, out, &t, "zero_point");
}

static bool is_of(const ifd_tensor *t, ifd_dtype dtype, int64_t count) {
  return t && t->dtype == dtype && ifd_tensor_count(t) == count;
}

/* Columns by their blocks, in each as they come: p->order, which fits where every block is full but the
 * last. */
static ifd_status sort_columns(ifd_rewrite *rw, packed *p, const ifd_tensor *groups, bool *fits) {
  int64_t *next;
  *fits = is_of(groups, IFD_INT32, ifd_tensor_count(groups)) && ifd_tensor_count(groups) >= p->k;
  if (!*fits) return IFD_OK;
  ALLOC(ifd_rw_error(rw), p->order, ifd_new_array(ifd_rw_scratch(rw), int64_t, p->k));
  ALLOC(ifd_rw_error(rw), next, ifd_new_array(ifd_rw_scratch(rw), int64_t, p->blocks));
  for (int64_t i = 0; i < p->k && *fits; i++) {
    int64_t group = ifd_tensor_get_i64(groups, i);
    *fits =
        group >= 0 && group < p->blocks && next[group] < p->block && group * p->block + next[group] < p->k;
    if (*fits) p->order[group * p->block + next[group]++] = i;
  }
  return IFD_OK;
}

static bool is_of_reals(const ifd_tensor *t, int64_t count) {
  return t && (t->dtype == IFD_FLOAT || ifd_dtype_is_half(t->dtype)) && ifd_tensor_count(t) == count;
}

static ifd_status as_float(ifd_rewrite *rw, ifd_tensor *out, const ifd_tensor *t) {
  return ifd_dtype_is_half(t->dtype) ? ifd_half_widen(rw, out, t) : (*out = *t, IFD_OK);
}

/* What the product takes: matrix, scales and, of integers, zero points. */
static const char *check_parts(ifd_rewrite *rw, const ifd_node *node, const packed *p) {
  const ifd_tensor *b = ifd_rw_constant(rw, node->inputs[B]), *s = ifd_rw_constant(rw, node->inputs[SCALES]);
  const ifd_tensor *z = ifd_rw_constant(rw, ifd_node_input(node, ZEROS));
  if (!is_of(b, IFD_UINT8, p->n * (p->blocks * p->block * p->bits / 8)) || !is_of_reals(s, p->n * p->blocks))
    return "its matrix is not constant, or its scales are no floats";
  if (ifd_node_has_input(node, ZEROS) && !is_of(z, IFD_UINT8, p->n * ((p->blocks * p->bits + 7) / 8)) &&
      !is_of_reals(z, p->n * p->blocks))
    return "its zero points are not constant";
  return NULL;
}

/* Zero points that are floats: their products with the scales, which are taken from those of the matrix. */
static ifd_status take_off(ifd_rewrite *rw, ifd_value **real, const packed *p, const ifd_tensor *s,
                           const ifd_tensor *z) {
  ifd_tensor t;
  ifd_value *offset, *shape;
  ifd_node *cut;
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), IFD_FLOAT,
                     &(ifd_shape){3, {p->n, p->blocks, 1}}));
  for (int64_t i = 0; i < p->n * p->blocks; i++)
    ifd_tensor_set_f64(&t, i, ifd_tensor_get_f64(s, i) * ifd_tensor_get_f64(z, i));
  TRY(ifd_rw_add_constant(rw, &offset, &t, "offset"));
  TRY(ifd_rw_add_ints(rw, &shape, (int64_t[]){p->n, p->blocks, p->block}, 3, "shape"));
  TRY(ifd_foreign_binary(rw, real, "Reshape", *real, shape));
  TRY(ifd_foreign_binary(rw, real, "Sub", *real, offset));
  TRY(ifd_rw_add_ints(rw, &shape, (int64_t[]){p->n, p->wide}, 2, "shape"));
  TRY(ifd_foreign_binary(rw, real, "Reshape", *real, shape));
  if (p->wide == p->k) return IFD_OK;
  TRY(ifd_ints_add_slice(rw, &cut, *real, (int64_t[]){0}, &p->k, (int64_t[]){1}, NULL, 1));
  *real = cut->outputs[0];
  return IFD_OK;
}

/* The matrix [N, K] in floats. */
static ifd_status dequantize(ifd_rewrite *rw, ifd_value **out, const ifd_node *node, packed *p, int since) {
  const ifd_tensor *s = ifd_rw_constant(rw, node->inputs[SCALES]);
  const ifd_tensor *z = ifd_rw_constant(rw, ifd_node_input(node, ZEROS));
  bool floats = z && z->dtype != IFD_UINT8;
  ifd_tensor scales;
  ifd_value *in[3];
  ifd_node *real;
  p->wide = floats ? p->blocks * p->block : p->k;
  TRY(unpack(rw, &in[0], ifd_rw_constant(rw, node->inputs[B]), p, p->blocks * p->block, p->wide, p->order,
             node->inputs[B]->name));
  TRY(as_float(rw, &scales, s));
  scales.shape = (ifd_shape){2, {p->n, p->blocks}};
  TRY(ifd_rw_add_constant(rw, &in[1], &scales, node->inputs[SCALES]->name));
  if (z && !floats) TRY(unpack(rw, &in[2], z, p, p->blocks, p->blocks, NULL, node->inputs[ZEROS]->name));
  if (!z) TRY(middle(rw, &in[2], p));
  TRY(ifd_rw_add_node(rw, &real, "DequantizeLinear", in, floats ? 2 : 3, 1));
  ifd_foreign_raise(real, since);
  TRY(ifd_node_set_int(ifd_rw_error(rw), real, "block_size", p->block));
  *out = real->outputs[0];
  return floats ? take_off(rw, out, p, s, z) : IFD_OK;
}

/* y = x · real, plus the bias, in the type of the scales. */
static ifd_status multiply(ifd_rewrite *rw, ifd_value **y, const ifd_node *node, ifd_value *x,
                           ifd_value *real) {
  ifd_value *bias = ifd_node_input(node, BIAS);
  ifd_dtype dtype = ifd_rw_constant(rw, node->inputs[SCALES])->dtype;
  bool half = ifd_dtype_is_half(dtype);
  if (half) TRY(ifd_foreign_cast(rw, &x, IFD_FLOAT));
  if (half && bias) TRY(ifd_foreign_cast(rw, &bias, IFD_FLOAT));
  TRY(ifd_foreign_binary(rw, y, "MatMul", x, real));
  TRY(ifd_foreign_binary(rw, y, "Add", *y, bias));
  return half ? ifd_foreign_cast(rw, y, dtype) : IFD_OK;
}

static ifd_status expand(ifd_rewrite *rw, ifd_node *node) {
  packed p = {0};
  bool fits = true;
  ifd_value *real, *y, *x, *groups;
  ifd_node *transpose, *gather;
  if (!ifd_is_foreign(node, 13, 7)) return IFD_OK;
  if (!sizes_of(node, &p)) return ifd_rw_refuse(rw, "its matrix is not in blocks of 2, 4 or 8 bits");
  int since = p.bits == 2 ? 25 : 21;
  if (ifd_rw_opset(node) < since && !ifd_rw_for_running(rw))
    return ifd_rw_refuse(rw, "ONNX has scales of blocks from opset %d on", since);
  const char *why = check_parts(rw, node, &p);
  if (why) return ifd_rw_refuse(rw, "%s", why);
  x = node->inputs[A], groups = ifd_node_input(node, GROUPS);
  if (groups && ifd_rw_constant(rw, groups)) TRY(sort_columns(rw, &p, ifd_rw_constant(rw, groups), &fits));
  if (!fits || (groups && !p.order)) return ifd_rw_refuse(rw, "its columns are not in blocks of one size");
  TRY(dequantize(rw, &real, node, &p, since));
  TRY(ifd_rw_add_node(rw, &transpose, "Transpose", &real, 1, 1));
  TRY(ifd_node_set_ints(ifd_rw_error(rw), transpose, "perm", (int64_t[]){1, 0}, 2));
  if (p.order) {
    ifd_tensor order;
    TRY(ifd_tensor_new(ifd_rw_error(rw), &order, ifd_rw_arena(rw), IFD_INT64, &(ifd_shape){1, {p.k}}));
    memcpy(order.data, p.order, (size_t)p.k * sizeof *p.order);
    TRY(ifd_rw_add_constant(rw, &groups, &order, "order"));
    TRY(ifd_rw_add_node(rw, &gather, "Gather", (ifd_value *[]){x, groups}, 2, 1));
    TRY(ifd_node_set_int(ifd_rw_error(rw), gather, "axis", -1));
    x = gather->outputs[0];
  }
  TRY(multiply(rw, &y, node, x, transpose->outputs[0]));
  return ifd_rw_replace(rw, node->outputs[0], y);
}

const ifd_pass ifd_pass_expand_packed = {
    .summary = "writes products with weights of a few bits as ONNX's own operators",
    .phase = IFD_PHASE_SIMPLIFY,
    .defines = true,
    .rules = (const ifd_rule[]){{"com.microsoft.MatMulNBits", IFD_REASSOCIATES, expand}, {0}},
};
