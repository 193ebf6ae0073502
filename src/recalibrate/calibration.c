#include "recalibrate/calibration.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const ifd_value *input_of(const ifd_calibration *c, int i) {
  return c->reader->model->ir->graph->inputs.v[i];
}

/* ---- batches ---- */

static ifd_status new_values(ifd_calibration *c, infold_value ***out) {
  ALLOC(c->err, *out, ifd_new_array(&c->arena, infold_value *, c->n_inputs + 1));
  return IFD_OK;
}

static ifd_status push(ifd_calibration *c, infold_value *value) {
  IFD_PUSH(c->err, &c->arena, &c->values, value);
  return IFD_OK;
}

/* The value is destroyed with the calibration, or now when that cannot be. */
static ifd_status own(ifd_calibration *c, infold_value *value) {
  ifd_status status = push(c, value);
  if (status != IFD_OK) infold_destroy_value(value);
  return status;
}

static bool counts_samples(const infold_value *v) {
  return v && infold_get_kind(v) == INFOLD_TENSOR && infold_get_rank(v) > 0;
}

/* The first dimension that the model fixes for an input, or 0. */
static int64_t fixed_batch(const ifd_value *input) {
  const ifd_type *t = input->type;
  bool known = t->kind == IFD_KIND_TENSOR && t->has_rank && t->rank > 0 && ifd_dim_is_number(t->dims[0]);
  return known ? t->dims[0] : 0;
}

/* Samples [from, from + n) of a tensor, borrowed. */
static ifd_status slice(ifd_calibration *c, infold_value **out, const infold_value *v, int64_t from,
                        int64_t n) {
  ifd_datum part = {.kind = IFD_KIND_TENSOR, .tensor = v->datum.tensor};
  ifd_tensor *t = &part.tensor;
  t->shape.dim[0] = 1;
  size_t sample = (size_t)ifd_shape_count(&t->shape) * ifd_dtype_size(t->dtype);
  t->shape.dim[0] = n;
  t->data = (char *)t->data + (size_t)from * sample;
  t->buf = NULL;
  TRY(ifd_api_value(c->err, out, &part));
  return own(c, *out);
}

/* Inputs with as many samples as the first one are split, others go whole into each batch. */
static ifd_status split(ifd_calibration *c, infold_value *const *values, int64_t samples, int64_t batch) {
  for (int64_t from = 0; from < samples; from += batch) {
    infold_value **part;
    int64_t n = ifd_min_i64(batch, samples - from);
    TRY(new_values(c, &part));
    for (int i = 0; i < c->n_inputs; i++) {
      bool all = !counts_samples(values[i]) || infold_get_dims(values[i])[0] != samples;
      if (all)
        part[i] = values[i];
      else
        TRY(slice(c, &part[i], values[i], from, n));
    }
    IFD_PUSH(c->err, &c->arena, &c->batches, part);
  }
  c->n_samples += samples;
  return IFD_OK;
}

static ifd_status add_archive(ifd_calibration *c, infold_value *const *values, int64_t batch) {
  int first = 0;
  while (first < c->n_inputs && !counts_samples(values[first])) first++;
  EXPECT(c->err, first < c->n_inputs, BAD_INPUT, "no array has the name of an input with a batch dimension");
  int64_t samples = infold_get_dims(values[first])[0], fixed = fixed_batch(input_of(c, first));
  if (fixed) batch = fixed;
  int64_t rest = fixed ? samples % fixed : 0;
  EXPECT(c->err, samples - rest > 0, BAD_INPUT, "array '%s' has %lld samples; the model takes %lld at a time",
         input_of(c, first)->name, (long long)samples, (long long)batch);
  c->n_left_out += rest;
  if (rest) { /* shortened arrays, so that all are split alike */
    infold_value **fitting;
    TRY(new_values(c, &fitting));
    for (int i = 0; i < c->n_inputs; i++) {
      fitting[i] = values[i];
      if (counts_samples(values[i]) && infold_get_dims(values[i])[0] == samples)
        TRY(slice(c, &fitting[i], values[i], 0, samples - rest));
    }
    values = fitting;
  }
  return split(c, values, samples - rest, batch);
}

/* ---- files ---- */

/* What was read is owned from here on, whether reading went well or not. */
static ifd_status own_all(ifd_calibration *c, infold_value *const *values) {
  ifd_status status = IFD_OK;
  for (int i = 0; i < c->n_inputs; i++) {
    if (values[i] && status == IFD_OK)
      status = own(c, values[i]);
    else
      infold_destroy_value(values[i]);
  }
  return status;
}

static ifd_status read_archive(ifd_calibration *c, const char *path, int64_t batch) {
  infold_value **values;
  TRY(new_values(c, &values));
  ifd_status status = ifd_api_read_among(c->err, values, c->reader, path);
  TRY(own_all(c, values));
  if (status == IFD_OK) status = add_archive(c, values, batch);
  if (status != IFD_OK) ifd_error_add(c->err, "%s", path);
  return status;
}

static ifd_status read_data_set(ifd_calibration *c, const char *path) {
  infold_value **values;
  infold_error e;
  TRY(new_values(c, &values));
  if (infold_read_inputs(&e, values, c->reader, path)) return ifd_api_fail_as(c->err, &e);
  TRY(own_all(c, values));
  IFD_PUSH(c->err, &c->arena, &c->batches, values);
  int first = 0;
  while (first < c->n_inputs && !counts_samples(values[first])) first++;
  c->n_samples += first < c->n_inputs ? infold_get_dims(values[first])[0] : 1;
  return IFD_OK;
}

static bool is_data_set(ifd_arena *arena, const char *path) {
  const char *first = ifd_arena_printf(arena, "%s/input_0.pb", path);
  return first && access(first, F_OK) == 0;
}

static ifd_status read_entry(ifd_calibration *c, const char *folder, const char *name, int64_t batch) {
  const char *path;
  ALLOC(c->err, path, ifd_arena_printf(&c->arena, "%s/%s", folder, name));
  if (ifd_api_ends_with(name, ".npz")) return read_archive(c, path, batch);
  return is_data_set(&c->arena, path) ? read_data_set(c, path) : IFD_OK;
}

/* Entries by name, numbers in them as numbers: test_data_set_2 before test_data_set_10. */
static ifd_status read_folder(ifd_calibration *c, const char *folder, int64_t batch) {
  struct dirent **entries;
  if (is_data_set(&c->arena, folder)) return read_data_set(c, folder);
  int n = scandir(folder, &entries, NULL, versionsort);
  EXPECT(c->err, n >= 0, IO, "%s: %s", folder, strerror(errno));
  ifd_status status = IFD_OK;
  for (int i = 0; i < n; i++) {
    if (status == IFD_OK) status = read_entry(c, folder, entries[i]->d_name, batch);
    free(entries[i]);
  }
  free(entries);
  TRY(status);
  EXPECT(c->err, c->batches.n, BAD_INPUT, "%s: there is no .npz file and no folder of input_0.pb", folder);
  return IFD_OK;
}

static ifd_status open_reader(ifd_calibration *c, const infold_model *model) {
  infold_session_options options = {.threads = 1, .reference = true};
  infold_error e;
  if (infold_create_session(&e, &c->reader, model, &options)) return ifd_api_fail_as(c->err, &e);
  c->n_inputs = infold_get_n_inputs(c->reader);
  return IFD_OK;
}

ifd_status ifd_calibration_read(ifd_error *err, ifd_calibration *c, const infold_model *model,
                                const char *path, int64_t batch) {
  struct stat info;
  *c = (ifd_calibration){.err = err};
  ifd_arena_init(&c->arena, NULL);
  TRY(open_reader(c, model));
  EXPECT(err, stat(path, &info) == 0, IO, "%s: %s", path, strerror(errno));
  return S_ISDIR(info.st_mode) ? read_folder(c, path, batch) : read_archive(c, path, batch);
}

void ifd_calibration_destroy(ifd_calibration *c) {
  ifd_api_drop_values(c->values.v, c->values.n);
  infold_destroy_session(c->reader);
  ifd_arena_free(&c->arena);
}
