#include "pass/affine.h"

#include "pass/manager.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

bool ifd_bn_trains(const ifd_node *bn) {
  if (bn->opset >= 14) return ifd_node_int(bn, "training_mode", 0) != 0;
  if (bn->opset < 7) return ifd_node_int(bn, "is_test", 0) == 0;
  for (int i = 1; i < bn->n_outputs; i++)
    if (bn->outputs[i]) return true;
  return false;
}

static bool is_float(ifd_dtype t) {
  return t == IFD_FLOAT || t == IFD_DOUBLE || t == IFD_FLOAT16 || t == IFD_BFLOAT16;
}

static ifd_status new_affine(ifd_rewrite *rw, ifd_affine *out, int64_t n, int axis, double **a, double **b) {
  ALLOC(ifd_rw_error(rw), *a, ifd_new_array(ifd_rw_scratch(rw), double, n));
  ALLOC(ifd_rw_error(rw), *b, ifd_new_array(ifd_rw_scratch(rw), double, n));
  *out = (ifd_affine){.n = n, .axis = n == 1 ? -1 : axis, .a = *a, .b = *b, .n_nodes = 1};
  return IFD_OK;
}

static void note_kinds(ifd_affine *f) {
  int64_t n_scales = 0, n_shifts = 0;
  for (int64_t c = 0; c < f->n; c++) {
    n_scales += f->a[c] != 1;
    n_shifts += f->b[c] != 0;
  }
  f->scales = n_scales > 0;
  f->shifts = n_shifts > 0;
}

/* ---- BatchNormalization ---- */

static const char *const stat_names[] = {"", "scale", "B", "mean", "var"};

static ifd_status numbers_of(ifd_rewrite *rw, double **out, const ifd_tensor *t) {
  ALLOC(ifd_rw_error(rw), *out, ifd_new_array(ifd_rw_scratch(rw), double, ifd_tensor_count(t)));
  ifd_tensor_get_f64s(t, 0, *out, ifd_tensor_count(t));
  return IFD_OK;
}

static bool all_finite(const double *v, int64_t n) {
  int64_t n_finite = 0;
  for (int64_t c = 0; c < n; c++) n_finite += isfinite(v[c]) != 0;
  return n_finite == n;
}

static bool all_good(double *const *stats, int64_t n) {
  int64_t n_negative = 0;
  for (int i = 1; i <= 4; i++)
    if (!all_finite(stats[i], n)) return false;
  for (int64_t c = 0; c < n; c++) n_negative += stats[4][c] < 0;
  return !n_negative;
}

/* A channel's statistics must be such that the formula means what its author meant. */
static ifd_status check_variance(ifd_rewrite *rw, const ifd_node *bn, double *const *stats, int64_t n,
                                 bool *good, const char **why) {
  *good = all_good(stats, n);
  for (int i = 1; i <= 4 && !*good; i++)
    for (int64_t c = 0; c < n; c++) {
      double v = stats[i][c];
      if (isfinite(v) && (i < 4 || v >= 0)) continue;
      char *text = ifd_arena_printf(ifd_rw_scratch(rw), "its %s of channel %lld is %g", stat_names[i],
                                    (long long)c, v);
      ALLOC(ifd_rw_error(rw), *why, text);
      char label[256];
      return ifd_rw_warn(rw, "%s: %s of channel %lld is %g: left alone",
                         ifd_node_label(bn, label, sizeof label), stat_names[i], (long long)c, v);
    }
  return IFD_OK;
}

static ifd_status affine_of_bn(ifd_rewrite *rw, const ifd_node *bn, ifd_affine *out, bool *is_affine,
                               const char **why) {
  const ifd_tensor *t[5] = {0};
  if (ifd_bn_trains(bn)) return *why = "it is in training mode: output depends on the batch", IFD_OK;
  if (ifd_bn_is_per_position(bn)) return *why = "spatial = 0 normalizes each position by itself", IFD_OK;
  if (bn->n_inputs < 5 || ifd_rw_rank(rw, bn->inputs[0]) < 2)
    return *why = "the rank of its input is not known, or below 2", IFD_OK;
  for (int i = 1; i <= 4; i++) {
    t[i] = ifd_rw_constant(rw, bn->inputs[i]);
    if (!t[i]) {
      ALLOC(ifd_rw_error(rw), *why,
            ifd_arena_printf(ifd_rw_scratch(rw), "its %s is not constant", stat_names[i]));
      return IFD_OK;
    }
    if (t[i]->shape.rank != 1 || ifd_tensor_count(t[i]) != ifd_tensor_count(t[1]))
      return *why = "its statistics differ in shape", IFD_OK;
  }
  bool good;
  double *stats[5], *a, *b, epsilon = ifd_node_float(bn, "epsilon", 1e-5f);
  for (int i = 1; i <= 4; i++) TRY(numbers_of(rw, &stats[i], t[i]));
  TRY(check_variance(rw, bn, stats, ifd_tensor_count(t[1]), &good, why));
  if (!good) return IFD_OK;
  TRY(new_affine(rw, out, ifd_tensor_count(t[1]), 1, &a, &b));
  for (int64_t c = 0; c < out->n; c++) {
    a[c] = stats[1][c] / sqrt(stats[4][c] + epsilon);
    b[c] = stats[2][c] - stats[3][c] * a[c];
  }
  if (!all_finite(a, out->n) || !all_finite(b, out->n))
    return *why = "a variance of 0 with epsilon 0 divides by zero", IFD_OK;
  out->axis = 1; /* also when there is one channel */
  out->n_bn = 1;
  out->x = bn->inputs[0];
  *is_affine = true;
  return IFD_OK;
}

/* ---- arithmetic with a constant ---- */

/* The one axis of the result along which a constant varies; false when there are several, or when it
 * stretches x. */
static bool constant_axis(ifd_rewrite *rw, const ifd_tensor *c, const ifd_value *x, int *axis) {
  int rank = ifd_rw_rank(rw, x);
  *axis = -1;
  if (rank < 0 || c->shape.rank > rank) return false;
  for (int i = 0; i < c->shape.rank; i++) {
    if (c->shape.dim[i] == 1) continue;
    int at = rank - c->shape.rank + i;
    if (*axis >= 0 || ifd_rw_dim(rw, x, at) != c->shape.dim[i]) return false;
    *axis = at;
  }
  return true;
}

typedef enum arithmetic { ADD, SUB, RSUB, MUL, DIV } arithmetic;

static void element(arithmetic op, double c, double *a, double *b) {
  *a = op == MUL ? c : op == DIV ? 1 / c : op == RSUB ? -1 : 1;
  *b = op == ADD || op == RSUB ? c : op == SUB ? -c : 0;
}

static ifd_status affine_of_arithmetic(ifd_rewrite *rw, const ifd_node *node, ifd_affine *out,
                                       bool *is_affine) {
  static const struct {
    const char *op_type;
    arithmetic right, left; /* the constant is the second or first operand */
    bool either;
  } table[] = {
      {"Add", ADD, ADD, true}, {"Sub", SUB, RSUB, true}, {"Mul", MUL, MUL, true}, {"Div", DIV, DIV, false}};
  for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
    if (!ifd_node_is(node, table[k].op_type) || node->n_inputs != 2 || node->opset < 7) continue;
    const ifd_tensor *right = ifd_rw_constant(rw, node->inputs[1]),
                     *left = ifd_rw_constant(rw, node->inputs[0]);
    const ifd_tensor *c = right ? right : table[k].either ? left : NULL;
    ifd_value *x = right ? node->inputs[0] : node->inputs[1];
    int axis;
    if (!c || !is_float(c->dtype) || (right && left) || !constant_axis(rw, c, x, &axis)) return IFD_OK;
    double *a, *b;
    TRY(new_affine(rw, out, ifd_tensor_count(c), axis, &a, &b));
    for (int64_t i = 0; i < out->n; i++) {
      element(right ? table[k].right : table[k].left, ifd_tensor_get_f64(c, i), &a[i], &b[i]);
      if (!isfinite(a[i]) || !isfinite(b[i])) return IFD_OK;
    }
    out->x = x;
    *is_affine = true;
    return IFD_OK;
  }
  return IFD_OK;
}

static ifd_status affine_of_neg(ifd_rewrite *rw, const ifd_node *node, ifd_affine *out, bool *is_affine) {
  double *a, *b;
  if (ifd_rw_constant(rw, node->inputs[0])) return IFD_OK;
  TRY(new_affine(rw, out, 1, -1, &a, &b));
  a[0] = -1;
  out->x = node->inputs[0];
  *is_affine = true;
  return IFD_OK;
}

static ifd_status find_map(ifd_rewrite *rw, const ifd_node *node, ifd_affine *out, bool *is_affine,
                           const char **why) {
  if (ifd_node_is(node, "BatchNormalization"))
    TRY(affine_of_bn(rw, node, out, is_affine, why));
  else if (ifd_node_is(node, "Neg"))
    TRY(affine_of_neg(rw, node, out, is_affine));
  else
    TRY(affine_of_arithmetic(rw, node, out, is_affine));
  if (*is_affine) note_kinds(out);
  if (*is_affine && !is_float(ifd_rw_dtype(rw, out->x))) *is_affine = false;
  return IFD_OK;
}

/* ---- maps found before ---- */

enum { MOST_INPUTS = 5 };

/* A node's map depends on what the node reads, on its attributes, and, where BatchNormalization trains when
 * it is asked for more than one output, on these. */
typedef struct ifd_known_map {
  ifd_affine map;
  const ifd_value *inputs[MOST_INPUTS];
  const ifd_attr *attrs;
  int n_attrs, n_made;
} ifd_known_map;

static int count_made(const ifd_node *node) {
  int n = 0;
  for (int i = 0; i < node->n_outputs; i++) n += node->outputs[i] != NULL;
  return n;
}

static bool is_known(const ifd_manager *m, const ifd_node *node, ifd_affine *out) {
  const ifd_known_map *k = node->id < m->n_maps ? m->maps[node->id] : NULL;
  if (!k) return false;
  *out = k->map;
  return k->n_attrs == node->n_attrs && k->n_made == count_made(node) &&
         memcmp(k->inputs, node->inputs, (size_t)node->n_inputs * sizeof *k->inputs) == 0 &&
         (!k->n_attrs || memcmp(k->attrs, node->attrs, (size_t)k->n_attrs * sizeof *k->attrs) == 0);
}

static ifd_status remember(ifd_manager *m, const ifd_node *node, const ifd_affine *f) {
  ifd_known_map *k;
  size_t bytes = (size_t)f->n * sizeof *f->a;
  if (node->n_inputs > MOST_INPUTS) return IFD_OK;
  if (node->id >= m->n_maps) {
    int n = 2 * node->id + 16;
    ifd_known_map **grown;
    ALLOC(m->err, grown, ifd_new_array(&m->maps_arena, ifd_known_map *, n));
    if (m->n_maps) memcpy(grown, m->maps, (size_t)m->n_maps * sizeof *grown);
    m->maps = grown;
    m->n_maps = n;
  }
  ALLOC(m->err, k, ifd_new(&m->maps_arena, ifd_known_map));
  k->map = *f;
  k->n_attrs = node->n_attrs;
  k->n_made = count_made(node);
  if (k->n_attrs)
    ALLOC(m->err, k->attrs,
          ifd_arena_memdup(&m->maps_arena, node->attrs, (size_t)k->n_attrs * sizeof *k->attrs));
  memcpy(k->inputs, node->inputs, (size_t)node->n_inputs * sizeof *k->inputs);
  ALLOC(m->err, k->map.a, ifd_arena_memdup(&m->maps_arena, f->a, bytes));
  ALLOC(m->err, k->map.b, ifd_arena_memdup(&m->maps_arena, f->b, bytes));
  m->maps[node->id] = k;
  return IFD_OK;
}

ifd_status ifd_affine_of(ifd_rewrite *rw, const ifd_node *node, ifd_affine *out, bool *is_affine,
                         const char **why) {
  *why = NULL;
  *is_affine = is_known(rw->manager, node, out);
  if (*is_affine || *node->domain || !node->outputs[0]) return IFD_OK;
  TRY(find_map(rw, node, out, is_affine, why));
  return *is_affine ? remember(rw->manager, node, out) : IFD_OK;
}

/* ---- chains ---- */

ifd_status ifd_affine_compose(ifd_rewrite *rw, const ifd_affine *first, const ifd_affine *second,
                              ifd_affine *out, bool *fits) {
  *fits = first->n == 1 || second->n == 1 || (first->axis == second->axis && first->n == second->n);
  if (!*fits) return IFD_OK;
  const ifd_affine *wide = first->n >= second->n ? first : second;
  ifd_affine r;
  double *a, *b;
  TRY(new_affine(rw, &r, wide->n, wide->axis, &a, &b));
  r.axis = wide->axis;
  for (int64_t c = 0; c < r.n; c++) {
    int64_t i = first->n == 1 ? 0 : c, k = second->n == 1 ? 0 : c;
    a[c] = second->a[k] * first->a[i];
    b[c] = second->a[k] * first->b[i] + second->b[k];
  }
  r.n_nodes = first->n_nodes + second->n_nodes;
  r.n_bn = first->n_bn + second->n_bn;
  r.x = first->x;
  note_kinds(&r);
  *out = r;
  return IFD_OK;
}

ifd_status ifd_affine_chain(ifd_rewrite *rw, ifd_node *last, ifd_affine *out, const char **why) {
  bool is_affine;
  TRY(ifd_affine_of(rw, last, out, &is_affine, why));
  if (!is_affine) {
    *out = (ifd_affine){0};
    return IFD_OK;
  }
  enum { LONGEST = 32 }; /* more is merged piece by piece: going back must not cost the length of the model */
  while (out->n_nodes < LONGEST) {
    ifd_affine first;
    const char *ignored;
    const ifd_node *before = out->x->producer;
    if (!before || before->graph != last->graph || ifd_value_n_readers(out->x) != 1) return IFD_OK;
    TRY(ifd_affine_of(rw, before, &first, &is_affine, &ignored));
    if (!is_affine) return IFD_OK;
    TRY(ifd_affine_compose(rw, &first, out, out, &is_affine));
    if (!is_affine) return IFD_OK;
  }
  return IFD_OK;
}

ifd_status ifd_affine_goes_on(ifd_rewrite *rw, const ifd_node *last, bool *goes_on) {
  ifd_affine f, next;
  const char *why;
  const ifd_node *reader = ifd_value_only_reader(last->outputs[0]);
  *goes_on = false;
  if (!reader || reader->graph != last->graph) return IFD_OK;
  TRY(ifd_affine_of(rw, reader, &next, goes_on, &why));
  if (!*goes_on || next.x != last->outputs[0]) return *goes_on = false, IFD_OK;
  TRY(ifd_affine_of(rw, last, &f, goes_on, &why));
  return *goes_on ? ifd_affine_compose(rw, &f, &next, &next, goes_on) : IFD_OK;
}

/* ---- constants ---- */

/* One number many times stays short, as it was before. */
static bool is_splat(const double *v, int64_t n) {
  enum { SHORT = 64 };
  for (int64_t i = 1; i < n; i++)
    if (v[i] != v[0]) return false;
  return n >= SHORT;
}

ifd_status ifd_affine_add_vector(ifd_rewrite *rw, ifd_value **out, ifd_dtype dtype, const double *v,
                                 int64_t n, const char *hint) {
  ifd_tensor t;
  bool splat = is_splat(v, n);
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), dtype, &(ifd_shape){1, {splat ? 1 : n}}));
  for (int64_t i = 0; i < t.shape.dim[0]; i++) ifd_tensor_set_f64(&t, i, v[i]);
  t.shape.dim[0] = n;
  t.splat = splat;
  return ifd_rw_add_constant(rw, out, &t, hint);
}
