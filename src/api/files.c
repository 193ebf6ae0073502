/* Inputs and outputs in files. */
#include "api/api.h"

#include "base/splitmix.h"
#include "io/npy.h"
#include "io/tensor_pb.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_LEN = 4096 };

static const ifd_graph *graph_of(const infold_session *s) { return s->model->ir->graph; }

bool ifd_api_ends_with(const char *text, const char *end) {
  size_t n = strlen(text), m = strlen(end);
  return n >= m && strcmp(text + n - m, end) == 0;
}

static ifd_status join(ifd_error *err, char *out, const char *folder, const char *kind, int i) {
  int n = snprintf(out, PATH_LEN, "%s/%s_%d.pb", folder, kind, i);
  EXPECT(err, n > 0 && n < PATH_LEN, USAGE, "the path is longer than %d bytes", PATH_LEN);
  return IFD_OK;
}

/* ---- one value ---- */

static ifd_status read_value(ifd_error *err, infold_value **out, const char *path, const infold_session *s,
                             int input) {
  ifd_datum d = {0};
  EXPECT(err, input >= 0 && input < graph_of(s)->inputs.n, USAGE, "the model has no input %d", input);
  const ifd_type *t = graph_of(s)->inputs.v[input]->type;
  if (ifd_api_ends_with(path, ".npz")) return ifd_api_read_from_archive(err, out, s, path, input);
  if (ifd_api_ends_with(path, ".npy")) {
    d.kind = IFD_KIND_TENSOR;
    TRY(ifd_npy_read_file(err, &d.tensor, path, t->kind == IFD_KIND_TENSOR ? t->dtype : IFD_UNDEFINED, NULL));
  } else
    TRY(ifd_pb_read_file(err, &d, path, t, NULL));
  return ifd_api_value(err, out, &d);
}

infold_status infold_read_value(infold_error *to, infold_value **out, const char *path,
                                const infold_session *session, int input) {
  ifd_error err = {0};
  *out = NULL;
  return ifd_api_report(to, &err, path, read_value(&err, out, path, session, input));
}

/* ---- made values ---- */

static void fill_random(ifd_tensor *t, uint64_t seed) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
  for (int64_t i = 0, n = ifd_tensor_count(t); i < n; i++) {
    uint64_t r = ifd_splitmix_next(&seed);
    if (t->dtype == IFD_STRING)
      ((ifd_str *)t->data)[i] = (ifd_str){letters + r % 26, 1};
    else if (t->dtype == IFD_BOOL)
      ifd_tensor_set_i64(t, i, (int64_t)(r >> 63));
    else if (ifd_dtype_is_integer(t->dtype))
      ifd_tensor_set_i64(t, i, (int64_t)(r >> 62));
    else
      ifd_tensor_set_f64(t, i, (double)(int64_t)r * 0x1p-63);
  }
}

ifd_status ifd_api_make_tensor(ifd_error *err, ifd_datum *out, ifd_dtype dtype, const ifd_shape *shape,
                               const char *how, uint64_t seed, size_t limit) {
  bool random = strcmp(how, "random") == 0;
  EXPECT(err, random || strcmp(how, "zeros") == 0, USAGE, "values are 'random' or 'zeros', not '%s'", how);
  TRY(ifd_shape_check(err, shape, ifd_dtype_size(dtype)));
  size_t bytes = (size_t)ifd_shape_count(shape) * ifd_dtype_size(dtype);
  EXPECT(err, bytes <= limit, LIMIT, "made values of %zu bytes take more than the limit of %zu", bytes,
         limit);
  *out = (ifd_datum){.kind = IFD_KIND_TENSOR};
  TRY(ifd_tensor_create(err, &out->tensor, NULL, dtype, shape));
  if (random)
    fill_random(&out->tensor, seed);
  else if (ifd_tensor_bytes(&out->tensor))
    memset(out->tensor.data, 0, ifd_tensor_bytes(&out->tensor));
  return IFD_OK;
}

static bool is_batch_symbol(const ifd_graph *g, ifd_dim d) {
  for (int i = 0; i < g->inputs.n; i++) {
    const ifd_type *t = g->inputs.v[i]->type;
    if (t->kind == IFD_KIND_TENSOR && t->has_rank && t->rank && t->dims[0] == d) return true;
  }
  return false;
}

bool ifd_api_is_batch(const ifd_model *model, const ifd_type *t, int k) {
  if (is_batch_symbol(model->graph, t->dims[k])) return true;
  if (k != 1 || !ifd_dim_is_number(t->dims[0]) || ifd_dim_name(model->dims, t->dims[1])) return false;
  for (int i = 2; i < t->rank; i++)
    if (!ifd_dim_is_number(t->dims[i])) return false;
  return true;
}

static ifd_status make_of_type(ifd_error *err, ifd_datum *out, const infold_session *s, int input,
                               const char *how, uint64_t seed, int64_t batch, int64_t size) {
  const ifd_value *v = graph_of(s)->inputs.v[input];
  const ifd_type *t = v->type;
  ifd_shape shape = {.rank = t->rank};
  if (t->kind == IFD_KIND_OPTIONAL || t->kind == IFD_KIND_SEQUENCE) {
    *out = (ifd_datum){.kind = t->kind, .elem_kind = t->elem ? t->elem->kind : IFD_KIND_UNKNOWN};
    if (t->elem && t->elem->kind == IFD_KIND_TENSOR) out->elem = t->elem->dtype;
    return IFD_OK;
  }
  EXPECT(err, t->kind == IFD_KIND_TENSOR && t->dtype && t->has_rank && t->rank <= IFD_MAX_RANK, BAD_INPUT,
         "input '%s' (%s) has no known element type and rank: it must be given", v->name,
         s->input_types[input]);
  for (int i = 0; i < t->rank; i++)
    shape.dim[i] = ifd_dim_is_number(t->dims[i])          ? t->dims[i]
                   : ifd_api_is_batch(s->model->ir, t, i) ? batch
                                                          : size;
  return ifd_api_make_tensor(err, out, t->dtype, &shape, how, seed, ifd_api_input_limit(s));
}

static ifd_status make_value(ifd_error *err, infold_value **out, const infold_session *s, int input,
                             const char *how, uint64_t seed, int64_t batch, int64_t size) {
  ifd_datum d = {0};
  EXPECT(err, input >= 0 && input < graph_of(s)->inputs.n, USAGE, "the model has no input %d", input);
  TRY(make_of_type(err, &d, s, input, how, seed, batch, size));
  return ifd_api_value(err, out, &d);
}

infold_status infold_make_value(infold_error *to, infold_value **out, const infold_session *session,
                                int input, const char *how, uint64_t seed, int64_t batch, int64_t size) {
  IFD_API_COMPUTES;
  ifd_error err = {0};
  *out = NULL;
  return ifd_api_report(to, &err, NULL, make_value(&err, out, session, input, how, seed, batch, size));
}

/* ---- folders ---- */

/* How many files input_0.pb, input_1.pb … there are without a gap. */
static ifd_status count_files(ifd_error *err, int *out, const char *folder) {
  char path[PATH_LEN];
  for (*out = 0;; ++*out) {
    TRY(join(err, path, folder, "input", *out));
    if (access(path, F_OK) != 0) return IFD_OK;
  }
}

/* The files are the graph's inputs in order. When there are fewer files than inputs, those that initializers
 * back are left out (ONNX's own test data does so for files of IR 3). */
static ifd_status read_folder(ifd_error *err, infold_value **values, const infold_session *s,
                              const char *folder) {
  const ifd_graph *g = graph_of(s);
  char path[PATH_LEN];
  int n, k = 0;
  TRY(count_files(err, &n, folder));
  EXPECT(err, n || !g->inputs.n, BAD_INPUT, "there is no input_0.pb");
  bool skip = g->inputs.n > n;
  for (int i = 0; i < g->inputs.n && k < n; i++) {
    if (skip && g->inputs.v[i]->is_initializer) continue;
    TRY(join(err, path, folder, "input", k++));
    ifd_status status = read_value(err, &values[i], path, s, i);
    if (status != IFD_OK) ifd_error_add(err, "%s", strrchr(path, '/') + 1);
    TRY(status);
  }
  EXPECT(err, k == n, BAD_INPUT, "there are %d inputs; the model takes %d", n, k);
  return IFD_OK;
}

static ifd_status read_inputs(ifd_error *err, infold_value **values, const infold_session *s,
                              const char *path) {
  struct stat info;
  EXPECT(err, stat(path, &info) == 0, IO, "%s", strerror(errno));
  return S_ISDIR(info.st_mode) ? read_folder(err, values, s, path)
                               : ifd_api_read_archive(err, values, s, path);
}

infold_status infold_read_inputs(infold_error *to, infold_value **values, const infold_session *session,
                                 const char *path) {
  ifd_error err = {0};
  int n = graph_of(session)->inputs.n;
  memset(values, 0, (size_t)n * sizeof *values);
  ifd_status status = read_inputs(&err, values, session, path);
  if (status != IFD_OK) ifd_api_drop_values(values, n);
  return ifd_api_report(to, &err, path, status);
}

/* Files are made in a folder beside their places and moved there when all are whole. */
static ifd_status write_all(ifd_error *err, infold_value *const *values, const infold_session *s,
                            const char *folder) {
  const ifd_graph *g = graph_of(s);
  char path[PATH_LEN];
  for (int i = 0; i < g->outputs.n; i++) {
    if (!values[i]) continue;
    TRY(join(err, path, folder, "output", i));
    TRY(ifd_pb_write_file(err, path, &values[i]->datum, g->outputs.v[i]->type, g->outputs.v[i]->name));
  }
  return IFD_OK;
}

static ifd_status move_all(ifd_error *err, infold_value *const *values, int n, const char *from,
                           const char *to) {
  char source[PATH_LEN], target[PATH_LEN];
  for (int i = 0; i < n; i++) {
    if (!values[i]) continue;
    TRY(join(err, source, from, "output", i));
    TRY(join(err, target, to, "output", i));
    EXPECT(err, rename(source, target) == 0, IO, "%s: %s", target, strerror(errno));
  }
  return IFD_OK;
}

static void remove_folder(const char *folder, int n) {
  char path[PATH_LEN];
  ifd_error ignored = {0};
  for (int i = 0; i < n; i++)
    if (join(&ignored, path, folder, "output", i) == IFD_OK) unlink(path);
  rmdir(folder);
}

static ifd_status write_folder(ifd_error *err, infold_value *const *values, const infold_session *s,
                               const char *folder) {
  char making[PATH_LEN];
  int n = graph_of(s)->outputs.n;
  EXPECT(err, snprintf(making, sizeof making, "%s/.infold-XXXXXX", folder) < PATH_LEN - 64, USAGE,
         "the path is too long");
  bool made = mkdir(folder, 0777) == 0;
  EXPECT(err, made || errno == EEXIST, IO, "%s", strerror(errno));
  ifd_status status = IFD_OK;
  if (!mkdtemp(making))
    status = ifd_error_set(err, IFD_IO, "%s", strerror(errno));
  else {
    status = write_all(err, values, s, making);
    if (status == IFD_OK) status = move_all(err, values, n, making, folder);
    remove_folder(making, n);
  }
  if (status != IFD_OK && made) rmdir(folder);
  return status;
}

infold_status infold_write_outputs(infold_error *to, infold_value *const *values,
                                   const infold_session *session, const char *path) {
  ifd_error err = {0};
  ifd_status status = ifd_api_ends_with(path, ".npz") ? ifd_api_write_archive(&err, values, session, path)
                                                      : write_folder(&err, values, session, path);
  return ifd_api_report(to, &err, path, status);
}
