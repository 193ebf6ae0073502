
#include "pass/fold.h"
#include "pass/quant.h"

/* What happens between a DequantizeLinear and a QuantizeLinear is done to the bytes
 * (ops/quantized_elements.c): sums and products of two, averages, and any function of one value, which
 * becomes a table of 256. */

enum { TABLE = 256, MOST_STEPS = 16, MOST_INPUTS = 8 };

static bool quantizes_to_bytes(ifd_rewrite *rw, const ifd_node *q) {
  ifd_dtype t = ifd_rw_dtype(rw, q->outputs[0]);
  return (t == IFD_UINT8 || (t == IFD_INT8 && ifd_node_has_input(q, 2))) &&
         !ifd_node_int(q, "block_size", 0) && !ifd_node_int(q, "precision", 0) &&
         ifd_rw_dtype(rw, q->inputs[1]) == IFD_FLOAT && ifd_rw_is_one(rw, q->inputs[1]) &&
         ifd_rw_is_one(rw, ifd_node_input(q, 2));
}

static bool is_sole_reader(const ifd_value *v, const ifd_node *node) {
  return ifd_value_only_reader(v) == node;
}

/* ---- a function of one value ---- */

/* A node whose elements depend on those of one operand alone, the others being single constants. */
static int sole_operand(ifd_rewrite *rw, const ifd_node *node) {
  int at = -1;
  if (!node || !node->op || !(node->op->flags & IFD_OP_ELEMENTWISE) || *node->domain ||
      (node->op->flags & IFD_OP_IMPURE) || node->n_outputs != 1 || node->opset < 7)
    return -1;
  for (int i = 0; i < node->n_inputs; i++) {
    double one;
    if (!node->inputs[i] || ifd_rw_scalar(rw, node->inputs[i], &one)) continue;
    if (at >= 0) return -1;
    at = i;
  }
  if (at < 0 || ifd_rw_dtype(rw, node->outputs[0]) != IFD_FLOAT) return -1;
  return ifd_rw_rank(rw, node->outputs[0]) == ifd_rw_rank(rw, node->inputs[at]) ? at : -1;
}

/* t = node(t), the operand at `operand` being t, and the others single numbers: of rank 0, since theirs may
 * be more than that of the table. */
static ifd_status apply(ifd_rewrite *rw, ifd_tensor *t, const ifd_node *node, int operand) {
  const ifd_tensor *inputs[MOST_INPUTS] = {NULL};
  ifd_tensor operands[MOST_INPUTS];
  for (int i = 0; i < node->n_inputs; i++) {
    if (!node->inputs[i]) continue;
    operands[i] = i == operand ? *t : *ifd_rw_constant(rw, node->inputs[i]);
    if (i != operand) operands[i].shape.rank = 0;
    inputs[i] = &operands[i];
  }
  return ifd_rw_evaluate(rw, t, node, inputs);
}

/* In the order of their bits. */
static ifd_status all_bytes(ifd_rewrite *rw, ifd_dtype dtype, ifd_tensor *t) {
  TRY(ifd_tensor_new(ifd_rw_error(rw), t, ifd_rw_arena(rw), dtype, &(ifd_shape){1, {TABLE}}));
  for (int i = 0; i < TABLE; i++) ((uint8_t *)t->data)[i] = (uint8_t)i;
  return IFD_OK;
}

/* q = QuantizeLinear(f(DequantizeLinear(x))) → QLookup(x, the same over all bytes). */
static ifd_status tabulate(ifd_rewrite *rw, ifd_node *q, bool *done) {
  const ifd_node *nodes[MOST_STEPS];
  int operands[MOST_STEPS], n = 0;
  ifd_dequantized x;
  ifd_value *v = q->inputs[0], *table;
  ifd_tensor t;
  for (const ifd_node *reader = q; !ifd_rw_dequantized_whole(rw, v, &x); n++) {
    int at = n < MOST_STEPS ? sole_operand(rw, v->producer) : -1;
    if (at < 0 || v->producer->n_inputs > MOST_INPUTS || !is_sole_reader(v, reader)) return IFD_OK;
    reader = nodes[n] = v->producer, operands[n] = at;
    v = reader->inputs[at];
  }
  if (ifd_rw_constant(rw, x.q) || !ifd_rw_constant(rw, x.scale) || !ifd_rw_constant(rw, q->inputs[1]) ||
      (x.zero && !ifd_rw_constant(rw, x.zero)) ||
      (ifd_node_has_input(q, 2) && !ifd_rw_constant(rw, q->inputs[2])))
    return IFD_OK;
  *done = true;
  if (n == 0 && ifd_rw_same_content(rw, x.scale, q->inputs[1]) &&
      ifd_rw_same_content(rw, x.zero, ifd_node_input(q, 2)) &&
      ifd_rw_dtype(rw, x.q) == ifd_rw_dtype(rw, q->outputs[0]))
    return ifd_rw_replace(rw, q->outputs[0], x.q);
  TRY(all_bytes(rw, ifd_rw_dtype(rw, x.q), &t));
  TRY(apply(rw, &t, x.node, 0));
  while (n-- > 0) TRY(apply(rw, &t, nodes[n], operands[n]));
  TRY(apply(rw, &t, q, 0));
  TRY(ifd_rw_add_constant(rw, &table, &t, "table"));
  ifd_node *lookup;
  TRY(ifd_rw_add_node(rw, &lookup, "infold.QLookup", (ifd_value *[]){x.q, table}, 2, 1));
  return ifd_rw_replace(rw, q->outputs[0], lookup->outputs[0]);
}

/* ---- two values ---- */

/* What v's bytes are a function of, and that function of all bytes. */
static ifd_status function_of(ifd_rewrite *rw, ifd_value *v, ifd_value **of, ifd_tensor *table) {
  const ifd_node *lookup = v->producer;
  const ifd_tensor *known =
      lookup && ifd_rw_is_own(lookup, "QLookup") ? ifd_rw_constant(rw, lookup->inputs[1]) : NULL;
  *of = known ? lookup->inputs[0] : v;
  if (known) *table = *known;
  return known ? IFD_OK : all_bytes(rw, ifd_rw_dtype(rw, v), table);
}

/* Of two functions of the same bytes, which is one of them. */
static ifd_status tabulate_pair(ifd_rewrite *rw, ifd_node *node) {
  const ifd_tensor *inputs[MOST_INPUTS] = {NULL};
  ifd_tensor tables[2], t;
  ifd_value *of[2], *table;
  ifd_node *lookup;
  for (int i = 0; i < 2; i++) TRY(function_of(rw, node->inputs[3 * i], &of[i], &tables[i]));
  if (of[0] != of[1] || ifd_rw_constant(rw, of[0])) return IFD_OK;
  for (int i = 0; i < node->n_inputs; i++) {
    inputs[i] = i % 3 || i > 3 ? NULL : &tables[i / 3];
    if (inputs[i] || !node->inputs[i]) continue;
    inputs[i] = ifd_rw_constant(rw, node->inputs[i]);
    if (!inputs[i]) return ifd_rw_refuse(rw, "its scales are not constant");
  }
  TRY(ifd_rw_evaluate(rw, &t, node, inputs));
  TRY(ifd_rw_add_constant(rw, &table, &t, "table"));
  TRY(ifd_rw_add_node(rw, &lookup, "infold.QLookup", (ifd_value *[]){of[0], table}, 2, 1));
  return ifd_rw_replace(rw, node->outputs[0], lookup->outputs[0]);
}

static ifd_status pair(ifd_rewrite *rw, ifd_node *node) {
  ifd_dequantized a, b;
  ifd_requantized r;
  ifd_node *made;
  if (node->n_inputs != 2 || node->opset < 7 || !ifd_rw_dequantized_whole(rw, node->inputs[0], &a) ||
      !ifd_rw_dequantized_whole(rw, node->inputs[1], &b))
    return IFD_OK;
  TRY(ifd_rw_requantized(rw, node->outputs[0], &r));
  if (!r.scale) return ifd_rw_refuse(rw, "its result is not quantized");
  ifd_value *in[] = {a.q, a.scale, a.zero, b.q, b.scale, b.zero, r.scale, r.zero};
  TRY(ifd_rw_add_node(rw, &made, "infold.QBinary", in, 8, 1));
  TRY(ifd_node_set_string(ifd_rw_error(rw), made, "op", node->op_type));
  made->name = node->name;
  TRY(ifd_rw_set_clip(rw, made, &r));
  return ifd_rw_replace(rw, r.result, made->outputs[0]);
}

/* ---- averages ---- */

static ifd_status average(ifd_rewrite *rw, ifd_node *node) {
  ifd_dequantized x;
  ifd_requantized r;
  ifd_node *made;
  ifd_value *in[5], *plain;
  int rank = ifd_rw_rank(rw, node->inputs[0]);
  if (!ifd_rw_dequantized_whole(rw, node->inputs[0], &x) || rank < 3 || rank > 5) return IFD_OK;
  TRY(ifd_rw_requantized(rw, node->outputs[0], &r));
  if (!r.scale || r.clipped) return ifd_rw_refuse(rw, "its result is not quantized as it is");
  TRY(ifd_rw_channels_last(rw, &in[0], x.q, rank));
  in[1] = x.scale, in[2] = x.zero, in[3] = r.scale, in[4] = r.zero;
  TRY(ifd_rw_add_node(rw, &made, "infold.QPool", in, 5, 1));
  for (int i = 0; i < node->n_attrs; i++) TRY(ifd_node_set_attr(ifd_rw_error(rw), made, &node->attrs[i]));
  TRY(ifd_node_set_int(ifd_rw_error(rw), made, "average", 1));
  TRY(ifd_node_set_int(ifd_rw_error(rw), made, "whole", ifd_node_is(node, "GlobalAveragePool")));
  made->name = node->name;
  TRY(ifd_rw_channels_first(rw, &plain, made->outputs[0], rank));
  return ifd_rw_replace(rw, r.result, plain);
}

/* ---- the greatest ---- */

static ifd_status max_pool(ifd_rewrite *rw, ifd_node *node) {
  ifd_dtype t = ifd_rw_dtype(rw, node->inputs[0]);
  bool indices = ifd_node_has_output(node, 1) && ifd_value_n_readers(node->outputs[1]);
  int rank = ifd_rw_rank(rw, node->inputs[0]);
  ifd_value *in, *plain;
  ifd_node *made;
  if ((t != IFD_UINT8 && t != IFD_INT8) || indices || rank < 3 || rank > 5) return IFD_OK;
  TRY(ifd_rw_channels_last(rw, &in, node->inputs[0], rank));
  TRY(ifd_rw_add_node(rw, &made, "infold.QPool", &in, 1, 1));
  for (int i = 0; i < node->n_attrs; i++) TRY(ifd_node_set_attr(ifd_rw_error(rw), made, &node->attrs[i]));
  made->name = node->name;
  TRY(ifd_rw_channels_first(rw, &plain, made->outputs[0], rank));
  return ifd_rw_replace(rw, node->outputs[0], plain);
}

/* ---- parts side by side ---- */

/* Parts of different scales are quantized one by one, to bytes side by side. */
static ifd_status distribute(ifd_rewrite *rw, ifd_node *q) {
  ifd_node *concat = ifd_rw_producer(q->inputs[0], "Concat"), *made;
  ifd_value **inputs;
  ifd_dequantized x;
  if (!concat || !is_sole_reader(q->inputs[0], q)) return IFD_OK;
  ALLOC(ifd_rw_error(rw), inputs, ifd_new_array(ifd_rw_scratch(rw), ifd_value *, concat->n_inputs));
  for (int i = 0; i < concat->n_inputs; i++)
    if (!ifd_rw_dequantized_whole(rw, concat->inputs[i], &x)) return IFD_OK;
  for (int i = 0; i < concat->n_inputs; i++) {
    ifd_value *in[] = {concat->inputs[i], q->inputs[1], ifd_node_input(q, 2)};
    ifd_node *part;
    TRY(ifd_rw_add_like(rw, &part, q, in, q->n_inputs));
    inputs[i] = part->outputs[0];
  }
  TRY(ifd_rw_add_like(rw, &made, concat, inputs, concat->n_inputs));
  return ifd_rw_replace(rw, q->outputs[0], made->outputs[0]);
}

static ifd_status fuse_quantize(ifd_rewrite *rw, ifd_node *q) {
  bool done = false;
  if (!quantizes_to_bytes(rw, q)) return IFD_OK;
  TRY(tabulate(rw, q, &done));
  return done ? IFD_OK : distribute(rw, q);
}

/* ---- order of channels ---- */

/* Elements do not mind where channels lie: a Transpose that all operands have comes after them. */
static ifd_status sink(ifd_rewrite *rw, ifd_node *node) {
  bool two = ifd_rw_is_own(node, "QBinary");
  int rank = ifd_rw_rank(rw, node->outputs[0]);
  ifd_value *inputs[8], *plain;
  ifd_node *made;
  for (int i = 0; i < node->n_inputs; i++) inputs[i] = node->inputs[i];
  for (int i = 0; i <= (two ? 3 : 0); i += 3) {
    inputs[i] = ifd_rw_find_channels_last(rw, node->inputs[i]);
    if (!inputs[i] || ifd_rw_rank(rw, node->inputs[i]) != rank) return IFD_OK;
  }
  TRY(ifd_rw_add_like(rw, &made, node, inputs, node->n_inputs));
  TRY(ifd_rw_channels_first(rw, &plain, made->outputs[0], rank));
  return ifd_rw_replace(rw, node->outputs[0], plain);
}

const ifd_pass ifd_pass_fuse_quantized_elements = {
    .summary = "works on elements, sums and averages of quantized values as bytes",
    .phase = IFD_PHASE_INTEGER,
    .rules = (const ifd_rule[]){{"QuantizeLinear", IFD_REASSOCIATES, fuse_quantize},
                                {"Add Sub Mul", IFD_REASSOCIATES, pair},
                                {"AveragePool GlobalAveragePool", IFD_REASSOCIATES, average},
                                {"MaxPool", IFD_EXACT, max_pool},
                                {"infold.QBinary", IFD_EXACT, tabulate_pair},
                                {"infold.QBinary infold.QLookup", IFD_EXACT, sink},
                                {0}},
};
