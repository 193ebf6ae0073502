/* Reshape, Flatten, Squeeze, Unsqueeze: the same data under another shape. A rule gives the dimensions of the
 * output; inference asks it with symbols, evaluation with numbers. */
#include "ops/shared/elements.h"
#include "ops/shared/eltwise_work.h"
#include "ops/shared/move.h"

typedef struct request {
  ifd_error *err;
  ifd_dims *dims;
  const ifd_node *node;
  int rank; /* of the input; -1 unknown */
  const ifd_dim *in;
  int n; /* of list: the wanted shape, or the axes; -1 absent */
  const ifd_dim *list;
  int out_rank; /* -1 unknown */
  ifd_dim out[IFD_MAX_RANK];
} request;

typedef ifd_status rule(request *r);

/* ---- rules ---- */

static ifd_status expect_rank(const request *r, int rank) {
  EXPECT(r->err, rank <= IFD_MAX_RANK, UNSUPPORTED, "the output would have rank %d; at most %d is supported",
         rank, IFD_MAX_RANK);
  return IFD_OK;
}

/* The dimension written -1: what is left of the input once equal dimensions of both sides are taken away. */
static ifd_status deduce_dim(request *r, int at) {
  ifd_dim total = 1, others = 1;
  bool taken[IFD_MAX_RANK] = {false}, copies = !ifd_node_int(r->node, "allowzero", 0);
  for (int i = 0; i < r->out_rank; i++) {
    bool copied = copies && r->list[i] == 0 && !taken[i]; /* equal to input dimension i, even if that is 0 */
    int same = copied ? i : 0;
    while (!copied && same < r->rank && (taken[same] || r->in[same] == 0 || r->in[same] != r->out[i])) same++;
    if (i == at) continue;
    if (same < r->rank)
      taken[same] = true;
    else
      others = ifd_dim_mul(r->dims, others, r->out[i]);
  }
  for (int i = 0; i < r->rank; i++)
    if (!taken[i]) total = ifd_dim_mul(r->dims, total, r->in[i]);
  bool numbers = ifd_dim_is_number(total) && ifd_dim_is_number(others);
  EXPECT(r->err, !numbers || (others && total % others == 0), BAD_INPUT,
         "the input's elements cannot be divided over dimension %d, written -1", at);
  r->out[at] = ifd_dim_floor_div(r->dims, total, others);
  return IFD_OK;
}

/* The elements of n dimensions; false where one is no number, or where they are too many to count. */
static bool count_of(const ifd_dim *dims, int n, int64_t *count) {
  *count = 1;
  for (int i = 0; i < n; i++)
    if (!ifd_dim_is_number(dims[i]) || !ifd_mul_i64(count, *count, dims[i])) return false;
  return n >= 0;
}

/* Whoever looks at the same memory under the new shape must find it there. */
static ifd_status expect_same_count(const request *r) {
  int64_t in, out;
  bool counted = count_of(r->in, r->rank, &in);
  if (!counted) return IFD_OK;
  counted = count_of(r->out, r->out_rank, &out);
  for (int i = 0; i < r->out_rank && !counted; i++)
    if (!ifd_dim_is_number(r->out[i])) return IFD_OK;
  EXPECT(r->err, counted && in == out, BAD_INPUT, "%lld elements do not fit the new shape", (long long)in);
  return IFD_OK;
}

static ifd_status reshape(request *r) {
  bool allow_zero = ifd_node_int(r->node, "allowzero", 0), doubtful = r->rank < 0;
  int deduced = -1;
  EXPECT(r->err, r->n >= 0, BAD_MODEL, "the new shape is missing");
  TRY(expect_rank(r, r->n));
  r->out_rank = r->n;
  for (int i = 0; i < r->n; i++) {
    ifd_dim d = r->list[i];
    r->out[i] = d;
    if (d == 0 && !allow_zero) {
      EXPECT(r->err, r->rank < 0 || i < r->rank, BAD_INPUT,
             "dimension %d is to be copied from an input of rank %d", i, r->rank);
      r->out[i] = r->rank < 0 ? ifd_dim_unknown(r->dims) : r->in[i];
    } else if (d == -1) {
      EXPECT(r->err, deduced < 0, BAD_INPUT, "dimensions %d and %d are both -1", deduced, i);
      deduced = i;
    } else if (!ifd_dim_is_number(d) && !ifd_dim_known_positive(r->dims, d)) {
      r->out[i] = ifd_dim_unknown(r->dims); /* it may turn out to be 0 or -1 */
      doubtful = true;
    }
    EXPECT(r->err, !ifd_dim_is_number(d) || d >= -1, BAD_INPUT, "dimension %d is %lld", i, (long long)d);
  }
  if (deduced < 0) return expect_same_count(r);
  r->out[deduced] = ifd_dim_unknown(r->dims);
  if (!doubtful) TRY(deduce_dim(r, deduced));
  return expect_same_count(r);
}

static ifd_status flatten(request *r) {
  int64_t axis = ifd_node_int(r->node, "axis", 1);
  r->out_rank = 2;
  r->out[0] = r->out[1] = r->rank < 0 ? ifd_dim_unknown(r->dims) : 1;
  if (r->rank < 0) return IFD_OK;
  EXPECT(r->err, axis >= -r->rank && axis <= r->rank, BAD_INPUT, "axis %lld is outside [%d, %d]",
         (long long)axis, -r->rank, r->rank);
  if (axis < 0) axis += r->rank;
  for (int i = 0; i < r->rank; i++) r->out[i >= axis] = ifd_dim_mul(r->dims, r->out[i >= axis], r->in[i]);
  return IFD_OK;
}

/* Which of rank dimensions the list names. */
static ifd_status mark_axes(const request *r, int rank, bool *named) {
  for (int i = 0; i < r->n; i++) {
    int axis;
    TRY(ifd_axis(r->err, &axis, r->list[i], rank));
    EXPECT(r->err, !named[axis], BAD_INPUT, "axis %d is named twice", axis);
    named[axis] = true;
  }
  return IFD_OK;
}

static ifd_status squeeze(request *r) {
  bool named[IFD_MAX_RANK] = {false};
  r->out_rank = -1;
  if (r->rank < 0) return IFD_OK;
  if (r->n >= 0) TRY(mark_axes(r, r->rank, named));
  for (int i = 0; i < r->rank && r->n < 0; i++) {
    if (!ifd_dim_is_number(r->in[i])) return IFD_OK; /* whether it is 1 shows when it runs */
    named[i] = r->in[i] == 1;
  }
  int n = 0;
  for (int i = 0; i < r->rank; i++) {
    EXPECT(r->err, !named[i] || !ifd_dim_is_number(r->in[i]) || r->in[i] == 1, BAD_INPUT,
           "dimension %d is %lld and cannot be squeezed", i, (long long)r->in[i]);
    if (!named[i]) r->out[n++] = r->in[i];
  }
  r->out_rank = n;
  return IFD_OK;
}

static ifd_status unsqueeze(request *r) {
  bool named[IFD_MAX_RANK] = {false};
  r->out_rank = -1;
  EXPECT(r->err, r->n >= 0, BAD_MODEL, "the axes are missing");
  if (r->rank < 0) return IFD_OK;
  int rank = r->rank + r->n;
  TRY(expect_rank(r, rank));
  TRY(mark_axes(r, rank, named));
  for (int i = 0, from = 0; i < rank; i++) r->out[i] = named[i] ? 1 : r->in[from++];
  r->out_rank = rank;
  return IFD_OK;
}

/* ---- asking them ---- */

static ifd_status give_unranked(ifd_infer *x) { return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0)); }

static ifd_status infer(ifd_infer *x, rule *rule, int n, const ifd_dim *list) {
  int rank = ifd_known_rank(x, 0);
  request r = {.err = x->err,
               .dims = x->dims,
               .node = x->node,
               .rank = rank,
               .in = rank < 0 ? NULL : x->in[0]->dims,
               .n = n,
               .list = list};
  TRY(rule(&r));
  if (r.out_rank < 0) return give_unranked(x);
  TRY(ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), r.out_rank, r.out));
  const ifd_elements *e = ifd_elements_find(x, 0);
  return e && r.out_rank <= 1 ? ifd_infer_elements(x, 0, r.out_rank, e->n, e->d) : IFD_OK;
}

static ifd_status infer_by_attr(ifd_infer *x, rule *rule, const char *attr) {
  const int64_t *list = NULL;
  int n = ifd_node_find_attr(x->node, attr) ? ifd_node_ints(x->node, attr, &list) : -1;
  for (int i = 0; i < n; i++)
    EXPECT(x->err, ifd_dim_is_number(list[i]), BAD_MODEL, "attribute %s holds %lld", attr,
           (long long)list[i]);
  return infer(x, rule, n, list);
}

static ifd_status infer_by_input(ifd_infer *x, rule *rule) {
  if (!ifd_node_has_input(x->node, 1)) return infer(x, rule, -1, NULL);
  const ifd_elements *e = ifd_elements_find(x, 1);
  return e ? infer(x, rule, e->n, e->d) : give_unranked(x);
}

static ifd_status eval(ifd_eval *x, rule *rule, const char *attr) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  const int64_t *list;
  int64_t n;
  ifd_dims *dims;
  TRY(ifd_eval_list(x, &list, &n, attr, 1));
  EXPECT(x->err, n <= IFD_MAX_RANK, UNSUPPORTED, "a list of %lld dimensions; at most %d are supported",
         (long long)n, IFD_MAX_RANK);
  for (int64_t i = 0; i < n; i++)
    EXPECT(x->err, ifd_dim_is_number(list[i]), BAD_INPUT, "dimension %lld", (long long)list[i]);
  ALLOC(x->err, dims, ifd_dims_new(x->scratch));
  request r = {.err = x->err,
               .dims = dims,
               .node = x->node,
               .rank = in->shape.rank,
               .in = in->shape.dim,
               .n = (int)n,
               .list = list};
  TRY(rule(&r));
  ifd_shape shape = {.rank = r.out_rank};
  for (int i = 0; i < r.out_rank; i++) shape.dim[i] = r.out[i];
  TRY(ifd_shape_check(x->err, &shape, ifd_dtype_size(in->dtype)));
  return ifd_eval_reshape(x, 0, 0, &shape);
}

/* ---- rows ---- */

static ifd_status infer_Reshape_1(ifd_infer *x) { return infer_by_attr(x, reshape, "shape"); }
static ifd_status eval_Reshape_1(ifd_eval *x) { return eval(x, reshape, "shape"); }
static ifd_status eval_Reshape(ifd_eval *x) { return eval(x, reshape, NULL); }
static ifd_status infer_Flatten(ifd_infer *x) { return infer(x, flatten, -1, NULL); }
static ifd_status eval_Flatten(ifd_eval *x) { return eval(x, flatten, NULL); }
static ifd_status infer_Squeeze_1(ifd_infer *x) { return infer_by_attr(x, squeeze, "axes"); }
static ifd_status eval_Squeeze_1(ifd_eval *x) { return eval(x, squeeze, "axes"); }
static ifd_status eval_Squeeze(ifd_eval *x) { return eval(x, squeeze, NULL); }
static ifd_status infer_Unsqueeze_1(ifd_infer *x) { return infer_by_attr(x, unsqueeze, "axes"); }
static ifd_status eval_Unsqueeze_1(ifd_eval *x) { return eval(x, unsqueeze, "axes"); }
static ifd_status eval_Unsqueeze(ifd_eval *x) { return eval(x, unsqueeze, NULL); }

/* Input 1, a shape or axes, still has a length where its elements are not known, and the output's rank is
 * `base` and `times` that. */
static ifd_status infer_rank(ifd_infer *x, rule *rule, int base, int times) {
  if (ifd_elements_find(x, 1) || ifd_infer_rank(x, 1) != 1) return infer_by_input(x, rule);
  ifd_dim n = ifd_infer_dim(x, 1, 0), dims[IFD_MAX_RANK];
  if (!ifd_dim_is_number(n) || base < 0) return give_unranked(x);
  EXPECT(x->err, n <= IFD_MAX_RANK && base + times * n <= IFD_MAX_RANK, UNSUPPORTED,
         "the output would have more than the %d dimensions that are supported", IFD_MAX_RANK);
  int rank = base + times * (int)n;
  EXPECT(x->err, rank >= 0, BAD_MODEL, "%lld axes of an input of rank %d", (long long)n, base);
  for (int i = 0; i < rank; i++) dims[i] = ifd_dim_unknown(x->dims);
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, dims);
}

static ifd_status infer_Reshape(ifd_infer *x) { return infer_rank(x, reshape, 0, 1); }
static ifd_status infer_Squeeze(ifd_infer *x) { return infer_rank(x, squeeze, ifd_known_rank(x, 0), -1); }
static ifd_status infer_Unsqueeze(ifd_infer *x) { return infer_rank(x, unsqueeze, ifd_known_rank(x, 0), 1); }

#define ROW(name_, since_, infer_, eval_)                                                                    \
  {                                                                                                          \
    .name = #name_, .since = since_, .flags = IFD_OP_VIEW, .infer = infer_, .eval = eval_,                   \
    .lower = ifd_lower_copy                                                                                  \
  }
const ifd_op ifd_ops_reshape[] = {ROW(Reshape, 1, infer_Reshape_1, eval_Reshape_1),
                                  ROW(Reshape, 5, infer_Reshape, eval_Reshape),
                                  ROW(Flatten, 1, infer_Flatten, eval_Flatten),
                                  ROW(Squeeze, 1, infer_Squeeze_1, eval_Squeeze_1),
                                  ROW(Squeeze, 13, infer_Squeeze, eval_Squeeze),
                                  ROW(Unsqueeze, 1, infer_Unsqueeze_1, eval_Unsqueeze_1),
                                  ROW(Unsqueeze, 13, infer_Unsqueeze, eval_Unsqueeze),
                                  {0}};
