/* Checking a certificate: the files first, then every run again. */
#include "verify/verify.h"

#include "base/os.h"
#include "inspect/table.h"
#include <errno.h>
#include <math.h>
#include <string.h>

typedef struct check {
  ifd_error *err;
  ifd_arena arena;
  const char *path; /* of the certificate */
  json_t *all;
  infold_model *original, *optimized;
  infold_model *untrained; /* what stands for the original, with --bn-inference */
  infold_verify_options options;
  ifd_verifier v;
} check;

/* ---- reading ---- */

static ifd_status get(check *c, json_t **out, json_t *from, const char *key, json_type type) {
  static const char *const types[] = {[JSON_OBJECT] = "an object",
                                      [JSON_ARRAY] = "a list",
                                      [JSON_STRING] = "a text",
                                      [JSON_INTEGER] = "a whole number"};
  *out = json_object_get(from, key);
  EXPECT(c->err, *out && json_typeof(*out) == type, BAD_FILE, "'%s' is not %s", key, types[type]);
  return IFD_OK;
}

static ifd_status get_text(check *c, const char **out, json_t *from, const char *key) {
  json_t *text;
  TRY(get(c, &text, from, key, JSON_STRING));
  *out = json_string_value(text);
  return IFD_OK;
}

static ifd_status get_number(check *c, int64_t *out, json_t *from, const char *key) {
  json_t *number;
  TRY(get(c, &number, from, key, JSON_INTEGER));
  *out = json_integer_value(number);
  return IFD_OK;
}

static ifd_status read_certificate(check *c) {
  json_error_t e;
  const char *format;
  c->all = json_load_file(c->path, 0, &e);
  EXPECT(c->err, c->all || json_error_code(&e) != json_error_cannot_open_file, IO, "%s", strerror(errno));
  EXPECT(c->err, c->all, BAD_FILE, "no certificate: line %d: %s", e.line, e.text);
  TRY(get_text(c, &format, c->all, "format"));
  EXPECT(c->err, strcmp(format, IFD_CERTIFICATE_FORMAT) == 0, UNSUPPORTED, "its format is '%s', not '%s'",
         format, IFD_CERTIFICATE_FORMAT);
  return IFD_OK;
}

/* A path that the certificate has is seen from its folder. */
static ifd_status resolve(check *c, const char **out, const char *name) {
  const char *slash = strrchr(c->path, '/');
  int folder = slash && *name != '/' ? (int)(slash - c->path) + 1 : 0;
  ALLOC(c->err, *out, ifd_arena_printf(&c->arena, "%.*s%s", folder, c->path, name));
  return IFD_OK;
}

/* ---- files ---- */

static ifd_status check_file(check *c, json_t *said, json_t *found, const char *which) {
  const char *hash, *name, *found_hash = json_string_value(json_object_get(found, "sha256"));
  TRY(get_text(c, &name, said, "file"));
  TRY(get_text(c, &hash, said, "sha256"));
  EXPECT(c->err, strcmp(hash, found_hash) == 0, DIFFERS,
         "%s '%s' is another file: its SHA-256 is %s, the certificate says %s", which, name, found_hash,
         hash);
  return IFD_OK;
}

/* What does not even load is another file, most of all. */
static ifd_status check_unread(check *c, json_t *said, const char *path, const char *which) {
  ifd_file file;
  char hash[IFD_SHA256_TEXT];
  ifd_sha256 h;
  ifd_status status = ifd_file_map(c->err, &file, path);
  if (status != IFD_OK) ifd_error_add(c->err, "%s", path);
  TRY(status);
  ifd_sha256_init(&h);
  ifd_sha256_update(&h, file.data, file.size);
  ifd_sha256_text(&h, hash);
  ifd_file_unmap(&file);
  json_t *found = json_pack("{s:s}", "sha256", hash);
  EXPECT(c->err, found, NO_MEMORY, "out of memory");
  status = check_file(c, said, found, which);
  json_decref(found);
  return status;
}

static ifd_status check_files(check *c, json_t *said, json_t *found, const char *which) {
  json_t *external = json_object_get(said, "external_data"), *now = json_object_get(found, "external_data");
  size_t n = json_array_size(external);
  TRY(check_file(c, said, found, which));
  EXPECT(c->err, n == json_array_size(now), DIFFERS,
         "%s has %zu files of external data, the certificate says %zu", which, json_array_size(now), n);
  for (size_t i = 0; i < n; i++)
    TRY(check_file(c, json_array_get(external, i), json_array_get(now, i), "external data"));
  return IFD_OK;
}

static ifd_status open_model(check *c, infold_model **out, const char *key, const char *given) {
  infold_error e;
  infold_load_options load = {.allow_links = 1, .max_memory = c->options.max_memory};
  json_t *said;
  const char *path = given;
  TRY(get(c, &said, c->all, key, JSON_OBJECT));
  if (!given) {
    TRY(get_text(c, &path, said, "file"));
    TRY(resolve(c, &path, path));
  }
  if (infold_load_model(&e, out, path, &load)) {
    TRY(check_unread(c, said, path, key));
    return ifd_api_fail_as(c->err, &e);
  }
  json_t *found = ifd_certificate_files(*out, path);
  EXPECT(c->err, found, NO_MEMORY, "out of memory");
  ifd_status status = check_files(c, said, found, key);
  json_decref(found);
  return status;
}

static ifd_status open_models(check *c, const char *original, const char *optimized) {
  ifd_optimize_report report = {0};
  TRY(open_model(c, &c->original, "original", original));
  TRY(open_model(c, &c->optimized, "optimized", optimized));
  if (!json_is_true(json_object_get(c->all, "bn_inference"))) return IFD_OK;
  ifd_arena_init(&report.arena, NULL);
  ifd_status status = ifd_api_untrain(c->err, &c->untrained, &report, c->original);
  ifd_arena_free(&report.arena);
  return status;
}

/* ---- runs ---- */

static ifd_status read_shape(check *c, ifd_shape *out, json_t *list, const char *input) {
  size_t n = json_array_size(list);
  out->rank = -1;
  if (!list) return IFD_OK;
  EXPECT(c->err, json_is_array(list) && n <= IFD_MAX_RANK, BAD_FILE, "the shape of input '%s' is none",
         input);
  out->rank = (int)n;
  for (size_t i = 0; i < n; i++) {
    json_t *dim = json_array_get(list, i);
    EXPECT(c->err, json_is_integer(dim) && json_integer_value(dim) >= 0, BAD_FILE,
           "the shape of input '%s' has no number at %zu", input, i);
    out->dim[i] = json_integer_value(dim);
  }
  return IFD_OK;
}

static ifd_status read_shapes(check *c, ifd_trial *trial, json_t *run) {
  const ifd_graph *g = c->v.a->ir->graph;
  json_t *inputs;
  ifd_shape *shapes;
  TRY(get(c, &inputs, run, "inputs", JSON_OBJECT));
  ALLOC(c->err, shapes, ifd_new_array(&c->arena, ifd_shape, c->v.n_in));
  for (int i = 0; i < c->v.n_in; i++) {
    const char *name = g->inputs.v[i]->name;
    const ifd_type *t = g->inputs.v[i]->type;
    TRY(read_shape(c, &shapes[i], json_object_get(inputs, name), name));
    EXPECT(c->err,
           shapes[i].rank >= 0 || t->kind != IFD_KIND_TENSOR || infold_input_has_default(c->v.run_a, i),
           BAD_FILE, "the shape of input '%s' is missing", name);
  }
  trial->shapes = shapes;
  return IFD_OK;
}

static ifd_status run_given(check *c, json_t *run, bool *ran, infold_error *e) {
  static const ifd_trial given = {.how = "given"};
  char found[IFD_SHA256_TEXT];
  const char *from, *hash;
  TRY(get_text(c, &from, run, "from"));
  TRY(get_text(c, &hash, run, "sha256"));
  TRY(resolve(c, &from, from));
  if (infold_read_inputs(e, c->v.inputs, c->v.run_a, from)) return ifd_api_fail_as(c->err, e);
  ifd_certificate_hash_inputs(c->v.inputs, c->v.n_in, found);
  EXPECT(c->err, strcmp(found, hash) == 0, DIFFERS,
         "the inputs in '%s' are others: their SHA-256 is %s, not %s", from, found, hash);
  return ifd_verifier_try(&c->v, &given, ran, e);
}

static ifd_status run_made(check *c, json_t *run, const char *fill, bool *ran, infold_error *e) {
  ifd_trial trial = {.how = fill};
  int64_t seed;
  TRY(get_number(c, &seed, run, "seed"));
  TRY(get_number(c, &trial.batch, run, "batch"));
  TRY(get_number(c, &trial.other, run, "other"));
  EXPECT(c->err, strcmp(fill, "random") == 0 || strcmp(fill, "zeros") == 0, BAD_FILE,
         "inputs are filled with 'random' or 'zeros', not '%s'", fill);
  c->options.seed = (uint64_t)seed;
  TRY(read_shapes(c, &trial, run));
  return ifd_trial_run(&c->v, &trial, ran, e);
}

static ifd_status run_again(check *c) {
  json_t *runs;
  TRY(get(c, &runs, c->all, "runs", JSON_ARRAY));
  EXPECT(c->err, json_array_size(runs), BAD_FILE, "it has no run");
  for (size_t i = 0; i < json_array_size(runs); i++) {
    json_t *run = json_array_get(runs, i);
    const char *fill;
    infold_error e;
    bool ran;
    TRY(get_text(c, &fill, run, "fill"));
    TRY(strcmp(fill, "given") == 0 ? run_given(c, run, &ran, &e) : run_made(c, run, fill, &ran, &e));
    if (!ran) return ifd_api_fail_as(c->err, &e);
  }
  return ifd_verifier_compare(&c->v);
}

/* ---- errors ---- */

/* The same bits everywhere give the same errors; they were written with 17 digits. */
static bool agrees(json_t *said, double found) {
  if (json_is_null(said)) return !isfinite(found);
  return json_is_number(said) && fabs(json_number_value(said) - found) <= 1e-9 * fabs(found);
}

static ifd_status check_deviation(check *c, const char *output, json_t *row, const char *which,
                                  const ifd_deviation *found) {
  const struct {
    const char *name;
    double found;
  } parts[] = {{"absolute", found->absolute}, {"relative", found->relative}, {"ulp", found->ulp}};
  json_t *said;
  TRY(get(c, &said, row, which, JSON_OBJECT));
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    json_t *number = json_object_get(said, parts[i].name);
    EXPECT(c->err, agrees(number, parts[i].found), DIFFERS,
           "output '%s': the %s error of the %s model is %.9g, the certificate says %.9g", output,
           parts[i].name, which, parts[i].found, json_number_value(number));
  }
  return IFD_OK;
}

static ifd_status check_outputs(check *c) {
  const ifd_graph *g = c->v.a->ir->graph;
  json_t *rows;
  EXPECT(c->err, !c->v.late, LIMIT, "time was up before all was run again");
  TRY(get(c, &rows, c->all, "outputs", JSON_ARRAY));
  EXPECT(c->err, (int)json_array_size(rows) == c->v.n_out, DIFFERS,
         "the model has %d outputs, the certificate says %zu", c->v.n_out, json_array_size(rows));
  for (int i = 0; i < c->v.n_out; i++) {
    json_t *row = json_array_get(rows, (size_t)i);
    const char *name;
    TRY(get_text(c, &name, row, "name"));
    EXPECT(c->err, strcmp(name, g->outputs.v[i]->name) == 0, DIFFERS,
           "output %d is '%s', the certificate says '%s'", i, g->outputs.v[i]->name, name);
    TRY(check_deviation(c, name, row, "original", &c->v.evidence[i].original));
    TRY(check_deviation(c, name, row, "optimized", &c->v.evidence[i].optimized));
  }
  return IFD_OK;
}

/* ---- what was found ---- */

static ifd_status print_outputs(check *c, FILE *to) {
  static const ifd_column columns[] = {
      {"Output", .flexible = true},  {"Elements", .right = true},   {"Absolute", .right = true},
      {"(original)", .right = true}, {"Relative", .right = true},   {"(original)", .right = true},
      {"ULP", .right = true},        {"(original)", .right = true}, {0}};
  const ifd_graph *g = c->v.a->ir->graph;
  ifd_table table;
  ifd_table_init(&table, c->err, &c->arena, columns);
  for (int i = 0; i < c->v.n_out; i++) {
    const ifd_evidence *e = &c->v.evidence[i];
    const double numbers[6] = {e->optimized.absolute, e->original.absolute, e->optimized.relative,
                               e->original.relative,  e->optimized.ulp,     e->original.ulp};
    const char *cells[8] = {g->outputs.v[i]->name, ifd_text_count(&c->arena, (double)e->n)};
    for (int k = 0; k < 6; k++) cells[2 + k] = ifd_arena_printf(&c->arena, "%.3g", numbers[k]);
    TRY(ifd_table_add(&table, cells));
  }
  ifd_table_print(&table, to, 0);
  fprintf(to, "\nthe files are those of the certificate, and its errors came out again in %d run%s\n",
          c->v.n_runs, c->v.n_runs == 1 ? "" : "s");
  return IFD_OK;
}

static ifd_status print(check *c, char **out) {
  size_t len;
  if (!out) return IFD_OK;
  FILE *f = open_memstream(out, &len);
  ifd_status status = f ? print_outputs(c, f) : IFD_OK;
  return ifd_api_text_end(c->err, f, out, status);
}

static ifd_status run_check(check *c, char **out, const char *original, const char *optimized) {
  TRY(read_certificate(c));
  TRY(open_models(c, original, optimized));
  c->options.tolerance = json_number_value(json_object_get(c->all, "tolerance"));
  TRY(ifd_verifier_begin(&c->v, c->err, c->untrained ? c->untrained : c->original, c->optimized,
                         &c->options));
  TRY(run_again(c));
  TRY(check_outputs(c));
  return print(c, out);
}

infold_status infold_verify_certificate(infold_error *to, char **out, const char *path, const char *original,
                                        const char *optimized, const infold_verify_options *options) {
  IFD_API_COMPUTES;
  ifd_error err = {0};
  check c = {.err = &err, .path = path};
  if (options) c.options = *options;
  c.options.measure = 1;
  if (out) *out = NULL;
  ifd_arena_init(&c.arena, NULL);
  ifd_status status = run_check(&c, out, original, optimized);
  ifd_verifier_end(&c.v);
  json_decref(c.all);
  infold_destroy_model(c.untrained);
  infold_destroy_model(c.original);
  infold_destroy_model(c.optimized);
  ifd_arena_free(&c.arena);
  return ifd_api_report(to, &err, NULL, status);
}
