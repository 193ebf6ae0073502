/* Certificates: what optimizing did and how exact the result is, in a form that others can check.
 * docs/optimizer.md has the fields. */
#include "verify/verify.h"

#include "base/cpu.h"
#include "base/os.h"
#include "base/sha256.h"
#include "inspect/json.h"
#include "io/onnx_read.h"
#include <stdlib.h>
#include <string.h>

/* ---- evidence ---- */

static void hash_datum(ifd_sha256 *h, const ifd_datum *d) {
  const ifd_tensor *t = &d->tensor;
  int32_t form[3] = {(int32_t)d->kind, d->kind == IFD_KIND_TENSOR ? (int32_t)t->dtype : 0,
                     d->list ? d->list->n : 0};
  ifd_sha256_update(h, form, sizeof form);
  for (int i = 0; d->list && i < d->list->n; i++) hash_datum(h, &d->list->items[i]);
  if (d->kind != IFD_KIND_TENSOR) return;
  ifd_sha256_update(h, t->shape.dim, (size_t)t->shape.rank * sizeof *t->shape.dim);
  if (t->dtype != IFD_STRING) {
    ifd_sha256_update(h, t->data, ifd_tensor_bytes(t));
    return;
  }
  const ifd_str *texts = t->data;
  for (int64_t i = 0, n = ifd_tensor_count(t); i < n; i++) {
    ifd_sha256_update(h, &texts[i].len, sizeof texts[i].len);
    ifd_sha256_update(h, texts[i].s, texts[i].len);
  }
}

void ifd_certificate_hash_inputs(infold_value *const *inputs, int n, char text[IFD_SHA256_TEXT]) {
  ifd_sha256 h;
  ifd_sha256_init(&h);
  for (int i = 0; i < n; i++)
    if (inputs[i]) hash_datum(&h, &inputs[i]->datum);
  ifd_sha256_text(&h, text);
}

static json_t *shape_json(const ifd_shape *shape) {
  json_t *list = json_array();
  for (int i = 0; i < shape->rank; i++) json_array_append_new(list, json_integer(shape->dim[i]));
  return list;
}

static json_t *trial_json(const ifd_verifier *v, const ifd_trial *t) {
  const ifd_graph *g = v->a->ir->graph;
  json_t *shapes = json_object();
  for (int i = 0; i < v->n_in; i++)
    if (t->shapes[i].rank >= 0) json_object_set_new(shapes, g->inputs.v[i]->name, shape_json(&t->shapes[i]));
  json_t *run = json_pack("{s:s, s:o}", "fill", t->how, "inputs", shapes);
  if (strcmp(t->how, "given") == 0)
    json_object_update_new(
        run, json_pack("{s:o, s:s}", "from", ifd_json_text(v->options->inputs), "sha256", t->sha256));
  else
    json_object_update_new(run, json_pack("{s:I, s:I, s:I}", "seed", (json_int_t)v->options->seed, "batch",
                                          (json_int_t)t->batch, "other", (json_int_t)t->other));
  return run;
}

static json_t *outputs_json(const ifd_verifier *v) {
  const ifd_graph *g = v->a->ir->graph;
  json_t *list = json_array();
  for (int i = 0; i < v->n_out; i++) {
    const ifd_evidence *e = &v->evidence[i];
    json_array_append_new(list, json_pack("{s:o, s:I, s:o, s:o}", "name",
                                          ifd_json_text(g->outputs.v[i]->name), "elements", (json_int_t)e->n,
                                          "original", ifd_deviation_json(&e->original), "optimized",
                                          ifd_deviation_json(&e->optimized)));
  }
  return list;
}

ifd_status ifd_certificate_evidence(ifd_verifier *v, json_t **out) {
  json_t *runs = json_array();
  for (int i = 0; i < v->n_runs; i++) json_array_append_new(runs, trial_json(v, &v->trials.v[i]));
  ALLOC(v->err, *out,
        json_pack("{s:f, s:o, s:s, s:o}", "tolerance", v->tolerance, "runs", runs, "reference",
                  v->no_wide ? "the original in float32" : "the original in float64", "outputs",
                  outputs_json(v)));
  return IFD_OK;
}

/* ---- files ---- */

static void hash(const void *data, size_t len, char text[IFD_SHA256_TEXT]) {
  ifd_sha256 h;
  ifd_sha256_init(&h);
  ifd_sha256_update(&h, data, len);
  ifd_sha256_text(&h, text);
}

json_t *ifd_certificate_files(const infold_model *model, const char *name) {
  const char *location;
  const void *data;
  size_t len;
  json_t *own = NULL, *external = json_array();
  for (int i = 0; ifd_onnx_file(model->ir, i, &location, &data, &len); i++) {
    char text[IFD_SHA256_TEXT];
    hash(data, len, text);
    json_t *file = json_pack("{s:o, s:I, s:s}", "file", ifd_json_text(location ? location : name), "bytes",
                             (json_int_t)len, "sha256", text);
    if (location)
      json_array_append_new(external, file);
    else
      own = file;
  }
  if (own && json_array_size(external))
    json_object_set_new(own, "external_data", external);
  else
    json_decref(external);
  return own;
}

/* Whoever loaded it: clones have no files of their own. */
static const infold_model *root_of(const infold_model *model) {
  while (model->source) model = model->source;
  return model;
}

/* The folder of a path, resolved, with a slash behind it; NULL where there is none. */
static const char *folder_of(ifd_arena *arena, const char *path) {
  const char *slash = strrchr(path, '/');
  char *given =
      slash ? ifd_arena_strndup(arena, path, (size_t)(slash - path) + 1) : ifd_arena_strdup(arena, ".");
  char *folder = given ? realpath(given, NULL) : NULL;
  bool is_root = folder && !folder[1];
  const char *copy = folder ? ifd_arena_printf(arena, "%s%s", folder, is_root ? "" : "/") : NULL;
  free(folder);
  return copy;
}

/* `path` as seen from the folder of `from`: one ".." for each folder of the latter that the two do not
 * share. */
static ifd_status relative_path(ifd_error *err, ifd_arena *arena, const char **out, const char *path,
                                const char *from) {
  const char *there = folder_of(arena, path), *here = folder_of(arena, from), *slash = strrchr(path, '/');
  EXPECT(err, there && here, IO, "%s: its folder cannot be found", there ? from : path);
  size_t shared = 0;
  for (size_t i = 0; here[i] && here[i] == there[i]; i++)
    if (here[i] == '/') shared = i + 1;
  *out = "";
  for (const char *at = here + shared; *at; at++)
    if (*at == '/') ALLOC(err, *out, ifd_arena_printf(arena, "%s../", *out));
  ALLOC(err, *out, ifd_arena_printf(arena, "%s%s%s", *out, there + shared, slash ? slash + 1 : path));
  return IFD_OK;
}

/* ---- writing ---- */

static json_t *passes_json(const infold_report *report) {
  json_t *passes = json_object();
  for (int i = 0; i < report->passes.counts.n; i++)
    if (report->passes.counts.v[i].rewrites)
      json_object_set_new(passes, report->passes.counts.v[i].pass,
                          json_integer(report->passes.counts.v[i].rewrites));
  return passes;
}

static ifd_status write_json(ifd_error *err, json_t *value, const char *path) {
  char *text = value ? json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
  json_decref(value);
  EXPECT(err, text, NO_MEMORY, "out of memory");
  size_t len = strlen(text);
  text[len] = '\n'; /* in the place of the end */
  ifd_status status = ifd_file_replace(err, path, text, len + 1);
  free(text);
  return status;
}

/* Given inputs, too, are named as seen from the certificate; the report's own evidence stays. */
static ifd_status relocate_inputs(ifd_error *err, ifd_arena *arena, json_t *evidence, const char *path) {
  size_t i;
  json_t *run;
  json_array_foreach(json_object_get(evidence, "runs"), i, run) {
    const char *from = json_string_value(json_object_get(run, "from")), *name;
    if (!from) continue;
    TRY(relative_path(err, arena, &name, from, path));
    json_object_set_new(run, "from", ifd_json_text(name));
  }
  return IFD_OK;
}

static ifd_status write_certificate(ifd_error *err, ifd_arena *arena, const infold_report *report,
                                    json_t *evidence, const char *path, const char *original,
                                    const char *optimized, const infold_model *saved) {
  const char *original_name, *optimized_name;
  TRY(relative_path(err, arena, &original_name, original, path));
  TRY(relative_path(err, arena, &optimized_name, optimized, path));
  TRY(relocate_inputs(err, arena, evidence, path));
  json_t *all =
      json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:I, s:b}", "format", IFD_CERTIFICATE_FORMAT, "infold",
                IFD_VERSION, "cpu", ifd_isa_name(ifd_cpu_isa()), "original",
                ifd_certificate_files(root_of(report->before), original_name), "optimized",
                ifd_certificate_files(saved, optimized_name), "passes", passes_json(report), "rewrites",
                (json_int_t)report->passes.rewrites, "bn_inference", report->bn_inference);
  if (all) json_object_update(all, evidence);
  return write_json(err, all, path);
}

infold_status infold_write_certificate(infold_error *to, const infold_report *report, const char *path,
                                       const char *original, const char *optimized) {
  ifd_error err = {0};
  ifd_arena arena;
  infold_model *saved;
  infold_load_options load = {.allow_links = 1, .max_memory = ifd_budget_most(&report->before->budget)};
  if (!report->evidence)
    return ifd_api_report(to, &err, NULL, ifd_error_set(&err, IFD_USAGE, "the report was not measured"));
  infold_status status = infold_load_model(to, &saved, optimized, &load);
  if (status) return status;
  ifd_arena_init(&arena, NULL);
  json_t *evidence = json_deep_copy(report->evidence);
  ifd_status written =
      evidence ? write_certificate(&err, &arena, report, evidence, path, original, optimized, saved)
               : ifd_error_set(&err, IFD_NO_MEMORY, "out of memory");
  json_decref(evidence);
  ifd_arena_free(&arena);
  infold_destroy_model(saved);
  return ifd_api_report(to, &err, NULL, written);
}
