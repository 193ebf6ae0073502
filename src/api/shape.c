/* Fixing free dimensions of inputs: the model then is for these numbers alone. */
#include "api/api.h"

#include <string.h>

/* Free dimensions that become one number. */
typedef struct fixing {
  ifd_error *err;
  ifd_model *model;
  IFD_VEC(ifd_dim) dims;
  int64_t number;
} fixing;

static bool is_fixed(const fixing *f, ifd_dim d) {
  for (int i = 0; i < f->dims.n; i++)
    if (f->dims.v[i] == d) return true;
  return false;
}

static bool is_shaped(const ifd_type *t) { return t && t->kind == IFD_KIND_TENSOR && t->has_rank; }

/* A type with the number in place; where it stays free, what inference has found. */
static ifd_status settle_type(fixing *f, const ifd_type **out, const ifd_type *declared,
                              const ifd_type *found) {
  ifd_dim *dims;
  bool changed = false, same_rank = is_shaped(found) && found->rank == declared->rank;
  ALLOC(f->err, dims, ifd_new_array(&f->model->arena, ifd_dim, declared->rank));
  for (int i = 0; i < declared->rank; i++) {
    dims[i] = is_fixed(f, declared->dims[i]) ? f->number : declared->dims[i];
    if (!ifd_dim_is_number(dims[i]) && same_rank && ifd_dim_is_number(found->dims[i]))
      dims[i] = found->dims[i];
    changed |= dims[i] != declared->dims[i];
  }
  *out = declared;
  if (changed) ALLOC(f->err, *out, ifd_type_tensor(&f->model->arena, declared->dtype, declared->rank, dims));
  return IFD_OK;
}

static ifd_status settle_value(fixing *f, ifd_value *v) {
  return v && is_shaped(v->declared) ? settle_type(f, &v->declared, v->declared, v->type) : IFD_OK;
}

static ifd_status settle_graph(ifd_graph *graph, void *fixing) {
  for (int i = 0; i < graph->inputs.n; i++) TRY(settle_value(fixing, graph->inputs.v[i]));
  IFD_EACH_NODE(node, graph)
  for (int i = 0; i < node->n_outputs; i++) TRY(settle_value(fixing, node->outputs[i]));
  return IFD_OK;
}

ifd_status ifd_api_infer(ifd_error *err, ifd_model *ir) {
  IFD_API_COMPUTES;
  ifd_inference inf;
  TRY(ifd_inference_init(&inf, err, &ir->arena, ir->dims, ir->n_values));
  return ifd_infer_model(&inf, ir);
}

/* What the file declares of other values follows. */
static ifd_status settle_model(fixing *f) {
  TRY(ifd_api_infer(f->err, f->model));
  return ifd_graph_visit(f->model->graph, settle_graph, f);
}

/* ---- one input ---- */

static ifd_status set_shape(fixing *f, const char *name, const int64_t *dims, int rank) {
  ifd_model *ir = f->model;
  ifd_value *v = ifd_graph_find_value(ir->graph, name);
  ifd_error *err = f->err;
  EXPECT(err, v && v->is_input, USAGE, "the model has no input '%s'", name);
  EXPECT(err, v->type->kind == IFD_KIND_TENSOR, USAGE, "input '%s' is not a tensor", name);
  EXPECT(err, rank >= 0 && rank <= IFD_MAX_RANK, USAGE, "rank %d is outside [0, %d]", rank, IFD_MAX_RANK);
  EXPECT(err, !v->type->has_rank || v->type->rank == rank, USAGE,
         "input '%s' has rank %d; %d dimensions were given", name, v->type->rank, rank);
  for (int i = 0; i < rank; i++) {
    EXPECT(err, dims[i] >= 0, USAGE, "input '%s': dimension %d is %lld", name, i, (long long)dims[i]);
    EXPECT(err, !v->type->has_rank || !ifd_dim_is_number(v->type->dims[i]) || v->type->dims[i] == dims[i],
           USAGE, "input '%s': dimension %d is %lld in the model; %lld was given", name, i,
           (long long)v->type->dims[i], (long long)dims[i]);
  }
  ALLOC(err, v->type, ifd_type_tensor(&ir->arena, v->type->dtype, rank, dims));
  v->declared = v->type;
  v->origin = NULL;
  return settle_model(f);
}

infold_status infold_set_input_shape(infold_error *to, infold_model *model, const char *name,
                                     const int64_t *dims, int rank) {
  ifd_error err = {0};
  fixing f = {.err = &err, .model = model->ir};
  return ifd_api_report(to, &err, NULL, set_shape(&f, name, dims, rank));
}

/* ---- a dimension of all inputs ---- */

/* The names of all free dimensions, for the error about one that is none. */
static const char *free_names(const ifd_model *ir, char *text, size_t n) {
  char quoted[128];
  size_t at = 0;
  text[0] = 0;
  for (int i = 0; i < ir->graph->inputs.n; i++) {
    const ifd_type *t = ir->graph->inputs.v[i]->type;
    for (int k = 0; is_shaped(t) && k < t->rank; k++) {
      const char *name = ifd_dim_name(ir->dims, t->dims[k]);
      size_t len = name ? (size_t)snprintf(quoted, sizeof quoted, "'%s'", name) : 0;
      if (!name || len >= sizeof quoted || at + len + 3 > n || strstr(text, quoted)) continue;
      at += (size_t)snprintf(text + at, n - at, "%s%s", at ? ", " : "", quoted);
    }
  }
  return text;
}

static ifd_status find_named(fixing *f, const char *name) {
  const ifd_graph *g = f->model->graph;
  ifd_dim wanted = ifd_dim_symbol(f->model->dims, name);
  char names[256];
  for (int i = 0; i < g->inputs.n && !f->dims.n; i++) {
    const ifd_type *t = g->inputs.v[i]->type;
    for (int k = 0; is_shaped(t) && k < t->rank && !f->dims.n; k++)
      if (t->dims[k] == wanted) IFD_PUSH(f->err, &f->model->arena, &f->dims, wanted);
  }
  bool any = *free_names(f->model, names, sizeof names);
  EXPECT(f->err, f->dims.n, USAGE, "no input has a free dimension '%s'%s%s", name,
         any ? "; there are " : "; none has a name", names);
  return IFD_OK;
}

static ifd_status find_firsts(fixing *f) {
  const ifd_graph *g = f->model->graph;
  for (int i = 0; i < g->inputs.n; i++) {
    const ifd_type *t = g->inputs.v[i]->type;
    if (is_shaped(t) && t->rank && !ifd_dim_is_number(t->dims[0]) && !is_fixed(f, t->dims[0]))
      IFD_PUSH(f->err, &f->model->arena, &f->dims, t->dims[0]);
  }
  EXPECT(f->err, f->dims.n, USAGE, "no input has a free first dimension");
  return IFD_OK;
}

static ifd_status fix_dim(fixing *f, const char *name) {
  const ifd_graph *g = f->model->graph;
  EXPECT(f->err, f->number >= 0, USAGE, "a dimension is at least 0, not %lld", (long long)f->number);
  TRY(name ? find_named(f, name) : find_firsts(f));
  for (int i = 0; i < g->inputs.n; i++) {
    ifd_value *v = g->inputs.v[i];
    if (!is_shaped(v->type)) continue;
    TRY(settle_type(f, &v->type, v->type, NULL));
    v->declared = v->type;
  }
  return settle_model(f);
}

infold_status infold_fix_dim(infold_error *to, infold_model *model, const char *name, int64_t number) {
  ifd_error err = {0};
  fixing f = {.err = &err, .model = model->ir, .number = number};
  return ifd_api_report(to, &err, NULL, fix_dim(&f, name));
}
