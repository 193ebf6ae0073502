/* What nodes and constants take in a file, by protobuf's encoding of onnx.proto: all tags below are of one
 * byte, numbers are varints, a message or text has its length before it. */
#include "pass/manager.h"

#include <string.h>

static int64_t varint(uint64_t v) {
  int64_t n = 1;
  while (v >>= 7) n++;
  return n;
}

static int64_t number(int64_t v) { return 1 + varint((uint64_t)v); }
static int64_t message(int64_t len) { return 1 + varint((uint64_t)len) + len; }
static int64_t text(const char *s) { return s && *s ? message((int64_t)strlen(s)) : 0; }

/* ---- tensors ---- */

static int64_t payload(const ifd_tensor *t, int64_t n) {
  if (t->dtype != IFD_STRING) return message((int64_t)ifd_packed_bytes(t->dtype, n));
  int64_t bytes = 0;
  for (int64_t i = 0; i < n; i++) bytes += message((int64_t)((const ifd_str *)t->data)[t->splat ? 0 : i].len);
  return bytes;
}

/* dims, data_type, raw_data */
static int64_t dense(const ifd_tensor *t) {
  int64_t bytes = number(t->dtype) + payload(t, ifd_tensor_count(t));
  for (int i = 0; i < t->shape.rank; i++) bytes += number(t->shape.dim[i]);
  return bytes;
}

/* A ConstantOfShape of one element, and the shape it reads, were it the only one to read it. */
static int64_t as_node(const ifd_value *value) {
  const ifd_tensor *t = value->constant;
  int64_t name = text(value->name), rank = t->shape.rank;
  int64_t element = 2 + number(t->dtype) + payload(t, 1);
  int64_t attribute = text("value") + message(element) + 3;
  int64_t shape_name = name + (int64_t)strlen("_shape") + 1;
  int64_t shape = number(rank) + number(IFD_INT64) + message(8 * rank) + shape_name;
  return message(shape) + message(shape_name + 2 * name + text("ConstantOfShape") + message(attribute));
}

/* As a Constant node without a name. */
static int64_t as_constant_node(const ifd_value *value) {
  int64_t attribute = text("value") + message(dense(value->constant)) + 3;
  return message(text(value->name) + text("Constant") + message(attribute));
}

/* Among the inputs, with its type. */
static int64_t as_input(const ifd_value *value) {
  const ifd_tensor *t = value->constant;
  int64_t shape = 0;
  for (int i = 0; i < t->shape.rank; i++) shape += message(number(t->shape.dim[i]));
  int64_t type = number(t->dtype) + message(shape);
  return message(text(value->name) + message(message(type)));
}

int64_t ifd_constant_bytes(const ifd_value *value) {
  bool before_ir_4 = value->graph->model->ir_version < 4;
  if (value->sparse_bytes) return value->sparse_bytes;
  if (ifd_value_is_splat_node(value)) return as_node(value);
  if (before_ir_4 && (value->graph->outer || value->was_node)) return as_constant_node(value);
  return message(text(value->name) + dense(value->constant)) + (before_ir_4 ? as_input(value) : 0);
}

/* ---- nodes ---- */

static int64_t attribute(const ifd_attr *a) {
  int64_t bytes = text(a->name) + text(a->ref) + 3; /* the type has a tag of two */
  switch (a->type) {
  case IFD_ATTR_FLOAT: return bytes + 5;
  case IFD_ATTR_INT: return bytes + number(a->i);
  case IFD_ATTR_STRING: return bytes + message((int64_t)a->s.len);
  case IFD_ATTR_TENSOR: return bytes + message(dense(a->tensor));
  case IFD_ATTR_FLOATS: return bytes + 5 * (int64_t)a->n;
  case IFD_ATTR_INTS:
    for (int i = 0; i < a->n; i++) bytes += number(a->ints[i]);
    return bytes;
  case IFD_ATTR_STRINGS:
    for (int i = 0; i < a->n; i++) bytes += message((int64_t)a->strings[i].len);
    return bytes;
  default: return bytes;
  }
}

static int64_t names(ifd_value *const *values, int n) {
  int64_t bytes = 0;
  for (int i = 0; i < n; i++) bytes += message(values[i] ? (int64_t)strlen(values[i]->name) : 0);
  return bytes;
}

int64_t ifd_provenance_bytes(const ifd_node *node) {
  if (!node->provenance) return 0;
  return message(text(IFD_PROVENANCE_KEY) + text(node->provenance));
}

int64_t ifd_node_bytes(const ifd_node *node) {
  int64_t bytes = text(node->name) + text(node->op_type) + text(node->domain) + text(node->overload) +
                  names(node->inputs, node->n_inputs) + names(node->outputs, node->n_outputs);
  for (int i = 0; i < node->n_attrs; i++) bytes += message(attribute(&node->attrs[i]));
  return message(bytes);
}

int64_t ifd_graph_bytes(const ifd_graph *graph) {
  int64_t bytes = 0;
  for (int i = 0; i < graph->constants.n; i++)
    if (graph->constants.v[i]->constant) bytes += ifd_constant_bytes(graph->constants.v[i]);
  IFD_EACH_NODE(node, graph) bytes += ifd_node_bytes(node);
  return bytes;
}

int64_t ifd_header_bytes(const ifd_function *f) {
  const ifd_graph *body = f->body;
  return text(f->name) + text(f->domain) + text(f->overload) + names(body->inputs.v, body->inputs.n) +
         names(body->outputs.v, body->outputs.n);
}
