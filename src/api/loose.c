/* Free dimensions of one name that are of several sizes. Exporters give dimensions that differ the name of
 * one another, and runtimes that do not ask run such models; here passes rely on names. Where the inputs of a
 * run contradict them, a second session runs, of the model without them. */
#include "api/api.h"

typedef struct loosening {
  ifd_error *err;
  ifd_model *model;
} loosening;

/* The same type, each free dimension of which is like no other. */
static ifd_status loosen_type(const loosening *l, const ifd_type **t) {
  ifd_dim *dims;
  if (!*t || (*t)->kind != IFD_KIND_TENSOR || !(*t)->has_rank) return IFD_OK;
  ALLOC(l->err, dims, ifd_new_array(&l->model->arena, ifd_dim, (*t)->rank));
  for (int i = 0; i < (*t)->rank; i++)
    dims[i] = ifd_dim_is_number((*t)->dims[i]) ? (*t)->dims[i] : ifd_dim_unknown(l->model->dims);
  ALLOC(l->err, *t, ifd_type_tensor(&l->model->arena, (*t)->dtype, (*t)->rank, dims));
  return IFD_OK;
}

static ifd_status loosen_graph(ifd_graph *graph, void *context) {
  for (int i = 0; i < graph->inputs.n; i++) {
    ifd_value *v = graph->inputs.v[i];
    TRY(loosen_type(context, &v->declared));
    v->type = v->declared ? v->declared : v->type;
  }
  IFD_EACH_NODE(node, graph)
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i]) TRY(loosen_type(context, &node->outputs[i]->declared));
  return IFD_OK;
}

static ifd_status create(ifd_error *err, infold_session *s) {
  infold_session_options options = s->options;
  infold_model *model;
  infold_error failed;
  TRY(ifd_api_clone(err, &model, s->model, s->budget));
  loosening l = {err, model->ir};
  ifd_status status = ifd_graph_visit(model->ir->graph, loosen_graph, &l);
  if (status == IFD_OK) status = ifd_api_infer(err, model->ir);
  options.pool = s->pool;
  if (status == IFD_OK && infold_create_session(&failed, &s->loose, model, &options))
    status = ifd_api_fail_as(err, &failed);
  infold_destroy_model(model);
  return status;
}

ifd_status ifd_api_get_loose(ifd_error *err, infold_session **out, infold_session *s) {
  pthread_mutex_lock(&s->lock);
  ifd_status status = s->loose ? IFD_OK : create(err, s);
  s->runs_loose = status == IFD_OK;
  if (s->loose && s->loose->deadline != s->deadline) s->loose->deadline = s->deadline;
  pthread_mutex_unlock(&s->lock);
  *out = s->loose;
  return status;
}
