#include "pass/activation.h"
#include "pass/half.h"
#include "pass/match.h"

#include <string.h>

/* What follows a convolution or a product with constant weights is done while its results are stored: a bias,
 * an activation, a residual; each rounded, where they are operators of a 16-bit float. */

/* ---- the products ---- */

/* A product by constant weights. */
static bool is_product(ifd_rewrite *rw, const ifd_node *node) {
  if (!ifd_rw_is_product(rw, node)) return false;
  const ifd_tensor *weights = ifd_rw_constant(rw, node->inputs[1]);
  return weights && weights->dtype == IFD_FLOAT && weights->shape.rank >= 2 && ifd_tensor_count(weights) > 0;
}

/* The convolution or product that feeds this value to one node, which reads it so often, when its store still
 * has room. */
static ifd_node *open_product(ifd_rewrite *rw, const ifd_value *v, int n_uses) {
  static const char *const own[] = {"Conv", "ConvTranspose", "MatMul"};
  if (!v || !v->producer || ifd_value_n_readers(v) != n_uses) return NULL;
  for (int i = 0; i < 3; i++)
    if (ifd_rw_is_own(v->producer, own[i])) return ifd_node_has_input(v->producer, 6) ? NULL : v->producer;
  return is_product(rw, v->producer) ? v->producer : NULL;
}

/* The MatMul of matrices, neither constant, that makes what one node reads. */
static ifd_node *computed_product(ifd_rewrite *rw, const ifd_value *v) {
  ifd_node *node = ifd_value_n_readers(v) == 1 ? ifd_rw_producer(v, "MatMul") : NULL;
  if (!node || ifd_rw_dtype(rw, v) != IFD_FLOAT) return NULL;
  return ifd_rw_rank(rw, node->inputs[0]) >= 2 && ifd_rw_rank(rw, node->inputs[1]) >= 2 ? node : NULL;
}

static bool activated(const ifd_node *product) {
  return !ifd_node_string_is(product, "activation", "None", "None");
}
static bool joined(const ifd_node *product) { return ifd_node_find_attr(product, "join") != NULL; }

/* A product like this one, infold's own, with these operands besides its own (NULL: as it has them). */
static ifd_status extend(ifd_rewrite *rw, ifd_node **out, const ifd_node *product, ifd_value *bias,
                         ifd_value *other) {
  ifd_value *inputs[6] = {product->inputs[0],
                          product->inputs[1],
                          bias ? bias : ifd_node_input(product, 2),
                          other ? other : ifd_node_input(product, 3),
                          ifd_node_input(product, 4),
                          ifd_node_input(product, 5)};
  int n = 6;
  while (n > 2 && !inputs[n - 1]) n--;
  if (*product->domain) return ifd_rw_add_like(rw, out, product, inputs, n);
  TRY(ifd_rw_add_node(rw, out, "infold.MatMul", inputs, n, 1));
  (*out)->name = product->name;
  return ifd_node_set_int(ifd_rw_error(rw), *out, "transB", ifd_node_int(product, "transB", 0));
}

/* What the product gives once it takes node in: the node's result, or where results are rounded what that
 * becomes; NULL: it is not. */
static ifd_value *result_of(ifd_rewrite *rw, const ifd_node *product, const ifd_node *node) {
  ifd_value *y = node->outputs[0];
  const ifd_attr *rounding = ifd_node_find_attr(product, "rounding");
  if (!rounding || ifd_rw_is_rounded(rw, y, rounding->s.s)) return y;
  const ifd_node *reader = ifd_value_only_reader(y);
  bool rounded = reader && ifd_rw_is_own(reader, rounding->s.s) && reader->graph == node->graph;
  return rounded ? reader->outputs[0] : NULL;
}

/* ---- the rules ---- */

/* Bounds are those of what is rounded, too; any other operation is rounded by itself. */
static ifd_status fuse_rounding(ifd_rewrite *rw, ifd_node *node) {
  ifd_node *product = open_product(rw, node->inputs[0], 1), *fused;
  if (!product) product = computed_product(rw, node->inputs[0]);
  if (!product || product->graph != node->graph || joined(product) ||
      ifd_node_find_attr(product, "rounding") || !ifd_node_string_is(product, "activation", "Clip", "Clip"))
    return IFD_OK;
  TRY(extend(rw, &fused, product, NULL, NULL));
  TRY(ifd_node_set_string(ifd_rw_error(rw), fused, "rounding", node->op_type));
  return ifd_rw_replace(rw, node->outputs[0], fused->outputs[0]);
}

static ifd_status fuse_activation(ifd_rewrite *rw, ifd_node *node) {
  ifd_activation a = ifd_rw_find_activation(rw, node);
  ifd_node *product = a.name ? open_product(rw, a.x, a.n_uses) : NULL, *fused;
  if (!product || activated(product) || product->graph != node->graph) return IFD_OK;
  ifd_value *y = result_of(rw, product, node);
  float *p;
  if (!y) return IFD_OK;
  ALLOC(ifd_rw_error(rw), p, ifd_arena_memdup(ifd_rw_arena(rw), a.p, sizeof a.p));
  TRY(extend(rw, &fused, product, NULL, NULL));
  TRY(ifd_node_set_string(ifd_rw_error(rw), fused, "activation", a.name));
  TRY(ifd_node_set_attr(ifd_rw_error(rw), fused,
                        &(ifd_attr){.name = "activation_p", .type = IFD_ATTR_FLOATS, .n = 2, .floats = p}));
  return ifd_rw_replace(rw, y, fused->outputs[0]);
}

static ifd_status fuse_bias(ifd_rewrite *rw, ifd_node *add) {
  for (int side = 0; side < 2 && add->n_inputs == 2 && add->opset >= 7; side++) {
    ifd_value *mine = add->inputs[side], *row = add->inputs[1 - side];
    ifd_node *product = open_product(rw, mine, 1), *fused;
    bool plain = product && (ifd_rw_is_own(product, "MatMul") || !*product->domain);
    if (!plain || product->graph != add->graph || ifd_node_has_input(product, 2) || activated(product) ||
        joined(product) || !ifd_rw_is_row(rw, row, mine))
      continue;
    ifd_value *y = result_of(rw, product, add);
    if (!y) continue;
    TRY(extend(rw, &fused, product, row, NULL));
    if (ifd_node_find_attr(product, "rounding"))
      TRY(ifd_node_set_int(ifd_rw_error(rw), fused, "rounds_sums", 1));
    return ifd_rw_replace(rw, y, fused->outputs[0]);
  }
  return IFD_OK;
}

/* The product that makes operand `side` of an Add, a Sum or a Mul and can take in the other operand. */
static ifd_node *joinable(ifd_rewrite *rw, const ifd_node *node, int side) {
  ifd_node *product = open_product(rw, node->inputs[side], 1);
  bool fits = product && product->graph == node->graph && !joined(product) &&
              (!ifd_node_is(node, "Mul") || activated(product));
  return fits ? product : NULL;
}

static ifd_status fuse_join(ifd_rewrite *rw, ifd_node *node) {
  if (node->n_inputs != 2 || !ifd_rw_same_shape(rw, node->inputs[0], node->inputs[1])) return IFD_OK;
  /* Of two products the later one takes the other's result. */
  ifd_node *first = joinable(rw, node, 0), *product = joinable(rw, node, 1), *fused;
  int side = product && (!first || ifd_made_before(node->inputs[0], product));
  if (!side) product = first;
  ifd_value *y = product ? result_of(rw, product, node) : NULL;
  if (!y) return IFD_OK;
  TRY(extend(rw, &fused, product, NULL, node->inputs[1 - side]));
  const char *join = ifd_node_is(node, "Mul") ? "ActMul" : activated(product) ? "ActAdd" : "AddAct";
  TRY(ifd_node_set_string(ifd_rw_error(rw), fused, "join", join));
  return ifd_rw_replace(rw, y, fused->outputs[0]);
}

const ifd_pass ifd_pass_fuse_epilogue = {
    .summary = "does biases, activations and residuals while a product's results are stored",
    .phase = IFD_PHASE_PLAN,
    .rules =
        (const ifd_rule[]){
            {"infold.RoundFloat16 infold.RoundBFloat16", IFD_EXACT, fuse_rounding},
            {"Add", IFD_EXACT, fuse_bias},
            {"Relu Clip LeakyRelu HardSigmoid HardSwish Sigmoid Tanh Erf Exp Gelu Elu Softplus "
             "Mish Swish",
             IFD_EXACT, fuse_activation},
            {"Mul", IFD_REASSOCIATES, fuse_activation},
            {"Add Sum Mul", IFD_REASSOCIATES, fuse_join},
            {0}},
};
