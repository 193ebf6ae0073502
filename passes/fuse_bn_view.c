#include "pass/linear.h"

/* Exporters normalize the features of [batch, tokens, features] as rows [batch · tokens, features]: MatMul,
 * (Add,) Flatten, BatchNormalization. Flattened before the product, all of it is one Gemm. */

typedef struct rows {
  ifd_affine after, before; /* of the view; before.n_nodes may be 0 */
  ifd_linear l;
} rows;

/* Whether the view makes rows of the last dimension out of more dimensions. */
static bool makes_rows(ifd_rewrite *rw, const ifd_node *view) {
  if (!ifd_node_is(view, "Flatten") && !ifd_node_is(view, "Reshape")) return false;
  const ifd_value *x = view->inputs[0], *y = view->outputs[0];
  ifd_dim last = ifd_rw_dim(rw, x, -1);
  return ifd_rw_rank(rw, x) > 2 && ifd_rw_rank(rw, y) == 2 && ifd_dim_is_number(last) && last > 0 &&
         ifd_rw_dim(rw, y, 1) == last;
}

static bool along_features(const ifd_affine *f, int axis, const ifd_linear *l) {
  return f->n_nodes == 0 || f->n == 1 || (f->axis == axis && f->n == l->out.n);
}

/* The product before `view`, and what is added to it in between. */
static ifd_status find_product(ifd_rewrite *rw, const ifd_node *view, rows *r, bool *found) {
  const char *why;
  ifd_value *x = view->inputs[0];
  *found = false;
  r->before = (ifd_affine){.n = 1};
  if (!x->producer || ifd_value_n_readers(x) != 1) return IFD_OK;
  TRY(ifd_affine_chain(rw, x->producer, &r->before, &why));
  if (r->before.n_nodes) x = r->before.x;
  ifd_node *product = ifd_rw_sole_producer(x, "MatMul");
  *found = product && product->graph == view->graph && ifd_linear_of(rw, product, &r->l, &why) &&
           along_features(&r->after, 1, &r->l) && along_features(&r->before, r->l.axis_out, &r->l);
  return IFD_OK;
}

static double at(const double *v, const ifd_affine *f, int64_t c, double otherwise) {
  return f->n_nodes ? v[f->n == 1 ? 0 : c] : otherwise;
}

/* The scale and the bias of each feature: after(before(y)). */
static ifd_status compose(ifd_rewrite *rw, double **scale, double **bias, const rows *r) {
  int64_t n = r->l.out.n;
  ALLOC(ifd_rw_error(rw), *scale, ifd_new_array(ifd_rw_scratch(rw), double, n));
  ALLOC(ifd_rw_error(rw), *bias, ifd_new_array(ifd_rw_scratch(rw), double, n));
  for (int64_t c = 0; c < n; c++) {
    double a = at(r->after.a, &r->after, c, 1);
    (*scale)[c] = a * at(r->before.a, &r->before, c, 1);
    (*bias)[c] = a * at(r->before.b, &r->before, c, 0) + at(r->after.b, &r->after, c, 0);
  }
  return IFD_OK;
}

static ifd_status build(ifd_rewrite *rw, ifd_node *last, const rows *r) {
  const ifd_node *product = r->l.node;
  double *scale, *bias;
  ifd_node *flat, *gemm;
  ifd_value *inputs[3];
  TRY(compose(rw, &scale, &bias, r));
  TRY(ifd_linear_scale(rw, &inputs[1], &r->l, &r->l.out, scale, r->l.out.n));
  if (!ifd_linear_fits(rw, &r->l, inputs[1], bias)) return IFD_OK;
  TRY(ifd_rw_add_node(rw, &flat, "Flatten", product->inputs, 1, 1));
  TRY(ifd_node_set_int(ifd_rw_error(rw), flat, "axis", ifd_rw_rank(rw, product->inputs[0]) - 1));
  inputs[0] = flat->outputs[0];
  TRY(ifd_affine_add_vector(rw, &inputs[2], r->l.weight->dtype, bias, r->l.out.n, "bias"));
  TRY(ifd_rw_add_node(rw, &gemm, "Gemm", inputs, 3, 1));
  return ifd_rw_replace(rw, last->outputs[0], gemm->outputs[0]);
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *last) {
  rows r;
  const char *why;
  bool goes_on, found;
  TRY(ifd_affine_chain(rw, last, &r.after, &why));
  if (!r.after.n_bn || last->opset < 7) return IFD_OK;
  TRY(ifd_affine_goes_on(rw, last, &goes_on));
  const ifd_node *view = r.after.x->producer;
  if (goes_on || !view || view->graph != last->graph || !makes_rows(rw, view)) return IFD_OK;
  if (ifd_value_n_readers(r.after.x) != 1)
    return ifd_rw_refuse(rw, "the rows it normalizes are read by others too, or are an output of the graph");
  TRY(find_product(rw, view, &r, &found));
  if (!found) return ifd_rw_refuse(rw, "no MatMul with known weights, read by it alone, makes its rows");
  return build(rw, last, &r);
}

const ifd_pass ifd_pass_fuse_bn_view = {
    .summary = "folds BatchNormalization into the MatMul whose result it reads as rows",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"BatchNormalization Mul Add Sub Div", IFD_REASSOCIATES, fuse}, {0}},
};
