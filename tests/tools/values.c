/* Reads values and writes them again, for tests/io: lines "KIND<TAB>SOURCE<TAB>TARGET<TAB>TYPE" are answered
 * with "ok" or the error. KIND npy and npz: TYPE is the number of the element type that void elements stand
 * for. KIND pb: TYPE is a letter for each level from outside, (s)equence, (o)ptional, (m)ap, (t)ensor,
 * (c)oordinate form. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/npy.h"
#include "io/npz.h"
#include "io/tensor_pb.h"

static ifd_status write_npy(ifd_error *err, const char *path, const ifd_tensor *tensor) {
  ifd_arena arena;
  ifd_npy_parts parts;
  ifd_arena_init(&arena, NULL);
  ifd_status status = ifd_npy_write(err, &parts, tensor, &arena);
  FILE *f = status == IFD_OK ? fopen(path, "wb") : NULL;
  if (f) {
    fwrite(parts.header, 1, parts.header_len, f);
    fwrite(parts.data, 1, parts.data_len, f);
    fclose(f);
  }
  ifd_arena_free(&arena);
  return status;
}

static ifd_status copy_npy(ifd_error *err, const char *from, const char *to, ifd_dtype wanted,
                           ifd_budget *b) {
  ifd_datum d = {.kind = IFD_KIND_TENSOR};
  TRY(ifd_npy_read_file(err, &d.tensor, from, wanted, b));
  ifd_status status = write_npy(err, to, &d.tensor);
  ifd_datum_unref(&d);
  return status;
}

enum { MOST = 64 };

static ifd_status read_all(ifd_error *err, ifd_npz *npz, ifd_datum *arrays, ifd_npz_entry *entries,
                           ifd_dtype wanted) {
  for (int i = 0; i < ifd_npz_count(npz); i++) {
    TRY(ifd_npz_read(err, &arrays[i].tensor, npz, i, wanted));
    entries[i] = (ifd_npz_entry){ifd_npz_name(npz, i), &arrays[i].tensor};
  }
  return IFD_OK;
}

static ifd_status copy_npz(ifd_error *err, const char *from, const char *to, ifd_dtype wanted,
                           ifd_budget *b) {
  ifd_npz *npz;
  ifd_datum arrays[MOST] = {0};
  ifd_npz_entry entries[MOST];
  TRY(ifd_npz_open(err, &npz, from, b));
  ifd_status status = read_all(err, npz, arrays, entries, wanted);
  if (status == IFD_OK) status = ifd_npz_write(err, to, entries, ifd_npz_count(npz));
  for (int i = 0; i < MOST; i++) ifd_datum_unref(&arrays[i]);
  ifd_npz_close(npz);
  return status;
}

static ifd_status copy_pb(ifd_error *err, const char *from, const char *to, const char *kinds,
                          ifd_budget *b) {
  ifd_type types[8] = {{.kind = IFD_KIND_UNKNOWN}};
  size_t n = strlen(kinds);
  for (size_t i = 0; i < n && i < 8; i++) {
    types[i].kind = kinds[i] == 's'   ? IFD_KIND_SEQUENCE
                    : kinds[i] == 'o' ? IFD_KIND_OPTIONAL
                    : kinds[i] == 'm' ? IFD_KIND_MAP
                    : kinds[i] == 'c' ? IFD_KIND_SPARSE_TENSOR
                                      : IFD_KIND_TENSOR;
    if (i + 1 < n) types[i].elem = &types[i + 1];
  }
  ifd_datum d;
  TRY(ifd_pb_read_file(err, &d, from, types, b));
  ifd_status status = ifd_pb_write_file(err, to, &d, types, "v");
  ifd_datum_unref(&d);
  return status;
}

int main(void) {
  char line[8192];
  ifd_budget budget = {.limit = (size_t)64 << 20};
  while (fgets(line, sizeof line, stdin)) {
    ifd_error err = {0};
    line[strcspn(line, "\n")] = 0;
    char *kind = strtok(line, "\t"), *from = strtok(NULL, "\t"), *to = strtok(NULL, "\t"),
         *type = strtok(NULL, "\t");
    if (!kind || !from || !to || !type) return 2;
    ifd_status status = strcmp(kind, "npy") == 0   ? copy_npy(&err, from, to, (ifd_dtype)atoi(type), &budget)
                        : strcmp(kind, "npz") == 0 ? copy_npz(&err, from, to, (ifd_dtype)atoi(type), &budget)
                                                   : copy_pb(&err, from, to, type, &budget);
    if (status == IFD_OK)
      puts("ok");
    else
      printf("%s%s\n", err.where, err.text);
    fflush(stdout);
    if (budget.used) return 1;
  }
  return 0;
}
