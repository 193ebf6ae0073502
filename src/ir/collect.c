/* Constants that were replaced leave their data behind in the model's arena, which may be as much as the
 * weights over again with each rewrite. */
#include "ir/ir.h"

#include <stdlib.h>

typedef struct marks {
  ifd_error *err;
  ifd_arena arena;
  IFD_VEC(const char *) used; /* where tensors begin; sorted before it is searched */
} marks;

static ifd_status mark(marks *m, const ifd_tensor *tensors, int n) {
  for (int i = 0; i < n; i++)
    if (ifd_tensor_stored_bytes(&tensors[i]) && tensors[i].data)
      IFD_PUSH(m->err, &m->arena, &m->used, (const char *)tensors[i].data);
  return IFD_OK;
}

static ifd_status mark_attr(marks *m, const ifd_attr *a) {
  bool one = a->type == IFD_ATTR_TENSOR || a->type == IFD_ATTR_SPARSE_TENSOR;
  bool many = a->type == IFD_ATTR_TENSORS || a->type == IFD_ATTR_SPARSE_TENSORS;
  if (a->ref) return IFD_OK;
  return one ? mark(m, a->tensor, 1) : many ? mark(m, a->tensors, a->n) : IFD_OK;
}

static ifd_status mark_graph(ifd_graph *graph, void *context) {
  marks *m = context;
  for (int i = 0; i < graph->constants.n; i++)
    if (graph->constants.v[i]->constant) TRY(mark(m, graph->constants.v[i]->constant, 1));
  IFD_EACH_NODE(node, graph)
  for (int i = 0; i < node->n_attrs; i++) TRY(mark_attr(m, &node->attrs[i]));
  return IFD_OK;
}

static ifd_status mark_model(marks *m, ifd_model *model) {
  TRY(ifd_graph_visit(model->graph, mark_graph, m));
  for (int i = 0; i < model->functions.n; i++) {
    const ifd_function *f = model->functions.v[i];
    TRY(ifd_graph_visit(f->body, mark_graph, m));
    for (int k = 0; k < f->n_defaults; k++) TRY(mark_attr(m, &f->defaults[k]));
  }
  return IFD_OK;
}

static int by_address(const void *a, const void *b) {
  const char *x = *(const char *const *)a, *y = *(const char *const *)b;
  return (x > y) - (x < y);
}

/* Whether a tensor begins in [data, data + size). */
static bool is_used(void *context, const void *data, size_t size) {
  const marks *m = context;
  int low = 0, high = m->used.n;
  while (low < high) {
    int middle = (low + high) / 2;
    if (m->used.v[middle] < (const char *)data)
      low = middle + 1;
    else
      high = middle;
  }
  return low < m->used.n && m->used.v[low] < (const char *)data + size;
}

ifd_status ifd_model_collect(ifd_error *err, ifd_model *model, const ifd_tensor *const *others, int n) {
  marks m = {.err = err};
  ifd_arena_init(&m.arena, NULL);
  ifd_status status = mark_model(&m, model);
  for (int i = 0; i < n && status == IFD_OK; i++)
    if (others[i]) status = mark(&m, others[i], 1);
  if (status == IFD_OK) {
    if (m.used.n) qsort(m.used.v, (size_t)m.used.n, sizeof *m.used.v, by_address);
    ifd_arena_collect(&model->arena, is_used, &m);
  }
  ifd_arena_free(&m.arena);
  return status;
}
