#include "pass/linear.h"

/* A scale and a shift of what Concat puts together from linear operators: each takes its channels' part. */

enum { MOST = 64 };

typedef struct parts {
  const ifd_node *concat;
  int n, axis;
  ifd_linear l[MOST];
} parts;

/* Whether each part is of a linear operator, and is read here alone. */
static bool parts_of(ifd_rewrite *rw, const ifd_node *concat, parts *p, const char **why) {
  int64_t axis = ifd_node_int(concat, "axis", 1);
  *p = (parts){.concat = concat, .n = concat->n_inputs};
  p->axis = (int)(axis < 0 ? axis + ifd_rw_rank(rw, concat->outputs[0]) : axis);
  *why = "not all that the Concat before it puts together comes from operators with known weights";
  if (p->n > MOST) return false;
  for (int i = 0; i < p->n; i++) {
    ifd_node *maker = concat->inputs[i]->producer;
    const char *ignored;
    if (!maker || maker->graph != concat->graph || !ifd_linear_of(rw, maker, &p->l[i], &ignored))
      return false;
    if (ifd_value_n_readers(concat->inputs[i]) != 1)
      return *why = "what the Concat before it puts together is read by others too", false;
    if (!p->l[i].has_bias_input)
      return *why = "the Concat before it puts together products without a bias", false;
  }
  return true;
}

/* Whether the map runs along the channels of each part: its own part of them, where they are what is put
 * together. */
static bool runs_along_channels(const ifd_affine *f, const parts *p) {
  int64_t n = 0;
  bool along = true;
  for (int i = 0; i < p->n; i++) {
    along &= p->l[i].axis_out == f->axis && (f->axis == p->axis || p->l[i].out.n == f->n);
    n += p->l[i].out.n;
  }
  return f->n == 1 || (along && (f->axis != p->axis || n == f->n));
}

static ifd_status fold(ifd_rewrite *rw, ifd_node *last, const ifd_affine *f, const parts *p) {
  ifd_value *y[MOST];
  ifd_node *concat;
  ifd_affine part = *f;
  bool shares_out = f->n > 1 && f->axis == p->axis;
  for (int i = 0; i < p->n; i++) {
    if (shares_out) part.n = p->l[i].out.n;
    TRY(ifd_linear_fold(rw, &y[i], &p->l[i], &part));
    if (!y[i]) return IFD_OK;
    if (shares_out) part.a += part.n, part.b += part.n;
  }
  TRY(ifd_rw_add_like(rw, &concat, p->concat, y, p->n));
  return ifd_rw_replace(rw, last->outputs[0], concat->outputs[0]);
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *last) {
  ifd_affine f;
  parts p;
  const char *why;
  bool goes_on;
  TRY(ifd_affine_chain(rw, last, &f, &why));
  const ifd_node *concat = f.n_nodes ? ifd_rw_sole_producer(f.x, "Concat") : NULL;
  if (!concat || concat->graph != last->graph) return IFD_OK;
  TRY(ifd_affine_goes_on(rw, last, &goes_on));
  if (goes_on) return IFD_OK;
  if (!parts_of(rw, concat, &p, &why)) return ifd_rw_refuse(rw, "%s", why);
  if (!runs_along_channels(&f, &p))
    return ifd_rw_refuse(rw, "it runs along another axis than the channels that the Concat before it joins");
  return fold(rw, last, &f, &p);
}

const ifd_pass ifd_pass_fuse_bn_concat = {
    .summary =
        "folds BatchNormalization, Mul, Add, Sub, Div into the Convs and Gemms that a Concat before joins",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"BatchNormalization Mul Add Sub Div Neg", IFD_REASSOCIATES, fuse}, {0}},
};
