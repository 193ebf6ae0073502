#include "inspect/norm.h"

#include "ops/op.h"
#include <stdio.h>
#include <string.h>

const char *ifd_norm_statistics_text(ifd_norm_statistics statistics) {
  static const char *const texts[] = {"given", "of the sample", "of the batch"};
  return texts[statistics];
}

const char *ifd_norm_name(ifd_arena *arena, const ifd_norm *norm) {
  return norm->written_out ? ifd_arena_printf(arena, "%s, written out", norm->label) : norm->label;
}

enum { FAR = 8 }; /* nodes that change nothing, looked through at most */

/* The value that Identity (and Cast, where casts are let through) only hands on. */
static const ifd_value *handed_on(const ifd_value *v, bool casts) {
  for (int i = 0; i < FAR && v && v->producer; i++) {
    if (!ifd_node_is(v->producer, "Identity") && !(casts && ifd_node_is(v->producer, "Cast"))) break;
    v = ifd_node_input(v->producer, 0);
  }
  return v;
}

const ifd_tensor *ifd_norm_constant(const ifd_value *v) {
  v = handed_on(v, false);
  if (!v) return NULL;
  if (v->producer && ifd_node_is(v->producer, "Constant")) return ifd_node_tensor(v->producer, "value");
  return ifd_value_constant(v);
}

/* ---- what is at hand ---- */

typedef struct norm_search {
  ifd_error *err;
  ifd_arena *arena;
  const ifd_node *node;
  ifd_norm *out;
} norm_search;

static int rank_of(const ifd_value *v) {
  return v && v->type->kind == IFD_KIND_TENSOR && v->type->has_rank ? v->type->rank : -1;
}

static ifd_status found(norm_search *s, const char *label, const ifd_value *x, ifd_norm_statistics statistics,
                        const char *over) {
  EXPECT(s->err, over, NO_MEMORY, "out of memory");
  s->out->label = label;
  s->out->x = x;
  s->out->statistics = statistics;
  s->out->over = over;
  return IFD_OK;
}

/* "axes 0,2,3" from bits. */
static const char *axes_text(ifd_arena *arena, unsigned axes) {
  char text[64];
  int n = snprintf(text, sizeof text, "ax%s ", axes & (axes - 1) ? "es" : "is");
  for (int i = 0, first = 1; i < IFD_MAX_RANK; i++)
    if (axes >> i & 1)
      n += snprintf(text + n, sizeof text - (size_t)n, "%s%d", first ? "" : ",", i), first = 0;
  return ifd_arena_strdup(arena, text);
}

/* Axes [from, rank), as bits. */
static unsigned axes_from(int from, int rank) {
  unsigned axes = 0;
  for (int i = from; i < rank && i < IFD_MAX_RANK; i++) axes |= 1u << i;
  return axes;
}

static unsigned bit_of(int64_t axis, int rank) {
  if (axis < 0) axis += rank;
  return axis >= 0 && axis < IFD_MAX_RANK && axis < rank ? 1u << axis : 0;
}

static const char *some_axes(norm_search *s, unsigned axes) {
  return axes ? axes_text(s->arena, axes) : "axes of unknown rank";
}

/* ---- the operators ---- */

/* Channels in groups, seen as [N, groups, rest], are what an InstanceNormalization then normalizes. */
static bool is_split(const ifd_value *view, ifd_dim *groups) {
  const ifd_node *reshape = view->producer;
  const ifd_value *whole = reshape && ifd_node_is(reshape, "Reshape") ? reshape->inputs[0] : NULL;
  if (!whole || rank_of(view) != 3 || rank_of(whole) < 3) return false;
  *groups = view->type->dims[1];
  return view->type->dims[0] == whole->type->dims[0] && ifd_dim_is_number(*groups) &&
         *groups != whole->type->dims[1];
}

static ifd_status groups_found(norm_search *s, const ifd_value *x, ifd_dim groups) {
  const char *over =
      ifd_arena_printf(s->arena, "%lld group%s of channels", (long long)groups, groups == 1 ? "" : "s");
  return found(s, "GroupNormalization", x, IFD_NORM_OF_SAMPLE, over);
}

static ifd_status instance_norm(norm_search *s, const char *label) {
  const ifd_value *x = s->node->inputs[0];
  ifd_dim groups;
  if (!is_split(x, &groups))
    return found(s, label, x, IFD_NORM_OF_SAMPLE, some_axes(s, axes_from(2, rank_of(x))));
  s->out->written_out = true;
  return groups_found(s, x->producer->inputs[0], groups);
}

static ifd_status group_norm(norm_search *s, const char *label) {
  (void)label;
  return groups_found(s, s->node->inputs[0], ifd_node_int(s->node, "num_groups", 0));
}

static ifd_status trailing_norm(norm_search *s, const char *label) {
  const ifd_value *x = s->node->inputs[0];
  int rank = rank_of(x);
  int64_t axis = ifd_node_int(s->node, "axis", -1);
  if (axis < 0) axis += rank;
  unsigned axes = axis < 0 || axis >= rank ? 0 : axes_from((int)axis, rank);
  return found(s, label, x, IFD_NORM_OF_SAMPLE, some_axes(s, axes));
}

static ifd_status lp_norm(norm_search *s, const char *label) {
  const ifd_value *x = s->node->inputs[0];
  unsigned axes = bit_of(ifd_node_int(s->node, "axis", -1), rank_of(x));
  const char *over = ifd_arena_printf(s->arena, "%s, p = %lld", some_axes(s, axes),
                                      (long long)ifd_node_int(s->node, "p", 2));
  return found(s, label, x, axes & 1 ? IFD_NORM_OF_BATCH : IFD_NORM_OF_SAMPLE, over);
}

static ifd_status mean_variance_norm(norm_search *s, const char *label) {
  static const int64_t usual[] = {0, 2, 3};
  const ifd_value *x = s->node->inputs[0];
  const int64_t *list;
  int n = ifd_node_ints(s->node, "axes", &list);
  unsigned axes = 0;
  if (!n) list = usual, n = 3;
  for (int i = 0; i < n; i++) axes |= bit_of(list[i], rank_of(x));
  return found(s, label, x, axes & 1 ? IFD_NORM_OF_BATCH : IFD_NORM_OF_SAMPLE, some_axes(s, axes));
}

static ifd_status lrn(norm_search *s, const char *label) {
  const char *over = ifd_arena_printf(s->arena, "%lld channels", (long long)ifd_node_int(s->node, "size", 0));
  return found(s, label, s->node->inputs[0], IFD_NORM_OF_SAMPLE, over);
}

/* ---- written out ---- */

/* What made the value, casts aside. */
static const ifd_node *maker(const ifd_value *v, const char *op_type) {
  v = handed_on(v, true);
  return v && v->producer && ifd_node_is(v->producer, op_type) ? v->producer : NULL;
}

/* The value before nodes that give it another shape, or stretch it. */
static const ifd_value *without_shape(const ifd_value *v) {
  static const char *const views[] = {"Reshape", "Expand", "Unsqueeze", "Squeeze"};
  for (int steps = 0; steps < FAR; steps++) {
    const ifd_node *view = NULL;
    for (size_t i = 0; i < sizeof views / sizeof *views && !view; i++) view = maker(v, views[i]);
    if (!view) break;
    v = view->inputs[0];
  }
  return v;
}

static bool is_number(const ifd_value *v, double x) {
  const ifd_tensor *t = ifd_norm_constant(v);
  if (t) return ifd_tensor_count(t) == 1 && ifd_tensor_get_f64(t, 0) == x;
  return v && v->producer && ifd_node_is(v->producer, "Constant") &&
         ifd_node_float(v->producer, "value_float", (float)x - 1) == (float)x;
}

/* The axes that a reduction takes away, as bits; 0 when they are not known. */
static unsigned reduced_axes(const ifd_node *reduce) {
  int rank = rank_of(reduce->inputs[0]), n;
  const ifd_tensor *t = ifd_norm_constant(ifd_node_input(reduce, 1));
  const int64_t *list;
  unsigned axes = 0;
  if (rank < 0 || (t && ifd_tensor_count(t) > IFD_MAX_RANK)) return 0;
  if (t)
    for (int64_t i = 0; i < ifd_tensor_count(t); i++) axes |= bit_of(ifd_tensor_get_i64(t, i), rank);
  else if ((n = ifd_node_ints(reduce, "axes", &list)) > 0)
    for (int i = 0; i < n; i++) axes |= bit_of(list[i], rank);
  return axes;
}

/* The value whose squares these are. */
static const ifd_value *squared(const ifd_value *v) {
  const ifd_node *pow = maker(v, "Pow"), *mul = maker(v, "Mul");
  if (pow && is_number(ifd_node_input(pow, 1), 2)) return pow->inputs[0];
  return mul && mul->inputs[0] == mul->inputs[1] ? mul->inputs[0] : NULL;
}

/* What a mean is taken of, and over which axes: ReduceMean, or ReduceSum times or by a number. NULL for
 * others. */
static const ifd_value *averaged(const ifd_value *v, unsigned *axes) {
  const ifd_node *reduce = maker(v, "ReduceMean"), *times = maker(v, "Mul"), *by = maker(v, "Div");
  for (int i = 0; !reduce && times && i < 2; i++)
    if (ifd_norm_constant(times->inputs[1 - i])) reduce = maker(times->inputs[i], "ReduceSum");
  if (!reduce && by && ifd_norm_constant(by->inputs[1])) reduce = maker(by->inputs[0], "ReduceSum");
  *axes = reduce ? reduced_axes(reduce) : 0;
  return *axes ? reduce->inputs[0] : NULL;
}

/* x when v is x without its mean over the same axes. */
static const ifd_value *centred(const ifd_value *v, unsigned axes) {
  unsigned same;
  const ifd_node *sub = maker(v, "Sub");
  const ifd_value *x = sub ? averaged(without_shape(sub->inputs[1]), &same) : NULL;
  return x && x == sub->inputs[0] && same == axes ? x : NULL;
}

/* x when v is the mean of its squares without the square of its mean. */
static const ifd_value *by_moments(const ifd_value *v, unsigned *axes) {
  unsigned same;
  const ifd_node *sub = maker(v, "Sub");
  const ifd_value *squares = sub ? averaged(sub->inputs[0], axes) : NULL;
  const ifd_value *mean = sub ? squared(sub->inputs[1]) : NULL, *x = squares ? squared(squares) : NULL;
  return x && mean && averaged(mean, &same) == x && same == *axes ? x : NULL;
}

/* A variance without the small constant that was added to it, or the bound that keeps it from zero. */
static const ifd_value *without_epsilon(const ifd_value *v) {
  for (int steps = 0; steps < 2; steps++) {
    v = without_shape(v);
    const ifd_node *add = maker(v, "Add"), *bound = maker(v, "Max");
    if (!add) add = bound;
    for (int i = 0; add && i < 2 && add->n_inputs == 2; i++)
      if (ifd_norm_constant(add->inputs[i]) || maker(add->inputs[i], "Constant")) v = add->inputs[1 - i];
    if (!add && maker(v, "Clip")) v = maker(v, "Clip")->inputs[0];
  }
  return without_shape(v);
}

/* Whether the node takes a root that something is then divided by: Sqrt, or Pow with 0.5 or -0.5. */
static bool divides_by_root(const ifd_node *node) {
  bool inverse = ifd_node_is(node, "Pow") && is_number(ifd_node_input(node, 1), -0.5);
  if (!inverse && !ifd_node_is(node, "Sqrt") && !is_number(ifd_node_input(node, 1), 0.5)) return false;
  const ifd_value *v = node->outputs[0];
  for (int i = 0; i < v->uses.n; i++) {
    const ifd_node *reader = v->uses.v[i].node;
    if (inverse
            ? ifd_node_is(reader, "Mul")
            : ifd_node_is(reader, "Reciprocal") || (ifd_node_is(reader, "Div") && v->uses.v[i].index == 1))
      return true;
  }
  return false;
}

static ifd_status deviation_found(norm_search *s, const ifd_value *x, unsigned axes) {
  int rank = rank_of(x);
  ifd_dim groups;
  if (axes & 1) return found(s, "BatchNormalization", x, IFD_NORM_OF_BATCH, some_axes(s, axes));
  if (axes == 4 && is_split(x, &groups)) return groups_found(s, x->producer->inputs[0], groups);
  const char *label = rank > 3 && axes == axes_from(2, rank) ? "InstanceNormalization" : "LayerNormalization";
  return found(s, label, x, IFD_NORM_OF_SAMPLE, some_axes(s, axes));
}

/* The root of a mean of squares: of deviations from the mean (a standard deviation), or of x itself. */
static ifd_status by_root(norm_search *s) {
  if (!divides_by_root(s->node)) return IFD_OK;
  unsigned axes;
  const ifd_value *variance = without_epsilon(s->node->inputs[0]), *x = by_moments(variance, &axes);
  const ifd_value *squares = x ? NULL : averaged(variance, &axes), *v = squares ? squared(squares) : NULL;
  if (v) x = centred(v, axes);
  if (!x && !v) return IFD_OK;
  s->out->written_out = true;
  if (x) return deviation_found(s, x, axes);
  return found(s, "RMSNormalization", v, axes & 1 ? IFD_NORM_OF_BATCH : IFD_NORM_OF_SAMPLE,
               some_axes(s, axes));
}

/* The norm that x is divided by, kept from zero and stretched to x's shape or not. */
static const ifd_node *norm_behind(const ifd_value *v) {
  static const char *const between[] = {"Clip", "Max", "Add", "Expand"};
  for (int steps = 0; v && v->producer && steps < 4; steps++) {
    const ifd_node *node = v->producer;
    if (ifd_node_is(node, "ReduceL2") || ifd_node_is(node, "ReduceL1")) return node;
    bool passes = false;
    for (size_t i = 0; i < sizeof between / sizeof *between; i++) passes |= ifd_node_is(node, between[i]);
    if (!passes) return NULL;
    v = node->inputs[0];
  }
  return NULL;
}

static ifd_status by_norm(norm_search *s) {
  const ifd_node *reduce = norm_behind(s->node->inputs[1]);
  if (!reduce || reduce->inputs[0] != s->node->inputs[0]) return IFD_OK;
  unsigned axes = reduced_axes(reduce);
  if (!axes) return IFD_OK;
  s->out->written_out = true;
  return found(s, "LpNormalization", s->node->inputs[0], axes & 1 ? IFD_NORM_OF_BATCH : IFD_NORM_OF_SAMPLE,
               ifd_arena_printf(s->arena, "%s, p = %d", axes_text(s->arena, axes),
                                ifd_node_is(reduce, "ReduceL2") ? 2 : 1));
}

/* ---- BatchNormalization ---- */

/* The value before transpositions that leave the batch where it is. */
static const ifd_value *untransposed(const ifd_value *v) {
  const int64_t *perm;
  for (int i = 0; i < FAR; i++) {
    const ifd_node *node = maker(v, "Transpose");
    if (!node || ifd_node_ints(node, "perm", &perm) < 1 || perm[0] != 0) break;
    v = node->inputs[0];
  }
  return handed_on(v, true);
}

/* Whether the mean that is given is that of the input itself, over the batch too: training mode in other
 * words, as exporters have it for layers without running statistics. */
static bool gives_own_mean(const ifd_node *bn) {
  unsigned axes = 0;
  const ifd_value *mean = ifd_node_input(bn, 3), *of = mean ? averaged(without_shape(mean), &axes) : NULL;
  return of && axes & 1 && untransposed(of) == untransposed(bn->inputs[0]);
}

static ifd_status batch_norm(norm_search *s, const char *label) {
  const ifd_value *x = s->node->inputs[0];
  if (!ifd_op_mixes_batch(s->node) && !gives_own_mean(s->node))
    return found(s, label, x, IFD_NORM_GIVEN, "each channel");
  unsigned axes = rank_of(x) < 0 ? 0 : axes_from(2, rank_of(x)) | 1;
  return found(s, label, x, IFD_NORM_OF_BATCH, some_axes(s, axes));
}

/* ---- scale and shift of each channel by constants ---- */

/* A constant with an element for each of x's channels (axis 1). */
static bool is_per_channel(const ifd_tensor *c, const ifd_value *x) {
  int rank = rank_of(x);
  if (!c || rank < 2 || c->shape.rank > rank || ifd_tensor_count(c) < 2) return false;
  for (int i = 0; i < c->shape.rank; i++)
    if (c->shape.dim[i] != 1 && rank - c->shape.rank + i != 1) return false;
  return ifd_dtype_is_float(c->dtype);
}

/* What an Add, Sub, Mul or Div with such a constant takes; NULL for other nodes. */
static const ifd_value *affine_input(const ifd_node *node, bool *scales) {
  static const struct {
    const char *op_type;
    bool scales, commutes;
  } table[] = {{"Add", false, true}, {"Sub", false, false}, {"Mul", true, true}, {"Div", true, false}};
  for (size_t k = 0; node && k < sizeof table / sizeof *table; k++) {
    if (!ifd_node_is(node, table[k].op_type) || node->n_inputs != 2) continue;
    *scales = table[k].scales;
    for (int i = 0; i < (table[k].commutes ? 2 : 1); i++)
      if (is_per_channel(ifd_norm_constant(node->inputs[1 - i]), node->inputs[i])) return node->inputs[i];
  }
  return NULL;
}

/* Scale and B of another normalization come behind these. */
static bool is_normalized(const ifd_value *x) {
  static const char *const makers[] = {"InstanceNormalization",
                                       "LayerNormalization",
                                       "GroupNormalization",
                                       "BatchNormalization",
                                       "Reshape",
                                       "Div",
                                       "Mul",
                                       "LpNormalization"};
  for (size_t i = 0; x->producer && i < sizeof makers / sizeof *makers; i++)
    if (ifd_node_is(x->producer, makers[i])) return true;
  return false;
}

/* A chain of such nodes with both a scale and a shift; its last node stands for it. */
static ifd_status by_constants(norm_search *s) {
  bool scales, has_scale = false, has_shift = false;
  const ifd_node *next = ifd_value_only_reader(s->node->outputs[0]);
  const ifd_value *x = s->node->outputs[0], *before;
  if (affine_input(next, &scales)) return IFD_OK;
  while (x->producer && (x == s->node->outputs[0] || ifd_value_n_readers(x) == 1) &&
         (before = affine_input(x->producer, &scales))) {
    *(scales ? &has_scale : &has_shift) = true;
    x = before;
  }
  if (!has_scale || !has_shift || is_normalized(x)) return IFD_OK;
  s->out->written_out = true;
  return found(s, "BatchNormalization", x, IFD_NORM_GIVEN, "each channel");
}

/* ---- all of them ---- */

static ifd_status written_out(norm_search *s) {
  if (!s->node->outputs[0]) return IFD_OK;
  if (ifd_node_is(s->node, "Sqrt") || ifd_node_is(s->node, "Pow")) return by_root(s);
  if (ifd_node_is(s->node, "Div")) TRY(by_norm(s));
  bool scales;
  return s->out->label || !affine_input(s->node, &scales) ? IFD_OK : by_constants(s);
}

ifd_status ifd_norm_of(ifd_error *err, ifd_arena *arena, const ifd_node *node, ifd_norm *out) {
  static const struct {
    const char *op_type;
    ifd_status (*describe)(norm_search *s, const char *label);
  } operators[] = {{"BatchNormalization", batch_norm},
                   {"InstanceNormalization", instance_norm},
                   {"GroupNormalization", group_norm},
                   {"LayerNormalization", trailing_norm},
                   {"RMSNormalization", trailing_norm},
                   {"LpNormalization", lp_norm},
                   {"MeanVarianceNormalization", mean_variance_norm},
                   {"LRN", lrn}};
  norm_search s = {err, arena, node, out};
  *out = (ifd_norm){0};
  if (node->n_inputs < 1 || !node->inputs[0] || node->n_outputs < 1) return IFD_OK;
  for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
    if (ifd_node_is(node, operators[i].op_type)) return operators[i].describe(&s, operators[i].op_type);
  for (int i = 0; i < node->n_inputs; i++)
    if (!node->inputs[i]) return IFD_OK;
  return written_out(&s);
}
