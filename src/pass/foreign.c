#include "pass/foreign.h"

#include "ops/op.h"
#include "pass/order.h"

bool ifd_is_foreign(const ifd_node *node, int since, unsigned needed) {
  for (int i = 0; needed >> i; i++)
    if ((needed >> i & 1) && !ifd_node_has_input(node, i)) return false;
  return ifd_node_has_output(node, 0) && ifd_rw_opset(node) >= since && !ifd_node_find_function(node);
}

ifd_status ifd_foreign_add(ifd_rewrite *rw, ifd_node **out, const ifd_node *node, const char *op_type,
                           ifd_value *const *inputs, int n_inputs, int n_outputs) {
  const ifd_schema *schema = ifd_schema_find("", op_type, ifd_rw_opset(node));
  if (!schema) schema = ifd_schema_find("", op_type, ifd_schema_latest_opset(""));
  if (schema && n_inputs > schema->max_inputs) n_inputs = schema->max_inputs;
  TRY(ifd_rw_add_node(rw, out, op_type, inputs, n_inputs, n_outputs));
  (*out)->name = node->name;
  return ifd_foreign_keep(rw, *out, node);
}

ifd_status ifd_foreign_offer(ifd_rewrite *rw, bool *offered, const ifd_node *node, const char *op_type) {
  *offered = ifd_rw_offers(rw, node, op_type);
  return *offered ? IFD_OK : ifd_rw_refuse(rw, "ONNX has no %s at this opset", op_type);
}

ifd_status ifd_foreign_rename(ifd_rewrite *rw, ifd_node *node) {
  ifd_node *made;
  bool offered;
  TRY(ifd_foreign_offer(rw, &offered, node, node->op_type));
  if (!offered) return IFD_OK;
  TRY(ifd_foreign_add(rw, &made, node, node->op_type, node->inputs, node->n_inputs, 1));
  return ifd_rw_replace(rw, node->outputs[0], made->outputs[0]);
}

ifd_status ifd_foreign_keep(ifd_rewrite *rw, ifd_node *made, const ifd_node *node) {
  for (int i = 0; i < node->n_attrs; i++) {
    const ifd_schema_attr *a = made->schema ? ifd_schema_find_attr(made->schema, node->attrs[i].name) : NULL;
    if (a && (int)a->type == (int)node->attrs[i].type)
      TRY(ifd_node_set_attr(ifd_rw_error(rw), made, &node->attrs[i]));
  }
  return IFD_OK;
}

ifd_status ifd_foreign_apply(ifd_rewrite *rw, ifd_value **out, const char *op_type, ifd_value *const *inputs,
                             int n_inputs) {
  ifd_node *node;
  TRY(ifd_rw_add_node(rw, &node, op_type, inputs, n_inputs, 1));
  *out = node->outputs[0];
  return IFD_OK;
}

ifd_status ifd_foreign_binary(ifd_rewrite *rw, ifd_value **out, const char *op_type, ifd_value *a,
                              ifd_value *b) {
  *out = a ? a : b;
  return a && b ? ifd_foreign_apply(rw, out, op_type, (ifd_value *[]){a, b}, 2) : IFD_OK;
}

ifd_status ifd_foreign_cast(ifd_rewrite *rw, ifd_value **x, ifd_dtype dtype) {
  ifd_node *cast;
  if (ifd_rw_dtype(rw, *x) == dtype) return IFD_OK;
  TRY(ifd_rw_add_node(rw, &cast, "Cast", x, 1, 1));
  *x = cast->outputs[0];
  return ifd_node_set_int(ifd_rw_error(rw), cast, "to", dtype);
}

ifd_status ifd_foreign_swap_heads(ifd_rewrite *rw, ifd_value **x) {
  ifd_node *transpose;
  TRY(ifd_order_transpose(rw, &transpose, *x, &(ifd_order){.rank = 4, .at = {0, 2, 1, 3}}));
  *x = transpose->outputs[0];
  return IFD_OK;
}

ifd_status ifd_foreign_length(ifd_rewrite *rw, ifd_value **out, ifd_value *x, int64_t axis, bool scalar) {
  ifd_node *gather;
  TRY(ifd_foreign_apply(rw, out, "Shape", &x, 1));
  TRY(ifd_rw_add_gather(rw, &gather, *out, 0, axis, !scalar));
  *out = gather->outputs[0];
  return IFD_OK;
}

ifd_status ifd_foreign_count(ifd_rewrite *rw, ifd_value **out, ifd_value *n) {
  ifd_value *range[3] = {NULL, n, NULL};
  TRY(ifd_rw_add_scalar(rw, &range[0], IFD_INT64, 0, "start"));
  TRY(ifd_rw_add_scalar(rw, &range[2], IFD_INT64, 1, "step"));
  return ifd_foreign_apply(rw, out, "Range", range, 3);
}

ifd_status ifd_foreign_number(ifd_rewrite *rw, ifd_value **out, const ifd_value *x, double number) {
  return ifd_rw_add_scalar(rw, out, ifd_rw_dtype(rw, x), number, "number");
}

void ifd_foreign_raise(ifd_node *node, int since) {
  if (node->opset >= since) return;
  node->opset = since;
  node->schema = ifd_schema_find(node->domain, node->op_type, since);
  node->op = ifd_op_find(node->domain, node->op_type, since);
}
