#include "io/onnx_write.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/write.h"

/* Bytes that a place in external data starts at a multiple of, and those of a tensor that is worth one. */
enum { PAGE = 4096, SMALLEST = 1024 };

/* ---- moving initializers into and out of the message ---- */

static size_t payload_size(const ifd_tensor *t) { return ifd_packed_bytes(t->dtype, ifd_tensor_count(t)); }

/* The tensor without its elements, or NULL when out of memory. */
static Onnx__TensorProto *copy_empty(ifd_message_writer *w, const Onnx__TensorProto *p) {
  Onnx__TensorProto *copy = ifd_copy_message(w, &onnx__tensor_proto__descriptor, p);
  if (!copy) return NULL;
  copy->has_raw_data = copy->has_data_location = false;
  copy->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT;
  copy->n_float_data = copy->n_int32_data = copy->n_int64_data = copy->n_double_data = 0;
  copy->n_uint64_data = copy->n_external_data = 0;
  return copy;
}

static ifd_status move_in(ifd_message_writer *w, const ifd_payload *payload) {
  Onnx__TensorProto *p;
  ALLOC(w->err, p, copy_empty(w, *payload->place));
  p->has_raw_data = true;
  TRY(ifd_write_bytes(w, &p->raw_data, payload->tensor));
  *payload->place = p;
  return IFD_OK;
}

static ifd_status add_entry(ifd_message_writer *w, Onnx__TensorProto *p, const char *key, const char *value) {
  Onnx__StringStringEntryProto *entry;
  ALLOC(w->err, entry, ifd_copy_message(w, &onnx__string_string_entry_proto__descriptor, NULL));
  entry->key = (char *)key;
  entry->value = (char *)value;
  p->external_data[p->n_external_data++] = entry;
  return IFD_OK;
}

/* The tensor's place is [offset, offset + length) of the file at location. */
static ifd_status move_out(ifd_message_writer *w, const ifd_payload *payload, const char *location,
                           size_t offset) {
  Onnx__TensorProto *p;
  const char *at, *length;
  ALLOC(w->err, p, copy_empty(w, *payload->place));
  p->has_data_location = true;
  p->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
  ALLOC(w->err, at, ifd_arena_printf(w->arena, "%zu", offset));
  ALLOC(w->err, length, ifd_arena_printf(w->arena, "%zu", payload_size(payload->tensor)));
  ALLOC(w->err, p->external_data, ifd_new_array(w->arena, Onnx__StringStringEntryProto *, 3));
  TRY(add_entry(w, p, "location", location));
  TRY(add_entry(w, p, "offset", at));
  TRY(add_entry(w, p, "length", length));
  *payload->place = p;
  return IFD_OK;
}

/* ---- the plan of what goes where ---- */

typedef struct plan {
  ifd_message_writer *w;
  Onnx__ModelProto *proto;
  bool all;             /* every initializer that is large enough goes out */
  const char *location; /* of the file for external data */
  size_t size;          /* of that file */
  IFD_VEC(const ifd_tensor *) moved;
  IFD_VEC(size_t) offsets;
} plan;

static ifd_status place_outside(plan *x, const ifd_payload *payload) {
  ifd_message_writer *w = x->w;
  size_t offset = (x->size + PAGE - 1) / PAGE * PAGE;
  TRY(move_out(w, payload, x->location, offset));
  x->size = offset + payload_size(payload->tensor);
  IFD_PUSH(w->err, w->arena, &x->moved, payload->tensor);
  IFD_PUSH(w->err, w->arena, &x->offsets, offset);
  return IFD_OK;
}

static ifd_status place_payloads(plan *x) {
  ifd_message_writer *w = x->w;
  for (int i = 0; i < w->payloads.n; i++) {
    const ifd_payload *payload = &w->payloads.v[i];
    bool is_outside = ifd_is_external(*payload->place);
    bool is_large = payload_size(payload->tensor) >= SMALLEST;
    if (x->location && is_large && (x->all || (w->elsewhere && is_outside)))
      TRY(place_outside(x, payload));
    else if (w->elsewhere && is_outside)
      TRY(move_in(w, payload));
  }
  return IFD_OK;
}

static ifd_status make_plan(plan *x) {
  TRY(ifd_write_model(x->w, &x->proto));
  return place_payloads(x);
}

static size_t message_size(const plan *x) { return protobuf_c_message_get_packed_size(&x->proto->base); }

/* ---- files ---- */

static ifd_status append_zeros(ifd_error *err, ifd_writer *file, size_t n) {
  static const char zeros[PAGE];
  for (size_t step; n; n -= step) {
    step = n < PAGE ? n : PAGE;
    TRY(ifd_writer_append(err, file, zeros, step));
  }
  return IFD_OK;
}

static ifd_status append_payloads(plan *x, ifd_writer *file) {
  ifd_message_writer *w = x->w;
  for (int i = 0; i < x->moved.n; i++) {
    ProtobufCBinaryData bytes;
    TRY(append_zeros(w->err, file, x->offsets.v[i] - ifd_writer_size(file)));
    TRY(ifd_write_bytes(w, &bytes, x->moved.v[i]));
    TRY(ifd_writer_append(w->err, file, bytes.data, bytes.len));
  }
  return IFD_OK;
}

/* "a/b.onnx" and "c" to "a/c". */
static ifd_status beside(ifd_message_writer *w, const char **out, const char *path, const char *location) {
  const char *slash = strrchr(path, '/');
  int folder = slash ? (int)(slash - path) + 1 : 0;
  ALLOC(w->err, *out, ifd_arena_printf(w->arena, "%.*s%s", folder, path, location));
  return IFD_OK;
}

static ifd_status write_data_file(plan *x, const char *path) {
  ifd_error *err = x->w->err;
  ifd_writer *file;
  const char *data_path;
  TRY(beside(x->w, &data_path, path, x->location));
  TRY(ifd_writer_begin(err, &file, data_path));
  return ifd_finish_file(err, file, append_payloads(x, file));
}

/* The model is the last to appear: until then the old one is there. */
static ifd_status write_files(plan *x, const char *path) {
  ifd_error *err = x->w->err;
  ifd_writer *file;
  TRY(ifd_writer_begin(err, &file, path));
  ifd_status status = ifd_write_message(err, file, &x->proto->base);
  if (status == IFD_OK && x->moved.n) status = write_data_file(x, path);
  return ifd_finish_file(err, file, status);
}

/* ---- where the model's external data is ---- */

static bool same_folder(int a, int b) {
  struct stat x, y;
  return !fstat(a, &x) && !fstat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Whether a file at `path` does not lie beside the file that the model was read from. */
static ifd_status is_elsewhere(ifd_error *err, bool *out, const ifd_model *model, const char *path) {
  int there, here;
  *out = true;
  if (!model->path) return IFD_OK;
  TRY(ifd_folder_open(err, &here, path));
  ifd_error ignored = {0}; /* the source's folder may be gone */
  if (ifd_folder_open(&ignored, &there, model->path) == IFD_OK) {
    *out = !same_folder(there, here);
    ifd_folder_close(there);
  }
  ifd_folder_close(here);
  return IFD_OK;
}

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* What a reader would refuse is not written. */
static ifd_status check_location(ifd_error *err, const char *location, const char *path) {
  EXPECT(err, *location && *location != '/', USAGE,
         "external data '%s': a path relative to the model's folder is needed", location);
  EXPECT(err, strcmp(location, base_name(path)) != 0, USAGE, "external data '%s' is the model itself",
         location);
  for (const char *at = location; at; at = strchr(at, '/') ? strchr(at, '/') + 1 : NULL) {
    size_t len = strcspn(at, "/");
    EXPECT(err, len && !(len == 2 && memcmp(at, "..", 2) == 0), USAGE,
           "external data '%s' leads out of the model's folder", location);
  }
  return IFD_OK;
}

/* ---- writing ---- */

static void begin(ifd_message_writer *w, ifd_error *err, ifd_arena *arena, const ifd_model *model,
                  bool elsewhere) {
  *w = (ifd_message_writer){.err = err, .arena = arena, .model = model, .elsewhere = elsewhere};
  ifd_map_init(&w->names, arena);
}

/* Writes the model, all weights outside when `all`; *too_large instead when the message would be. */
static ifd_status try_to_write(ifd_error *err, bool *too_large, ifd_arena *arena, const ifd_model *model,
                               const char *path, const char *location, bool all) {
  ifd_message_writer w;
  bool elsewhere;
  TRY(is_elsewhere(err, &elsewhere, model, path));
  begin(&w, err, arena, model, elsewhere || all);
  plan x = {.w = &w, .all = all, .location = location};
  if (!location) ALLOC(err, x.location, ifd_arena_printf(arena, "%s.data", base_name(path)));
  TRY(make_plan(&x));
  *too_large = !all && message_size(&x) > INT_MAX;
  return *too_large ? IFD_OK : write_files(&x, path);
}

ifd_status ifd_onnx_write_file(ifd_error *err, const ifd_model *model, const char *path,
                               const ifd_write_options *options) {
  const char *location = options ? options->external_data : NULL;
  bool too_large = false;
  if (location) TRY(check_location(err, location, path));
  ifd_arena arena;
  ifd_arena_init(&arena, model->arena.budget);
  ifd_status status = try_to_write(err, &too_large, &arena, model, path, location, location != NULL);
  ifd_arena_free(&arena);
  if (status == IFD_OK && too_large) {
    status = try_to_write(err, &too_large, &arena, model, path, NULL, true);
    ifd_arena_free(&arena);
  }
  return status;
}

static ifd_status pack(ifd_error *err, void **out, size_t *len, const plan *x) {
  *len = message_size(x);
  EXPECT(err, *len <= INT_MAX, LIMIT, "the model takes %zu bytes: protobuf allows 2 GiB", *len);
  ALLOC(err, *out, malloc(*len));
  protobuf_c_message_pack(&x->proto->base, *out);
  return IFD_OK;
}

ifd_status ifd_onnx_write_memory(ifd_error *err, void **out, size_t *len, const ifd_model *model,
                                 ifd_budget *budget) {
  ifd_arena arena;
  ifd_message_writer w;
  ifd_arena_init(&arena, budget);
  begin(&w, err, &arena, model, true);
  plan x = {.w = &w};
  ifd_status status = make_plan(&x);
  if (status == IFD_OK) status = pack(err, out, len, &x);
  ifd_arena_free(&arena);
  return status;
}
