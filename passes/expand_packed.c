#include <string.h>

#include "pass/foreign.h"

/* MatMulNBits, which language models are exported with (domain com.microsoft): x times the transpose of a
 * matrix [N, K] of integers of a few bits, in blocks of block_size along K that each have a scale and a zero
 * point. ONNX says that as DequantizeLinear by blocks, from opset 21 on. */

typedef struct packed {
  int64_t n, k, bits, block, blocks; /* of a row */
  ifd_dtype dtype;
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

/* Rows of n_from numbers of a few bits in whole bytes, the least first, as a tensor of rows of n_to. */
static ifd_status unpack(ifd_rewrite *rw, ifd_value **out, const ifd_tensor *from, const packed *p,
                         int64_t n_from, int64_t n_to, const char *hint) {
  int64_t row_bytes = (n_from * p->bits + 7) / 8, per_byte = 8 / p->bits;
  ifd_tensor t;
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), p->dtype, &(ifd_shape){2, {p->n, n_to}}));
  for (int64_t i = 0; i < p->n; i++)
    for (int64_t j = 0; j < n_to; j++) {
      int64_t byte = ifd_tensor_get_i64(from, i * row_bytes + j / per_byte);
      ifd_tensor_set_i64(&t, i * n_to + j, byte >> j % per_byte * p->bits & ((1 << p->bits) - 1));
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

static bool is_bytes(const ifd_tensor *t, int64_t count) {
  return t && t->dtype == IFD_UINT8 && ifd_tensor_count(t) == count;
}

static ifd_status expand(ifd_rewrite *rw, ifd_node *node) {
  enum { A, B, SCALES, ZEROS, GROUPS, BIAS };
  packed p;
  ifd_value *in[3], *turned, *y;
  ifd_node *real, *transpose;
  if (!ifd_is_foreign(node, 7, 7)) return IFD_OK;
  if (!sizes_of(node, &p) || ifd_node_has_input(node, GROUPS))
    return ifd_rw_refuse(rw, "its matrix is not in blocks of 2, 4 or 8 bits side by side");
  int since = p.bits == 2 ? 25 : 21;
  if (ifd_rw_opset(node) < since && !ifd_rw_for_running(rw))
    return ifd_rw_refuse(rw, "ONNX has scales of blocks from opset %d on", since);
  const ifd_tensor *b = ifd_rw_constant(rw, node->inputs[B]), *s = ifd_rw_constant(rw, node->inputs[SCALES]);
  const ifd_tensor *z = ifd_rw_constant(rw, ifd_node_input(node, ZEROS));
  int64_t padded = p.blocks * p.block;
  if (!is_bytes(b, p.n * (padded * p.bits / 8)) || !s || s->dtype != IFD_FLOAT ||
      ifd_tensor_count(s) != p.n * p.blocks)
    return ifd_rw_refuse(rw, "its matrix is not constant, or not of float");
  if (ifd_node_has_input(node, ZEROS) && !is_bytes(z, p.n * ((p.blocks * p.bits + 7) / 8)))
    return ifd_rw_refuse(rw, "its zero points are no constant integers");
  TRY(unpack(rw, &in[0], b, &p, padded, p.k, node->inputs[B]->name));
  ifd_tensor scales = *s;
  scales.shape = (ifd_shape){2, {p.n, p.blocks}};
  TRY(ifd_rw_add_constant(rw, &in[1], &scales, node->inputs[SCALES]->name));
  TRY(z ? unpack(rw, &in[2], z, &p, p.blocks, p.blocks, node->inputs[ZEROS]->name) : middle(rw, &in[2], &p));
  TRY(ifd_rw_add_node(rw, &real, "DequantizeLinear", in, 3, 1));
  if (real->opset < since)
    real->opset = since, real->schema = ifd_schema_find("", real->op_type, real->opset);
  TRY(ifd_node_set_int(ifd_rw_error(rw), real, "block_size", p.block));
  TRY(ifd_rw_add_node(rw, &transpose, "Transpose", real->outputs, 1, 1));
  TRY(ifd_node_set_ints(ifd_rw_error(rw), transpose, "perm", (int64_t[]){1, 0}, 2));
  turned = transpose->outputs[0];
  TRY(ifd_foreign_join(rw, &y, "MatMul", node->inputs[A], turned));
  TRY(ifd_foreign_join(rw, &y, "Add", y, ifd_node_input(node, BIAS)));
  return ifd_rw_replace(rw, node->outputs[0], y);
}

const ifd_pass ifd_pass_expand_packed = {
    .summary = "writes products with weights of a few bits as ONNX's own operators",
    .phase = IFD_PHASE_SIMPLIFY,
    .defines = true,
    .rules = (const ifd_rule[]){{"com.microsoft.MatMulNBits", IFD_REASSOCIATES, expand}, {0}},
};
