#include "api/api.h"

#include "io/onnx_read.h"
#include "io/onnx_write.h"
#include "ir/clone.h"
#include "ir/text.h"
#include "ir/verify.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAME(name) _Static_assert((int)INFOLD_##name == (int)IFD_##name, "public and internal statuses agree")
SAME(OK);
SAME(DIFFERS);
SAME(USAGE);
SAME(BAD_INPUT);
SAME(IO);
SAME(BAD_FILE);
SAME(BAD_MODEL);
SAME(UNSUPPORTED);
SAME(LIMIT);
SAME(NO_MEMORY);

const char *infold_version(void) { return IFD_VERSION; }
int infold_exit_code(infold_status status) { return ifd_status_exit_code((ifd_status)status); }
void infold_free(void *p) { free(p); }

infold_status ifd_api_report(infold_error *to, const ifd_error *from, const char *file, ifd_status status) {
  if (!to) return (infold_status)status;
  to->status = (infold_status)status;
  to->message[0] = 0;
  if (status != IFD_OK)
    snprintf(to->message, sizeof to->message, "%s%s%s%s", file ? file : "", file ? ": " : "", from->where,
             *from->text ? from->text : ifd_status_text(status));
  return (infold_status)status;
}

ifd_status ifd_api_fail_as(ifd_error *err, const infold_error *from) {
  return ifd_error_set(err, (ifd_status)from->status, "%s", from->message);
}

/* ---- limits ---- */

static ifd_status add_constants(ifd_graph *graph, void *bytes) {
  for (int i = 0; i < graph->constants.n; i++)
    if (graph->constants.v[i]->constant)
      *(size_t *)bytes += ifd_tensor_bytes(graph->constants.v[i]->constant);
  return IFD_OK;
}

size_t ifd_api_memory_limit(size_t asked, const infold_model *model) {
  size_t weights = 0;
  if (asked) return asked;
  if (ifd_graph_visit(model->ir->graph, add_constants, &weights) != IFD_OK || weights > SIZE_MAX / 16)
    return SIZE_MAX / 2;
  return ((size_t)2 << 30) + 8 * weights;
}

ifd_budget ifd_api_limited(size_t asked) { return (ifd_budget){.limit = asked, .of_machine = !asked}; }

ifd_status ifd_api_name_limit(ifd_error *err, ifd_status status, ifd_budget *budget) {
  if (status == IFD_NO_MEMORY && budget->was_exceeded)
    snprintf(err->text, sizeof err->text, "it takes more memory than its limit of %zu bytes",
             ifd_budget_most(budget));
  return status;
}

infold_model *ifd_api_ref(const infold_model *model) {
  infold_model *m = (infold_model *)model;
  atomic_fetch_add(&m->refs, 1);
  return m;
}

void infold_destroy_model(infold_model *model) {
  if (!model || atomic_fetch_sub(&model->refs, 1) != 1) return;
  if (model->ir) ifd_model_destroy(model->ir);
  infold_destroy_model(model->source);
  free(model);
}

static ifd_status create(ifd_error *err, infold_model **out, const ifd_budget *like) {
  infold_model *m = calloc(1, sizeof *m);
  EXPECT(err, m, NO_MEMORY, "out of memory");
  m->refs = 1;
  ifd_budget_limit_like(&m->budget, like);
  *out = m;
  return IFD_OK;
}

/* A caller relies on the declared type of an output. Its shape is a claim that runs may correct. */
static ifd_status check_declared(ifd_error *err, const ifd_graph *graph) {
  for (int i = 0; i < graph->outputs.n; i++) {
    const ifd_type *found = graph->outputs.v[i]->type, *declared = graph->outputs.v[i]->declared;
    bool both = declared && declared->kind == IFD_KIND_TENSOR && found->kind == IFD_KIND_TENSOR;
    if (!both || !declared->dtype || !found->dtype) continue;
    EXPECT(err, declared->dtype == found->dtype, BAD_MODEL,
           "output '%s' is declared as %s, but the graph gives %s", graph->outputs.v[i]->name,
           ifd_dtype_name(declared->dtype), ifd_dtype_name(found->dtype));
  }
  return IFD_OK;
}

/* A model that was read becomes usable once every graph keeps the rules and every type is inferred. */
static ifd_status settle(ifd_error *err, infold_model *m) {
  TRY(ifd_verify_model(err, m->ir));
  TRY(ifd_api_infer(err, m->ir));
  return check_declared(err, m->ir->graph);
}

static infold_status finish(infold_error *to, ifd_error *err, infold_model **out, infold_model *m,
                            const char *path, size_t max_memory, ifd_status status) {
  if (status == IFD_OK) status = settle(err, m);
  if (status == IFD_OK) {
    m->budget.limit = ifd_api_memory_limit(max_memory, m);
    *out = m;
  } else {
    if (m) status = ifd_api_name_limit(err, status, &m->budget);
    infold_destroy_model(m);
  }
  return ifd_api_report(to, err, path, status);
}

/* From a file, or from `len` bytes, whose external data is looked for in a folder. */
static infold_status load(infold_error *to, infold_model **out, const char *path, const void *bytes,
                          size_t len, const char *folder, const infold_load_options *options) {
  IFD_API_COMPUTES;
  ifd_error err = {0};
  infold_model *m = NULL;
  *out = NULL;
  size_t max_memory = options ? options->max_memory : 0;
  ifd_read_options read = {.allow_links = options && options->allow_links, .directory = folder};
  ifd_budget limited = ifd_api_limited(max_memory);
  ifd_status status = create(&err, &m, &limited);
  if (status == IFD_OK)
    status = path ? ifd_onnx_read_file(&err, &m->ir, path, &read, &m->budget)
                  : ifd_onnx_read_memory(&err, &m->ir, bytes, len, &read, &m->budget);
  return finish(to, &err, out, m, path, max_memory, status);
}

infold_status infold_load_model(infold_error *to, infold_model **out, const char *path,
                                const infold_load_options *options) {
  return load(to, out, path, NULL, 0, NULL, options);
}

infold_status infold_load_model_from_memory(infold_error *to, infold_model **out, const void *bytes,
                                            size_t len, const char *folder,
                                            const infold_load_options *options) {
  return load(to, out, NULL, bytes, len, folder, options);
}

infold_status infold_parse_model(infold_error *to, infold_model **out, const char *text, size_t len) {
  IFD_API_COMPUTES;
  ifd_error err = {0};
  infold_model *m = NULL;
  *out = NULL;
  ifd_budget limited = ifd_api_limited(0);
  ifd_status status = create(&err, &m, &limited);
  if (status == IFD_OK) status = ifd_text_parse(&err, &m->ir, text, len, &m->budget);
  return finish(to, &err, out, m, NULL, 0, status);
}

infold_status infold_save_model(infold_error *to, const infold_model *model, const char *path,
                                const char *external_data) {
  ifd_error err = {0};
  ifd_write_options write = {.external_data = external_data};
  return ifd_api_report(to, &err, path, ifd_onnx_write_file(&err, model->ir, path, &write));
}

infold_status infold_save_model_to_memory(infold_error *to, void **bytes, size_t *len,
                                          const infold_model *model) {
  ifd_error err = {0};
  *bytes = NULL;
  *len = 0;
  return ifd_api_report(to, &err, NULL,
                        ifd_onnx_write_memory(&err, bytes, len, model->ir, model->ir->arena.budget));
}

bool ifd_api_has_external_data(const infold_model *model) {
  const char *location;
  const void *data;
  size_t len;
  while (model->source) model = model->source;
  return ifd_onnx_file(model->ir, 1, &location, &data, &len);
}

static ifd_status make_copy(ifd_error *err, infold_model **out, const infold_model *model,
                            const ifd_budget *like, bool spills) {
  infold_model *m;
  TRY(create(err, &m, like));
  m->budget.spills = spills;
  ifd_status status = ifd_model_clone(err, &m->ir, model->ir, &m->budget);
  if (status == IFD_OK) {
    m->source = ifd_api_ref(model);
    *out = m;
  } else
    infold_destroy_model(m);
  return status;
}

ifd_status ifd_api_clone(ifd_error *err, infold_model **out, const infold_model *model,
                         const ifd_budget *like) {
  return make_copy(err, out, model, like, false);
}

ifd_status ifd_api_clone_to_write(ifd_error *err, infold_model **out, const infold_model *model) {
  return make_copy(err, out, model, &model->budget, ifd_api_has_external_data(model));
}
