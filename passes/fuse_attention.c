#include "pass/match.h"
#include "pass/view.h"

#include <math.h>
#include <string.h>

/* softmax(scale * Q Kᵀ + mask) V, by MatMul or Einsum, runs as one operator, which computes some rows of
 * scores at a time (ops/own_attention.c). Scales of Q and of K are one with that of the scores; whatever only
 * rearranges Q, K and V, and takes them from a tensor of all three, is read through (pass/view.h), and so is
 * a transposition of the result. */

/* Roles of axes: those of matrices, heads, and from BATCH on batches, outer ones first. */
enum { PART = IFD_VIEW_PART, ELEMENTS, ROWS, HEADS, BATCH };
enum { MOST = 6, N_AXES = 4 }; /* axes of an operand, of infold.Attention's operands */

/* ---- products ---- */

/* A product by letters, as Einsum writes it; axes of a, b and y are `rank` each. */
typedef struct product {
  ifd_value *a, *b;
  int rank;
  char letters[3][MOST + 1]; /* of a, b, y */
} product;

static bool equation_of(const ifd_node *node, product *p) {
  ifd_str text = ifd_node_string(node, "equation", "");
  int part = 0, n[3] = {0};
  for (size_t i = 0; i < text.len; i++) {
    char c = text.s[i];
    if (c == ' ') continue;
    if (c == ',' || c == '-' || c == '>') {
      part = c == ',' ? 1 : 2;
    } else {
      if (n[part] == MOST || strchr(p->letters[part], c) || c == '.') return false;
      p->letters[part][n[part]++] = c;
    }
  }
  return part == 2 && n[0] == p->rank && n[1] == p->rank && n[2] == p->rank;
}

/* infold's MatMul that only rounds. */
static bool is_rounded_product(const ifd_node *node) {
  return ifd_rw_is_own(node, "MatMul") && node->n_inputs == 2 && !ifd_node_int(node, "transB", 0) &&
         ifd_node_find_attr(node, "rounding") && !ifd_node_find_attr(node, "activation");
}

static bool product_of(ifd_rewrite *rw, const ifd_node *node, product *p) {
  if (!node || node->n_inputs != 2 || !(ifd_node_is_any(node, "MatMul Einsum") || is_rounded_product(node)))
    return false;
  *p = (product){.a = node->inputs[0], .b = node->inputs[1], .rank = ifd_rw_rank(rw, node->outputs[0])};
  if (p->rank < 3 || p->rank > MOST || ifd_rw_rank(rw, p->a) != p->rank || ifd_rw_rank(rw, p->b) != p->rank)
    return false;
  if (ifd_node_is(node, "Einsum")) return equation_of(node, p);
  static const char *const last[] = {"ik", "kj", "ij"};
  for (int i = 0; i < 3; i++) {
    for (int k = 0; k < p->rank - 2; k++) p->letters[i][k] = (char)('A' + k);
    memcpy(p->letters[i] + p->rank - 2, last[i], 2);
  }
  return true;
}

/* The role of leading axis i of `rank`. */
static int leading_role(int i, int rank) { return rank > 3 && i == rank - 3 ? HEADS : BATCH + i; }

/* Roles of an operand's axes, of which letter `rows` names the rows and `elements` the elements. */
static bool roles_of(const product *p, int operand, char rows, char elements, int *roles) {
  for (int i = 0; i < p->rank; i++) {
    char c = p->letters[operand][i];
    const char *at = strchr(p->letters[2], c);
    bool leads = at && at - p->letters[2] < p->rank - 2;
    if (!leads && c != rows && c != elements) return false;
    roles[i] = leads ? leading_role((int)(at - p->letters[2]), p->rank) : c == rows ? ROWS : ELEMENTS;
  }
  return true;
}

/* The one letter of operand a that y has not; 0: there are more or none. */
static char summed(const product *p) {
  char found = 0;
  for (const char *c = p->letters[0]; *c; c++) {
    if (strchr(p->letters[2], *c)) continue;
    if (found) return 0;
    found = *c;
  }
  return found;
}

/* ---- what makes an operand ---- */

typedef struct operand {
  ifd_rw_view view;
  double scale;
  int n_axes; /* of what is handed over: `view` reshaped, factors of the batch as one axis */
  ifd_dim dims[IFD_VIEW_FACTORS];
  int64_t axis[N_AXES], shape[IFD_VIEW_FACTORS];
  bool reshapes;
} operand;

static bool see_scale(ifd_rewrite *rw, operand *o) {
  ifd_value *v = o->view.v;
  ifd_node *mul = ifd_made_by(v, "Mul"), *node = mul ? mul : ifd_made_by(v, "Div");
  double c;
  for (int i = 0; node && node->n_inputs == 2 && i < (mul ? 2 : 1); i++) {
    if (!ifd_rw_scalar(rw, node->inputs[1 - i], &c) || c == 0 ||
        ifd_rw_rank(rw, node->inputs[i]) != ifd_rw_rank(rw, v))
      continue;
    o->scale = mul ? o->scale * c : o->scale / c;
    o->view.v = node->inputs[i];
    return true;
  }
  return false;
}

/* Which axis of infold.Attention's operand a role is; -1: the part. */
static int kind_of(int role) { return role == PART ? -1 : role >= BATCH ? 0 : HEADS - role + 1; }

/* Whether a factor goes on with the batch that the last axis is: what is next in it follows at once. */
static bool goes_on(const operand *o, int i) {
  const ifd_factor *f = &o->view.factors[i];
  return i > 0 && f->role > BATCH && f[-1].role == f->role - 1;
}

/* Lays out axes; false when what is seen cannot be handed over: a role in two places, more than one part. */
static bool lay_out(ifd_rewrite *rw, operand *o) {
  bool has_part = false, same;
  o->n_axes = 0;
  for (int k = 0; k < N_AXES; k++) o->axis[k] = -1;
  for (int i = 0; i < o->view.n_factors; i++) {
    const ifd_factor *f = &o->view.factors[i];
    int kind = kind_of(f->role);
    if (goes_on(o, i)) {
      o->dims[o->n_axes - 1] = ifd_dim_mul(ifd_rw_dims(rw), o->dims[o->n_axes - 1], f->n);
      continue;
    }
    if (kind < 0 ? has_part : o->axis[kind] >= 0) return false;
    if (kind < 0)
      has_part = true;
    else
      o->axis[kind] = o->n_axes;
    o->dims[o->n_axes++] = f->n;
  }
  ifd_dim from[IFD_VIEW_FACTORS];
  int rank = ifd_rw_rank(rw, o->view.v);
  same = rank == o->n_axes;
  for (int i = 0; i < rank && i < IFD_VIEW_FACTORS; i++) {
    from[i] = ifd_rw_dim(rw, o->view.v, i);
    same = same && from[i] == o->dims[i];
  }
  o->reshapes = !same;
  if (!has_part) o->view.part = -1;
  return same || (rank <= IFD_VIEW_FACTORS && ifd_rw_view_shape(from, rank, o->dims, o->n_axes, o->shape));
}

/* The farthest value that v can be read from. */
static bool see_through(ifd_rewrite *rw, ifd_value *v, const int *roles, operand *out) {
  operand o = {.scale = 1};
  bool found = false;
  if (ifd_rw_dtype(rw, v) != IFD_FLOAT || !ifd_rw_view_of(rw, &o.view, v, roles)) return false;
  for (int n = 0; n < 16; n++) {
    if (lay_out(rw, &o)) *out = o, found = true;
    if (!see_scale(rw, &o) && !ifd_rw_view_step(rw, &o.view)) break;
  }
  return found;
}

/* ---- the whole ---- */

/* What is added to scores, or to a view of them that has other axes of 1. */
enum { MOST_ADDED = 2 };
typedef struct added {
  ifd_value *v, *to;
} added;

typedef struct attention {
  operand q, k, v;
  added added[MOST_ADDED]; /* the last first; `mask` where there is one */
  int n_added;
  bool views; /* of scores were met */
  ifd_value *mask;
  ifd_masked where; /* whose mask `mask` is, of bool; else NULL */
  double scale;
  bool zeroes;          /* weights that would be NaN are zero */
  const char *rounding; /* NULL: none */
  int rank;
} attention;

/* The product that, scaled, makes the scores; NULL if these are none. */
static ifd_node *made_scores(ifd_rewrite *rw, ifd_value *scores, double *scale) {
  operand o = {.view = {.v = scores}, .scale = 1};
  while (see_scale(rw, &o)) continue;
  *scale = o.scale;
  ifd_node *matmul = ifd_made_by(o.view.v, "MatMul");
  return matmul ? matmul : ifd_made_by(o.view.v, "Einsum");
}

/* The axis of a view that axis i of scores is, where they differ by axes of 1 alone: -1: one of these; -2:
 * they differ by more. */
static int same_axis(ifd_rewrite *rw, const ifd_value *scores, const ifd_value *view, int i) {
  int n = ifd_rw_rank(rw, scores), rank = ifd_rw_rank(rw, view), at = -1, k = 0;
  for (int j = 0; j < n; j++) {
    if (ifd_rw_dim(rw, scores, j) == 1) continue;
    while (k < rank && ifd_rw_dim(rw, view, k) == 1) k++;
    if (k == rank || ifd_rw_dim(rw, view, k) != ifd_rw_dim(rw, scores, j)) return -2;
    if (i == j) at = k;
    k++;
  }
  while (k < rank && ifd_rw_dim(rw, view, k) == 1) k++;
  return k < rank ? -2 : at;
}

static bool is_same_view(ifd_rewrite *rw, const ifd_value *x, const ifd_value *y) {
  return ifd_rw_rank(rw, x) >= 0 && ifd_rw_rank(rw, y) >= 0 && same_axis(rw, x, y, 0) != -2;
}

/* The product whose scores v is, whatever was added to them. Views of views are merged already. */
static ifd_node *find_added(ifd_rewrite *rw, ifd_value *v, attention *a) {
  ifd_node *node = made_scores(rw, v, &a->scale), *view = node ? NULL : ifd_made_by(v, "Reshape");
  if (view && !is_same_view(rw, view->inputs[0], v)) view = NULL;
  if (view) node = made_scores(rw, v = view->inputs[0], &a->scale);
  const ifd_node *add = node ? NULL : ifd_made_by(v, "Add");
  bool adds = add && add->n_inputs == 2 && add->opset >= 7 && a->n_added < MOST_ADDED;
  for (int i = 0; adds && !node && i < 2; i++) {
    int n = a->n_added;
    a->added[a->n_added++] = (added){add->inputs[1 - i], v};
    node = find_added(rw, add->inputs[i], a);
    if (!node) a->n_added = n;
  }
  a->views |= node && view;
  return node;
}

static ifd_node *find_scores(ifd_rewrite *rw, ifd_value *v, attention *a) {
  ifd_node *node = find_added(rw, v, a);
  if (node || !ifd_masked_of(rw, v, &a->where)) return node;
  a->mask = a->where.mask;
  return made_scores(rw, a->where.scores, &a->scale);
}

/* The same of 16-bit floats: each operator is followed by one that rounds. */
typedef struct rounded {
  ifd_rewrite *rw;
  const char *rounding;
} rounded;

/* The node of this type whose result, rounded, is v; nobody else reads it. */
static const ifd_node *rounded_by(const rounded *r, ifd_value *v, const char *op_type) {
  const ifd_node *rounding = ifd_rw_own_producer(v, r->rounding);
  return rounding && ifd_value_n_readers(v) == 1 ? ifd_made_by(rounding->inputs[0], op_type) : NULL;
}

static ifd_node *made_rounded_scores(const rounded *r, ifd_value *v, double *scale) {
  const ifd_node *mul = rounded_by(r, v, "Mul"), *div = rounded_by(r, v, "Div"), *node = mul ? mul : div;
  int exponent;
  *scale = 1;
  for (int i = 0; node && i < (mul ? 2 : 1); i++)
    if (ifd_rw_scalar(r->rw, node->inputs[1 - i], scale) && ifd_rw_same_shape(r->rw, node->inputs[i], v)) {
      v = node->inputs[i];
      break;
    }
  /* Dividing is multiplying where the number is a power of two. */
  if (div && *scale != 1) *scale = frexp(*scale, &exponent) == .5 ? 1 / *scale : 0;
  ifd_node *product = ifd_rw_own_producer(v, "MatMul");
  bool fits = product && is_rounded_product(product) && ifd_value_n_readers(v) == 1 &&
              ifd_node_string_is(product, "rounding", "", r->rounding);
  return fits && *scale > 0 ? product : NULL;
}

static ifd_node *find_rounded_scores(const rounded *r, ifd_value *v, attention *a) {
  ifd_node *node = made_rounded_scores(r, v, &a->scale);
  const ifd_node *add = node ? NULL : rounded_by(r, v, "Add");
  for (int i = 0; !node && add && add->n_inputs == 2 && i < 2; i++) {
    node = made_rounded_scores(r, add->inputs[i], &a->scale);
    a->mask = add->inputs[1 - i];
    if (node && ifd_rw_dim(r->rw, a->mask, -1) != ifd_rw_dim(r->rw, v, -1)) return NULL;
  }
  return node;
}

/* The Softmax before a product, and the product before it. */
static ifd_node *find_rounded(ifd_rewrite *rw, const ifd_node *mix, ifd_value *weights, attention *a) {
  const ifd_attr *rounding = ifd_node_find_attr(mix, "rounding");
  const ifd_node *softmax = rounding ? ifd_rw_own_producer(weights, "Softmax") : NULL;
  if (!softmax || ifd_value_n_readers(weights) != 1 ||
      !ifd_node_string_is(softmax, "rounding", "", rounding->s.s))
    return NULL;
  a->rounding = rounding->s.s;
  return find_rounded_scores(&(rounded){rw, a->rounding}, softmax->inputs[0], a);
}

/* The value of which v has zeros for what is NaN; nobody else reads it. NULL: v is nothing such. */
static ifd_value *number_or_zero(ifd_rewrite *rw, ifd_value *v) {
  const ifd_node *where = ifd_made_by(v, "Where"),
                 *nan = where ? ifd_made_by(where->inputs[0], "IsNaN") : NULL;
  ifd_value *x = nan ? nan->inputs[0] : NULL;
  bool fits = x && where->inputs[2] == x && ifd_value_n_readers(x) == 2 && ifd_rw_same_shape(rw, x, v);
  return fits && ifd_rw_is_filled_with(rw, where->inputs[1], 0) ? x : NULL;
}

/* Where *zeroes, weights of v that would be NaN are zero. */
static ifd_node *find_softmax(ifd_rewrite *rw, ifd_value *v, bool *zeroes) {
  ifd_value *all = number_or_zero(rw, v);
  *zeroes = all != NULL;
  ifd_node *softmax = all ? ifd_rw_producer(all, "Softmax") : ifd_made_by(v, "Softmax");
  int rank = softmax ? ifd_rw_rank(rw, v) : -1;
  int64_t axis = softmax ? ifd_node_int(softmax, "axis", softmax->opset < 13 ? 1 : -1) : 0;
  return rank > 0 && (axis == -1 || axis == rank - 1) ? softmax : NULL;
}

/* Q and K of the scores' product: rows i of Q and j of K where the scores are [… i, j]. */
static bool see_scores(ifd_rewrite *rw, product *p, attention *a) {
  int q[MOST], k[MOST];
  const char *y = p->letters[2] + p->rank - 2;
  char c = summed(p);
  bool swapped = strchr(p->letters[0], y[1]) != NULL;
  return c && roles_of(p, swapped, y[0], c, q) && roles_of(p, !swapped, y[1], c, k) &&
         see_through(rw, swapped ? p->b : p->a, q, &a->q) && see_through(rw, swapped ? p->a : p->b, k, &a->k);
}

/* V of the product [… i, j] by it, which is [… i, d]. */
static bool see_values(ifd_rewrite *rw, product *p, attention *a) {
  int v[MOST];
  char c = summed(p);
  return c && strncmp(p->letters[0], p->letters[2], (size_t)p->rank - 1) == 0 &&
         p->letters[0][p->rank - 1] == c && roles_of(p, 1, c, p->letters[2][p->rank - 1], v) &&
         see_through(rw, p->b, v, &a->v) && a->v.scale == 1;
}

/* Batches of several axes must be the same in all; batches of one and heads may broadcast as in MatMul. */
static bool same_batch(ifd_rewrite *rw, const product *scores, const product *mix) {
  for (int i = 0; i < scores->rank - 3 && scores->rank > 4; i++) {
    ifd_dim n = ifd_rw_dim(rw, scores->a, i);
    if (n != ifd_rw_dim(rw, scores->b, i) || n != ifd_rw_dim(rw, mix->b, i)) return false;
  }
  return true;
}

/* A mask is for rows and keys, the heads, and the batch where that is one axis. */
static bool mask_fits(ifd_rewrite *rw, const attention *a) {
  int rank = ifd_rw_rank(rw, a->mask);
  ifd_dtype dtype = a->where.mask ? IFD_BOOL : IFD_FLOAT;
  if (rank < 0 || rank > 4 || rank > a->rank || ifd_rw_dtype(rw, a->mask) != dtype) return false;
  return rank < 4 || a->rank == 4 || ifd_rw_dim(rw, a->mask, 0) == 1;
}

static ifd_status add_reshape(ifd_rewrite *rw, ifd_value **v, const int64_t *shape, int n) {
  ifd_node *node;
  ifd_value *inputs[2] = {*v};
  TRY(ifd_rw_add_ints(rw, &inputs[1], shape, n, "shape"));
  TRY(ifd_rw_add_node(rw, &node, "Reshape", inputs, 2, 1));
  *v = node->outputs[0];
  return IFD_OK;
}

/* What hides the same scores when it is added. */
static ifd_status add_hiding(ifd_rewrite *rw, ifd_value **mask, const ifd_masked *where) {
  ifd_value *inputs[3] = {where->mask};
  ifd_node *node;
  TRY(ifd_rw_add_scalar(rw, &inputs[where->shows ? 1 : 2], IFD_FLOAT, 0, "shown"));
  TRY(ifd_rw_add_scalar(rw, &inputs[where->shows ? 2 : 1], IFD_FLOAT, where->hidden, "hidden"));
  TRY(ifd_rw_add_node(rw, &node, "Where", inputs, 3, 1));
  *mask = node->outputs[0];
  return IFD_OK;
}

/* The dimensions of what is added, by the scores' axes. */
static bool dims_added(ifd_rewrite *rw, const ifd_value *scores, const added *m, ifd_dim *dims) {
  const int before = ifd_rw_rank(rw, m->to) - ifd_rw_rank(rw, m->v);
  if (ifd_rw_rank(rw, m->v) < 0 || before < 0 || ifd_rw_dtype(rw, m->v) != IFD_FLOAT ||
      !is_same_view(rw, scores, m->to))
    return false;
  for (int i = 0; i < ifd_rw_rank(rw, scores); i++) {
    int at = same_axis(rw, scores, m->to, i);
    dims[i] = at < before ? 1 : ifd_rw_dim(rw, m->v, at - before);
  }
  return true;
}

/* All that is added, as one mask of the scores' axes; NULL where these do not fit. */
static ifd_status add_masks(ifd_rewrite *rw, ifd_value **mask, const ifd_value *scores, const attention *a) {
  const int rank = ifd_rw_rank(rw, scores);
  ifd_value *sum[2] = {NULL};
  *mask = NULL;
  for (int i = 0; i < a->n_added; i++) {
    ifd_dim dims[MOST], from[MOST + 1];
    int64_t shape[MOST];
    ifd_node *node;
    sum[1] = a->added[i].v;
    int n = ifd_rw_rank(rw, sum[1]);
    if (rank > N_AXES || n > MOST || !dims_added(rw, scores, &a->added[i], dims)) return IFD_OK;
    for (int k = 0; k < n; k++) from[k] = ifd_rw_dim(rw, sum[1], k);
    if (!ifd_rw_view_shape(from, n, dims, rank, shape)) return IFD_OK;
    if (n != rank || memcmp(from, dims, sizeof *dims * (size_t)n) != 0)
      TRY(add_reshape(rw, &sum[1], shape, rank));
    if (sum[0]) {
      TRY(ifd_rw_add_node(rw, &node, "Add", sum, 2, 1));
      sum[1] = node->outputs[0];
    }
    sum[0] = sum[1];
  }
  *mask = sum[0];
  return IFD_OK;
}

static ifd_status set_list(ifd_rewrite *rw, ifd_node *node, const char *name, const int64_t *v, int n) {
  int64_t *copy;
  ALLOC(ifd_rw_error(rw), copy, ifd_arena_memdup(ifd_rw_arena(rw), v, sizeof *v * (size_t)n));
  return ifd_node_set_ints(ifd_rw_error(rw), node, name, copy, n);
}

static ifd_status set_operand(ifd_rewrite *rw, ifd_node *node, const char *axes, const char *part,
                              const operand *o) {
  TRY(set_list(rw, node, axes, o->axis, N_AXES));
  return o->view.part < 0 ? IFD_OK : ifd_node_set_int(ifd_rw_error(rw), node, part, o->view.part);
}

/* The shape of a result [batch, a, b, elements] with all axes of the batch; false when it is not known. */
static bool result_shape(ifd_rewrite *rw, const ifd_value *y, int64_t *shape) {
  ifd_dim dims[MOST];
  int rank = ifd_rw_rank(rw, y);
  for (int i = 0; i < rank; i++) dims[i] = ifd_rw_dim(rw, y, i);
  return ifd_rw_view_shape(NULL, 0, dims, rank, shape);
}

static ifd_status build(ifd_rewrite *rw, ifd_node *root, const attention *a) {
  const operand *all[] = {&a->q, &a->k, &a->v};
  ifd_value *inputs[] = {a->q.view.v, a->k.view.v, a->v.view.v, a->mask}, *y;
  int64_t shape[MOST];
  ifd_node *node;
  if (a->rank > 4 && !result_shape(rw, root->outputs[0], shape)) return IFD_OK;
  for (int i = 0; i < 3; i++)
    if (all[i]->reshapes) TRY(add_reshape(rw, &inputs[i], all[i]->shape, all[i]->n_axes));
  if (a->where.mask) TRY(add_hiding(rw, &inputs[3], &a->where));
  TRY(ifd_rw_add_node(rw, &node, "infold.Attention", inputs, a->mask ? 4 : 3, 1));
  node->name = root->name;
  TRY(set_operand(rw, node, "q_axes", "q_part", &a->q));
  TRY(set_operand(rw, node, "k_axes", "k_part", &a->k));
  TRY(set_operand(rw, node, "v_axes", "v_part", &a->v));
  TRY(ifd_node_set_float(ifd_rw_error(rw), node, "scale", (float)(a->scale * a->q.scale * a->k.scale)));
  if (a->zeroes) TRY(ifd_node_set_int(ifd_rw_error(rw), node, "zeroes", 1));
  if (a->rounding) TRY(ifd_node_set_string(ifd_rw_error(rw), node, "rounding", a->rounding));
  y = node->outputs[0];
  if (a->rank > 4) TRY(add_reshape(rw, &y, shape, a->rank));
  return ifd_rw_replace(rw, root->outputs[0], y);
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *root) {
  attention a = {0};
  product scores, mix;
  if (ifd_rw_opset(root) < 5 || !product_of(rw, root, &mix)) return IFD_OK;
  const ifd_node *softmax = find_softmax(rw, mix.a, &a.zeroes), *made = NULL;
  if (is_rounded_product(root))
    made = find_rounded(rw, root, mix.a, &a);
  else if (softmax)
    made = find_scores(rw, softmax->inputs[0], &a);
  if (!product_of(rw, made, &scores)) return IFD_OK;
  const ifd_value *y = made->outputs[0];
  const bool joins = a.n_added > 1 || (a.n_added && a.views);
  if (a.views && !ifd_rw_same_shape(rw, y, softmax->inputs[0])) return IFD_OK;
  if (a.n_added == 1 && !joins) a.mask = a.added[0].v;
  a.rank = mix.rank;
  if (scores.rank != mix.rank || !see_scores(rw, &scores, &a) || !see_values(rw, &mix, &a) ||
      !same_batch(rw, &scores, &mix) || (a.mask && !mask_fits(rw, &a)))
    return IFD_OK;
  if (a.rounding && a.q.scale * a.k.scale != 1) return IFD_OK;
  if (a.zeroes && !(a.scale * a.q.scale * a.k.scale > 0)) return IFD_OK;
  ifd_dim size = a.q.dims[a.q.axis[kind_of(ELEMENTS)]];
  if (!ifd_dim_is_number(size) || size < 1) return IFD_OK;
  if (joins) TRY(add_masks(rw, &a.mask, y, &a));
  return joins && !a.mask ? IFD_OK : build(rw, root, &a);
}

/* ---- ONNX's own ---- */

/* Of nothing but queries, keys and values [batch, heads, rows, elements], as many heads of each. */
static bool is_bare(ifd_rewrite *rw, const ifd_node *node) {
  if (ifd_node_int(node, "is_causal", 0) || ifd_node_float(node, "softcap", 0) != 0 ||
      ifd_node_int(node, "left_window_size", -1) != -1 || ifd_node_int(node, "right_window_size", -1) != -1)
    return false;
  for (int i = 0; i < node->n_inputs; i++)
    if (i < 3 ? ifd_rw_rank(rw, node->inputs[i]) != 4 : node->inputs[i] != NULL) return false;
  for (int i = 1; i < node->n_outputs; i++)
    if (ifd_node_has_output(node, i)) return false;
  ifd_dim heads = ifd_rw_dim(rw, node->inputs[0], 1);
  return heads == ifd_rw_dim(rw, node->inputs[1], 1) && heads == ifd_rw_dim(rw, node->inputs[2], 1);
}

/* It takes no transposed operands, no parts of one. */
static ifd_status see_operands(ifd_rewrite *rw, ifd_node *node) {
  static const int roles[] = {BATCH, HEADS, ROWS, ELEMENTS};
  if (!is_bare(rw, node)) return IFD_OK;
  ifd_dim size = ifd_rw_dim(rw, node->inputs[0], -1);
  attention a = {.rank = 4};
  operand *all[] = {&a.q, &a.k, &a.v};
  bool moves = false;
  for (int i = 0; i < 3; i++) {
    if (!see_through(rw, node->inputs[i], roles, all[i])) return IFD_OK;
    moves |= all[i]->view.v != node->inputs[i];
  }
  if (!moves || a.v.scale != 1 || !ifd_dim_is_number(size) || size < 1) return IFD_OK;
  a.scale = ifd_node_float(node, "scale", (float)(1 / sqrt((double)size)));
  return build(rw, node, &a);
}

/* ---- the result ---- */

/* The order of a result's axes, as the operator has it; how many. */
static int order_of(const ifd_node *attention, int64_t *order) {
  const int64_t *axes, *given;
  int n = 0;
  bool heads = ifd_node_ints(attention, "q_axes", &axes) == N_AXES && axes[kind_of(HEADS)] >= 0;
  int n_given = ifd_node_ints(attention, "y_order", &given);
  for (int k = 0; k < N_AXES; k++)
    if (n_given ? k < n_given : k != kind_of(HEADS) || heads) order[n++] = n_given ? given[k] : k;
  return n;
}

static ifd_status reorder(ifd_rewrite *rw, ifd_node **out, const ifd_node *attention, const int64_t *order,
                          int n) {
  TRY(ifd_rw_add_like(rw, out, attention, attention->inputs, attention->n_inputs));
  return set_list(rw, *out, "y_order", order, n);
}

/* Transpose behind it is how the results are stored, where their elements stay together. */
static ifd_status fuse_transpose(ifd_rewrite *rw, ifd_node *transpose) {
  ifd_node *attention = ifd_rw_own_producer(transpose->inputs[0], "Attention"), *made;
  int64_t order[N_AXES], moved[N_AXES];
  const int64_t *p;
  if (!attention || ifd_value_n_readers(transpose->inputs[0]) != 1) return IFD_OK;
  int n = order_of(attention, order);
  if (ifd_node_ints(transpose, "perm", &p) != n || p[n - 1] != n - 1) return IFD_OK;
  for (int i = 0; i < n; i++) moved[i] = order[p[i]];
  TRY(reorder(rw, &made, attention, moved, n));
  return ifd_rw_replace(rw, transpose->outputs[0], made->outputs[0]);
}

/* The same through the Reshape that gives the batch its axes: heads and rows change places. */
static ifd_status fuse_swap(ifd_rewrite *rw, ifd_node *transpose) {
  ifd_node *reshape = ifd_rw_sole_producer(transpose->inputs[0], "Reshape"), *made;
  ifd_node *attention = reshape ? ifd_rw_own_producer(reshape->inputs[0], "Attention") : NULL;
  int64_t order[N_AXES], shape[MOST];
  const int64_t *p;
  ifd_value *y;
  int rank = ifd_rw_rank(rw, transpose->inputs[0]);
  if (!attention || ifd_value_n_readers(reshape->inputs[0]) != 1 || rank < 5 || rank > MOST ||
      order_of(attention, order) != N_AXES || order[1] != kind_of(HEADS) ||
      ifd_node_ints(transpose, "perm", &p) != rank || !result_shape(rw, transpose->outputs[0], shape))
    return IFD_OK;
  for (int i = 0; i < rank; i++)
    if (p[i] != (i == rank - 3 ? rank - 2 : i == rank - 2 ? rank - 3 : i)) return IFD_OK;
  int64_t swapped[] = {order[0], order[2], order[1], order[3]};
  TRY(reorder(rw, &made, attention, swapped, N_AXES));
  y = made->outputs[0];
  TRY(add_reshape(rw, &y, shape, rank));
  return ifd_rw_replace(rw, transpose->outputs[0], y);
}

const ifd_pass ifd_pass_fuse_attention = {
    .summary = "runs softmax(Q Kᵀ) V as one operator, a few rows of scores at a time",
    .phase = IFD_PHASE_PLAN,
    .rules = (const ifd_rule[]){{"MatMul Einsum infold.MatMul", IFD_REASSOCIATES, fuse},
                                {"Attention", IFD_REASSOCIATES, see_operands},
                                {"Transpose", IFD_EXACT, fuse_transpose},
                                {"Transpose", IFD_EXACT, fuse_swap},
                                {0}},
};
