/* Einsum: sums of products over named dimensions.
 *
 * The operands are contracted one after another into an accumulator that keeps the labels still needed; a
 * repeated label in an operand is a diagonal, that is one stride which is the sum of several. */
#include <math.h>
#include <string.h>

#include "ops/shared/eltwise_work.h"
#include "ops/shared/equation.h"
#include "ops/shared/gemm_work.h"
#include "ops/shared/mover.h"
#include "ops/shared/values.h"

static ifd_status infer_einsum(ifd_infer *x) {
  int n = x->node->n_inputs, rank[IFD_EQUATION_OPERANDS];
  ifd_dim size[IFD_LABELS], out[IFD_LABELS];
  ifd_equation e;
  for (int i = 0; i < n; i++) {
    int r = ifd_infer_rank(x, i);
    if (r < 0 || i == IFD_EQUATION_OPERANDS) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
    rank[i] = r;
  }
  TRY(ifd_equation_parse(x->err, &e, x->node, n, rank));
  for (int l = 0; l < IFD_LABELS; l++) size[l] = 1;
  for (int i = 0; i < n; i++)
    for (int j = 0; j < rank[i]; j++) {
      ifd_dim *to = &size[e.in[i].label[j]];
      TRY(ifd_infer_broadcast_dim(x, to, *to, ifd_infer_dim(x, i, j)));
    }
  for (int j = 0; j < e.out.n; j++) out[j] = size[e.out.label[j]];
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), e.out.n, out);
}

/* ---- contraction ---- */

/* An operand or accumulator: elements of eight bytes, double or uint64, with a stride for each label (0: not
 * there, or broadcast). */
typedef struct operand {
  const void *at;
  bool has[IFD_LABELS];
  int64_t stride[IFD_LABELS];
} operand;

/* Sizes of the labels: what the inputs agree on, 1 standing for any. */
static ifd_status label_sizes(ifd_error *err, const ifd_equation *e, const ifd_shape *const *shapes,
                              int64_t *size) {
  for (int l = 0; l < IFD_LABELS; l++) size[l] = 1;
  for (int i = 0; i < e->n; i++)
    for (int j = 0; j < e->in[i].n; j++) {
      int64_t d = shapes[i]->dim[j], *s = &size[e->in[i].label[j]];
      EXPECT(err, *s == 1 || d == 1 || *s == d, BAD_INPUT, "dimension %d of input %d is %lld, elsewhere %lld",
             j, i, (long long)d, (long long)*s);
      if (*s == 1) *s = d;
    }
  return IFD_OK;
}

static ifd_status load(ifd_eval *x, operand *o, const ifd_equation *e, int i, bool whole) {
  int64_t strides[IFD_MAX_RANK], n;
  const ifd_shape *shape = ifd_eval_shape(x, i);
  memset(o, 0, sizeof *o);
  if (whole)
    TRY(ifd_eval_ints(x, (const int64_t **)&o->at, &n, i));
  else
    TRY(ifd_eval_f64(x, (const double **)&o->at, i));
  ifd_shape_strides(shape, strides);
  for (int j = 0; j < e->in[i].n; j++) {
    int l = e->in[i].label[j];
    o->has[l] = true;
    if (shape->dim[j] != 1) o->stride[l] += strides[j];
  }
  return IFD_OK;
}

/* A nest over labels: extents and the strides of a and b. */
typedef struct nest {
  int n;
  int64_t size[IFD_LABELS], a[IFD_LABELS], b[IFD_LABELS];
} nest;

static void add_loop(nest *t, int64_t size, int64_t a, int64_t b) {
  t->size[t->n] = size, t->a[t->n] = a, t->b[t->n] = b;
  t->n++;
}

/* The next point of a nest: false after the last. Offsets of a and b follow. */
static bool advance(const nest *t, int64_t *at, int64_t *a, int64_t *b) {
  for (int i = t->n - 1; i >= 0; i--) {
    *a += t->a[i], *b += t->b[i];
    if (++at[i] < t->size[i]) return true;
    *a -= t->a[i] * t->size[i], *b -= t->b[i] * t->size[i];
    at[i] = 0;
  }
  return false;
}

#define DOT(suffix, type)                                                                                    \
  /* The sum of a[…] * b[…] over the points of a nest. */                                                \
  static type dot_##suffix(const nest *t, const type *a, const type *b) {                                    \
    int64_t at[IFD_LABELS] = {0}, i = 0, j = 0;                                                              \
    type sum = 0;                                                                                            \
    do sum += a[i] * b[j];                                                                                   \
    while (advance(t, at, &i, &j));                                                                          \
    return sum;                                                                                              \
  }
DOT(f64, double)
DOT(u64, uint64_t)

static bool is_empty(const nest *t) {
  for (int i = 0; i < t->n; i++)
    if (t->size[i] == 0) return true;
  return false;
}

/* result = sum of a * b over the labels of either that are not kept; the result is dense in order of
 * `keep`. */
static ifd_status contract(ifd_eval *x, operand *result, const operand *a, const operand *b,
                           const ifd_term *keep, const int64_t *size, bool whole) {
  nest outer = {0}, inner = {0};
  bool kept[IFD_LABELS] = {false};
  int64_t n = 1, at[IFD_LABELS] = {0}, i = 0, j = 0;
  operand r = {0};
  for (int k = keep->n - 1; k >= 0; k--) {
    int l = keep->label[k];
    kept[l] = r.has[l] = true;
    r.stride[l] = n;
    EXPECT(x->err, ifd_mul_i64(&n, n, size[l]), LIMIT, "a product of inputs is too large");
  }
  for (int k = 0; k < keep->n; k++)
    add_loop(&outer, size[keep->label[k]], a->stride[keep->label[k]], b->stride[keep->label[k]]);
  for (int l = 0; l < IFD_LABELS; l++)
    if (!kept[l] && (a->has[l] || b->has[l])) add_loop(&inner, size[l], a->stride[l], b->stride[l]);
  uint64_t *out;
  ALLOC(x->err, out, ifd_new_array(x->scratch, uint64_t, n));
  r.at = out;
  const void *left = a->at, *right = b->at;
  *result = r; /* which may be a or b */
  if (is_empty(&outer) || is_empty(&inner)) return IFD_OK;
  do {
    if (whole)
      *out++ = dot_u64(&inner, (const uint64_t *)left + i, (const uint64_t *)right + j);
    else
      *(double *)out++ = dot_f64(&inner, (const double *)left + i, (const double *)right + j);
  } while (advance(&outer, at, &i, &j));
  return IFD_OK;
}

/* What must be kept after operand `done`: labels of it or the accumulator that the output or a later operand
 * has. After the last operand, the output's, in its order. */
static void needed(const ifd_equation *e, int done, const operand *acc, const operand *next, ifd_term *keep) {
  if (done == e->n - 1) {
    *keep = e->out;
    return;
  }
  bool later[IFD_LABELS] = {false};
  for (int j = 0; j < e->out.n; j++) later[e->out.label[j]] = true;
  for (int i = done + 1; i < e->n; i++)
    for (int j = 0; j < e->in[i].n; j++) later[e->in[i].label[j]] = true;
  keep->n = 0;
  for (int l = 0; l < IFD_LABELS; l++)
    if (later[l] && (acc->has[l] || next->has[l])) keep->label[keep->n++] = l;
}

static ifd_status eval_einsum(ifd_eval *x) {
  static const double one = 1;
  static const uint64_t whole_one = 1;
  int rank[IFD_EQUATION_OPERANDS];
  const ifd_shape *shapes[IFD_EQUATION_OPERANDS];
  int64_t size[IFD_LABELS];
  ifd_equation e;
  for (int i = 0; i < x->n_in && i < IFD_EQUATION_OPERANDS; i++) {
    EXPECT(x->err, ifd_eval_has(x, i), BAD_MODEL, "input %d is missing", i);
    shapes[i] = ifd_eval_shape(x, i);
    rank[i] = shapes[i]->rank;
  }
  TRY(ifd_equation_parse(x->err, &e, x->node, x->n_in, rank));
  TRY(label_sizes(x->err, &e, shapes, size));
  bool whole = !ifd_dtype_is_float(ifd_eval_dtype(x, 0));
  operand acc = {.at = whole ? (const void *)&whole_one : &one}, next;
  for (int i = 0; i < e.n; i++) {
    ifd_term keep;
    TRY(load(x, &next, &e, i, whole));
    needed(&e, i, &acc, &next, &keep);
    TRY(contract(x, &acc, &acc, &next, &keep, size, whole));
  }
  ifd_shape shape = {.rank = e.out.n};
  for (int j = 0; j < e.out.n; j++) shape.dim[j] = size[e.out.label[j]];
  if (whole) return ifd_eval_put_i64(x, 0, ifd_eval_dtype(x, 0), &shape, acc.at);
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &shape, acc.at);
}

/* ---- one operand, of which nothing is summed: elements moved, diagonals taken ---- */

static ifd_status rearrange(ifd_mover *m) {
  const ifd_tensor *in = ifd_mover_in(m, 0);
  int64_t strides[IFD_MAX_RANK], of_label[IFD_LABELS] = {0}, size[IFD_LABELS];
  ifd_equation e;
  ifd_shape shape;
  ifd_view to, from = ifd_mover_view(m, 0);
  TRY(ifd_equation_parse(m->err, &e, m->node, 1, &in->shape.rank));
  ifd_shape_strides(&in->shape, strides);
  for (int j = 0; j < e.in[0].n; j++) {
    of_label[e.in[0].label[j]] += strides[j];
    size[e.in[0].label[j]] = in->shape.dim[j];
  }
  shape.rank = e.out.n;
  for (int j = 0; j < e.out.n; j++) {
    shape.dim[j] = size[e.out.label[j]];
    from.stride[j] = of_label[e.out.label[j]];
  }
  TRY(ifd_mover_out(m, &to, 0, in->dtype, &shape));
  return ifd_mover_move(m, &shape, ifd_dtype_size(in->dtype), to, from);
}

/* Whether the output has each label of the operand, and they are of one size where they are repeated. */
static bool only_moves(const ifd_equation *e, const ifd_shape *shape, const int64_t *size) {
  for (int j = 0; j < e->in[0].n; j++) {
    bool kept = false;
    for (int k = 0; k < e->out.n; k++) kept |= e->out.label[k] == e->in[0].label[j];
    if (!kept || shape->dim[j] != size[e->in[0].label[j]]) return false;
  }
  return true;
}

/* ---- two operands as a batch of matrix products ---- */

/* Strides by label of the operands and the output, and which have the label at all. */
typedef struct strides {
  bool has[IFD_LABELS];
  int64_t of[IFD_LABELS];
} strides;

/* False when a label is repeated: a diagonal is not a matrix. */
static bool strides_of(const ifd_term *t, const ifd_shape *s, strides *r) {
  int64_t own[IFD_MAX_RANK];
  ifd_shape_strides(s, own);
  memset(r, 0, sizeof *r);
  for (int j = 0; j < t->n; j++) {
    int l = t->label[j];
    if (r->has[l]) return false;
    r->has[l] = true;
    r->of[l] = s->dim[j] == 1 ? 0 : own[j];
  }
  return true;
}

/* Labels that are one dimension together: the next one, which lies outside, must step over all of them evenly
 * in both tensors. */
typedef struct group {
  int64_t size, in, out; /* how many, and the strides of the innermost */
} group;

static bool extend(group *g, int64_t size, int64_t in, int64_t out) {
  if (size == 1) return true;
  if (g->size == 1) {
    *g = (group){size, in, out};
    return true;
  }
  if (in != g->in * g->size || out != g->out * g->size) return false;
  g->size *= size;
  return true;
}

static void add_batch(ifd_products *p, int64_t size, int64_t a, int64_t b, int64_t c) {
  if (size == 1) return;
  int i = p->batch.rank++;
  p->batch.dim[i] = size;
  p->a_batch[i] = a, p->b_batch[i] = b, p->c_batch[i] = c;
}

/* The output's labels from the inside out: rows are of a alone, columns of b alone; those of both, and those
 * that do not join their group any more, are looped over. */
static void split_output(const ifd_equation *e, const int64_t *size, const strides *a, const strides *b,
                         const strides *c, ifd_products *p, group *rows, group *columns) {
  bool rows_open = true, columns_open = true;
  for (int j = e->out.n - 1; j >= 0; j--) {
    int l = e->out.label[j];
    bool joined = false;
    if (a->has[l] && !b->has[l]) joined = rows_open = rows_open && extend(rows, size[l], a->of[l], c->of[l]);
    if (b->has[l] && !a->has[l])
      joined = columns_open = columns_open && extend(columns, size[l], b->of[l], c->of[l]);
    if (!joined) add_batch(p, size[l], a->of[l], b->of[l], c->of[l]);
  }
}

/* Labels that are summed, from the inside of a out; false unless both operands have each and it joins. */
static bool split_sum(const ifd_equation *e, int first, const int64_t *size, const strides *a,
                      const strides *b, const strides *c, group *sum) {
  const ifd_term *t = &e->in[first];
  for (int j = t->n - 1; j >= 0; j--) {
    int l = t->label[j];
    if (c->has[l]) continue;
    if (!b->has[l] || !extend(sum, size[l], a->of[l], b->of[l])) return false;
  }
  for (int l = 0; l < IFD_LABELS; l++)
    if (b->has[l] && !a->has[l] && !c->has[l]) return false;
  return true;
}

/* Products with operand `first` as A and the other as B; false when the output's columns would not be
 * adjacent, or the sums are not one dimension. */
static bool as_products(const ifd_equation *e, int first, const int64_t *size, const strides *in,
                        const strides *c, ifd_products *p) {
  const strides *a = &in[first], *b = &in[!first];
  group rows = {.size = 1}, columns = {.size = 1}, sum = {.size = 1};
  *p = (ifd_products){0};
  if (!split_sum(e, first, size, a, b, c, &sum)) return false;
  split_output(e, size, a, b, c, p, &rows, &columns);
  if (columns.size > 1 && columns.out != 1) return false;
  p->m = rows.size, p->n = columns.size, p->k = sum.size;
  p->a_rs = rows.in, p->a_cs = sum.in;
  p->b_rs = sum.out, p->b_cs = columns.in;
  p->c_rs = rows.out;
  return true;
}

/* Of a product: the columns of each row, whose last vector is idle in part. */
static double vectors(const ifd_products *p) { return (double)p->m * ceil((double)p->n / 16); }

/* ---- two operands of which nothing is summed: a product element by element ---- */

/* The operand's shape as the output sees it; false unless its labels come in the output's order. */
static bool view_of(const ifd_term *t, const ifd_term *out, const ifd_shape *s, ifd_shape *view) {
  int j = 0;
  view->rank = out->n;
  for (int k = 0; k < out->n; k++) view->dim[k] = j < t->n && t->label[j] == out->label[k] ? s->dim[j++] : 1;
  return j == t->n;
}

static ifd_status lower_outer(ifd_lower *x, const ifd_shape views[2]) {
  ifd_eltwise e = ifd_eltwise_of(x);
  int a = ifd_eltwise_input(&e, 0, &views[0]), b = ifd_eltwise_input(&e, 1, &views[1]);
  ifd_eltwise_binary(&e, IFD_EL_Mul, a, b);
  return ifd_eltwise_lower(&e);
}

static ifd_status lower_two(ifd_lower *x, const ifd_equation *e, const ifd_shape *const *shapes,
                            const int64_t *size) {
  const ifd_gemm_epilogue none = {.e = IFD_K_EPILOGUE_NONE};
  strides in[2], out;
  ifd_products p[2];
  ifd_shape views[2];
  if (view_of(&e->in[0], &e->out, shapes[0], &views[0]) && view_of(&e->in[1], &e->out, shapes[1], &views[1]))
    return lower_outer(x, views);
  const bool doubles = ifd_lower_all(x, 2, IFD_DOUBLE);
  if (!doubles && !ifd_lower_all_float(x, 2)) return IFD_OK;
  if (!strides_of(&e->in[0], shapes[0], &in[0]) || !strides_of(&e->in[1], shapes[1], &in[1]) ||
      !strides_of(&e->out, &x->out[0]->shape, &out))
    return IFD_OK;
  bool fits[2];
  for (int first = 0; first < 2; first++) fits[first] = as_products(e, first, size, in, &out, &p[first]);
  if (!fits[0] && !fits[1]) return IFD_OK;
  int first = !fits[0] || (fits[1] && vectors(&p[1]) < vectors(&p[0]));
  if (doubles) return ifd_lower_products_f64(x, &p[first], first, !first, 1, -1);
  return ifd_lower_products(x, &p[first], first, !first, &none);
}

/* Other equations are made of these by passes/split_einsum.c. */
static ifd_status lower_einsum(ifd_lower *x) {
  int n = x->node->n_inputs, rank[2];
  const ifd_shape *shapes[2];
  int64_t size[IFD_LABELS];
  ifd_equation e;
  if (n > 2) return IFD_OK;
  for (int i = 0; i < n; i++) {
    if (!x->in[i]) return IFD_OK;
    shapes[i] = &x->in[i]->shape;
    rank[i] = shapes[i]->rank;
  }
  TRY(ifd_equation_parse(x->err, &e, x->node, n, rank));
  TRY(label_sizes(x->err, &e, shapes, size));
  if (n == 2) return lower_two(x, &e, shapes, size);
  return only_moves(&e, shapes[0], size) ? ifd_lower_moves(x, rearrange, 1) : IFD_OK;
}

/* Each operand after the first is multiplied in over all labels of both. An equation that does not parse
 * costs nothing: evaluating it says why. */
static double cost_einsum(const ifd_node *node, const ifd_shape *in, const ifd_shape *out) {
  (void)out;
  ifd_error err = {0};
  ifd_equation e;
  int n = node->n_inputs, rank[IFD_EQUATION_OPERANDS];
  const ifd_shape *shapes[IFD_EQUATION_OPERANDS];
  int64_t size[IFD_LABELS];
  double cost = 1;
  for (int i = 0; i < n && i < IFD_EQUATION_OPERANDS; i++) {
    shapes[i] = &in[i];
    rank[i] = in[i].rank;
  }
  if (ifd_equation_parse(&err, &e, node, n, rank) != IFD_OK || label_sizes(&err, &e, shapes, size) != IFD_OK)
    return 0;
  for (int l = 0; l < IFD_LABELS; l++) cost *= (double)size[l];
  return n > 1 ? cost * (n - 1) : 0;
}

const ifd_op ifd_ops_einsum[] = {{.name = "Einsum",
                                  .since = 12,
                                  .infer = infer_einsum,
                                  .eval = eval_einsum,
                                  .lower = lower_einsum,
                                  .cost = cost_einsum},
                                 {0}};
