/* Maps made of tensors and tensors made of maps: ZipMap, CastMap, DictVectorizer. */
#include <string.h>

#include "ops/shared/elementwise.h"
#include "ops/shared/lookup.h"
#include "ops/shared/order.h"
#include "ops/shared/scores.h"
#include "ops/shared/sequence.h"
#include "ops/shared/text.h"
#include "tensor/convert.h"

/* The keys and values of input 0, which must be a map (BAD_INPUT). */
static ifd_status map_in(ifd_eval *x, const ifd_tensor **keys, const ifd_tensor **values) {
  const ifd_datum *d = x->in[0];
  bool is_map = d->kind == IFD_KIND_MAP && d->list && d->list->n == 1 &&
                d->list->items->kind == IFD_KIND_TENSOR &&
                ifd_tensor_count(&d->list->items->tensor) == ifd_tensor_count(&d->tensor);
  EXPECT(x->err, is_map, BAD_INPUT, "the input is not a map of numbers or strings");
  *keys = &d->tensor;
  *values = &d->list->items->tensor;
  return IFD_OK;
}

/* ---- ZipMap ---- */

static ifd_status infer_ZipMap(ifd_infer *x) {
  ifd_labels labels;
  const ifd_type *type;
  TRY(ifd_labels_read(x->err, &labels, x->node, "classlabels_int64s"));
  ALLOC(x->err, type, ifd_type_tensor(x->arena, IFD_FLOAT, 0, NULL));
  ALLOC(x->err, type, ifd_type_map(x->arena, labels.strings ? IFD_STRING : IFD_INT64, type));
  ALLOC(x->err, type, ifd_type_of(x->arena, IFD_KIND_SEQUENCE, type));
  x->out[0] = type;
  return IFD_OK;
}

/* A map of one row; keys and values are shared by all maps of the sequence. */
static ifd_status add_map(ifd_eval *x, const ifd_datum *keys, const ifd_datum *values, int64_t row) {
  ifd_datum map = {.kind = IFD_KIND_MAP}, columns;
  int64_t n = ifd_tensor_count(&keys->tensor);
  ALLOC(x->err, map.list, ifd_list_create(x->budget, 1));
  ifd_buf_ref(keys->tensor.buf);
  map.tensor = keys->tensor;
  ifd_datum_ref(&columns, values);
  columns.tensor.shape = (ifd_shape){1, {n}};
  columns.tensor.data =
      (char *)columns.tensor.data + (size_t)(row * n) * ifd_dtype_size(columns.tensor.dtype);
  ifd_list_push(map.list, &columns);   /* has room */
  ifd_list_push(x->out[0].list, &map); /* likewise */
  return IFD_OK;
}

static ifd_status add_maps(ifd_eval *x, const ifd_labels *labels, int64_t rows, ifd_datum *keys,
                           ifd_datum *values) {
  const ifd_datum borrowed = {
      .kind = IFD_KIND_TENSOR,
      .tensor = {.dtype = labels->strings ? IFD_STRING : IFD_INT64,
                 .shape = {1, {labels->n}},
                 .data = labels->strings ? (void *)labels->strings : (void *)labels->ints}};
  TRY(ifd_datum_own(x->err, keys, &borrowed, x->budget));
  TRY(ifd_datum_own(x->err, values, x->in[0], x->budget));
  for (int64_t i = 0; i < rows; i++) TRY(add_map(x, keys, values, i));
  return IFD_OK;
}

static ifd_status eval_ZipMap(ifd_eval *x) {
  ifd_samples s;
  ifd_labels labels;
  ifd_datum keys = {0}, values = {0};
  TRY(ifd_labels_read(x->err, &labels, x->node, "classlabels_int64s"));
  TRY(ifd_samples_of(x->err, &s, &ifd_eval_in(x, 0)->shape));
  EXPECT(x->err, s.n_features == labels.n, BAD_INPUT, "%lld columns for %d keys", (long long)s.n_features,
         labels.n);
  TRY(ifd_sequence_out(x, 0, ifd_eval_in(x, 0)->dtype, s.n));
  x->out[0].elem_kind = IFD_KIND_MAP;
  ifd_status status = add_maps(x, &labels, s.n, &keys, &values);
  ifd_datum_unref(&keys);
  ifd_datum_unref(&values);
  return status;
}

/* ---- CastMap ---- */

static ifd_status cast_to(ifd_error *err, ifd_dtype *out, const ifd_node *node) {
  static const struct {
    const char *name;
    ifd_dtype dtype;
  } types[] = {{"TO_FLOAT", IFD_FLOAT}, {"TO_STRING", IFD_STRING}, {"TO_INT64", IFD_INT64}};
  for (int i = 0; i < 3; i++)
    if (ifd_node_string_is(node, "cast_to", "TO_FLOAT", types[i].name)) {
      *out = types[i].dtype;
      return IFD_OK;
    }
  FAIL(err, BAD_MODEL, "attribute cast_to is not TO_FLOAT, TO_STRING or TO_INT64");
}

static ifd_status is_sparse(ifd_error *err, bool *out, const ifd_node *node) {
  *out = ifd_node_string_is(node, "map_form", "DENSE", "SPARSE");
  EXPECT(err, *out || ifd_node_string_is(node, "map_form", "DENSE", "DENSE"), BAD_MODEL,
         "attribute map_form is not DENSE or SPARSE");
  return IFD_OK;
}

/* One row, so that models of [N, F] take it. */
static ifd_status infer_CastMap(ifd_infer *x) {
  ifd_dtype dtype;
  bool sparse;
  TRY(cast_to(x->err, &dtype, x->node));
  TRY(is_sparse(x->err, &sparse, x->node));
  const ifd_dim dims[] = {1, sparse ? ifd_dim_number(x->dims, ifd_attr_int(x->node, "max_map"))
                                    : ifd_dim_unknown(x->dims)};
  return ifd_infer_tensor(x, 0, dtype, 2, dims);
}

/* out[j] = in[i], cast. */
static ifd_status cast_element(ifd_eval *x, ifd_tensor *out, int64_t j, const ifd_tensor *in, int64_t i) {
  const ifd_str *text = in->dtype == IFD_STRING ? (const ifd_str *)in->data + i : NULL;
  const char *from = (const char *)in->data + (size_t)i * ifd_dtype_size(in->dtype);
  char *to = (char *)out->data + (size_t)j * ifd_dtype_size(out->dtype);
  if (out->dtype != IFD_STRING && text) {
    EXPECT(x->err, ifd_number_parse(*text, out->dtype, out->data, j), BAD_INPUT, "'%.*s' is no number",
           (int)(text->len < 64 ? text->len : 64), text->s);
  } else if (out->dtype != IFD_STRING) {
    ifd_cast(out->dtype, to, in->dtype, from, 1, true, IFD_ROUND_NEAREST);
  } else if (text) {
    *(ifd_str *)to = *text;
  } else {
    *(ifd_str *)to = ifd_number_text(x->scratch, in->dtype, in->data, i);
    EXPECT(x->err, ((ifd_str *)to)->s, NO_MEMORY, "out of memory");
  }
  return IFD_OK;
}

static int compare_keys(const void *keys, int64_t a, int64_t b) {
  const int64_t *k = keys;
  return k[a] < k[b] ? -1 : k[a] > k[b];
}

static ifd_status eval_CastMap(ifd_eval *x) {
  const ifd_tensor *keys, *values;
  ifd_tensor *out;
  ifd_dtype dtype;
  bool sparse;
  int64_t *order;
  TRY(map_in(x, &keys, &values));
  TRY(cast_to(x->err, &dtype, x->node));
  TRY(is_sparse(x->err, &sparse, x->node));
  EXPECT(x->err, keys->dtype == IFD_INT64, BAD_INPUT, "the keys of the map are of type %s, not int64",
         ifd_dtype_name(keys->dtype));
  const int64_t *key = keys->data;
  int64_t n = ifd_tensor_count(keys), n_out = sparse ? ifd_attr_int(x->node, "max_map") : n;
  EXPECT(x->err, n_out >= 0, BAD_MODEL, "attribute max_map is %lld", (long long)n_out);
  TRY(ifd_eval_out(x, &out, 0, dtype, &(ifd_shape){2, {1, n_out}}));
  ifd_fill(out, NULL);
  ALLOC(x->err, order, ifd_new_array(x->scratch, int64_t, n));
  for (int64_t i = 0; i < n; i++) order[i] = i;
  TRY(ifd_order_sort(x->err, order, n, x->scratch, compare_keys, key));
  for (int64_t i = 0; i < n; i++) {
    int64_t to = sparse ? key[order[i]] : i;
    EXPECT(x->err, to >= 0 && to < n_out, BAD_INPUT, "key %lld is outside [0, %lld)", (long long)to,
           (long long)n_out);
    TRY(cast_element(x, out, to, values, order[i]));
  }
  return IFD_OK;
}

/* ---- DictVectorizer ---- */

static ifd_status read_vocabulary(ifd_error *err, ifd_tensor *out, const ifd_node *node) {
  int n =
      ifd_attr_as_tensor(node, "string_vocabulary", out) + ifd_attr_as_tensor(node, "int64_vocabulary", out);
  EXPECT(err, n == 1, BAD_MODEL, "%s of the attributes string_vocabulary and int64_vocabulary must be given",
         n ? "only one" : "one");
  return IFD_OK;
}

static ifd_status infer_DictVectorizer(ifd_infer *x) {
  ifd_tensor vocabulary = {0};
  TRY(read_vocabulary(x->err, &vocabulary, x->node));
  const ifd_type *map = x->in[0];
  ifd_dtype dtype = map->kind == IFD_KIND_MAP && map->elem ? map->elem->dtype : IFD_UNDEFINED;
  return ifd_infer_tensor(x, 0, dtype, 1, vocabulary.shape.dim);
}

static ifd_status eval_DictVectorizer(ifd_eval *x) {
  const ifd_tensor *keys, *values;
  ifd_tensor vocabulary = {0}, *out;
  ifd_lookup lookup;
  TRY(map_in(x, &keys, &values));
  TRY(read_vocabulary(x->err, &vocabulary, x->node));
  EXPECT(x->err, keys->dtype == vocabulary.dtype, BAD_INPUT,
         "the keys of the map are of type %s, the vocabulary is %s", ifd_dtype_name(keys->dtype),
         ifd_dtype_name(vocabulary.dtype));
  TRY(ifd_lookup_init(x->err, &lookup, x->scratch, &vocabulary, IFD_LOOKUP_VALUES));
  TRY(ifd_eval_out(x, &out, 0, values->dtype, &vocabulary.shape));
  ifd_fill(out, NULL);
  for (int64_t i = 0; i < ifd_tensor_count(keys); i++) {
    int64_t at = ifd_lookup_find(&lookup, keys->dtype, keys->data, i);
    EXPECT(x->err, at >= 0, BAD_INPUT, "key %lld of the map is not in the vocabulary", (long long)i);
    TRY(cast_element(x, out, at, values, i));
  }
  return IFD_OK;
}

#define ROW(name_)                                                                                           \
  { .name = #name_, .domain = "ai.onnx.ml", .since = 1, .infer = infer_##name_, .eval = eval_##name_ }
const ifd_op ifd_ops_map[] = {ROW(ZipMap), ROW(CastMap), ROW(DictVectorizer), {0}};
