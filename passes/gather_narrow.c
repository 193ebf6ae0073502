#include "pass/foreign.h"
#include "pass/table.h"

/* Rows that Gather picks from a large constant table become floats after that, not all the table before:
 * Gather(DequantizeLinear(table), i) → DequantizeLinear(Gather(table, i)), and so of a Cast, with the same
 * bits. hoist_gather does the opposite where more rows are picked than there are. */

static ifd_status gather(ifd_rewrite *rw, ifd_value **x, const ifd_node *like) {
  ifd_node *node;
  TRY(ifd_rw_add_like(rw, &node, like, (ifd_value *[]){*x, like->inputs[1]}, 2));
  *x = node->outputs[0];
  return IFD_OK;
}

/* A constant of integers of less than a byte, which Gather does not take, as bytes. */
static ifd_status as_bytes(ifd_rewrite *rw, ifd_value **x) {
  const ifd_tensor *t = ifd_rw_constant(rw, *x);
  ifd_tensor bytes;
  if (!t || ifd_dtypes[t->dtype].bits >= 8) return IFD_OK;
  ifd_dtype dtype = ifd_dtypes[t->dtype].class == IFD_CLASS_INT ? IFD_INT8 : IFD_UINT8;
  TRY(ifd_tensor_new_raw(ifd_rw_error(rw), &bytes, ifd_rw_arena(rw), dtype, &t->shape));
  ifd_tensor_expand(t, bytes.data);
  return ifd_rw_add_constant(rw, x, &bytes, (*x)->name);
}

/* Scales of rows are those of the one block that each row is. */
static ifd_status as_blocks(ifd_rewrite *rw, ifd_value **scale) {
  ifd_tensor t = *ifd_rw_constant(rw, *scale);
  t.shape = (ifd_shape){2, {t.shape.dim[0], 1}};
  return ifd_rw_add_constant(rw, scale, &t, (*scale)->name);
}

static ifd_status pick(ifd_rewrite *rw, ifd_node *node) {
  enum { BLOCKS_SINCE = 21 };
  ifd_narrow_table t;
  ifd_value *in[3] = {NULL};
  ifd_node *made;
  if (!ifd_rw_for_running(rw) || !ifd_rw_narrow_table(rw, node, &t)) return IFD_OK;
  int n = t.widening->n_inputs, rank = ifd_rw_rank(rw, node->inputs[1]);
  for (int i = 0; i < n; i++) {
    if (!(in[i] = t.widening->inputs[i])) continue;
    TRY(as_bytes(rw, &in[i]));
    if (i > 0 && t.by_row) TRY(as_blocks(rw, &in[i]));
    if (i == 0 || t.by_row || t.block) TRY(gather(rw, &in[i], node));
  }
  TRY(ifd_rw_add_like(rw, &made, t.widening, in, n));
  if (t.by_row) {
    ifd_foreign_raise(made, BLOCKS_SINCE);
    TRY(ifd_node_set_int(ifd_rw_error(rw), made, "axis", rank));
    TRY(ifd_node_set_int(ifd_rw_error(rw), made, "block_size", ifd_rw_dim(rw, t.widening->inputs[0], 1)));
  } else if (t.scaled >= 0) {
    int64_t after = t.scaled > t.axis ? rank - 1 : 0;
    TRY(ifd_node_set_int(ifd_rw_error(rw), made, "axis", t.scaled + after));
  }
  return ifd_rw_replace(rw, node->outputs[0], made->outputs[0]);
}

const ifd_pass ifd_pass_gather_narrow = {
    .summary = "makes floats of the rows that are picked from a large table, not of the table",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"Gather", IFD_EXACT, pick}, {0}},
};
