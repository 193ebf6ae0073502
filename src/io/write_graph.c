#include <stdio.h>
#include <string.h>

#include "io/read.h"
#include "io/write.h"

/* A graph while it is written: what of its origin still holds. */
typedef struct graph_writer {
  ifd_message_writer *w;
  const ifd_graph *graph;
  const Onnx__GraphProto *origin; /* or NULL */
  ifd_map alive;                  /* values that the written graph defines, by their names in the origin */
  ifd_map ports;                  /* names of the origin's inputs and outputs */
  ifd_map was;                    /* names that the origin defined */
  ifd_map shapes;                 /* of splats: their text -> name of the initializer */
  IFD_VEC(Onnx__NodeProto *) nodes;
  IFD_VEC(Onnx__TensorProto *) initializers;
  IFD_VEC(Onnx__SparseTensorProto *) sparse;
  IFD_VEC(Onnx__ValueInfoProto *) inputs;
} graph_writer;

static ifd_status note(ifd_error *err, ifd_map *names, const char *name) {
  EXPECT(err, ifd_map_set(names, name, (void *)name), NO_MEMORY, "out of memory");
  return IFD_OK;
}

/* ---- nodes ---- */

static ifd_status put_names(ifd_message_writer *w, char ***out, size_t *n_out, ifd_value *const *values,
                            int n) {
  ALLOC(w->err, *out, ifd_new_array(w->arena, char *, n));
  for (int i = 0; i < n; i++) (*out)[i] = (char *)(values[i] ? values[i]->name : "");
  *n_out = (size_t)n;
  return IFD_OK;
}

/* Which nodes this one came from. The place for it, metadata_props, is known since IR version 10; readers of
 * earlier ones skip it, as protobuf has them skip any field. */
static ifd_status put_provenance(ifd_message_writer *w, Onnx__NodeProto *p, const char *from) {
  static const char key[] = IFD_PROVENANCE_KEY;
  Onnx__StringStringEntryProto *entry, **entries;
  if (!from) return IFD_OK;
  size_t n = p->n_metadata_props, at = 0;
  while (at < n && strcmp(ifd_text(p->metadata_props[at]->key), key) != 0) at++;
  if (at < n && strcmp(ifd_text(p->metadata_props[at]->value), from) == 0) return IFD_OK;
  ALLOC(w->err, entry, ifd_copy_message(w, &onnx__string_string_entry_proto__descriptor, NULL));
  entry->key = (char *)key;
  entry->value = (char *)from;
  ALLOC(w->err, entries, ifd_new_array(w->arena, Onnx__StringStringEntryProto *, n + 1));
  if (n) memcpy(entries, p->metadata_props, n * sizeof *entries);
  entries[at] = entry;
  p->metadata_props = entries;
  p->n_metadata_props = n + (at == n);
  return IFD_OK;
}

static ifd_status put_attrs(ifd_message_writer *w, Onnx__NodeProto *p, const ifd_node *node) {
  p->n_attribute = (size_t)node->n_attrs;
  ALLOC(w->err, p->attribute, ifd_new_array(w->arena, Onnx__AttributeProto *, node->n_attrs));
  for (int i = 0; i < node->n_attrs; i++) TRY(ifd_write_attr(w, &p->attribute[i], &node->attrs[i]));
  return IFD_OK;
}

static ifd_status write_node(ifd_message_writer *w, Onnx__NodeProto **out, const ifd_node *node) {
  Onnx__NodeProto *p;
  const Onnx__NodeProto *origin = node->origin;
  ALLOC(w->err, p, ifd_copy_message(w, &onnx__node_proto__descriptor, origin));
  IFD_SET_TEXT(p->name, node->name);
  IFD_SET_TEXT(p->op_type, node->op_type);
  IFD_SET_TEXT(p->overload, node->overload);
  if (!ifd_domain_equal(p->domain, node->domain)) p->domain = (char *)node->domain;
  TRY(put_names(w, &p->input, &p->n_input, node->inputs, node->n_inputs));
  TRY(put_names(w, &p->output, &p->n_output, node->outputs, node->n_outputs));
  TRY(put_attrs(w, p, node));
  *out = p;
  return put_provenance(w, p, node->provenance);
}

/* A node without attributes that makes one value, from one input or none. */
static ifd_status make_node(ifd_message_writer *w, Onnx__NodeProto **out, const char *op_type,
                            const char *input, const char *output) {
  Onnx__NodeProto *p;
  ALLOC(w->err, p, ifd_copy_message(w, &onnx__node_proto__descriptor, NULL));
  ALLOC(w->err, p->output, ifd_new_array(w->arena, char *, 1));
  ALLOC(w->err, p->input, ifd_new_array(w->arena, char *, 1));
  p->name = p->output[0] = (char *)output;
  p->input[0] = (char *)input;
  p->n_output = 1;
  p->n_input = input ? 1 : 0;
  p->op_type = (char *)op_type;
  *out = p;
  return IFD_OK;
}

static ifd_status put_value_attr(ifd_message_writer *w, Onnx__NodeProto *p, const ifd_tensor *value) {
  ifd_attr attr = {.name = "value", .type = IFD_ATTR_TENSOR, .tensor = value};
  p->n_attribute = 1;
  ALLOC(w->err, p->attribute, ifd_new_array(w->arena, Onnx__AttributeProto *, 1));
  return ifd_write_attr(w, &p->attribute[0], &attr);
}

/* ---- constants ---- */

/* A name no value of the model has, and none that was made up before. */
static ifd_status make_name(ifd_message_writer *w, const char **out, const char *base, const char *suffix) {
  const char *name;
  ALLOC(w->err, name, ifd_arena_printf(w->arena, "%s_%s", base, suffix));
  for (int i = 1; ifd_map_find(&w->model->names, name) || ifd_map_find(&w->names, name); i++)
    ALLOC(w->err, name, ifd_arena_printf(w->arena, "%s_%s_%d", base, suffix, i));
  *out = name;
  return note(w->err, &w->names, name);
}

static ifd_status add_input(graph_writer *g, const char *name, const ifd_type *type) {
  Onnx__ValueInfoProto *p;
  ALLOC(g->w->err, p, ifd_copy_message(g->w, &onnx__value_info_proto__descriptor, NULL));
  p->name = (char *)name;
  TRY(ifd_write_type(g->w, &p->type, type));
  IFD_PUSH(g->w->err, g->w->arena, &g->inputs, p);
  return IFD_OK;
}

/* Before IR version 4 every initializer of the main graph is an input, too. */
static ifd_status list_as_input(graph_writer *g, const char *name, const ifd_tensor *t) {
  const ifd_type *type;
  if (g->w->model->ir_version >= 4 || g->graph->outer) return IFD_OK;
  ALLOC(g->w->err, type, ifd_type_of_tensor(g->w->arena, t));
  return add_input(g, name, type);
}

static ifd_status add_initializer(graph_writer *g, Onnx__TensorProto *p) {
  IFD_PUSH(g->w->err, g->w->arena, &g->initializers, p);
  return IFD_OK;
}

/* The initializer that holds a splat's shape: one for all splats of that shape. */
static ifd_status put_shape(graph_writer *g, const char **out, const ifd_value *value) {
  ifd_message_writer *w = g->w;
  const ifd_shape *dims = &value->constant->shape;
  ifd_tensor shape = {
      .dtype = IFD_INT64, .shape = {.rank = 1, .dim = {dims->rank}}, .data = (void *)dims->dim};
  char key[IFD_MAX_RANK * 21 + 1] = "";
  for (int i = 0, at = 0; i < dims->rank; i++)
    at += snprintf(key + at, sizeof key - (size_t)at, "%lld,", (long long)dims->dim[i]);
  *out = ifd_map_find(&g->shapes, key);
  if (*out) return IFD_OK;
  char *kept;
  Onnx__TensorProto *p;
  ALLOC(w->err, kept, ifd_arena_strdup(w->arena, key));
  TRY(make_name(w, out, value->name, "shape"));
  EXPECT(w->err, ifd_map_set(&g->shapes, kept, (void *)*out), NO_MEMORY, "out of memory");
  TRY(ifd_write_tensor(w, &p, &shape, *out));
  TRY(add_initializer(g, p));
  return list_as_input(g, *out, &shape);
}

static ifd_status put_splat(graph_writer *g, const ifd_value *value) {
  ifd_message_writer *w = g->w;
  const ifd_tensor *t = value->constant;
  ifd_tensor element = {
      .dtype = t->dtype, .packed = t->packed, .shape = {.rank = 1, .dim = {1}}, .data = t->data};
  const char *shape;
  Onnx__NodeProto *node;
  TRY(put_shape(g, &shape, value));
  TRY(make_node(w, &node, "ConstantOfShape", shape, value->name));
  TRY(put_value_attr(w, node, &element));
  IFD_PUSH(w->err, w->arena, &g->nodes, node);
  return IFD_OK;
}

static ifd_status put_dense(graph_writer *g, const ifd_value *value, const Onnx__TensorProto *origin) {
  ifd_message_writer *w = g->w;
  Onnx__TensorProto *p = (Onnx__TensorProto *)origin;
  if (!p) TRY(ifd_write_tensor(w, &p, value->constant, value->name));
  if (strcmp(ifd_text(p->name), value->name) != 0) {
    ALLOC(w->err, p, ifd_copy_message(w, &onnx__tensor_proto__descriptor, p));
    p->name = (char *)value->name;
  }
  return add_initializer(g, p);
}

static ifd_status put_constant_node(graph_writer *g, const ifd_value *value) {
  Onnx__NodeProto *node;
  TRY(make_node(g->w, &node, "Constant", NULL, value->name));
  node->name = NULL;
  TRY(put_value_attr(g->w, node, value->constant));
  IFD_PUSH(g->w->err, g->w->arena, &g->nodes, node);
  return IFD_OK;
}

/* Before IR version 4 initializers are inputs, which the graphs of If and Loop cannot have: there, and where
 * it was one, a constant is a node if Constant makes its type. */
static bool is_constant_node(const graph_writer *g, const ifd_value *value) {
  ifd_dtype dtype = value->constant->dtype;
  bool is_plain_float = dtype == IFD_FLOAT || dtype == IFD_DOUBLE || dtype == IFD_FLOAT16;
  return g->w->model->ir_version < 4 && (g->graph->outer || value->was_node) &&
         (is_plain_float || ifd_graph_opset(g->graph, "") >= 9);
}

static bool is_sparse(const ifd_tensor_origin *origin) {
  return origin->proto->descriptor == &onnx__sparse_tensor_proto__descriptor;
}

/* A sparse tensor in external data that will not be there is written dense. */
static bool is_kept_sparse(const graph_writer *g, const ifd_tensor_origin *origin) {
  const Onnx__SparseTensorProto *p = (const Onnx__SparseTensorProto *)origin->proto;
  return is_sparse(origin) &&
         !(g->w->elsewhere && (ifd_is_external(p->values) || ifd_is_external(p->indices)));
}

static ifd_status put_constant(graph_writer *g, const ifd_value *value) {
  ifd_message_writer *w = g->w;
  const ifd_tensor_origin *origin = value->constant_origin;
  bool same = origin && ifd_tensor_is(value->constant, &origin->as_read);
  if (same && !value->old_name && is_kept_sparse(g, origin)) {
    IFD_PUSH(w->err, w->arena, &g->sparse, (Onnx__SparseTensorProto *)origin->proto);
    return IFD_OK;
  }
  if (ifd_value_is_splat_node(value)) return put_splat(g, value);
  if (!origin && !value->is_input && is_constant_node(g, value)) return put_constant_node(g, value);
  if (!origin && !value->is_input) TRY(list_as_input(g, value->name, value->constant));
  return put_dense(g, value, same && !is_sparse(origin) ? (const Onnx__TensorProto *)origin->proto : NULL);
}

/* Notes the initializers that could lie outside of the message. */
static ifd_status note_payloads(graph_writer *g, Onnx__TensorProto **places) {
  ifd_message_writer *w = g->w;
  for (int i = 0; i < g->initializers.n; i++) {
    const ifd_value *value = ifd_map_find(&g->graph->values, ifd_text(places[i]->name));
    if (!value || !value->constant || value->constant->dtype == IFD_STRING) continue;
    IFD_PUSH(w->err, w->arena, &w->payloads, ((ifd_payload){&places[i], value->constant}));
  }
  return IFD_OK;
}

static ifd_status put_constants(graph_writer *g, Onnx__GraphProto *p) {
  const ifd_graph *graph = g->graph;
  for (int i = 0; i < graph->constants.n; i++)
    if (graph->constants.v[i]->constant) TRY(put_constant(g, graph->constants.v[i]));
  p->initializer = g->initializers.v;
  p->n_initializer = (size_t)g->initializers.n;
  p->sparse_initializer = g->sparse.v;
  p->n_sparse_initializer = (size_t)g->sparse.n;
  return note_payloads(g, g->initializers.v);
}

/* ---- names and types ---- */

static bool is_alive_constant(const ifd_value *value) { return value->is_initializer && value->constant; }

/* An input of IR version 3 goes with its initializer. */
static bool is_written_input(const ifd_value *value) {
  bool was_default = value->is_initializer && value->graph->model->ir_version < 4;
  return !was_default || (is_alive_constant(value) && !ifd_value_is_splat_node(value));
}

static const char *name_in_origin(const ifd_value *value) {
  return value->old_name ? value->old_name : value->name;
}

static ifd_status note_value(graph_writer *g, const ifd_value *value) {
  EXPECT(g->w->err, ifd_map_set(&g->alive, name_in_origin(value), (void *)value), NO_MEMORY, "out of memory");
  return IFD_OK;
}

static ifd_status note_alive(graph_writer *g) {
  const ifd_graph *graph = g->graph;
  for (int i = 0; i < graph->inputs.n; i++)
    if (is_written_input(graph->inputs.v[i])) TRY(note_value(g, graph->inputs.v[i]));
  for (int i = 0; i < graph->constants.n; i++)
    if (is_alive_constant(graph->constants.v[i])) TRY(note_value(g, graph->constants.v[i]));
  IFD_EACH_NODE(node, graph)
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i]) TRY(note_value(g, node->outputs[i]));
  return IFD_OK;
}

static ifd_status note_node_outputs(ifd_error *err, ifd_map *names, Onnx__NodeProto **nodes, size_t n) {
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < nodes[i]->n_output; k++) TRY(note(err, names, nodes[i]->output[k]));
  return IFD_OK;
}

static ifd_status note_was(graph_writer *g) {
  const Onnx__GraphProto *o = g->origin;
  ifd_error *err = g->w->err;
  for (size_t i = 0; i < o->n_input; i++) TRY(note(err, &g->was, ifd_text(o->input[i]->name)));
  for (size_t i = 0; i < o->n_initializer; i++) TRY(note(err, &g->was, ifd_text(o->initializer[i]->name)));
  for (size_t i = 0; i < o->n_sparse_initializer; i++)
    TRY(note(err, &g->was, ifd_text(o->sparse_initializer[i]->values->name)));
  return note_node_outputs(err, &g->was, o->node, o->n_node);
}

/* What the origin says of a name holds as long as the name does; where nothing defined it, it always
 * holds. */
static bool still_holds(const ifd_map *alive, const ifd_map *was, const char *name) {
  return ifd_map_find(alive, name) || !ifd_map_find(was, name);
}

/* The entry of the origin, or a changed copy, or a new one, so that it says the declared type. */
static ifd_status write_value_info(ifd_message_writer *w, Onnx__ValueInfoProto **out, const ifd_value *value,
                                   const Onnx__ValueInfoProto *origin) {
  const ifd_type *type = value->declared ? value->declared : value->type;
  bool same_name = origin && strcmp(ifd_text(origin->name), value->name) == 0;
  bool same_type = origin && (!value->declared || ifd_type_is_written(w->model->dims, type, origin->type));
  *out = (Onnx__ValueInfoProto *)origin;
  if (same_name && same_type) return IFD_OK;
  Onnx__ValueInfoProto *p;
  ALLOC(w->err, p, ifd_copy_message(w, &onnx__value_info_proto__descriptor, origin));
  p->name = (char *)value->name;
  *out = p;
  return same_type ? IFD_OK : ifd_write_type(w, &p->type, type);
}

/* Entries of the origin by name. */
static ifd_status index_ports(graph_writer *g, ifd_map *map, Onnx__ValueInfoProto **infos, size_t n) {
  for (size_t i = 0; i < n; i++) {
    EXPECT(g->w->err, ifd_map_set(map, ifd_text(infos[i]->name), infos[i]), NO_MEMORY, "out of memory");
    TRY(note(g->w->err, &g->ports, ifd_text(infos[i]->name)));
  }
  return IFD_OK;
}

static ifd_status put_inputs(graph_writer *g) {
  ifd_message_writer *w = g->w;
  ifd_map infos;
  ifd_map_init(&infos, w->arena);
  if (g->origin) TRY(index_ports(g, &infos, g->origin->input, g->origin->n_input));
  for (int i = 0; i < g->graph->inputs.n; i++) {
    const ifd_value *value = g->graph->inputs.v[i];
    Onnx__ValueInfoProto *info;
    if (!is_written_input(value)) continue;
    TRY(write_value_info(w, &info, value, ifd_map_find(&infos, name_in_origin(value))));
    IFD_PUSH(w->err, w->arena, &g->inputs, info);
  }
  return IFD_OK;
}

static ifd_status put_outputs(graph_writer *g, Onnx__GraphProto *p) {
  ifd_message_writer *w = g->w;
  ifd_map infos;
  ifd_map_init(&infos, w->arena);
  if (g->origin) TRY(index_ports(g, &infos, g->origin->output, g->origin->n_output));
  p->n_output = (size_t)g->graph->outputs.n;
  ALLOC(w->err, p->output, ifd_new_array(w->arena, Onnx__ValueInfoProto *, p->n_output));
  for (int i = 0; i < g->graph->outputs.n; i++) {
    const ifd_value *value = g->graph->outputs.v[i];
    TRY(write_value_info(w, &p->output[i], value, ifd_map_find(&infos, name_in_origin(value))));
  }
  return IFD_OK;
}

/* An entry that says what became of its value. One that only repeats what an input or output says, and always
 * did, stays; what has become an input or output since has its type there. */
static ifd_status put_value_info(graph_writer *g, Onnx__GraphProto *p, Onnx__ValueInfoProto *info) {
  const ifd_value *value = ifd_map_find(&g->alive, ifd_text(info->name));
  if (!still_holds(&g->alive, &g->was, ifd_text(info->name))) return IFD_OK;
  if (value && (value->is_input || value->n_outputs) && !ifd_map_find(&g->ports, ifd_text(info->name)))
    return IFD_OK;
  if (value && (!value->origin || value->origin == info || value->old_name))
    TRY(write_value_info(g->w, &info, value, info));
  p->value_info[p->n_value_info++] = info;
  return IFD_OK;
}

static ifd_status put_value_infos(graph_writer *g, Onnx__GraphProto *p) {
  ifd_message_writer *w = g->w;
  const Onnx__GraphProto *o = g->origin;
  ALLOC(w->err, p->value_info, ifd_new_array(w->arena, Onnx__ValueInfoProto *, o->n_value_info));
  p->n_value_info = 0;
  for (size_t i = 0; i < o->n_value_info; i++) TRY(put_value_info(g, p, o->value_info[i]));
  return IFD_OK;
}

static const char *new_name(const graph_writer *g, const char *name) {
  const ifd_value *value = ifd_map_find(&g->alive, name);
  return value ? value->name : name;
}

/* The annotation under the present names of the tensors it speaks of. */
static ifd_status write_annotation(graph_writer *g, Onnx__TensorAnnotation **out, Onnx__TensorAnnotation *a) {
  ifd_message_writer *w = g->w;
  size_t n = a->n_quant_parameter_tensor_names;
  bool same = strcmp(new_name(g, ifd_text(a->tensor_name)), ifd_text(a->tensor_name)) == 0;
  for (size_t i = 0; i < n && same; i++) {
    const char *name = ifd_text(a->quant_parameter_tensor_names[i]->value);
    same = strcmp(new_name(g, name), name) == 0;
  }
  *out = a;
  if (same) return IFD_OK;
  Onnx__StringStringEntryProto **names;
  ALLOC(w->err, *out, ifd_copy_message(w, &onnx__tensor_annotation__descriptor, a));
  ALLOC(w->err, names, ifd_new_array(w->arena, Onnx__StringStringEntryProto *, n));
  for (size_t i = 0; i < n; i++) {
    ALLOC(w->err, names[i],
          ifd_copy_message(w, &onnx__string_string_entry_proto__descriptor,
                           a->quant_parameter_tensor_names[i]));
    names[i]->value = (char *)new_name(g, ifd_text(names[i]->value));
  }
  (*out)->tensor_name = (char *)new_name(g, ifd_text(a->tensor_name));
  (*out)->quant_parameter_tensor_names = names;
  return IFD_OK;
}

static ifd_status put_annotations(graph_writer *g, Onnx__GraphProto *p) {
  ifd_message_writer *w = g->w;
  const Onnx__GraphProto *o = g->origin;
  ALLOC(w->err, p->quantization_annotation,
        ifd_new_array(w->arena, Onnx__TensorAnnotation *, o->n_quantization_annotation));
  p->n_quantization_annotation = 0;
  for (size_t i = 0; i < o->n_quantization_annotation; i++) {
    Onnx__TensorAnnotation *a = o->quantization_annotation[i];
    if (still_holds(&g->alive, &g->was, ifd_text(a->tensor_name)))
      TRY(write_annotation(g, &p->quantization_annotation[p->n_quantization_annotation++], a));
  }
  return IFD_OK;
}

/* ---- graphs ---- */

static ifd_status put_nodes(graph_writer *g) {
  IFD_EACH_NODE(node, g->graph) {
    Onnx__NodeProto *p;
    TRY(write_node(g->w, &p, node));
    IFD_PUSH(g->w->err, g->w->arena, &g->nodes, p);
  }
  return IFD_OK;
}

static void begin(graph_writer *g, ifd_message_writer *w, const ifd_graph *graph) {
  *g = (graph_writer){.w = w, .graph = graph, .origin = graph->origin};
  ifd_map_init(&g->alive, w->arena);
  ifd_map_init(&g->ports, w->arena);
  ifd_map_init(&g->was, w->arena);
  ifd_map_init(&g->shapes, w->arena);
}

ifd_status ifd_write_graph(ifd_message_writer *w, Onnx__GraphProto **out, const ifd_graph *graph) {
  graph_writer g;
  Onnx__GraphProto *p;
  begin(&g, w, graph);
  ALLOC(w->err, p, ifd_copy_message(w, &onnx__graph_proto__descriptor, g.origin));
  IFD_SET_TEXT(p->name, graph->name);
  TRY(note_alive(&g));
  TRY(put_inputs(&g));
  TRY(put_constants(&g, p));
  TRY(put_nodes(&g));
  TRY(put_outputs(&g, p));
  if (g.origin) {
    TRY(note_was(&g));
    TRY(put_value_infos(&g, p));
    TRY(put_annotations(&g, p));
  }
  p->node = g.nodes.v;
  p->n_node = (size_t)g.nodes.n;
  p->input = g.inputs.v;
  p->n_input = (size_t)g.inputs.n;
  *out = p;
  return IFD_OK;
}

/* ---- functions ---- */

/* A function has no initializers: what passes made constant becomes nodes. */
static ifd_status put_constant_nodes(graph_writer *g) {
  for (int i = 0; i < g->graph->constants.n; i++)
    if (g->graph->constants.v[i]->constant) TRY(put_constant_node(g, g->graph->constants.v[i]));
  return IFD_OK;
}

static ifd_status put_function_infos(graph_writer *g, Onnx__FunctionProto *p, const Onnx__FunctionProto *o) {
  ifd_message_writer *w = g->w;
  TRY(note_alive(g));
  for (size_t i = 0; i < o->n_input; i++) TRY(note(w->err, &g->was, o->input[i]));
  TRY(note_node_outputs(w->err, &g->was, o->node, o->n_node));
  ALLOC(w->err, p->value_info, ifd_new_array(w->arena, Onnx__ValueInfoProto *, o->n_value_info));
  p->n_value_info = 0;
  for (size_t i = 0; i < o->n_value_info; i++)
    if (still_holds(&g->alive, &g->was, ifd_text(o->value_info[i]->name)))
      p->value_info[p->n_value_info++] = o->value_info[i];
  return IFD_OK;
}

static ifd_status put_parameters(ifd_message_writer *w, Onnx__FunctionProto *p, const ifd_function *f) {
  p->attribute = (char **)f->attributes;
  p->n_attribute = (size_t)f->n_attributes;
  p->n_attribute_proto = (size_t)f->n_defaults;
  ALLOC(w->err, p->attribute_proto, ifd_new_array(w->arena, Onnx__AttributeProto *, f->n_defaults));
  for (int i = 0; i < f->n_defaults; i++) TRY(ifd_write_attr(w, &p->attribute_proto[i], &f->defaults[i]));
  return IFD_OK;
}

ifd_status ifd_write_function(ifd_message_writer *w, Onnx__FunctionProto **out, const ifd_function *f) {
  graph_writer g;
  Onnx__FunctionProto *p;
  const Onnx__FunctionProto *origin = f->origin;
  begin(&g, w, f->body);
  ALLOC(w->err, p, ifd_copy_message(w, &onnx__function_proto__descriptor, origin));
  IFD_SET_TEXT(p->name, f->name);
  IFD_SET_TEXT(p->overload, f->overload);
  if (!ifd_domain_equal(p->domain, f->domain)) p->domain = (char *)f->domain;
  TRY(put_names(w, &p->input, &p->n_input, f->body->inputs.v, f->body->inputs.n));
  TRY(put_names(w, &p->output, &p->n_output, f->body->outputs.v, f->body->outputs.n));
  TRY(put_parameters(w, p, f));
  TRY(put_constant_nodes(&g));
  TRY(put_nodes(&g));
  if (origin) TRY(put_function_infos(&g, p, origin));
  p->node = g.nodes.v;
  p->n_node = (size_t)g.nodes.n;
  *out = p;
  return ifd_write_opsets(w, &p->opset_import, &p->n_opset_import, f->opsets.v, f->opsets.n);
}
