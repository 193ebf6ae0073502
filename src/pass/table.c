#include "pass/table.h"

#include "ops/shared/narrow.h"
#include "pass/match.h"

/* Floats of less than 16 bits are left alone: few operators take them. */
static bool is_narrower(ifd_rewrite *rw, ifd_dtype from, const ifd_value *to) {
  ifd_dtype wide = ifd_rw_dtype(rw, to);
  bool suits = ifd_dtype_is_integer(from) || ifd_dtype_is_half(from);
  return suits && ifd_dtype_is_float(wide) && ifd_dtypes[from].bits < ifd_dtypes[wide].bits;
}

/* An axis of a table, or -1. */
static int64_t axis_of(const ifd_node *node, int64_t otherwise, const ifd_tensor *table) {
  int64_t axis = ifd_node_int(node, "axis", otherwise), rank = table->shape.rank;
  if (axis < 0) axis += rank;
  return axis >= 0 && axis < rank ? axis : -1;
}

/* How its scales lie beside the rows. */
static bool find_scales(ifd_rewrite *rw, const ifd_tensor *table, ifd_narrow_table *t) {
  const ifd_node *node = t->widening;
  const ifd_value *zero = ifd_node_input(node, 2);
  int rank = ifd_rw_rank(rw, node->inputs[1]);
  if (rank < 0 || (zero && (!ifd_rw_constant(rw, zero) || !ifd_rw_same_shape(rw, zero, node->inputs[1]))))
    return false;
  t->block = ifd_node_int(node, "block_size", 0);
  if (!t->block && (rank == 0 || (rank == 1 && ifd_rw_dim(rw, node->inputs[1], 0) == 1))) return true;
  t->scaled = axis_of(node, 1, table);
  t->by_row = !t->block && t->scaled == t->axis;
  if (t->scaled < 0 || rank != (t->block ? table->shape.rank : 1)) return false;
  if (!t->by_row) return t->scaled != t->axis;
  return t->axis == 0 && table->shape.rank == 2 && ifd_rw_constant(rw, node->inputs[1]);
}

bool ifd_rw_narrow_table(ifd_rewrite *rw, const ifd_node *gather, ifd_narrow_table *out) {
  if (!ifd_node_is(gather, "Gather")) return false;
  ifd_node *node = gather->inputs[0]->producer;
  if (!node || !ifd_node_is_any(node, "Cast DequantizeLinear")) return false;
  const ifd_tensor *table = ifd_rw_constant(rw, node->inputs[0]);
  if (!table || table->shape.rank == 0 || ifd_tensor_count(table) < IFD_NARROW_LEAST || table->splat ||
      !is_narrower(rw, table->dtype, node->outputs[0]))
    return false;
  *out = (ifd_narrow_table){.widening = node, .axis = axis_of(gather, 0, table), .scaled = -1};
  return out->axis >= 0 && ifd_rw_rank(rw, gather->inputs[1]) >= 0 &&
         ifd_rw_least_count(rw, gather->inputs[1]) < table->shape.dim[out->axis] &&
         (ifd_node_is(node, "Cast") || find_scales(rw, table, out));
}

bool ifd_rw_is_narrow_table(ifd_rewrite *rw, const ifd_value *v) {
  ifd_narrow_table t;
  for (int i = 0; i < v->uses.n; i++)
    if (v->uses.v[i].index == 0 && ifd_rw_narrow_table(rw, v->uses.v[i].node, &t)) return true;
  return false;
}
