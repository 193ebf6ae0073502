#include "pass/half.h"
#include "pass/ints.h"
#include "pass/quant.h"

/* Operators whose kernels compute in float do so for float16 and bfloat16, too: what comes in is cast,
 * exactly, and what goes out is rounded once (round_half). Elementwise operators and those that move elements
 * would take the narrow types as they are, and do where none of the others is next to them. */
static const char widened[] =
    "Conv ConvTranspose DeformConv MatMul Gemm Einsum Col2Im "
    "Hardmax LpNormalization LayerNormalization RMSNormalization GroupNormalization "
    "InstanceNormalization MeanVarianceNormalization BatchNormalization LRN "
    "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceSumSquare ReduceL1 ReduceL2 ReduceLogSum "
    "ReduceLogSumExp ArgMax ArgMin CumSum MaxPool AveragePool LpPool GlobalMaxPool GlobalAveragePool "
    "GlobalLpPool "
    "LSTM GRU RNN Attention LinearAttention RotaryEmbedding Resize Upsample GridSample RoiAlign MaxRoiPool";

static const char elements[] =
    "Relu LeakyRelu Clip Sigmoid Tanh HardSigmoid HardSwish Swish Mish Gelu Elu Celu Selu Softplus Softsign "
    "ThresholdedRelu Shrink PRelu Abs Neg Sign Reciprocal Sqrt Exp Log Erf Sin Cos Ceil Floor Round "
    "Add Sub Mul Div Max Min Sum Pow Equal Less LessOrEqual Greater GreaterOrEqual IsNaN IsInf";
static const char moves[] =
    "Reshape Flatten Squeeze Unsqueeze Transpose Slice Split Gather GatherElements GatherND "
    "Expand Tile Pad Concat Where DepthToSpace SpaceToDepth ReverseSequence Trilu";

static ifd_status cast(ifd_rewrite *rw, ifd_value **out, ifd_value *value, ifd_dtype to) {
  ifd_node *node;
  TRY(ifd_rw_add_node(rw, &node, "Cast", &value, 1, 1));
  *out = node->outputs[0];
  return ifd_node_set_int(ifd_rw_error(rw), node, "to", to);
}

static ifd_status widen_constant(ifd_rewrite *rw, ifd_value **out, const ifd_value *value,
                                 const ifd_tensor *c) {
  ifd_tensor wide;
  TRY(ifd_half_widen(rw, &wide, c));
  return ifd_rw_add_constant(rw, out, &wide, value->name);
}

static ifd_status widen(ifd_rewrite *rw, ifd_node *node) {
  ifd_value **inputs;
  ifd_node *wide;
  ifd_dtype half = IFD_UNDEFINED;
  for (int i = 0; i < node->n_inputs && !ifd_dtype_is_half(half); i++)
    if (node->inputs[i]) half = ifd_rw_dtype(rw, node->inputs[i]);
  if (!ifd_dtype_is_half(half) || ifd_rw_opset(node) < (half == IFD_BFLOAT16 ? 13 : 6)) return IFD_OK;
  ALLOC(ifd_rw_error(rw), inputs, ifd_new_array(ifd_rw_scratch(rw), ifd_value *, node->n_inputs));
  for (int i = 0; i < node->n_inputs; i++) {
    inputs[i] = node->inputs[i];
    if (!inputs[i] || !ifd_dtype_is_half(ifd_rw_dtype(rw, inputs[i]))) continue;
    const ifd_tensor *constant = ifd_rw_constant(rw, inputs[i]);
    if (constant && !ifd_rw_stays_half(rw, node, i))
      TRY(widen_constant(rw, &inputs[i], node->inputs[i], constant));
    else
      TRY(cast(rw, &inputs[i], node->inputs[i], IFD_FLOAT));
  }
  TRY(ifd_rw_add_like(rw, &wide, node, inputs, node->n_inputs));
  for (int i = 0; i < node->n_outputs; i++) {
    ifd_value *made = wide->outputs[i];
    if (!node->outputs[i]) continue;
    if (ifd_dtype_is_half(ifd_rw_dtype(rw, node->outputs[i]))) TRY(cast(rw, &made, made, half));
    TRY(ifd_rw_replace(rw, node->outputs[i], made));
  }
  return IFD_OK;
}

static bool is_cast(ifd_rewrite *rw, const ifd_node *node) {
  return node && ifd_node_is(node, "Cast") && ifd_rw_dtype(rw, node->inputs[0]) == IFD_FLOAT;
}

/* Something half that it reads was made in float. */
static bool comes_from_float(ifd_rewrite *rw, const ifd_node *node) {
  for (int i = 0; i < node->n_inputs; i++)
    if (node->inputs[i] && is_cast(rw, node->inputs[i]->producer) &&
        ifd_dtype_is_half(ifd_rw_dtype(rw, node->inputs[i])))
      return true;
  return false;
}

/* The result is read in float. */
static bool goes_to_float(ifd_rewrite *rw, const ifd_value *y) {
  for (int i = 0; i < y->uses.n; i++)
    if (ifd_node_is(y->uses.v[i].node, "Cast") &&
        ifd_rw_dtype(rw, y->uses.v[i].node->outputs[0]) == IFD_FLOAT)
      return true;
  return false;
}

static bool is_all_half(ifd_rewrite *rw, const ifd_node *node) {
  for (int i = 0; i < node->n_inputs; i++)
    if (node->inputs[i] && !ifd_dtype_is_half(ifd_rw_dtype(rw, node->inputs[i]))) return false;
  return true;
}

static ifd_status widen_elements(ifd_rewrite *rw, ifd_node *node) {
  bool near = comes_from_float(rw, node) || goes_to_float(rw, node->outputs[0]);
  return near && is_all_half(rw, node) ? widen(rw, node) : IFD_OK;
}

static ifd_status widen_move(ifd_rewrite *rw, ifd_node *node) {
  return comes_from_float(rw, node) ? widen(rw, node) : IFD_OK;
}

/* Softmax and LogSoftmax are defined by other operators, each of which rounds, and in narrow types that
 * shows: they become those. */
typedef struct steps {
  ifd_rewrite *rw;
  int64_t axis;
} steps;

static ifd_status step(steps *s, ifd_value **out, const char *op, ifd_value *a, ifd_value *b) {
  ifd_node *node;
  TRY(ifd_rw_add_node(s->rw, &node, op, (ifd_value *[]){a, b}, b ? 2 : 1, 1));
  *out = node->outputs[0];
  return IFD_OK;
}

/* Reduced along the axis, which is kept. */
static ifd_status reduce_step(steps *s, ifd_value **out, const char *op, ifd_value *a) {
  ifd_node *node;
  TRY(ifd_ints_add_node(s->rw, &node, op, a, "axes", &s->axis, 1, 1));
  *out = node->outputs[0];
  return IFD_OK;
}

static bool is_last(ifd_rewrite *rw, const ifd_node *node, int64_t axis) {
  int rank = ifd_rw_rank(rw, node->inputs[0]);
  return rank > 0 && (axis == -1 || axis == rank - 1);
}

/* The steps as one operator. */
static ifd_status take_one_step(ifd_rewrite *rw, ifd_node *node) {
  ifd_dtype half = ifd_rw_dtype(rw, node->inputs[0]);
  ifd_value *x, *y;
  ifd_node *softmax;
  TRY(cast(rw, &x, node->inputs[0], IFD_FLOAT));
  TRY(ifd_rw_add_node(rw, &softmax, "infold.Softmax", &x, 1, 1));
  softmax->name = node->name;
  TRY(ifd_node_set_string(ifd_rw_error(rw), softmax, "rounding", ifd_half_rounding(half)));
  TRY(cast(rw, &y, softmax->outputs[0], half));
  return ifd_rw_replace(rw, node->outputs[0], y);
}

static ifd_status take_steps(ifd_rewrite *rw, ifd_node *node) {
  steps s = {rw, ifd_node_int(node, "axis", -1)};
  ifd_value *top, *shifted, *exps, *sum, *y;
  int opset = ifd_rw_opset(node);
  if (!ifd_dtype_is_half(ifd_rw_dtype(rw, ifd_node_input(node, 0)))) return IFD_OK;
  if (opset < 13) return widen(rw, node);
  if (ifd_node_is(node, "Softmax") && is_last(rw, node, s.axis)) return take_one_step(rw, node);
  TRY(reduce_step(&s, &top, "ReduceMax", node->inputs[0]));
  TRY(step(&s, &shifted, "Sub", node->inputs[0], top));
  TRY(step(&s, &exps, "Exp", shifted, NULL));
  TRY(reduce_step(&s, &sum, "ReduceSum", exps));
  if (ifd_node_is(node, "Softmax")) {
    TRY(step(&s, &y, "Div", exps, sum));
  } else {
    TRY(step(&s, &y, "Log", sum, NULL));
    TRY(step(&s, &y, "Sub", shifted, y));
  }
  return ifd_rw_replace(rw, node->outputs[0], y);
}

const ifd_pass ifd_pass_widen_half = {
    .summary = "operators with float kernels compute in float for float16 and bfloat16",
    .phase = IFD_PHASE_PLAN,
    .rules = (const ifd_rule[]){{widened, IFD_REASSOCIATES, widen},
                                {"Softmax LogSoftmax", IFD_REASSOCIATES, take_steps},
                                {elements, IFD_EXACT, widen_elements},
                                {moves, IFD_EXACT, widen_move},
                                {0}},
};
