#include "pass/ints.h"

/* Slice of all is its input; Slice of Slice is one Slice, when the inner one is read by Slices alone. */

enum { MAX_AXES = IFD_MAX_RANK };

typedef struct range {
  bool given;
  int64_t start, end, step;
} range;

typedef struct slicing {
  int rank;
  range axis[MAX_AXES];
} slicing;

/* Counts from the end become counts from the start where the dimension is known. */
static int64_t from_start(ifd_dim dim, int64_t at) {
  return at < 0 && ifd_dim_is_number(dim) && at >= -dim ? at + dim : at;
}

static bool slicing_of(ifd_rewrite *rw, const ifd_node *node, slicing *s) {
  ifd_ints starts, ends, axes, steps;
  *s = (slicing){.rank = ifd_rw_rank(rw, node->inputs[0])};
  if (s->rank < 1 || s->rank > MAX_AXES || !ifd_ints_of(rw, node, "starts", &starts) ||
      !ifd_ints_of(rw, node, "ends", &ends) || !ifd_ints_axes(rw, node, s->rank, &axes) ||
      !ifd_ints_of(rw, node, "steps", &steps))
    return false;
  int n = starts.n;
  if (n > s->rank || ends.n != n || (axes.given && axes.n != n) || (steps.given && steps.n != n))
    return false;
  for (int i = 0; i < n; i++) {
    int64_t a = axes.given ? axes.v[i] : i;
    if (s->axis[a].given) return false;
    ifd_dim dim = ifd_rw_dim(rw, node->inputs[0], (int)a);
    s->axis[a] =
        (range){true, from_start(dim, starts.v[i]), from_start(dim, ends.v[i]), steps.given ? steps.v[i] : 1};
  }
  return true;
}

static bool is_all(const range *r) {
  return !r->given || (r->step == 1 && r->start == 0 && r->end >= INT32_MAX);
}

static int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }

/* b after a; false when the numbers do not say enough without knowing the dimension. */
static bool compose(const range *a, const range *b, range *out) {
  int64_t start, reach, end = a->end;
  *out = is_all(a) ? *b : *a;
  if (is_all(a) || is_all(b)) return true;
  if (a->start < 0 || b->start < 0 || a->end < 0 || b->end < 0 || a->step < 1 || b->step < 1) return false;
  if (!ifd_mul_i64(&start, b->start, a->step) || !ifd_add_i64(&start, start, a->start)) return false;
  if (b->end < INT32_MAX) {
    if (!ifd_mul_i64(&reach, b->end, a->step) || !ifd_add_i64(&reach, reach, a->start)) return false;
    end = lesser(end, reach);
  }
  *out = (range){.given = true, .start = lesser(start, INT32_MAX), .end = end};
  return ifd_mul_i64(&out->step, a->step, b->step);
}

static ifd_status build(ifd_rewrite *rw, ifd_node **out, const ifd_node *like, ifd_value *x,
                        const slicing *s) {
  int64_t list[4][MAX_AXES];
  int n = 0;
  bool steps = false;
  for (int a = 0; a < s->rank; a++) {
    const range *r = &s->axis[a];
    if (is_all(r)) continue;
    list[0][n] = r->start, list[1][n] = r->end, list[2][n] = a, list[3][n] = r->step;
    steps |= r->step != 1;
    n++;
  }
  TRY(ifd_ints_add_slice(rw, out, x, list[0], list[1], list[2], steps ? list[3] : NULL, n));
  (*out)->name = like->name;
  return IFD_OK;
}

static ifd_status drop_slice_of_all(ifd_rewrite *rw, ifd_node *node) {
  slicing s;
  bool all = true;
  if (!slicing_of(rw, node, &s)) return ifd_rw_refuse(rw, "where it starts, ends and steps is not constant");
  for (int i = 0; i < s.rank; i++) all &= is_all(&s.axis[i]);
  return all ? ifd_rw_replace(rw, node->outputs[0], node->inputs[0]) : IFD_OK;
}

/* One Slice in place of `outer`, which reads what `inner` gives; false says why not. */
static ifd_status merge_one(ifd_rewrite *rw, const ifd_node *inner, const slicing *a, ifd_node *outer,
                            bool *merged) {
  slicing b, both = {.rank = a->rank};
  ifd_node *node;
  *merged = false;
  if (!slicing_of(rw, outer, &b) || b.rank != a->rank)
    return ifd_rw_refuse(rw, "where the Slice behind starts, ends and steps is not constant");
  for (int i = 0; i < a->rank; i++)
    if (!compose(&a->axis[i], &b.axis[i], &both.axis[i]))
      return ifd_rw_refuse(
          rw, "it and the Slice behind slice axis %d, of unknown length, one of them from its end", i);
  TRY(build(rw, &node, outer, inner->inputs[0], &both));
  *merged = true;
  return ifd_rw_replace(rw, outer->outputs[0], node->outputs[0]);
}

static bool any_slice(const ifd_value *v) {
  for (int i = 0; i < v->uses.n; i++)
    if (ifd_node_is(v->uses.v[i].node, "Slice")) return true;
  return false;
}

/* All readers at once: the inner Slice goes only when none is left. */
static ifd_status merge_readers(ifd_rewrite *rw, ifd_node *inner) {
  slicing a;
  const ifd_value *v = inner->outputs[0];
  bool merged = true;
  for (int i = 0; i < v->uses.n; i++)
    if (!ifd_node_is(v->uses.v[i].node, "Slice") || v->uses.v[i].index ||
        v->uses.v[i].node->graph != inner->graph)
      return any_slice(v) ? ifd_rw_refuse(rw, "it is read by others than Slices, too") : IFD_OK;
  if (v->n_outputs || !v->uses.n || !slicing_of(rw, inner, &a)) return IFD_OK;
  for (int i = 0; i < v->uses.n && merged; i++) TRY(merge_one(rw, inner, &a, v->uses.v[i].node, &merged));
  return IFD_OK;
}

const ifd_pass ifd_pass_merge_slice = {
    .summary = "merges Slice of Slice, drops Slice of all",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules =
        (const ifd_rule[]){{"Slice", IFD_EXACT, drop_slice_of_all}, {"Slice", IFD_EXACT, merge_readers}, {0}},
};
