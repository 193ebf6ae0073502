#include "io/onnx_read.h"

#include <limits.h>
#include <string.h>

#include "io/read.h"
#include "io/wire.h"

enum {
  NEWEST_IR_VERSION = ONNX__VERSION__IR_VERSION,
  MAX_DOMAINS = 256, /* of opset_import; keeps the search for one short whatever a file says */
};

/* ---- header ---- */

static ifd_status read_header(ifd_reader *r, const Onnx__ModelProto *proto) {
  ifd_model *model = r->model;
  EXPECT(r->err, proto->has_ir_version && proto->ir_version > 0, BAD_MODEL,
         "ir_version is missing: not an ONNX model");
  EXPECT(r->err, proto->ir_version <= NEWEST_IR_VERSION, UNSUPPORTED,
         "ir_version %lld is newer than %d, the newest known", (long long)proto->ir_version,
         NEWEST_IR_VERSION);
  model->origin = proto;
  model->ir_version = proto->ir_version;
  model->model_version = proto->model_version;
  model->producer_name = ifd_text(proto->producer_name);
  model->producer_version = ifd_text(proto->producer_version);
  model->domain = ifd_text(proto->domain);
  model->doc = ifd_text(proto->doc_string);
  return IFD_OK;
}

static ifd_status read_opset(ifd_error *err, ifd_opset *out, const Onnx__OperatorSetIdProto *proto) {
  const char *domain = ifd_domain(ifd_text(proto->domain));
  EXPECT(err, proto->version > 0 && proto->version <= INT_MAX, BAD_MODEL,
         "opset_import: version %lld of domain '%s' does not exist", (long long)proto->version, domain);
  *out = (ifd_opset){domain, (int)proto->version};
  return IFD_OK;
}

/* Versions by domain, *n of them; a domain may stand there twice with the same version. */
static ifd_status read_opsets(ifd_error *err, ifd_opset list[MAX_DOMAINS], int *n,
                              Onnx__OperatorSetIdProto *const *protos, size_t n_protos) {
  *n = 0;
  for (size_t i = 0; i < n_protos; i++) {
    ifd_opset opset;
    int k = 0;
    TRY(read_opset(err, &opset, protos[i]));
    while (k < *n && !ifd_domain_equal(list[k].domain, opset.domain)) k++;
    EXPECT(err, k < MAX_DOMAINS, LIMIT, "opset_import: more than %d domains", MAX_DOMAINS);
    if (k == *n) list[(*n)++] = opset;
    EXPECT(err, list[k].version == opset.version, BAD_MODEL,
           "opset_import: domain '%s' with versions %d and %d", opset.domain, list[k].version, opset.version);
  }
  return IFD_OK;
}

/* Before IR version 3 there was one operator set. */
static ifd_status read_model_opsets(ifd_reader *r, const Onnx__ModelProto *proto) {
  ifd_opset list[MAX_DOMAINS], first = {"", 1};
  int n;
  TRY(read_opsets(r->err, list, &n, proto->opset_import, proto->n_opset_import));
  if (proto->ir_version < 3 && !n) list[n++] = first;
  for (int i = 0; i < n; i++) IFD_PUSH(r->err, r->arena, &r->model->opsets, list[i]);
  return IFD_OK;
}

/* ---- functions ---- */

static ifd_status announce_function(ifd_reader *r, const Onnx__FunctionProto *proto) {
  ifd_function *f;
  ifd_opset list[MAX_DOMAINS];
  int n;
  EXPECT(r->err, proto->name && *proto->name, BAD_MODEL, "a function has no name");
  TRY(ifd_function_new(r->err, &f, r->model, ifd_text(proto->domain), proto->name, proto->overload));
  f->origin = proto;
  TRY(read_opsets(r->err, list, &n, proto->opset_import, proto->n_opset_import));
  for (int i = 0; i < n; i++) IFD_PUSH(r->err, r->arena, &f->opsets, list[i]);
  return IFD_OK;
}

/* All are known before the first body is read: they may call each other in any order. */
static ifd_status read_functions(ifd_reader *r, const Onnx__ModelProto *proto) {
  for (size_t i = 0; i < proto->n_functions; i++)
    TRY_IN(r->err, announce_function(r, proto->functions[i]), "function '%s'",
           ifd_text(proto->functions[i]->name));
  for (int i = 0; i < r->model->functions.n; i++) {
    ifd_function *f = r->model->functions.v[i];
    TRY_IN(r->err, ifd_read_function(r, f, f->origin), "function '%s'", f->name);
  }
  return IFD_OK;
}

/* ---- models ---- */

/* What people take for models: bytes that files of other kinds have at some place. */
static const struct {
  size_t at;
  const char *bytes, *what;
} others[] = {{0, "version https://git-lfs", "a pointer of Git LFS; 'git lfs pull' fetches the file itself"},
              {0, "PK\3\4", "a ZIP archive, as of PyTorch, Keras or NumPy, not an ONNX model"},
              {0, "\x1f\x8b", "compressed by gzip"},
              {0, "\x28\xb5\x2f\xfd", "compressed by Zstandard"},
              {0, "\x89HDF", "HDF5, as of Keras, not an ONNX model"},
              {0, "\x93NUMPY", "a NumPy array, not an ONNX model"},
              {0, "GGUF", "GGUF, not an ONNX model"},
              {4, "TFL3", "a TensorFlow Lite model, not an ONNX model"},
              {4, "ORTM", "in ONNX Runtime's own format, not ONNX"},
              {8, "{\"", "safetensors, not an ONNX model"},
              {0, "<!DOCTYPE", "a web page, not an ONNX model"},
              {0, "<html", "a web page, not an ONNX model"},
              {0, "<", "text, not a binary ONNX model"},
              {0, "{", "text, not a binary ONNX model"}};

/* Of what is no message: what it is, where that can be seen. */
static void name_kind(ifd_error *err, const char *bytes, size_t len) {
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    size_t n = strlen(others[i].bytes);
    if (len < others[i].at + n || memcmp(bytes + others[i].at, others[i].bytes, n) != 0) continue;
    ifd_error_clear(err);
    (void)ifd_error_set(err, IFD_BAD_FILE, "the file is %s", others[i].what);
    return;
  }
  if (strncmp(err->where, "byte 0:", 7) == 0) ifd_error_add(err, "not an ONNX model");
}

static ifd_status read_model(ifd_reader *r, const void *bytes, size_t len) {
  ProtobufCMessage *message;
  EXPECT(r->err, len, BAD_FILE, "the file is empty");
  ifd_status status = ifd_wire_unpack(r->err, &message, &onnx__model_proto__descriptor, bytes, len, r->arena);
  if (status == IFD_BAD_FILE) name_kind(r->err, bytes, len);
  TRY(status);
  const Onnx__ModelProto *proto = (const Onnx__ModelProto *)message;
  TRY(read_header(r, proto));
  EXPECT(r->err, proto->graph, BAD_MODEL, "the model has no graph");
  TRY(read_model_opsets(r, proto));
  TRY(read_functions(r, proto));
  return ifd_read_graph(r, r->model->graph, proto->graph);
}

static void release_files(void *files) { ifd_files_release(files); }
static void let_files_go(void *files, const void *p, size_t len) { ifd_files_let_go(files, p, len); }

/* Reads the file, or the bytes where there is no path. */
static ifd_status read_from(ifd_reader *r, const char *path, const void *bytes, size_t len,
                            const ifd_read_options *options) {
  ifd_model *model = r->model;
  TRY(ifd_files_new(r->err, &r->files, r->arena, path, options));
  model->files = r->files;
  model->release_files = release_files;
  model->let_files_go = let_files_go;
  if (path) {
    ALLOC(r->err, model->path, ifd_arena_strdup(r->arena, path));
    TRY(ifd_files_map_model(r->err, r->files, path, &bytes, &len));
  }
  return read_model(r, bytes, len);
}

static ifd_status read_into_new(ifd_error *err, ifd_model **out, const char *path, const void *bytes,
                                size_t len, const ifd_read_options *options, ifd_budget *budget) {
  ifd_model *model;
  ALLOC(err, model, ifd_model_create(budget));
  ifd_reader r = {.err = err, .arena = &model->arena, .model = model};
  ifd_status status = read_from(&r, path, bytes, len, options ? options : &(ifd_read_options){0});
  if (status != IFD_OK)
    ifd_model_destroy(model);
  else
    *out = model;
  return status;
}

ifd_status ifd_onnx_read_file(ifd_error *err, ifd_model **out, const char *path,
                              const ifd_read_options *options, ifd_budget *budget) {
  return read_into_new(err, out, path, NULL, 0, options, budget);
}

ifd_status ifd_onnx_read_memory(ifd_error *err, ifd_model **out, const void *bytes, size_t len,
                                const ifd_read_options *options, ifd_budget *budget) {
  return read_into_new(err, out, NULL, bytes, len, options, budget);
}

bool ifd_onnx_file(const ifd_model *model, int i, const char **location, const void **data, size_t *len) {
  return model->files && ifd_files_get(model->files, i, location, data, len);
}
