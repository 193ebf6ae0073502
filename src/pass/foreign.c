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

ifd_status ifd_foreign_join(ifd_rewrite *rw, ifd_value **out, const char *op_type, ifd_value *a,
                            ifd_value *b) {
  *out = a ? a : b;
  return a && b ? ifd_foreign_apply(rw, out, op_type, (ifd_value *[]){a, b}, 2) : IFD_OK;
}

ifd_status ifd_foreign_turn(ifd_rewrite *rw, ifd_value **out, ifd_value *x, int rank, bool back) {
  ifd_order o = {.rank = rank};
  ifd_node *node;
  for (int i = 2; i < rank; i++) o.at[back ? i - 1 : i] = (int8_t)(back ? i : i - 1);
  o.at[back ? rank - 1 : 1] = (int8_t)(back ? 1 : rank - 1);
  TRY(ifd_order_transpose(rw, &node, x, &o));
  *out = node->outputs[0];
  return IFD_OK;
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
