#include "pass/ints.h"

#include <stdlib.h>

/* Slices that part a value along one axis, all of it, are one Split; a Slice of one element that then loses
 * its axis is a Gather of it. */

typedef struct part {
  ifd_node *slice;
  int axis;
  int64_t start, n, of; /* elements [start, start + n) of `of` */
} part;

static int64_t within(int64_t at, int64_t n) {
  if (at < 0) at += n;
  return at < 0 ? 0 : at > n ? n : at;
}

static bool part_of(ifd_rewrite *rw, ifd_node *slice, part *p) {
  int64_t axis, start, end, step = 1;
  if (!ifd_node_is(slice, "Slice") || ifd_node_is_open(slice)) return false;
  if (!ifd_ints_one(rw, slice, "axes", &axis) || !ifd_ints_one(rw, slice, "starts", &start) ||
      !ifd_ints_one(rw, slice, "ends", &end))
    return false;
  if (ifd_node_has_input(slice, 4) && !ifd_ints_one(rw, slice, "steps", &step)) return false;
  int rank = ifd_rw_rank(rw, slice->inputs[0]);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank || step != 1) return false;
  ifd_dim of = ifd_rw_dim(rw, slice->inputs[0], (int)axis);
  if (!ifd_dim_is_number(of)) return false;
  *p = (part){slice, (int)axis, within(start, of), 0, of};
  p->n = within(end, of) - p->start;
  return p->n > 0;
}

/* ---- Split ---- */

enum { MAX_PARTS = 64 };

static int by_start(const void *a, const void *b) {
  int64_t x = ((const part *)a)->start, y = ((const part *)b)->start;
  return (x > y) - (x < y);
}

/* The parts of x along the axis that are cut from it in this graph, by their starts; 0 when they are too
 * many. */
static int find_parts(ifd_rewrite *rw, part *out, const part *first) {
  const ifd_value *x = first->slice->inputs[0];
  int n = 0;
  for (int i = 0; i < x->uses.n; i++) {
    ifd_node *node = x->uses.v[i].node;
    part p;
    if (x->uses.v[i].index || node->graph != first->slice->graph || !part_of(rw, node, &p)) continue;
    if (p.axis != first->axis) continue;
    if (n == MAX_PARTS) return 0;
    out[n++] = p;
  }
  qsort(out, (size_t)n, sizeof *out, by_start);
  return n;
}

static bool covers(const part *parts, int n) {
  int64_t at = 0;
  for (int i = 0; i < n; at += parts[i++].n)
    if (parts[i].start != at) return false;
  return n > 1 && at == parts[0].of;
}

static ifd_status add_split(ifd_rewrite *rw, ifd_node **out, const part *parts, int n) {
  int64_t lengths[MAX_PARTS];
  for (int i = 0; i < n; i++) lengths[i] = parts[i].n;
  return ifd_ints_add_split(rw, out, parts->slice->inputs[0], parts->axis, lengths, n);
}

static ifd_status split(ifd_rewrite *rw, ifd_node *root) {
  part first, parts[MAX_PARTS];
  ifd_node *node;
  if (root->opset < 2 || !part_of(rw, root, &first)) return IFD_OK;
  int n = find_parts(rw, parts, &first);
  if (n < 2) return IFD_OK;
  if (!covers(parts, n))
    return ifd_rw_refuse(rw, "it and the other Slices of its input overlap, or leave a part out");
  TRY(add_split(rw, &node, parts, n));
  for (int i = 0; i < n; i++) TRY(ifd_rw_replace(rw, parts[i].slice->outputs[0], node->outputs[i]));
  return IFD_OK;
}

/* ---- Gather ---- */

/* Whether y has the dimensions of the slice but for its axis. */
static bool drops_axis(ifd_rewrite *rw, const ifd_value *y, const part *p) {
  const ifd_value *x = p->slice->outputs[0];
  int rank = ifd_rw_rank(rw, x);
  if (ifd_rw_rank(rw, y) != rank - 1) return false;
  for (int i = 0, k = 0; i < rank; i++)
    if (i != p->axis && ifd_rw_dim(rw, x, i) != ifd_rw_dim(rw, y, k++)) return false;
  return true;
}

static ifd_status pick(ifd_rewrite *rw, ifd_node *view) {
  part p;
  ifd_node *slice = ifd_rw_sole_producer(view->inputs[0], "Slice"), *gather;
  if (!slice || slice->graph != view->graph || !part_of(rw, slice, &p) || p.n != 1) return IFD_OK;
  if (!drops_axis(rw, view->outputs[0], &p)) return IFD_OK;
  TRY(ifd_rw_add_gather(rw, &gather, slice->inputs[0], p.axis, p.start, false));
  gather->name = slice->name;
  return ifd_rw_replace(rw, view->outputs[0], gather->outputs[0]);
}

const ifd_pass ifd_pass_merge_parallel_slice = {
    .summary = "merges Slices that part a value into one Split, and Slice of one element with Squeeze",
    .phase = IFD_PHASE_FINISH,
    .rules = (const ifd_rule[]){{"Squeeze Reshape", IFD_EXACT, pick}, {"Slice", IFD_EXACT, split}, {0}},
};
