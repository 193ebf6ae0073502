/* Inputs and outputs in .npz archives: arrays by name. A sequence of tensors is NAME.0, NAME.1 …; a map is
 * its values as NAME, in the order of sorted keys, and its keys as NAME.keys; a sequence of maps with equal
 * keys is a matrix NAME, one row for each map. */
#include "api/api.h"

#include "io/npz.h"
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

static ifd_status read_tensor(ifd_error *err, ifd_datum *out, ifd_npz *npz, int i, const ifd_type *type) {
  *out = (ifd_datum){.kind = IFD_KIND_TENSOR};
  return ifd_npz_read(err, &out->tensor, npz, i, type->kind == IFD_KIND_TENSOR ? type->dtype : IFD_UNDEFINED);
}

/* One more item; the item is released when that fails. */
static ifd_status push(ifd_error *err, ifd_datum *list, ifd_datum *item) {
  if (!list->list) list->list = ifd_list_create(NULL, 4);
  bool pushed = list->list && ifd_list_push(list->list, item);
  if (!pushed) ifd_datum_unref(item);
  EXPECT(err, pushed, NO_MEMORY, "out of memory");
  return IFD_OK;
}

static ifd_status read_items(ifd_error *err, ifd_datum *out, ifd_npz *npz, const char *name,
                             const ifd_type *elem, ifd_arena *arena) {
  for (int k = 0;; k++) {
    const char *member;
    ifd_datum item;
    ALLOC(err, member, ifd_arena_printf(arena, "%s.%d", name, k));
    int i = ifd_npz_find(npz, member);
    if (i < 0) return IFD_OK;
    TRY(read_tensor(err, &item, npz, i, elem));
    TRY(push(err, out, &item));
  }
}

/* An array that no input would read is a mistake. */
static ifd_status check_names(ifd_error *err, const infold_session *s, const ifd_npz *npz) {
  const ifd_graph *g = s->model->ir->graph;
  for (int k = 0; k < ifd_npz_count(npz); k++) {
    const char *name = ifd_npz_name(npz, k);
    bool known = false;
    for (int i = 0; i < g->inputs.n && !known; i++) {
      size_t n = strlen(g->inputs.v[i]->name);
      known = strncmp(name, g->inputs.v[i]->name, n) == 0 &&
              (!name[n] || (name[n] == '.' && g->inputs.v[i]->type->kind == IFD_KIND_SEQUENCE));
    }
    EXPECT(err, known, BAD_INPUT,
           "array '%s' has the name of no input (one array alone is taken by --input NAME=FILE.npz)", name);
  }
  return IFD_OK;
}

/* UNKNOWN when the archive does not have it. */
static ifd_status read_value(ifd_error *err, ifd_datum *out, ifd_npz *npz, const ifd_value *v,
                             ifd_arena *arena) {
  const ifd_type *t = v->type, *elem = t->elem ? t->elem : &ifd_type_unknown;
  int i = ifd_npz_find(npz, v->name);
  *out = (ifd_datum){0};
  if (t->kind == IFD_KIND_TENSOR || t->kind == IFD_KIND_UNKNOWN)
    return i < 0 ? IFD_OK : read_tensor(err, out, npz, i, t);
  EXPECT(err, t->kind == IFD_KIND_SEQUENCE || t->kind == IFD_KIND_OPTIONAL, UNSUPPORTED,
         "an archive cannot hold a value of this type");
  if (t->kind == IFD_KIND_SEQUENCE && i < 0) {
    const char *first;
    ALLOC(err, first, ifd_arena_printf(arena, "%s.0", v->name));
    i = ifd_npz_find(npz, first);
  }
  if (i < 0) return IFD_OK;
  EXPECT(err, elem->kind == IFD_KIND_TENSOR, UNSUPPORTED, "an archive cannot hold a value of this type");
  *out = (ifd_datum){.kind = t->kind, .elem_kind = elem->kind, .elem = elem->dtype};
  if (t->kind == IFD_KIND_SEQUENCE) return read_items(err, out, npz, v->name, elem, arena);
  ifd_datum item;
  TRY(read_tensor(err, &item, npz, i, elem));
  return push(err, out, &item);
}

static ifd_status read_input(ifd_error *err, infold_value **out, ifd_npz *npz, const ifd_value *v,
                             ifd_arena *arena) {
  ifd_datum d = {0};
  ifd_status status = read_value(err, &d, npz, v, arena);
  if (status != IFD_OK) {
    ifd_error_add(err, "array '%s'", v->name);
    ifd_datum_unref(&d);
    return status;
  }
  return d.kind == IFD_KIND_UNKNOWN ? IFD_OK : ifd_api_value(err, out, &d);
}

static ifd_status read_all(ifd_error *err, infold_value **values, const infold_session *s, ifd_npz *npz,
                           ifd_arena *arena) {
  const ifd_graph *g = s->model->ir->graph;
  for (int i = 0; i < g->inputs.n; i++) TRY(read_input(err, &values[i], npz, g->inputs.v[i], arena));
  return IFD_OK;
}

enum { ALL = -1, ALL_AND_NO_MORE = -2 };

/* One input, or all of them. */
static ifd_status read_archive(ifd_error *err, infold_value **values, const infold_session *s,
                               const char *path, int input) {
  ifd_npz *npz;
  ifd_arena arena;
  TRY(ifd_npz_open(err, &npz, path, NULL));
  ifd_arena_init(&arena, NULL);
  ifd_status status = input == ALL_AND_NO_MORE ? check_names(err, s, npz) : IFD_OK;
  if (status == IFD_OK)
    status = input < 0 ? read_all(err, values, s, npz, &arena)
                       : read_input(err, values, npz, s->model->ir->graph->inputs.v[input], &arena);
  ifd_arena_free(&arena);
  ifd_npz_close(npz);
  return status;
}

ifd_status ifd_api_read_archive(ifd_error *err, infold_value **values, const infold_session *s,
                                const char *path) {
  return read_archive(err, values, s, path, ALL_AND_NO_MORE);
}

ifd_status ifd_api_read_among(ifd_error *err, infold_value **values, const infold_session *s,
                              const char *path) {
  return read_archive(err, values, s, path, ALL);
}

ifd_status ifd_api_read_from_archive(ifd_error *err, infold_value **out, const infold_session *s,
                                     const char *path, int input) {
  TRY(read_archive(err, out, s, path, input));
  EXPECT(err, *out, BAD_INPUT, "there is no array '%s'", s->model->ir->graph->inputs.v[input]->name);
  return IFD_OK;
}

/* ---- writing ---- */

typedef struct archive {
  ifd_error *err;
  ifd_arena arena;
  IFD_VEC(ifd_npz_entry) entries;
} archive;

static ifd_status add_tensor(archive *a, const char *name, const ifd_tensor *tensor) {
  ifd_npz_entry e = {name, tensor};
  ALLOC(a->err, e.name, ifd_arena_strdup(&a->arena, name));
  IFD_PUSH(a->err, &a->arena, &a->entries, e);
  return IFD_OK;
}

typedef struct key {
  const ifd_tensor *keys;
  int64_t i;
} key;

static int compare_keys(const void *a, const void *b) {
  const key *x = a, *y = b;
  if (x->keys->dtype != IFD_STRING) {
    int64_t p = ifd_tensor_get_i64(x->keys, x->i), q = ifd_tensor_get_i64(y->keys, y->i);
    return (p > q) - (p < q);
  }
  ifd_str p = ((const ifd_str *)x->keys->data)[x->i], q = ((const ifd_str *)y->keys->data)[y->i];
  size_t shared = p.len < q.len ? p.len : q.len;
  int order = shared ? memcmp(p.s, q.s, shared) : 0;
  return order ? order : (p.len > q.len) - (p.len < q.len);
}

static ifd_status sort_keys(archive *a, key **out, const ifd_datum *map) {
  int64_t n = ifd_tensor_count(&map->tensor);
  ALLOC(a->err, *out, ifd_new_array(&a->arena, key, n));
  for (int64_t i = 0; i < n; i++) (*out)[i] = (key){&map->tensor, i};
  qsort(*out, (size_t)n, sizeof **out, compare_keys);
  return IFD_OK;
}

static void copy_element(ifd_tensor *to, int64_t i, const ifd_tensor *from, int64_t k) {
  size_t size = ifd_dtype_size(to->dtype);
  memcpy((char *)to->data + (size_t)i * size, (const char *)from->data + (size_t)k * size, size);
}

static ifd_status add_keys(archive *a, const char *name, const key *keys, int64_t n) {
  ifd_shape shape = {.rank = 1, .dim = {n}};
  ifd_tensor *t;
  const char *member;
  ALLOC(a->err, t, ifd_new(&a->arena, ifd_tensor));
  ALLOC(a->err, member, ifd_arena_printf(&a->arena, "%s.keys", name));
  if (n)
    TRY(ifd_tensor_new(a->err, t, &a->arena, keys->keys->dtype, &shape));
  else
    *t = (ifd_tensor){.dtype = IFD_INT64, .shape = shape};
  for (int64_t i = 0; i < n; i++) copy_element(t, i, keys[i].keys, keys[i].i);
  return add_tensor(a, member, t);
}

/* One row of the matrix: the map's values by sorted key, which must be the first map's keys. */
static ifd_status fill_row(archive *a, ifd_tensor *to, int64_t row, const ifd_datum *map, const key *first,
                           int64_t n) {
  key *keys;
  const ifd_tensor *values = &map->list->items[0].tensor;
  TRY(sort_keys(a, &keys, map));
  bool equal = ifd_tensor_count(&map->tensor) == n && values->dtype == to->dtype;
  for (int64_t i = 0; equal && i < n; i++) equal = compare_keys(&keys[i], &first[i]) == 0;
  EXPECT(a->err, equal, UNSUPPORTED, "the maps have different keys; an archive holds maps with equal keys");
  for (int64_t i = 0; i < n; i++) copy_element(to, row * n + i, values, keys[i].i);
  return IFD_OK;
}

/* n_maps < 0: a lone map, written as a vector. */
static ifd_status add_maps(archive *a, const char *name, const ifd_datum *maps, int n_maps) {
  key *first;
  ifd_tensor *t;
  int rows = n_maps < 0 ? 1 : n_maps;
  for (int m = 0; m < rows; m++)
    EXPECT(a->err, maps[m].kind == IFD_KIND_MAP && maps[m].list && maps[m].list->n == 1, UNSUPPORTED,
           "an archive cannot hold a value of this type");
  TRY(sort_keys(a, &first, maps));
  int64_t n = ifd_tensor_count(&maps->tensor);
  ifd_shape shape =
      n_maps < 0 ? (ifd_shape){.rank = 1, .dim = {n}} : (ifd_shape){.rank = 2, .dim = {rows, n}};
  ALLOC(a->err, t, ifd_new(&a->arena, ifd_tensor));
  TRY(ifd_tensor_new(a->err, t, &a->arena, maps->list->items[0].tensor.dtype, &shape));
  for (int m = 0; m < rows; m++) TRY(fill_row(a, t, m, &maps[m], first, n));
  TRY(add_tensor(a, name, t));
  return add_keys(a, name, first, n);
}

static ifd_status add_value(archive *a, const char *name, const ifd_datum *d) {
  int n = d->list ? d->list->n : 0;
  if (d->kind == IFD_KIND_TENSOR) return add_tensor(a, name, &d->tensor);
  if (d->kind == IFD_KIND_MAP) return add_maps(a, name, d, -1);
  if (d->kind == IFD_KIND_OPTIONAL) return n ? add_value(a, name, d->list->items) : IFD_OK;
  EXPECT(a->err, d->kind == IFD_KIND_SEQUENCE, UNSUPPORTED, "an archive cannot hold a value of this type");
  if (n && d->list->items[0].kind == IFD_KIND_MAP) return add_maps(a, name, d->list->items, n);
  for (int i = 0; i < n; i++) {
    const char *member;
    ALLOC(a->err, member, ifd_arena_printf(&a->arena, "%s.%d", name, i));
    TRY(add_value(a, member, &d->list->items[i]));
  }
  return IFD_OK;
}

static ifd_status write_all(archive *a, infold_value *const *values, const infold_session *s,
                            const char *path) {
  const ifd_graph *g = s->model->ir->graph;
  for (int i = 0; i < g->outputs.n; i++) {
    if (!values[i]) continue;
    ifd_status status = add_value(a, g->outputs.v[i]->name, &values[i]->datum);
    if (status != IFD_OK) ifd_error_add(a->err, "output '%s'", g->outputs.v[i]->name);
    TRY(status);
  }
  return ifd_npz_write(a->err, path, a->entries.v, a->entries.n);
}

ifd_status ifd_api_write_archive(ifd_error *err, infold_value *const *values, const infold_session *s,
                                 const char *path) {
  archive a = {.err = err};
  ifd_arena_init(&a.arena, NULL);
  ifd_status status = write_all(&a, values, s, path);
  ifd_arena_free(&a.arena);
  return status;
}
