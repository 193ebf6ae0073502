#include "pass/ints.h"

#include "ops/schema.h"
#include "pass/manager.h"
#include <string.h>

/* Which input has this name; -1 when none. */
static int input_named(const ifd_schema *schema, const char *name) {
  for (int i = 0; schema && i < schema->n_inputs; i++)
    if (strcmp(schema->inputs[i].name, name) == 0) return i;
  return -1;
}

bool ifd_ints_of(ifd_rewrite *rw, const ifd_node *node, const char *name, ifd_ints *out) {
  const int64_t *attr;
  int input = input_named(node->schema, name);
  *out = (ifd_ints){.given = ifd_node_find_attr(node, name), .n = ifd_node_ints(node, name, &attr)};
  if (out->n > IFD_MAX_INTS) return false;
  for (int i = 0; i < out->n; i++) out->v[i] = attr[i];
  if (out->given || input < 0 || !ifd_node_has_input(node, input)) return true;
  const ifd_tensor *t = ifd_rw_constant(rw, node->inputs[input]);
  if (!t || !ifd_dtype_is_integer(t->dtype) || ifd_tensor_count(t) > IFD_MAX_INTS) return false;
  out->given = true;
  out->n = (int)ifd_tensor_count(t);
  for (int i = 0; i < out->n; i++) out->v[i] = ifd_tensor_get_i64(t, i);
  return true;
}

bool ifd_ints_one(ifd_rewrite *rw, const ifd_node *node, const char *name, int64_t *out) {
  ifd_ints l;
  if (!ifd_ints_of(rw, node, name, &l) || l.n != 1) return false;
  *out = l.v[0];
  return true;
}

bool ifd_ints_axes(ifd_rewrite *rw, const ifd_node *node, int rank, ifd_ints *out) {
  if (!ifd_ints_of(rw, node, "axes", out)) return false;
  for (int i = 0; i < out->n; i++) {
    if (out->v[i] < 0) out->v[i] += rank;
    if (out->v[i] < 0 || out->v[i] >= rank) return false;
  }
  return true;
}

bool ifd_ints_axis_bits(ifd_rewrite *rw, const ifd_node *node, int rank, unsigned *axes) {
  ifd_ints l;
  *axes = 0;
  if (!ifd_ints_axes(rw, node, rank, &l)) return false;
  for (int i = 0; i < l.n; i++) {
    if (*axes >> l.v[i] & 1) return false;
    *axes |= 1u << l.v[i];
  }
  return true;
}

/* The type that an input has: that of the others which share its type variable, where there are some. */
static ifd_dtype dtype_at(ifd_rewrite *rw, const ifd_node *node, int input) {
  int variable = ifd_schema_find_input(node->schema, (size_t)input)->constraint;
  for (int i = 0; i < node->n_inputs && variable >= 0; i++)
    if (node->inputs[i] && ifd_schema_find_input(node->schema, (size_t)i)->constraint == variable &&
        ifd_rw_dtype(rw, node->inputs[i]))
      return ifd_rw_dtype(rw, node->inputs[i]);
  return IFD_INT64;
}

ifd_status ifd_ints_store(ifd_rewrite *rw, ifd_node *node, const char *name, const int64_t *v, int n) {
  int input = input_named(node->schema, name);
  if (input < 0) return ifd_node_set_ints(ifd_rw_error(rw), node, name, v, n);
  ifd_dtype dtype = dtype_at(rw, node, input);
  if (dtype == IFD_INT64) return ifd_rw_add_ints(rw, &node->inputs[input], v, n, name);
  ifd_tensor t;
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), dtype, &(ifd_shape){1, {n}}));
  for (int i = 0; i < n; i++) ifd_tensor_set_i64(&t, i, v[i]);
  return ifd_rw_add_constant(rw, &node->inputs[input], &t, name);
}

ifd_status ifd_ints_add_node(ifd_rewrite *rw, ifd_node **out, const char *op_type, ifd_value *x,
                             const char *name, const int64_t *v, int n, int n_outputs) {
  int input = input_named(ifd_schema_find("", op_type, ifd_rw_opset(rw->root)), name);
  ifd_value *inputs[] = {x, NULL};
  TRY(ifd_rw_add_node(rw, out, op_type, inputs, input < 0 ? 1 : 2, n_outputs));
  return ifd_ints_store(rw, *out, name, v, n);
}

ifd_status ifd_ints_add_split(ifd_rewrite *rw, ifd_node **out, ifd_value *x, int64_t axis,
                              const int64_t *lengths, int n) {
  TRY(ifd_ints_add_node(rw, out, "Split", x, "split", lengths, n, n));
  return axis ? ifd_node_set_int(ifd_rw_error(rw), *out, "axis", axis) : IFD_OK;
}

ifd_status ifd_ints_add_slice(ifd_rewrite *rw, ifd_node **out, ifd_value *x, const int64_t *starts,
                              const int64_t *ends, const int64_t *axes, const int64_t *steps, int n) {
  enum { BY_INPUT = 10 }; /* before, attributes, and no steps */
  ifd_value *inputs[5] = {x};
  TRY(ifd_rw_add_node(rw, out, "Slice", inputs, ifd_rw_opset(rw->root) < BY_INPUT ? 1 : steps ? 5 : 4, 1));
  TRY(ifd_ints_store(rw, *out, "starts", starts, n));
  TRY(ifd_ints_store(rw, *out, "ends", ends, n));
  TRY(ifd_ints_store(rw, *out, "axes", axes, n));
  return steps ? ifd_ints_store(rw, *out, "steps", steps, n) : IFD_OK;
}
