/* Edits of a model's interface: what is read from it, what is given to it, what values are called. */
#include "api/api.h"

#include "ir/extract.h"
#include "ir/verify.h"
#include "pass/inline.h"
#include <string.h>

/* An edited model is held to all that a model from a file is. */
static infold_status finish(infold_error *to, ifd_error *err, infold_model *model, ifd_status status) {
  if (status == IFD_OK) status = ifd_verify_model(err, model->ir);
  if (status == IFD_OK) status = ifd_api_infer(err, model->ir);
  return ifd_api_report(to, err, NULL, status);
}

/* ---- types of what local functions make ---- */

/* A tensor's type in the words of another model: what is neither number nor name is unknown there. */
static ifd_status copy_type(ifd_error *err, const ifd_type **out, ifd_model *to, const ifd_model *from,
                            const ifd_type *t) {
  ifd_dim *dims;
  ALLOC(err, dims, ifd_new_array(&to->arena, ifd_dim, t->rank));
  for (int i = 0; i < t->rank; i++) {
    const char *name = ifd_dim_name(from->dims, t->dims[i]);
    dims[i] = ifd_dim_is_number(t->dims[i]) ? t->dims[i]
              : name                        ? ifd_dim_symbol(to->dims, name)
                                            : ifd_dim_unknown(to->dims);
  }
  ALLOC(err, *out,
        t->has_rank ? ifd_type_tensor(&to->arena, t->dtype, t->rank, dims)
                    : ifd_type_tensor_unranked(&to->arena, t->dtype));
  return IFD_OK;
}

/* Outputs keep their names when calls are written out. */
static ifd_status keep_names(ifd_error *err, ifd_graph *g) {
  IFD_EACH_NODE(node, g) {
    if (!ifd_node_find_function(node)) continue;
    for (int i = 0; i < node->n_outputs; i++)
      if (node->outputs[i] && !node->outputs[i]->n_outputs)
        TRY(ifd_graph_add_output(err, g, node->outputs[i]));
  }
  return IFD_OK;
}

/* Inference does not look into local functions: a copy in which they are written out knows. */
static ifd_status declare_from(ifd_error *err, ifd_model *ir, ifd_model *copy) {
  TRY(keep_names(err, copy->graph));
  TRY(ifd_inline_functions(err, copy));
  TRY(ifd_api_infer(err, copy));
  IFD_EACH_NODE(node, ir->graph)
  for (int i = 0; i < node->n_outputs; i++) {
    ifd_value *v = node->outputs[i];
    const ifd_value *known = v ? ifd_map_find(&copy->graph->values, v->name) : NULL;
    if (!known || v->declared || known->type->kind != IFD_KIND_TENSOR || !known->type->dtype) continue;
    TRY(copy_type(err, &v->declared, ir, copy, known->type));
  }
  return IFD_OK;
}

static ifd_status declare_calls(ifd_error *err, infold_model *model) {
  infold_model *copy;
  if (!model->ir->functions.n) return IFD_OK;
  TRY(ifd_api_clone(err, &copy, model, &model->budget));
  ifd_status status = declare_from(err, model->ir, copy->ir);
  infold_destroy_model(copy);
  return status;
}

/* ---- parts ---- */

infold_status infold_extract_model(infold_error *to, infold_model *model, const char *const *inputs,
                                   const char *const *outputs) {
  ifd_error err = {0};
  ifd_status status = declare_calls(&err, model);
  if (status == IFD_OK) status = ifd_model_extract(&err, model->ir, inputs, outputs);
  return finish(to, &err, model, status);
}

/* ---- names ---- */

typedef struct renaming {
  ifd_error *err;
  const char *from, *to;
  int n;
} renaming;

static ifd_status rename_in(ifd_graph *graph, void *context) {
  renaming *r = context;
  ifd_value *v = ifd_map_find(&graph->values, r->from);
  if (!v) return IFD_OK;
  r->n++;
  return ifd_value_rename(r->err, v, r->to);
}

static ifd_status rename_value(ifd_error *err, ifd_model *ir, const char *from, const char *to) {
  renaming r = {err, from, to, 0};
  TRY(rename_in(ir->graph, &r));
  if (!r.n) TRY(ifd_graph_visit(ir->graph, rename_in, &r));
  EXPECT(err, r.n, USAGE, "the model has no value '%s'", from);
  return IFD_OK;
}

infold_status infold_rename_value(infold_error *to, infold_model *model, const char *from,
                                  const char *new_name) {
  ifd_error err = {0};
  return finish(to, &err, model, rename_value(&err, model->ir, from, new_name));
}

/* ---- outputs ---- */

static ifd_status find_value(ifd_error *err, ifd_value **out, const ifd_model *ir, const char *name) {
  *out = ifd_map_find(&ir->graph->values, name);
  EXPECT(err, *out, USAGE, "the main graph has no value '%s'", name);
  return IFD_OK;
}

static ifd_status add_output(ifd_error *err, ifd_model *ir, const char *name) {
  ifd_value *v;
  TRY(find_value(err, &v, ir, name));
  EXPECT(err, !v->n_outputs, USAGE, "'%s' is an output already", name);
  return ifd_graph_add_output(err, ir->graph, v);
}

infold_status infold_add_output(infold_error *to, infold_model *model, const char *name) {
  ifd_error err = {0};
  ifd_status status = declare_calls(&err, model);
  return finish(to, &err, model, status == IFD_OK ? add_output(&err, model->ir, name) : status);
}

static ifd_status remove_output(ifd_error *err, ifd_model *ir, const char *name) {
  ifd_graph *g = ir->graph;
  ifd_value *v;
  TRY(find_value(err, &v, ir, name));
  EXPECT(err, v->n_outputs, USAGE, "'%s' is no output", name);
  EXPECT(err, g->outputs.n > 1, USAGE, "'%s' is the only output", name);
  int n = 0;
  for (int i = 0; i < g->outputs.n; i++)
    if (g->outputs.v[i] != v) g->outputs.v[n++] = g->outputs.v[i];
  g->outputs.n = n;
  v->n_outputs = 0;
  return ifd_model_prune(err, ir);
}

infold_status infold_remove_output(infold_error *to, infold_model *model, const char *name) {
  ifd_error err = {0};
  return finish(to, &err, model, remove_output(&err, model->ir, name));
}
