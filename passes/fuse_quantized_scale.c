#include "pass/quant.h"

/* A dynamically quantized product: the integers of MatMulInteger or ConvInteger are cast to float, multiplied
 * by the scales of both operands, one of which is known in the run alone, a bias is added and the result
 * clipped: one infold.QMatMul or infold.QConv does it all as it stores. */

enum { X, X_SCALE, X_ZERO, W, W_SCALE, W_ZERO, Y_SCALE, Y_ZERO, BIAS, N_INPUTS };

/* An infold.QConv may have a Transpose to channels first behind it. */
typedef struct product {
  ifd_node *node;
  bool turned;
  int channels; /* axis of its columns in the value that is read */
  ifd_dim n;    /* how many */
  int rank;
} product;

static bool product_of(ifd_rewrite *rw, const ifd_value *v, product *p) {
  *p = (product){.rank = ifd_rw_rank(rw, v)};
  if (p->rank < 2 || ifd_value_n_readers(v) != 1) return false;
  p->channels = p->rank - 1;
  ifd_value *last = ifd_rw_find_channels_last(rw, v);
  if (last) {
    p->node = ifd_rw_own_producer(last, "QConv");
    if (!p->node || ifd_value_n_readers(last) != 1) return false;
    p->turned = true, p->channels = 1;
  } else {
    p->node = v->producer;
    if (!p->node || (!ifd_node_is(p->node, "MatMulInteger") && !ifd_rw_is_own(p->node, "QMatMul") &&
                     !ifd_rw_is_own(p->node, "QConv")))
      return false;
  }
  p->n = ifd_rw_dim(rw, v, p->channels);
  return ifd_dim_is_number(p->n);
}

/* A float with one number in all (one), or one for each column; as the product's value broadcasts it. */
static bool by_column(ifd_rewrite *rw, const product *p, const ifd_value *v, bool *one) {
  int rank = ifd_rw_rank(rw, v);
  *one = true;
  if (rank < 0 || rank > p->rank || ifd_rw_dtype(rw, v) != IFD_FLOAT) return false;
  for (int i = 0; i < rank; i++) {
    ifd_dim d = ifd_rw_dim(rw, v, i);
    if (d == 1) continue;
    if (p->rank - rank + i != p->channels || d != p->n) return false;
    *one = false;
  }
  return true;
}

/* The same as a vector: constants alone can be other than vectors already. */
static ifd_status as_vector(ifd_rewrite *rw, ifd_value **out, ifd_value *v, bool one) {
  const ifd_tensor *t = ifd_rw_constant(rw, v);
  *out = NULL;
  int rank = ifd_rw_rank(rw, v);
  if (rank == 1 || (one && rank == 0)) return *out = v, IFD_OK;
  if (!t) return IFD_OK;
  ifd_tensor flat = *t;
  flat.shape = one ? (ifd_shape){0} : (ifd_shape){1, {ifd_tensor_count(t)}};
  return ifd_rw_add_constant(rw, out, &flat, v->name);
}

static void inputs_of(const product *p, ifd_value **in) {
  static const int of_integer[] = {X, W, X_ZERO, W_ZERO};
  bool own = *p->node->domain;
  for (int i = 0; i < N_INPUTS; i++) in[i] = own ? ifd_node_input(p->node, i) : NULL;
  for (int i = 0; i < 4 && !own; i++) in[of_integer[i]] = ifd_node_input(p->node, i);
}

/* The product with other inputs, and a clip, in the place of `result`. */
static ifd_status remake(ifd_rewrite *rw, const product *p, ifd_value **in, const ifd_requantized *r) {
  ifd_node *made;
  ifd_value *y;
  bool is_conv = ifd_rw_is_own(p->node, "QConv");
  TRY(ifd_rw_add_node(rw, &made, is_conv ? "infold.QConv" : "infold.QMatMul", in, N_INPUTS, 1));
  for (int i = 0; i < p->node->n_attrs; i++)
    TRY(ifd_node_set_attr(ifd_rw_error(rw), made, &p->node->attrs[i]));
  made->name = p->node->name;
  TRY(ifd_rw_set_clip(rw, made, r));
  y = made->outputs[0];
  if (p->turned) TRY(ifd_rw_channels_first(rw, &y, y, p->rank));
  return ifd_rw_replace(rw, r->result, y);
}

/* Scales of x and w from their product, or either alone. */
static ifd_status take_scales(ifd_rewrite *rw, const product *p, ifd_value *scale, ifd_value **in) {
  ifd_node *both = ifd_rw_producer(scale, "Mul");
  ifd_value *parts[2] = {scale, NULL};
  bool one;
  if (both && both->n_inputs == 2) parts[0] = both->inputs[0], parts[1] = both->inputs[1];
  in[X_SCALE] = in[W_SCALE] = NULL;
  for (int i = 0; i < 2; i++) {
    if (!parts[i]) continue;
    if (!by_column(rw, p, parts[i], &one)) return in[X_SCALE] = in[W_SCALE] = NULL, IFD_OK;
    ifd_value **to = one && !in[X_SCALE] ? &in[X_SCALE] : &in[W_SCALE];
    if (*to) return in[X_SCALE] = in[W_SCALE] = NULL, IFD_OK;
    TRY(as_vector(rw, to, parts[i], one));
    if (!*to) return in[X_SCALE] = in[W_SCALE] = NULL, IFD_OK;
  }
  return IFD_OK;
}

static bool is_parameter(ifd_rewrite *rw, const ifd_value *v, ifd_dim n) {
  return ifd_rw_is_one(rw, v) || (ifd_rw_rank(rw, v) == 1 && ifd_rw_dim(rw, v, 0) == n);
}

/* What the kernels take of MatMulInteger. */
static bool suits(ifd_rewrite *rw, const product *p, ifd_value *const *in) {
  if (*p->node->domain) return true;
  ifd_dim k = ifd_rw_dim(rw, in[X], -1);
  return ifd_rw_rank(rw, in[X]) >= 2 && ifd_rw_rank(rw, in[W]) >= 2 && ifd_dim_is_number(k) && k >= 1 &&
         k <= 1 << 15 && ifd_rw_is_one(rw, in[X_ZERO]) && is_parameter(rw, in[W_ZERO], p->n);
}

static ifd_status fuse_scales(ifd_rewrite *rw, ifd_node *mul) {
  product p;
  ifd_value *in[N_INPUTS];
  if (mul->n_inputs != 2 || mul->opset < 7) return IFD_OK;
  for (int side = 0; side < 2; side++) {
    ifd_node *cast = ifd_rw_producer(mul->inputs[side], "Cast");
    if (!cast || ifd_value_n_readers(mul->inputs[side]) != 1 ||
        ifd_rw_dtype(rw, mul->inputs[side]) != IFD_FLOAT || !product_of(rw, cast->inputs[0], &p))
      continue;
    inputs_of(&p, in);
    if (in[X_SCALE] || in[W_SCALE] || in[Y_SCALE] || !suits(rw, &p, in)) continue;
    TRY(take_scales(rw, &p, mul->inputs[1 - side], in));
    if (!in[X_SCALE] && !in[W_SCALE])
      return ifd_rw_refuse(rw, "the scales are not one number, or one for each column");
    return remake(rw, &p, in, &(ifd_requantized){.result = mul->outputs[0]});
  }
  return IFD_OK;
}

static ifd_status fuse_bias(ifd_rewrite *rw, ifd_node *add) {
  product p;
  ifd_value *in[N_INPUTS];
  bool one;
  if (add->n_inputs != 2 || add->opset < 7) return IFD_OK;
  for (int side = 0; side < 2; side++) {
    ifd_value *bias = add->inputs[1 - side];
    if (!product_of(rw, add->inputs[side], &p) || !*p.node->domain ||
        ifd_rw_dtype(rw, add->inputs[side]) != IFD_FLOAT || ifd_node_find_attr(p.node, "clip"))
      continue;
    inputs_of(&p, in);
    if (in[BIAS] || !by_column(rw, &p, bias, &one) || one) continue;
    TRY(as_vector(rw, &in[BIAS], bias, false));
    if (in[BIAS]) return remake(rw, &p, in, &(ifd_requantized){.result = add->outputs[0]});
  }
  return IFD_OK;
}

static ifd_status fuse_clip(ifd_rewrite *rw, ifd_node *clip) {
  product p;
  ifd_value *in[N_INPUTS];
  ifd_requantized r = {.result = clip->outputs[0], .clipped = true};
  if (!product_of(rw, clip->inputs[0], &p) || !*p.node->domain ||
      ifd_rw_dtype(rw, clip->inputs[0]) != IFD_FLOAT || ifd_node_find_attr(p.node, "clip") ||
      !ifd_rw_clip_of(rw, clip, r.clip))
    return IFD_OK;
  inputs_of(&p, in);
  return remake(rw, &p, in, &r);
}

const ifd_pass ifd_pass_fuse_quantized_scale = {
    .summary = "scales dynamically quantized products as they are stored",
    .phase = IFD_PHASE_INTEGER,
    .rules = (const ifd_rule[]){{"Mul", IFD_EXACT, fuse_scales},
                                {"Add", IFD_REASSOCIATES, fuse_bias},
                                {"Relu Clip", IFD_EXACT, fuse_clip},
                                {0}},
};
