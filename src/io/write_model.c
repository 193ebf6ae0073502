
#include "io/write.h"

static const ifd_opset *find_opset(const ifd_opset *opsets, int n, const char *domain) {
  for (int i = 0; i < n; i++)
    if (ifd_domain_equal(opsets[i].domain, domain)) return &opsets[i];
  return NULL;
}

static bool is_imported(Onnx__OperatorSetIdProto **list, size_t n, const char *domain) {
  for (size_t i = 0; i < n; i++)
    if (ifd_domain_equal(list[i]->domain, domain)) return true;
  return false;
}

static ifd_status write_opset(ifd_message_writer *w, Onnx__OperatorSetIdProto **out, const ifd_opset *opset,
                              Onnx__OperatorSetIdProto *origin) {
  *out = origin;
  if (origin && origin->version == opset->version) return IFD_OK;
  ALLOC(w->err, *out, ifd_copy_message(w, &onnx__operator_set_id_proto__descriptor, origin));
  if (!origin) (*out)->domain = (char *)opset->domain;
  (*out)->has_version = true;
  (*out)->version = opset->version;
  return IFD_OK;
}

/* The entries of the origin that still hold, then new ones. Before IR version 3 none had to be there. */
ifd_status ifd_write_opsets(ifd_message_writer *w, Onnx__OperatorSetIdProto ***imports, size_t *n_imports,
                            const ifd_opset *opsets, int n) {
  Onnx__OperatorSetIdProto **list, **old = *imports;
  size_t n_old = *n_imports, k = 0;
  if (w->model->ir_version < 3 && !n_old) return IFD_OK;
  ALLOC(w->err, list, ifd_new_array(w->arena, Onnx__OperatorSetIdProto *, n_old + (size_t)n));
  for (size_t i = 0; i < n_old; i++) {
    const ifd_opset *opset = find_opset(opsets, n, old[i]->domain);
    if (opset) TRY(write_opset(w, &list[k++], opset, old[i]));
  }
  for (int i = 0; i < n; i++)
    if (!is_imported(old, n_old, opsets[i].domain)) TRY(write_opset(w, &list[k++], &opsets[i], NULL));
  *imports = list;
  *n_imports = k;
  return IFD_OK;
}

static ifd_status put_functions(ifd_message_writer *w, Onnx__ModelProto *p) {
  const ifd_model *model = w->model;
  p->n_functions = (size_t)model->functions.n;
  ALLOC(w->err, p->functions, ifd_new_array(w->arena, Onnx__FunctionProto *, p->n_functions));
  for (int i = 0; i < model->functions.n; i++)
    TRY_IN(w->err, ifd_write_function(w, &p->functions[i], model->functions.v[i]), "function '%s'",
           model->functions.v[i]->name);
  return IFD_OK;
}

static void put_header(Onnx__ModelProto *p, const ifd_model *model) {
  if (p->ir_version != model->ir_version) p->has_ir_version = true;
  if (p->model_version != model->model_version) p->has_model_version = true;
  p->ir_version = model->ir_version;
  p->model_version = model->model_version;
  IFD_SET_TEXT(p->producer_name, model->producer_name);
  IFD_SET_TEXT(p->producer_version, model->producer_version);
  IFD_SET_TEXT(p->domain, model->domain);
  IFD_SET_TEXT(p->doc_string, model->doc);
}

ifd_status ifd_write_model(ifd_message_writer *w, Onnx__ModelProto **out) {
  const ifd_model *model = w->model;
  Onnx__ModelProto *p;
  ALLOC(w->err, p, ifd_copy_message(w, &onnx__model_proto__descriptor, model->origin));
  put_header(p, model);
  TRY(ifd_write_opsets(w, &p->opset_import, &p->n_opset_import, model->opsets.v, model->opsets.n));
  TRY(put_functions(w, p));
  TRY(ifd_write_graph(w, &p->graph, model->graph));
  *out = p;
  return IFD_OK;
}
