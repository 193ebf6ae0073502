#include "api/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ifd_status ifd_api_value(ifd_error *err, infold_value **out, ifd_datum *datum) {
  infold_value *v = calloc(1, sizeof *v);
  if (!v) ifd_datum_unref(datum);
  EXPECT(err, v, NO_MEMORY, "out of memory");
  v->datum = *datum;
  *out = v;
  return IFD_OK;
}

void infold_destroy_value(infold_value *value) {
  if (!value) return;
  free(value->items);
  ifd_datum_unref(&value->datum);
  free(value);
}

void ifd_api_drop_values(infold_value **values, int n) {
  for (int i = 0; values && i < n; i++) {
    infold_destroy_value(values[i]);
    values[i] = NULL;
  }
}

static ifd_status make_shape(ifd_error *err, ifd_shape *shape, int dtype, const int64_t *dims, int rank) {
  EXPECT(err, ifd_dtype_valid(dtype), USAGE, "%d is no element type", dtype);
  EXPECT(err, rank >= 0 && rank <= IFD_MAX_RANK, USAGE, "rank %d is outside [0, %d]", rank, IFD_MAX_RANK);
  shape->rank = rank;
  for (int i = 0; i < rank; i++) shape->dim[i] = dims[i];
  return ifd_shape_check(err, shape, ifd_dtype_size((ifd_dtype)dtype));
}

/* Strings come as C strings; the tensor gets its own copies. */
static ifd_status create_strings(ifd_error *err, ifd_datum *d, const ifd_shape *shape,
                                 const char *const *text) {
  int64_t n = ifd_shape_count(shape);
  ifd_str *strings = calloc((size_t)n + 1, sizeof *strings);
  EXPECT(err, strings, NO_MEMORY, "out of memory");
  for (int64_t i = 0; i < n; i++) strings[i] = (ifd_str){text[i], strlen(text[i])};
  ifd_datum borrowed = {.kind = IFD_KIND_TENSOR,
                        .tensor = {.dtype = IFD_STRING, .shape = *shape, .data = strings}};
  ifd_status status = ifd_datum_own(err, d, &borrowed, NULL);
  free(strings);
  return status;
}

static ifd_status create_tensor(ifd_error *err, infold_value **out, int dtype, const int64_t *dims, int rank,
                                const void *data) {
  ifd_shape shape;
  ifd_datum d = {.kind = IFD_KIND_TENSOR};
  TRY(make_shape(err, &shape, dtype, dims, rank));
  if (dtype == IFD_STRING)
    TRY(create_strings(err, &d, &shape, data));
  else {
    TRY(ifd_tensor_create(err, &d.tensor, NULL, (ifd_dtype)dtype, &shape));
    if (ifd_tensor_bytes(&d.tensor)) memcpy(d.tensor.data, data, ifd_tensor_bytes(&d.tensor));
  }
  return ifd_api_value(err, out, &d);
}

infold_status infold_create_tensor(infold_error *to, infold_value **out, int dtype, const int64_t *dims,
                                   int rank, const void *data) {
  ifd_error err = {0};
  *out = NULL;
  return ifd_api_report(to, &err, NULL, create_tensor(&err, out, dtype, dims, rank, data));
}

static ifd_status borrow_tensor(ifd_error *err, infold_value **out, int dtype, const int64_t *dims, int rank,
                                void *data) {
  ifd_datum d = {.kind = IFD_KIND_TENSOR, .tensor = {.dtype = (ifd_dtype)dtype, .data = data}};
  EXPECT(err, dtype != IFD_STRING, USAGE, "string tensors cannot be borrowed");
  TRY(make_shape(err, &d.tensor.shape, dtype, dims, rank));
  return ifd_api_value(err, out, &d);
}

infold_status infold_borrow_tensor(infold_error *to, infold_value **out, int dtype, const int64_t *dims,
                                   int rank, void *data) {
  ifd_error err = {0};
  *out = NULL;
  return ifd_api_report(to, &err, NULL, borrow_tensor(&err, out, dtype, dims, rank, data));
}

/* ---- values of items ---- */

static bool is_keys(const ifd_tensor *t) {
  return t->shape.rank == 1 && (t->dtype == IFD_INT64 || t->dtype == IFD_STRING);
}

static ifd_status check_items(ifd_error *err, infold_kind kind, const infold_value *const *items, int n) {
  switch (kind) {
  case INFOLD_SEQUENCE: EXPECT(err, n >= 0, USAGE, "%d items", n); return IFD_OK;
  case INFOLD_OPTIONAL:
    EXPECT(err, n == 0 || n == 1, USAGE, "an optional has no item or one, not %d", n);
    return IFD_OK;
  case INFOLD_MAP:
    EXPECT(err, n == 2, USAGE, "a map has two items, keys and values, not %d", n);
    for (int i = 0; i < n; i++)
      EXPECT(err, items[i]->datum.kind == IFD_KIND_TENSOR, USAGE, "keys and values of a map are tensors");
    EXPECT(err, is_keys(&items[0]->datum.tensor), USAGE, "keys of a map are 1-D int64 or strings");
    EXPECT(err, ifd_tensor_count(&items[0]->datum.tensor) == ifd_tensor_count(&items[1]->datum.tensor), USAGE,
           "a map has as many values as keys");
    return IFD_OK;
  default: FAIL(err, USAGE, "%d is no kind of value that has items", (int)kind);
  }
}

static ifd_status own_items(ifd_error *err, ifd_datum *d, const infold_value *const *items, int n) {
  ALLOC(err, d->list, ifd_list_create(NULL, n));
  for (int i = 0; i < n; i++) {
    ifd_datum own;
    TRY(ifd_datum_own(err, &own, &items[i]->datum, NULL));
    ifd_list_push(d->list, &own); /* has room: made for n */
  }
  return IFD_OK;
}

static ifd_status create_value(ifd_error *err, infold_value **out, infold_kind kind, int dtype,
                               const infold_value *const *items, int n) {
  EXPECT(err, !dtype || ifd_dtype_valid(dtype), USAGE, "%d is no element type", dtype);
  TRY(check_items(err, kind, items, n));
  ifd_datum d = {.kind = (ifd_kind)kind, .elem_kind = IFD_KIND_TENSOR, .elem = (ifd_dtype)dtype};
  ifd_status status = IFD_OK;
  if (kind == INFOLD_MAP) {
    ifd_datum keys = {0};
    d.elem_kind = IFD_KIND_UNKNOWN;
    d.elem = IFD_UNDEFINED;
    status = ifd_datum_own(err, &keys, &items[0]->datum, NULL);
    d.tensor = keys.tensor;
    items++;
    n--;
  } else if (n) {
    const ifd_datum *first = &items[0]->datum;
    d.elem_kind = first->kind;
    d.elem = first->kind == IFD_KIND_TENSOR ? first->tensor.dtype : first->elem;
  }
  if (status == IFD_OK && n) status = own_items(err, &d, items, n);
  if (status == IFD_OK) return ifd_api_value(err, out, &d);
  ifd_datum_unref(&d);
  return status;
}

infold_status infold_create_value(infold_error *to, infold_value **out, infold_kind kind, int dtype,
                                  const infold_value *const *items, int n) {
  ifd_error err = {0};
  *out = NULL;
  return ifd_api_report(to, &err, NULL, create_value(&err, out, kind, dtype, items, n));
}

/* ---- asking ---- */

infold_kind infold_get_kind(const infold_value *value) { return (infold_kind)value->datum.kind; }
int infold_get_dtype(const infold_value *value) {
  return (int)(value->datum.kind == IFD_KIND_TENSOR || value->datum.kind == IFD_KIND_MAP
                   ? value->datum.tensor.dtype
                   : value->datum.elem);
}
int infold_get_rank(const infold_value *value) { return value->datum.tensor.shape.rank; }
const int64_t *infold_get_dims(const infold_value *value) { return value->datum.tensor.shape.dim; }
const void *infold_get_data(const infold_value *value) { return value->datum.tensor.data; }

size_t infold_get_string(const infold_value *value, size_t i, const char **text) {
  const ifd_str *s = value->datum.tensor.data;
  *text = s[i].s;
  return s[i].len;
}

size_t infold_join_strings(const infold_value *value, char *to) {
  const ifd_str *s = value->datum.tensor.data;
  size_t length = 0;
  for (int64_t i = 0, n = ifd_tensor_count(&value->datum.tensor); i < n; length += s[i++].len + 1) {
    if (!to) continue;
    if (s[i].len) memcpy(to + length, s[i].s, s[i].len);
    to[length + s[i].len] = '\0';
  }
  return length;
}

int infold_get_count(const infold_value *value) {
  if (value->datum.kind == IFD_KIND_MAP) return 2;
  return value->datum.list ? value->datum.list->n : 0;
}

/* Items are views over the list; a map shows its keys as item 0. */
const infold_value *infold_get_item(const infold_value *value, int i) {
  infold_value *v = (infold_value *)value;
  int n = infold_get_count(value);
  if (i < 0 || i >= n) return NULL;
  if (!v->items && !(v->items = calloc((size_t)n, sizeof *v->items))) return NULL;
  if (v->datum.kind == IFD_KIND_MAP) {
    if (i == 0)
      v->items[0].datum = (ifd_datum){.kind = IFD_KIND_TENSOR, .tensor = v->datum.tensor};
    else
      v->items[1].datum = v->datum.list->items[0];
  } else
    v->items[i].datum = v->datum.list->items[i];
  return &v->items[i];
}

/* ---- text ---- */

enum { SHOWN = 8 };

static void show_element(FILE *f, const ifd_tensor *t, int64_t i) {
  if (t->dtype == IFD_STRING) {
    const ifd_str *s = (const ifd_str *)t->data + i;
    fputc('"', f);
    for (size_t k = 0; k < s->len && k < 32; k++)
      fputc((unsigned char)s->s[k] < 0x20 || s->s[k] == 0x7f ? '?' : s->s[k], f);
    fputs(s->len > 32 ? "…\"" : "\"", f);
  } else if (ifd_dtypes[t->dtype].class == IFD_CLASS_COMPLEX) {
    if (t->dtype == IFD_COMPLEX64)
      fprintf(f, "%g%+gi", ((float *)t->data)[2 * i], ((float *)t->data)[2 * i + 1]);
    else
      fprintf(f, "%g%+gi", ((double *)t->data)[2 * i], ((double *)t->data)[2 * i + 1]);
  } else if (t->dtype == IFD_BOOL)
    fputs(ifd_tensor_get_i64(t, i) ? "true" : "false", f);
  else if (t->dtype == IFD_UINT64)
    fprintf(f, "%llu", (unsigned long long)ifd_tensor_get_i64(t, i));
  else if (ifd_dtype_is_integer(t->dtype))
    fprintf(f, "%lld", (long long)ifd_tensor_get_i64(t, i));
  else
    fprintf(f, "%.6g", ifd_tensor_get_f64(t, i));
}

static void show_tensor(FILE *f, const ifd_tensor *t) {
  int64_t n = ifd_tensor_count(t);
  fputs(ifd_dtype_name(t->dtype), f);
  for (int i = 0; i < t->shape.rank; i++) fprintf(f, "%c%lld", i ? ',' : '[', (long long)t->shape.dim[i]);
  fputs(t->shape.rank ? "] " : " ", f);
  for (int64_t i = 0; i < n && i < SHOWN; i++) {
    fputc(' ', f);
    show_element(f, t, i);
  }
  if (n > SHOWN) fputs(" …", f);
}

static void show(FILE *f, const ifd_datum *d) {
  int n = d->list ? d->list->n : 0;
  switch (d->kind) {
  case IFD_KIND_TENSOR: show_tensor(f, &d->tensor); return;
  case IFD_KIND_MAP:
    fputs("map ", f);
    show_tensor(f, &d->tensor);
    fputs(" → ", f);
    if (n) show(f, &d->list->items[0]);
    return;
  case IFD_KIND_OPTIONAL:
    fputs(n ? "optional " : "optional, absent", f);
    if (n) show(f, &d->list->items[0]);
    return;
  default: fprintf(f, "sequence of %d", n);
  }
  for (int i = 0; i < n && i < SHOWN; i++) {
    fputs("\n  ", f);
    show(f, &d->list->items[i]);
  }
  if (n > SHOWN) fputs("\n  …", f);
}

static ifd_status write_value(ifd_error *err, FILE *to, const void *value, const char *what, int width) {
  (void)err, (void)what, (void)width;
  show(to, &((const infold_value *)value)->datum);
  return IFD_OK;
}

infold_status infold_format_value(infold_error *to, char **out, const infold_value *value) {
  return ifd_api_write(to, out, write_value, value, NULL, 0);
}
