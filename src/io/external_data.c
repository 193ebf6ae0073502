#include "io/external_data.h"

#include <string.h>

#include "base/map.h"
#include "base/vec.h"

struct ifd_files {
  ifd_arena *arena;
  const char *in_folder; /* a path in the folder of external data, or NULL */
  bool allow_links;
  IFD_VEC(ifd_file *) all;
  IFD_VEC(const char *) locations; /* of all; NULL for the model's own */
  ifd_map external;                /* location -> ifd_file */
};

ifd_status ifd_files_new(ifd_error *err, ifd_files **out, ifd_arena *arena, const char *path,
                         const ifd_read_options *options) {
  ifd_files *files;
  ALLOC(err, files, ifd_new(arena, ifd_files));
  files->arena = arena;
  files->allow_links = options->allow_links;
  ifd_map_init(&files->external, arena);
  if (options->directory)
    ALLOC(err, files->in_folder, ifd_arena_printf(arena, "%s/.", options->directory));
  else if (path)
    ALLOC(err, files->in_folder, ifd_arena_strdup(arena, path));
  *out = files;
  return IFD_OK;
}

void ifd_files_release(ifd_files *files) {
  for (int i = 0; i < files->all.n; i++) ifd_file_unmap(files->all.v[i]);
  files->all.n = 0;
}

/* Room for one more file, to be unmapped with the others. */
static ifd_status new_file(ifd_error *err, ifd_file **out, ifd_files *files, const char *location) {
  ifd_file *file;
  IFD_PUSH(err, files->arena, &files->locations, location);
  ALLOC(err, file, ifd_new(files->arena, ifd_file));
  *file = ifd_file_from_memory(NULL, 0);
  IFD_PUSH(err, files->arena, &files->all, file);
  *out = file;
  return IFD_OK;
}

ifd_status ifd_files_map_model(ifd_error *err, ifd_files *files, const char *path, const void **data,
                               size_t *len) {
  ifd_file *file;
  TRY(new_file(err, &file, files, NULL));
  TRY(ifd_file_map(err, file, path));
  *data = file->data;
  *len = file->size;
  return IFD_OK;
}

/* ---- external data ---- */

static ifd_status map_external(ifd_error *err, ifd_file *file, const ifd_files *files, const char *location) {
  EXPECT(err, files->in_folder, BAD_INPUT, "'%s' cannot be found: the model was not read from a file",
         location);
  int folder;
  TRY(ifd_folder_open(err, &folder, files->in_folder));
  ifd_status status = ifd_file_map_in(err, file, folder, location, strlen(location), files->allow_links);
  ifd_folder_close(folder);
  return status;
}

static ifd_status find_file(ifd_error *err, ifd_file **out, ifd_files *files, const char *location) {
  *out = ifd_map_find(&files->external, location);
  if (*out) return IFD_OK;
  ifd_file *file;
  TRY(new_file(err, &file, files, location));
  TRY(map_external(err, file, files, location));
  EXPECT(err, ifd_map_set(&files->external, location, file), NO_MEMORY, "out of memory");
  *out = file;
  return IFD_OK;
}

/* The value of a key of external_data, or NULL. */
static const char *find_entry(const Onnx__TensorProto *proto, const char *key) {
  for (size_t i = 0; i < proto->n_external_data; i++)
    if (strcmp(proto->external_data[i]->key ? proto->external_data[i]->key : "", key) == 0)
      return proto->external_data[i]->value ? proto->external_data[i]->value : "";
  return NULL;
}

/* The decimal number of a key; `otherwise` when the key is absent. */
static ifd_status read_number(ifd_error *err, size_t *out, const Onnx__TensorProto *proto, const char *key,
                              size_t otherwise) {
  const char *text = find_entry(proto, key);
  *out = otherwise;
  if (!text) return IFD_OK;
  size_t x = 0;
  bool valid = *text;
  for (const char *c = text; *c; c++)
    valid =
        valid && *c >= '0' && *c <= '9' && ifd_mul_size(&x, x, 10) && ifd_add_size(&x, x, (size_t)(*c - '0'));
  EXPECT(err, valid, BAD_MODEL, "%s '%s' is not a number of bytes", key, text);
  *out = x;
  return IFD_OK;
}

ifd_status ifd_files_find(ifd_error *err, const void **out, ifd_files *files, const Onnx__TensorProto *proto,
                          size_t len) {
  size_t offset, length;
  ifd_file *file;
  const char *location = find_entry(proto, "location");
  EXPECT(err, files, BAD_FILE, "a tensor in a file of its own cannot have external data");
  EXPECT(err, location, BAD_MODEL, "location is missing");
  TRY(read_number(err, &offset, proto, "offset", 0));
  TRY(read_number(err, &length, proto, "length", len));
  EXPECT(err, length == len, BAD_MODEL, "length is %zu, the tensor takes %zu bytes", length, len);
  TRY(find_file(err, &file, files, location));
  EXPECT(err, offset <= file->size && len <= file->size - offset, BAD_MODEL,
         "'%s' has %zu bytes, the tensor needs %zu at offset %zu", location, file->size, len, offset);
  *out = file->data + offset;
  return IFD_OK;
}

void ifd_files_let_go(const ifd_files *files, const void *p, size_t len) {
  enum { WORTH_IT = 1 << 22 }; /* of a small file the same pages are asked for again sooner than missed */
  const uint8_t *at = p;
  for (int i = 0; i < files->all.n; i++) {
    const ifd_file *f = files->all.v[i];
    if (!f->mapped || f->size < WORTH_IT) continue;
    if (!p)
      ifd_memory_let_go(f->data, f->size);
    else if (at >= f->data && at < f->data + f->size && len <= (size_t)(f->data + f->size - at))
      ifd_memory_let_go(p, len);
  }
}

bool ifd_files_get(const ifd_files *files, int i, const char **location, const void **data, size_t *len) {
  if (i >= files->all.n) return false;
  *location = files->locations.v[i];
  *data = files->all.v[i]->data;
  *len = files->all.v[i]->size;
  return true;
}
