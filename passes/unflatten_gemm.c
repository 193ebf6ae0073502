#include "pass/linear.h"

/* Rows made for a Gemm and undone behind it, Reshape(Gemm(Reshape(x), W, b)), are MatMul(x, W) + b, which
 * takes x as it is. */

/* [K, M] in double's precision, rounded once; the value itself where it is so already. */
static ifd_status plain_weight(ifd_rewrite *rw, ifd_value **out, const ifd_linear *l) {
  const ifd_tensor *w = l->weight;
  bool turned = ifd_node_int(l->node, "transB", 0) != 0;
  ifd_tensor t;
  *out = l->node->inputs[1];
  if (!turned && l->alpha == 1) return IFD_OK;
  int64_t k = turned ? l->d1 : l->d0, m = turned ? l->d0 : l->d1;
  double *row;
  ALLOC(ifd_rw_error(rw), row, ifd_new_array(ifd_rw_scratch(rw), double, m));
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), w->dtype, &(ifd_shape){2, {k, m}}));
  for (int64_t i = 0; i < k; i++) {
    for (int64_t j = 0; j < m; j++) row[j] = l->alpha * ifd_tensor_get_f64(w, turned ? j * k + i : i * m + j);
    ifd_tensor_set_f64s(&t, i * m, row, m);
  }
  return ifd_rw_add_constant(rw, out, &t, l->node->inputs[1]->name);
}

/* Whether rows are those of x along its last axis. */
static bool makes_rows(ifd_rewrite *rw, const ifd_node *view) {
  const ifd_value *x = view->inputs[0], *rows = view->outputs[0];
  return ifd_rw_rank(rw, x) > 2 && ifd_rw_rank(rw, rows) == 2 &&
         ifd_rw_dim(rw, x, -1) == ifd_rw_dim(rw, rows, 1);
}

/* y is x but for the length of its last axis. */
static bool same_but_last(ifd_rewrite *rw, const ifd_value *x, const ifd_value *y, int64_t m) {
  int rank = ifd_rw_rank(rw, x);
  if (ifd_rw_rank(rw, y) != rank || ifd_rw_dim(rw, y, -1) != m) return false;
  for (int i = 0; i < rank - 1; i++)
    if (ifd_rw_dim(rw, x, i) != ifd_rw_dim(rw, y, i)) return false;
  return true;
}

static bool only_gemms_read(const ifd_value *rows) {
  for (int i = 0; i < rows->uses.n; i++)
    if (rows->uses.v[i].index || !ifd_node_is(rows->uses.v[i].node, "Gemm")) return false;
  return !rows->n_outputs;
}

static ifd_status build(ifd_rewrite *rw, ifd_node *last, const ifd_linear *l, ifd_value *x) {
  ifd_value *inputs[2] = {x};
  ifd_node *node;
  double *bias;
  bool shifts = false;
  TRY(plain_weight(rw, &inputs[1], l));
  TRY(ifd_linear_bias(rw, &bias, l));
  for (int64_t c = 0; c < l->out.n; c++) shifts |= bias[c] != 0;
  TRY(ifd_rw_add_node(rw, &node, "MatMul", inputs, 2, 1));
  node->name = l->node->name;
  if (shifts) {
    ifd_value *b;
    TRY(ifd_affine_add_vector(rw, &b, l->weight->dtype, bias, l->out.n, "bias"));
    TRY(ifd_rw_add_node(rw, &node, "Add", (ifd_value *[]){node->outputs[0], b}, 2, 1));
  }
  return ifd_rw_replace(rw, last->outputs[0], node->outputs[0]);
}

static ifd_status unflatten(ifd_rewrite *rw, ifd_node *last) {
  ifd_linear l;
  const char *why;
  ifd_node *gemm = ifd_rw_producer(last->inputs[0], "Gemm");
  ifd_node *first = gemm && gemm->inputs[0] ? gemm->inputs[0]->producer : NULL;
  if (!first || !ifd_node_is_any(first, "Reshape Flatten") || gemm->graph != last->graph ||
      first->graph != last->graph)
    return IFD_OK;
  if (ifd_node_int(gemm, "transA", 0) || !makes_rows(rw, first)) return IFD_OK;
  if (!ifd_linear_of(rw, gemm, &l, &why)) return why ? ifd_rw_refuse(rw, "Gemm before it: %s", why) : IFD_OK;
  if (!same_but_last(rw, first->inputs[0], last->outputs[0], l.out.n))
    return ifd_rw_refuse(rw, "it does not only undo the view before the Gemm");
  if (ifd_value_n_readers(last->inputs[0]) != 1 || !only_gemms_read(first->outputs[0]))
    return ifd_rw_refuse(rw, "the rows, or the result of the Gemm, are read by others too");
  return build(rw, last, &l, first->inputs[0]);
}

const ifd_pass ifd_pass_unflatten_gemm = {
    .summary = "turns Gemm between Reshapes to rows and back into MatMul and Add",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"Reshape", IFD_REASSOCIATES, unflatten}, {0}},
};
