#include "pass/match.h"

#include "pass/affine.h"
#include "pass/ints.h"
#include <math.h>

/* ---- numbers ---- */

bool ifd_is_near(double x, double exact, ifd_dtype dtype) {
  double unit = dtype == IFD_FLOAT16 ? 1e-3 : dtype == IFD_BFLOAT16 ? 8e-3 : 1e-6;
  return fabs(x - exact) <= unit * fabs(exact);
}

/* ---- products ---- */

enum { MAX_NODES = 8 }; /* looked through: a chain of any length costs as much as its nodes */

static bool add_factors(ifd_rewrite *rw, ifd_value *v, const ifd_node *reader, ifd_factors *p);

static bool add_node(ifd_rewrite *rw, const ifd_node *node, ifd_factors *p) {
  double c;
  bool div = ifd_node_is(node, "Div");
  if (node->n_inputs != 2 || node->opset < 7) return false;
  if (div && (!ifd_rw_scalar(rw, node->inputs[1], &c) || c == 0)) return false;
  p->n_nodes++;
  if (div) p->scale /= c;
  return add_factors(rw, node->inputs[0], node, p) && (div || add_factors(rw, node->inputs[1], node, p));
}

static bool add_factors(ifd_rewrite *rw, ifd_value *v, const ifd_node *reader, ifd_factors *p) {
  double c;
  ifd_node *maker = ifd_made_by(v, "Mul") ? v->producer : ifd_made_by(v, "Div");
  if (ifd_rw_scalar(rw, v, &c)) return p->scale *= c, true;
  if (maker && maker->graph == reader->graph && p->n_nodes < MAX_NODES) {
    ifd_factors before = *p;
    if (add_node(rw, maker, p)) return true;
    *p = before;
  }
  if (p->n == IFD_MAX_FACTORS) return false;
  p->factors[p->n++] = v;
  return true;
}

bool ifd_factors_of(ifd_rewrite *rw, ifd_node *last, ifd_factors *out) {
  *out = (ifd_factors){.scale = 1};
  return ifd_node_is_any(last, "Mul Div") && add_node(rw, last, out) && isfinite(out->scale);
}

bool ifd_factors_go_on(ifd_rewrite *rw, const ifd_node *last) {
  const ifd_node *reader = ifd_value_only_reader(last->outputs[0]);
  double c;
  if (!reader || reader->graph != last->graph || !ifd_node_is_any(reader, "Mul Div") || reader->n_inputs != 2)
    return false;
  if (ifd_rw_scalar(rw, reader->inputs[1], &c)) return true;
  return ifd_node_is(reader, "Mul") && ifd_rw_scalar(rw, reader->inputs[0], &c);
}

/* ---- pieces ---- */

ifd_status ifd_line_of(ifd_rewrite *rw, ifd_value *v, double *a, double *b, ifd_value **x, int *n_nodes) {
  ifd_affine f = {0};
  const char *why;
  *a = 1, *b = 0, *x = v;
  if (!v->producer || ifd_value_n_readers(v) != 1) return IFD_OK;
  TRY(ifd_affine_chain(rw, v->producer, &f, &why));
  if (!f.n_nodes || f.n != 1 || f.n_bn) return IFD_OK;
  *a = f.a[0], *b = f.b[0], *x = f.x;
  *n_nodes += f.n_nodes;
  return IFD_OK;
}

bool ifd_made_before(const ifd_value *value, const ifd_node *node) {
  return !value->producer || value->graph != node->graph || value->producer->rank < node->rank;
}

ifd_node *ifd_made_by(ifd_value *v, const char *op_type) { return ifd_rw_sole_producer(v, op_type); }

bool ifd_is_square(ifd_rewrite *rw, const ifd_value *v, ifd_value **x) {
  const ifd_node *mul = ifd_rw_producer(v, "Mul"), *pow = ifd_rw_producer(v, "Pow");
  double e;
  if (mul && mul->inputs[0] == mul->inputs[1]) return *x = mul->inputs[0], true;
  if (pow && ifd_rw_scalar(rw, pow->inputs[1], &e) && e == 2) return *x = pow->inputs[0], true;
  return false;
}

ifd_value *ifd_mean_over(ifd_rewrite *rw, const ifd_value *v, unsigned *axes, bool *kept) {
  const ifd_node *node = ifd_rw_producer(v, "ReduceMean");
  int rank = node ? ifd_rw_rank(rw, node->inputs[0]) : -1;
  if (rank < 1 || !ifd_ints_axis_bits(rw, node, rank, axes) || !*axes) return NULL;
  *kept = ifd_node_int(node, "keepdims", 1);
  return node->inputs[0];
}

ifd_value *ifd_mean_of(ifd_rewrite *rw, const ifd_value *v, int *n) {
  unsigned axes;
  bool kept;
  ifd_value *x = ifd_mean_over(rw, v, &axes, &kept);
  if (!x || !kept) return NULL;
  int rank = ifd_rw_rank(rw, x);
  *n = __builtin_popcount(axes);
  return axes == (1u << rank) - (1u << (rank - *n)) ? x : NULL;
}

bool ifd_masked_of(ifd_rewrite *rw, ifd_value *v, ifd_masked *out) {
  const double lost = -0x1p100; /* its neighbours are 2^76 away */
  const ifd_node *where = ifd_made_by(v, "Where");
  for (int i = 1; where && i <= 2; i++) {
    *out = (ifd_masked){.mask = where->inputs[0], .scores = where->inputs[3 - i], .shows = i == 2};
    if (ifd_rw_scalar(rw, where->inputs[i], &out->hidden) && out->hidden <= lost &&
        ifd_rw_same_shape(rw, out->scores, v))
      return true;
  }
  return false;
}

bool ifd_view_shape(ifd_rewrite *rw, const ifd_value *x, const ifd_value *y, int64_t *shape) {
  int rank = ifd_rw_rank(rw, y), rest = 0;
  if (rank < 0 || rank > IFD_MAX_RANK) return false;
  for (int i = 0; i < rank; i++) {
    ifd_dim d = ifd_rw_dim(rw, y, i);
    bool number = ifd_dim_is_number(d), same = i < ifd_rw_rank(rw, x) && ifd_rw_dim(rw, x, i) == d;
    if (number && d == 0) return false;
    shape[i] = number ? d : same ? 0 : -1;
    rest += shape[i] == -1;
  }
  return rest <= 1;
}

bool ifd_rw_is_row(ifd_rewrite *rw, const ifd_value *v, const ifd_value *result) {
  int rank = ifd_rw_rank(rw, v);
  if (rank < 1 || rank > ifd_rw_rank(rw, result)) return false;
  for (int i = 0; i < rank - 1; i++)
    if (ifd_rw_dim(rw, v, i) != 1) return false;
  return ifd_rw_dim(rw, v, -1) == ifd_rw_dim(rw, result, -1);
}

bool ifd_rw_is_product(ifd_rewrite *rw, const ifd_node *node) {
  bool gemm = ifd_node_is(node, "Gemm");
  if ((!gemm && !ifd_node_is(node, "MatMul")) || ifd_rw_rank(rw, node->inputs[0]) < 2) return false;
  if (!gemm) return true;
  const ifd_value *c = ifd_node_input(node, 2);
  return ifd_node_float(node, "alpha", 1) == 1 && !ifd_node_int(node, "transA", 0) &&
         (!c || (ifd_node_float(node, "beta", 1) == 1 && ifd_rw_is_row(rw, c, node->outputs[0])));
}

int64_t ifd_rw_least_count(ifd_rewrite *rw, const ifd_value *v) {
  int64_t n = 1;
  for (int i = 0, rank = ifd_rw_rank(rw, v); i < rank; i++) {
    ifd_dim d = ifd_rw_dim(rw, v, i);
    if (ifd_dim_is_number(d) && !ifd_mul_i64(&n, n, d)) return INT64_MAX;
  }
  return n;
}
