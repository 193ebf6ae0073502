#include <limits.h>
#include <string.h>

#include "ir/ir.h"

ifd_status ifd_value_new(ifd_error *err, ifd_value **out, ifd_graph *graph, const char *name) {
  ifd_model *model = graph->model;
  ifd_value *value;
  EXPECT(err, model->n_values < INT_MAX, LIMIT, "too many values");
  if (!name) ALLOC(err, name, ifd_graph_unique_name(graph, "v"));
  EXPECT(err, *name, BAD_MODEL, "a value has no name");
  EXPECT(err, !ifd_map_find(&graph->values, name), BAD_MODEL, "value %s is defined twice", name);
  ALLOC(err, value, ifd_new(&model->arena, ifd_value));
  ALLOC(err, value->name, ifd_arena_strdup(&model->arena, name));
  value->graph = graph;
  value->type = &ifd_type_unknown;
  bool known = ifd_map_find(&model->names, value->name);
  EXPECT(err, known || ifd_map_set(&model->names, value->name, (void *)1), NO_MEMORY, "out of memory");
  EXPECT(err, ifd_map_set(&graph->values, value->name, value), NO_MEMORY, "out of memory");
  value->id = model->n_values++;
  *out = value;
  return IFD_OK;
}

/* ---- renaming ---- */

typedef struct name_search {
  const ifd_value *value;
  const char *name;
  bool taken;
} name_search;

static ifd_status search_name(ifd_graph *graph, void *context) {
  name_search *s = context;
  const ifd_value *found = ifd_map_find(&graph->values, s->name);
  s->taken |= found && found != s->value;
  return IFD_OK;
}

ifd_status ifd_value_rename(ifd_error *err, ifd_value *value, const char *name) {
  ifd_model *model = value->graph->model;
  name_search s = {value, name, false};
  const char *copy;
  EXPECT(err, *name, USAGE, "the new name of '%s' is empty", value->name);
  if (strcmp(name, value->name) == 0) return IFD_OK;
  for (ifd_graph *g = value->graph->outer; g; g = g->outer) TRY(search_name(g, &s));
  TRY(ifd_graph_visit(value->graph, search_name, &s));
  EXPECT(err, !s.taken, USAGE, "'%s' cannot be renamed to '%s': there is such a value", value->name, name);
  ALLOC(err, copy, ifd_arena_strdup(&model->arena, name));
  EXPECT(err,
         ifd_map_set(&value->graph->values, value->name, NULL) &&
             ifd_map_set(&value->graph->values, copy, value) &&
             (ifd_map_find(&model->names, copy) || ifd_map_set(&model->names, copy, (void *)1)),
         NO_MEMORY, "out of memory");
  if (!value->old_name) value->old_name = value->name;
  value->name = copy;
  return IFD_OK;
}

/* ---- replacing ---- */

static ifd_status replace_readers(ifd_error *err, ifd_value *from, ifd_value *to) {
  int first = to->uses.n;
  for (int i = 0; i < from->uses.n; i++) IFD_PUSH(err, &to->graph->model->arena, &to->uses, from->uses.v[i]);
  for (int i = first; i < to->uses.n; i++) {
    const ifd_use *use = &to->uses.v[i];
    use->node->inputs[use->index] = to;
    use->node->use_at[use->index] = i;
  }
  from->uses.n = 0;
  return IFD_OK;
}

static ifd_status replace_outputs(ifd_error *err, ifd_value *from, ifd_value *to) {
  ifd_graph *graph = from->graph;
  EXPECT(err, !from->n_outputs || to->graph == graph, BAD_MODEL,
         "%s of an outer graph cannot become an output", to->name);
  for (int i = 0; from->n_outputs && i < graph->outputs.n; i++)
    if (graph->outputs.v[i] == from) {
      graph->outputs.v[i] = to;
      to->n_outputs++;
      from->n_outputs--;
    }
  return IFD_OK;
}

ifd_status ifd_value_replace(ifd_error *err, ifd_value *from, ifd_value *to, bool outputs) {
  if (from == to) return IFD_OK;
  int before = to->uses.n;
  ifd_status status = replace_readers(err, from, to);
  if (status != IFD_OK) to->uses.n = before; /* nothing was rewired yet */
  TRY(status);
  return outputs ? replace_outputs(err, from, to) : IFD_OK;
}

const ifd_tensor *ifd_value_constant(const ifd_value *value) {
  bool may_be_overridden = value->is_input && value->graph->model->ir_version >= 4;
  return may_be_overridden ? NULL : value->constant;
}

int ifd_value_n_readers(const ifd_value *value) { return value->uses.n + value->n_outputs; }

ifd_node *ifd_value_only_reader(const ifd_value *value) {
  return value->uses.n == 1 && !value->n_outputs ? value->uses.v[0].node : NULL;
}

/* The operator set since which ConstantOfShape makes a type (Changelog.md); 0 for those it does not. */
static const int constant_of_shape_since[IFD_N_DTYPES] = {[IFD_FLOAT] = 9,
                                                          [IFD_UINT8] = 9,
                                                          [IFD_INT8] = 9,
                                                          [IFD_UINT16] = 9,
                                                          [IFD_INT16] = 9,
                                                          [IFD_INT32] = 9,
                                                          [IFD_INT64] = 9,
                                                          [IFD_BOOL] = 9,
                                                          [IFD_FLOAT16] = 9,
                                                          [IFD_DOUBLE] = 9,
                                                          [IFD_UINT32] = 9,
                                                          [IFD_UINT64] = 9,
                                                          [IFD_BFLOAT16] = 20,
                                                          [IFD_FLOAT8E4M3FN] = 20,
                                                          [IFD_FLOAT8E4M3FNUZ] = 20,
                                                          [IFD_FLOAT8E5M2] = 20,
                                                          [IFD_FLOAT8E5M2FNUZ] = 20,
                                                          [IFD_UINT4] = 21,
                                                          [IFD_INT4] = 21,
                                                          [IFD_FLOAT4E2M1] = 23,
                                                          [IFD_FLOAT8E8M0] = 24,
                                                          [IFD_UINT2] = 25,
                                                          [IFD_INT2] = 25};

bool ifd_value_is_splat_node(const ifd_value *value) {
  enum { SMALL = 256 }; /* bytes of about what the node takes */
  const ifd_tensor *t = value->constant;
  if (!t->splat || (value->is_input && value->graph->model->ir_version >= 4)) return false;
  int since = constant_of_shape_since[t->dtype];
  return since && ifd_graph_opset(value->graph, "") >= since &&
         ifd_packed_bytes(t->dtype, ifd_tensor_count(t)) > SMALL;
}
