#include <limits.h>
#include <string.h>

#include "io/read.h"

ifd_status ifd_read_count(ifd_error *err, int *out, size_t n, const char *field) {
  EXPECT(err, n <= INT_MAX, LIMIT, "%s: more than %d", field, INT_MAX);
  *out = (int)n;
  return IFD_OK;
}

/* ---- values ---- */

/* A declared type is a claim that inference later replaces by what it finds. */
static ifd_status declare(ifd_reader *r, ifd_value *value, const Onnx__ValueInfoProto *info) {
  if (value->declared) return IFD_OK;
  const ifd_type *type;
  TRY(ifd_read_type(r, &type, info->type));
  if (!value->origin) value->origin = info;
  if (type->kind == IFD_KIND_UNKNOWN) return IFD_OK;
  value->declared = type;
  if (value->type->kind == IFD_KIND_UNKNOWN) value->type = type;
  return IFD_OK;
}

/* Only inputs of the main graph must have a type; a subgraph's get theirs from their node. */
static ifd_status check_input_type(ifd_error *err, const ifd_value *value, const Onnx__ValueInfoProto *info) {
  if (value->graph->outer) return IFD_OK;
  EXPECT(err, info->type && info->type->value_case, BAD_MODEL, "type is missing");
  EXPECT(err, value->declared, UNSUPPORTED, "an opaque type");
  EXPECT(err, value->declared->kind != IFD_KIND_TENSOR || value->declared->dtype != IFD_UNDEFINED, BAD_MODEL,
         "elem_type is missing");
  return IFD_OK;
}

static ifd_status read_input(ifd_reader *r, ifd_graph *graph, const Onnx__ValueInfoProto *info) {
  ifd_value *value;
  TRY(ifd_value_new(r->err, &value, graph, ifd_text(info->name)));
  TRY(declare(r, value, info));
  TRY(check_input_type(r->err, value, info));
  return ifd_graph_add_input(r->err, graph, value);
}

static ifd_status read_inputs(ifd_reader *r, ifd_graph *graph, const Onnx__GraphProto *proto) {
  for (size_t i = 0; i < proto->n_input; i++)
    TRY_IN(r->err, read_input(r, graph, proto->input[i]), "input '%s'", ifd_text(proto->input[i]->name));
  return IFD_OK;
}

/* A name stands for the same value wherever the graph lists it; names that nothing defines are kept with the
 * origin alone. */
static ifd_status declare_values(ifd_reader *r, ifd_graph *graph, Onnx__ValueInfoProto **infos, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const char *name = ifd_text(infos[i]->name);
    ifd_value *value = ifd_map_find(&graph->values, name);
    if (value) TRY_IN(r->err, declare(r, value, infos[i]), "value '%s'", name);
  }
  return IFD_OK;
}

static ifd_status read_outputs(ifd_reader *r, ifd_graph *graph, const Onnx__GraphProto *proto) {
  for (size_t i = 0; i < proto->n_output; i++) {
    const char *name = ifd_text(proto->output[i]->name);
    ifd_value *value = ifd_graph_find_value(graph, name);
    EXPECT(r->err, value, BAD_MODEL, "output '%s' is made by no node", name);
    TRY(ifd_graph_add_output(r->err, graph, value));
  }
  return IFD_OK;
}

/* ---- initializers ---- */

/* An initializer that callers may override is no more than declared; any other is what its tensor is. */
static ifd_status set_initializer_type(ifd_reader *r, ifd_value *value, const ifd_tensor *tensor) {
  const ifd_type *declared = value->declared;
  EXPECT(r->err,
         !declared || declared->kind == IFD_KIND_SPARSE_TENSOR ||
             (declared->kind == IFD_KIND_TENSOR && declared->dtype == tensor->dtype),
         BAD_MODEL, "data_type is %s, the input of the name has another type", ifd_dtype_name(tensor->dtype));
  if (declared && value->is_input && value->graph->model->ir_version >= 4) return IFD_OK;
  ALLOC(r->err, value->type, ifd_type_of_tensor(r->arena, tensor));
  return IFD_OK;
}

static ifd_status add_initializer(ifd_reader *r, ifd_graph *graph, const char *name, const ifd_tensor *tensor,
                                  const ProtobufCMessage *proto) {
  ifd_value *value = ifd_map_find(&graph->values, name);
  if (!value) TRY(ifd_value_new(r->err, &value, graph, name));
  TRY(ifd_graph_add_constant(r->err, graph, value, tensor));
  TRY(set_initializer_type(r, value, tensor));
  ifd_tensor_origin *origin;
  ALLOC(r->err, origin, ifd_new(r->arena, ifd_tensor_origin));
  *origin = (ifd_tensor_origin){proto, *tensor};
  value->constant_origin = origin;
  return IFD_OK;
}

static ifd_status read_initializer(ifd_reader *r, ifd_graph *graph, const Onnx__TensorProto *proto) {
  ifd_tensor tensor;
  ifd_reader loose = *r;
  loose.packs = true;
  TRY(ifd_read_tensor(&loose, &tensor, proto));
  return add_initializer(r, graph, ifd_text(proto->name), &tensor, &proto->base);
}

static ifd_status read_sparse_initializer(ifd_reader *r, ifd_graph *graph, const char *name,
                                          const Onnx__SparseTensorProto *proto) {
  ifd_tensor tensor;
  TRY(ifd_read_sparse_tensor(r, &tensor, proto));
  TRY(add_initializer(r, graph, name, &tensor, &proto->base));
  ifd_value *value = ifd_map_find(&graph->values, name);
  value->sparse_bytes = (int64_t)protobuf_c_message_get_packed_size(&proto->base);
  return IFD_OK;
}

static ifd_status read_initializers(ifd_reader *r, ifd_graph *graph, const Onnx__GraphProto *proto) {
  for (size_t i = 0; i < proto->n_initializer; i++) {
    const Onnx__TensorProto *t = proto->initializer[i];
    TRY_IN(r->err, read_initializer(r, graph, t), "initializer '%s'", ifd_text(t->name));
  }
  for (size_t i = 0; i < proto->n_sparse_initializer; i++) {
    const Onnx__SparseTensorProto *t = proto->sparse_initializer[i];
    const char *name = t->values ? ifd_text(t->values->name) : "";
    TRY_IN(r->err, read_sparse_initializer(r, graph, name, t), "sparse initializer '%s'", name);
  }
  return IFD_OK;
}

/* ---- nodes ---- */

/* A node without a name goes by its first output. */
static const char *node_label(const Onnx__NodeProto *proto) {
  for (size_t i = 0; !*ifd_text(proto->name) && i < proto->n_output; i++)
    if (*proto->output[i]) return proto->output[i];
  return ifd_text(proto->name);
}

/* The node that makes a value, for the message about a name that is used too early. */
static const Onnx__NodeProto *find_maker(Onnx__NodeProto **nodes, size_t n, const char *name) {
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < nodes[i]->n_output; k++)
      if (strcmp(nodes[i]->output[k], name) == 0) return nodes[i];
  return NULL;
}

/* The nodes of one graph or function, while they are read. */
typedef struct body {
  ifd_graph *graph;
  Onnx__NodeProto **nodes;
  size_t n;
} body;

static ifd_status read_node_input(ifd_reader *r, ifd_node *node, int i, const char *name, const body *body) {
  if (!*name) return IFD_OK; /* left out */
  ifd_value *value = ifd_graph_find_value(node->graph, name);
  if (!value) {
    const Onnx__NodeProto *maker = find_maker(body->nodes, body->n, name);
    EXPECT(r->err, maker, BAD_MODEL, "input %d: '%s' is made by no node", i, name);
    FAIL(r->err, BAD_MODEL, "input %d: '%s' is made only later, by node '%s' (%s): the nodes form a cycle", i,
         name, node_label(maker), ifd_text(maker->op_type));
  }
  return ifd_node_set_input(r->err, node, i, value);
}

static ifd_status read_node_output(ifd_reader *r, ifd_node *node, int i, const char *name) {
  if (!*name) return IFD_OK; /* not asked for */
  ifd_value *value;
  TRY_IN(r->err, ifd_value_new(r->err, &value, node->graph, name), "output %d", i);
  return ifd_node_set_output(r->err, node, i, value);
}

static ifd_status read_node_attrs(ifd_reader *r, ifd_node *node, const Onnx__NodeProto *proto) {
  for (size_t i = 0; i < proto->n_attribute; i++) {
    ifd_attr attr;
    TRY(ifd_read_attr(r, &attr, node->graph, proto->attribute[i]));
    EXPECT(r->err, !ifd_node_find_attr(node, attr.name), BAD_MODEL, "attribute '%s' is given twice",
           attr.name);
    TRY(ifd_node_set_attr(r->err, node, &attr));
  }
  return IFD_OK;
}

static ifd_status check_domain(ifd_error *err, const ifd_node *node) {
  bool known = node->opset > 0 || ifd_node_find_function(node);
  EXPECT(err, known, BAD_MODEL, "domain '%s' is not imported (opset_import)",
         *node->domain ? node->domain : "ai.onnx");
  return IFD_OK;
}

static const char *find_provenance(const Onnx__NodeProto *proto) {
  for (size_t i = 0; i < proto->n_metadata_props; i++)
    if (strcmp(ifd_text(proto->metadata_props[i]->key), IFD_PROVENANCE_KEY) == 0)
      return ifd_text(proto->metadata_props[i]->value);
  return NULL;
}

/* Outputs are defined after the attributes are read: subgraphs do not see them. */
static ifd_status read_node(ifd_reader *r, const body *body, const Onnx__NodeProto *proto) {
  int n_inputs, n_outputs;
  ifd_node *node;
  EXPECT(r->err, proto->op_type && *proto->op_type, BAD_MODEL, "op_type is missing");
  TRY(ifd_read_count(r->err, &n_inputs, proto->n_input, "inputs"));
  TRY(ifd_read_count(r->err, &n_outputs, proto->n_output, "outputs"));
  TRY(ifd_node_new(r->err, &node, body->graph, ifd_text(proto->domain), proto->op_type, n_inputs, n_outputs));
  node->name = ifd_text(proto->name);
  node->origin = proto;
  node->provenance = find_provenance(proto);
  if (proto->overload && *proto->overload) {
    node->overload = proto->overload;
    ifd_node_resolve(node);
  }
  TRY(check_domain(r->err, node));
  for (int i = 0; i < n_inputs; i++) TRY(read_node_input(r, node, i, proto->input[i], body));
  TRY(read_node_attrs(r, node, proto));
  for (int i = 0; i < n_outputs; i++) TRY(read_node_output(r, node, i, proto->output[i]));
  ifd_node_insert(node, NULL);
  return IFD_OK;
}

/* Whether a node reads, or may read in a subgraph, what is not made yet. */
static bool may_be_early(const ifd_graph *graph, const Onnx__NodeProto *node) {
  for (size_t i = 0; i < node->n_input; i++)
    if (*node->input[i] && !ifd_graph_find_value(graph, node->input[i])) return true;
  for (size_t i = 0; i < node->n_attribute; i++)
    if (node->attribute[i]->g || node->attribute[i]->n_graphs) return true;
  return false;
}

static ifd_status read_nodes(ifd_reader *r, ifd_graph *graph, Onnx__NodeProto **nodes, size_t n) {
  body body = {graph, nodes, n};
  bool sorted = false;
  for (size_t i = 0; i < n; i++) {
    if (!sorted && may_be_early(graph, body.nodes[i])) {
      TRY(ifd_read_order(r, &body.nodes, n));
      sorted = true;
    }
    const Onnx__NodeProto *node = body.nodes[i];
    TRY_IN(r->err, read_node(r, &body, node), "node '%s' (%s)", node_label(node), ifd_text(node->op_type));
  }
  return IFD_OK;
}

/* ---- graphs and functions ---- */

ifd_status ifd_read_graph(ifd_reader *r, ifd_graph *graph, const Onnx__GraphProto *proto) {
  graph->name = ifd_text(proto->name);
  graph->origin = proto;
  TRY(read_inputs(r, graph, proto));
  TRY(read_initializers(r, graph, proto));
  TRY(read_nodes(r, graph, proto->node, proto->n_node));
  TRY(declare_values(r, graph, proto->output, proto->n_output));
  TRY(declare_values(r, graph, proto->value_info, proto->n_value_info));
  return read_outputs(r, graph, proto);
}

static ifd_status read_function_inputs(ifd_reader *r, ifd_graph *body, const Onnx__FunctionProto *proto) {
  for (size_t i = 0; i < proto->n_input; i++) {
    ifd_value *value;
    TRY(ifd_value_new(r->err, &value, body, proto->input[i]));
    TRY(ifd_graph_add_input(r->err, body, value));
  }
  return IFD_OK;
}

static ifd_status read_function_outputs(ifd_reader *r, ifd_graph *body, const Onnx__FunctionProto *proto) {
  for (size_t i = 0; i < proto->n_output; i++) {
    ifd_value *value = ifd_map_find(&body->values, proto->output[i]);
    EXPECT(r->err, value, BAD_MODEL, "output '%s' is made by no node", proto->output[i]);
    TRY(ifd_graph_add_output(r->err, body, value));
  }
  return IFD_OK;
}

static ifd_status read_function_attributes(ifd_reader *r, ifd_function *f, const Onnx__FunctionProto *proto) {
  TRY(ifd_read_count(r->err, &f->n_attributes, proto->n_attribute, "attributes"));
  TRY(ifd_read_count(r->err, &f->n_defaults, proto->n_attribute_proto, "attributes"));
  f->attributes = (const char *const *)proto->attribute;
  ALLOC(r->err, f->defaults, ifd_new_array(r->arena, ifd_attr, f->n_defaults));
  for (int i = 0; i < f->n_defaults; i++)
    TRY(ifd_read_attr(r, &f->defaults[i], f->body, proto->attribute_proto[i]));
  return IFD_OK;
}

/* The types that a function's value_info claims hold for some calls at most: they stay with the origin. */
ifd_status ifd_read_function(ifd_reader *r, ifd_function *f, const Onnx__FunctionProto *proto) {
  f->body->name = ifd_text(proto->name);
  TRY(read_function_inputs(r, f->body, proto));
  TRY(read_function_attributes(r, f, proto));
  TRY(read_nodes(r, f->body, proto->node, proto->n_node));
  return read_function_outputs(r, f->body, proto);
}
