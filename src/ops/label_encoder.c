/* LabelEncoder, CategoryMapper: elements replaced by the value that a table in the attributes has for them.
 */
#include "ops/shared/elementwise.h"
#include "ops/shared/lookup.h"
#include "ops/shared/operand.h"
#include "ops/shared/places.h"
#include "tensor/convert.h"
#include <string.h>

/* keys[i] becomes values[i], anything else `otherwise`, of the type of the values. */
typedef struct table {
  ifd_tensor keys, values, otherwise;
  ifd_lookup_rule rule;
} table;

/* ---- attributes ---- */

/* A list by its element type: attributes keys_strings … or values_strings …, or, from version 4, a tensor. */
typedef struct list_names {
  const char *strings, *ints, *floats, *tensor;
} list_names;
static const list_names of_keys = {"keys_strings", "keys_int64s", "keys_floats", "keys_tensor"};
static const list_names of_values = {"values_strings", "values_int64s", "values_floats", "values_tensor"};

static ifd_status dense(ifd_error *err, ifd_arena *arena, ifd_tensor *out, const ifd_tensor *t) {
  TRY(ifd_tensor_new(err, out, arena, t->dtype, &t->shape));
  ifd_tensor_expand(t, out->data);
  return IFD_OK;
}

static ifd_status read_list(ifd_error *err, ifd_arena *arena, ifd_tensor *out, const ifd_node *node,
                            const list_names *names) {
  const ifd_tensor *t = ifd_node_tensor(node, names->tensor);
  int n = (t != NULL) + ifd_attr_as_tensor(node, names->strings, out) +
          ifd_attr_as_tensor(node, names->ints, out) + ifd_attr_as_tensor(node, names->floats, out);
  EXPECT(err, n == 1, BAD_MODEL, "%d of the attributes %s, %s, %s and %s are given; it must be one", n,
         names->strings, names->ints, names->floats, names->tensor);
  return t ? dense(err, arena, out, t) : IFD_OK;
}

/* The element type of a list, without reading it. */
static ifd_dtype list_dtype(const ifd_node *node, const list_names *names) {
  const ifd_tensor *t = ifd_node_tensor(node, names->tensor);
  ifd_tensor list = {0};
  if (t) return t->dtype;
  (void)(ifd_attr_as_tensor(node, names->strings, &list) || ifd_attr_as_tensor(node, names->ints, &list) ||
         ifd_attr_as_tensor(node, names->floats, &list));
  return list.dtype;
}

/* The default of the values' type; defaults_of_type: attributes default_string … count. */
static ifd_status read_default(ifd_eval *x, table *t, bool defaults_of_type) {
  const ifd_tensor *given = ifd_node_tensor(x->node, "default_tensor");
  ifd_dtype dtype = t->values.dtype;
  if (given) {
    EXPECT(x->err, given->dtype == dtype && ifd_tensor_count(given) == 1, BAD_MODEL,
           "attribute default_tensor has %lld elements of type %s, not one of type %s",
           (long long)ifd_tensor_count(given), ifd_dtype_name(given->dtype), ifd_dtype_name(dtype));
    return dense(x->err, x->scratch, &t->otherwise, given);
  }
  TRY(ifd_tensor_new(x->err, &t->otherwise, x->scratch, dtype, &(ifd_shape){1, {1}}));
  if (dtype == IFD_STRING)
    *(ifd_str *)t->otherwise.data =
        ifd_node_string(x->node, defaults_of_type ? "default_string" : "", "_Unused");
  else if (ifd_dtype_is_float(dtype))
    ifd_tensor_set_f64(&t->otherwise, 0,
                       defaults_of_type ? ifd_node_float(x->node, "default_float", -0.0f) : -0.0);
  else
    ifd_tensor_set_i64(&t->otherwise, 0, defaults_of_type ? ifd_node_int(x->node, "default_int64", -1) : -1);
  return IFD_OK;
}

/* ---- replacing ---- */

/* The values and, behind them, the default, as elements of `dtype`. */
static ifd_status choices_of(ifd_eval *x, ifd_tensor *out, const table *t, ifd_dtype dtype) {
  const ifd_tensor *parts[] = {&t->values, &t->otherwise};
  int64_t n = ifd_tensor_count(&t->values);
  TRY(ifd_tensor_new(x->err, out, x->scratch, dtype, &(ifd_shape){1, {n + 1}}));
  char *to = out->data;
  for (int i = 0; i < 2; i++) {
    int64_t count = ifd_tensor_count(parts[i]);
    if (dtype == parts[i]->dtype)
      memcpy(to, parts[i]->data, (size_t)count * ifd_dtype_size(dtype));
    else
      ifd_cast(dtype, to, parts[i]->dtype, parts[i]->data, count, true, IFD_ROUND_NEAREST);
    to += (size_t)count * ifd_dtype_size(dtype);
  }
  return IFD_OK;
}

static ifd_status replace(ifd_eval *x, const table *t) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  ifd_lookup lookup;
  ifd_tensor *out, choices;
  int64_t n = ifd_tensor_count(in), n_keys = ifd_tensor_count(&t->keys), *at;
  EXPECT(x->err, ifd_tensor_count(&t->values) == n_keys, BAD_MODEL, "%lld keys for %lld values",
         (long long)n_keys, (long long)ifd_tensor_count(&t->values));
  if (x->float64 && t->keys.dtype == IFD_FLOAT) TRY(ifd_eval_as(x, &in, 0, IFD_FLOAT));
  EXPECT(x->err, in->dtype == t->keys.dtype, BAD_INPUT, "the input is of type %s, the keys are of type %s",
         ifd_dtype_name(in->dtype), ifd_dtype_name(t->keys.dtype));
  TRY(ifd_lookup_init(x->err, &lookup, x->scratch, &t->keys, t->rule));
  ALLOC(x->err, at, ifd_new_array(x->scratch, int64_t, n));
  for (int64_t i = 0; i < n; i++) {
    at[i] = ifd_lookup_find(&lookup, in, i);
    if (at[i] < 0) at[i] = n_keys;
  }
  TRY(ifd_eval_out(x, &out, 0, t->values.dtype, &in->shape));
  TRY(choices_of(x, &choices, t, out->dtype));
  ifd_gather_blocks(out->data, choices.data, at, n, ifd_dtype_size(out->dtype));
  return IFD_OK;
}

/* ---- LabelEncoder from version 2 ---- */

static ifd_status encode(ifd_eval *x, ifd_lookup_rule rule) {
  table t = {.rule = rule};
  TRY(read_list(x->err, x->scratch, &t.keys, x->node, &of_keys));
  TRY(read_list(x->err, x->scratch, &t.values, x->node, &of_values));
  TRY(read_default(x, &t, !ifd_node_tensor(x->node, "values_tensor")));
  return replace(x, &t);
}

static ifd_status eval_encoder_2(ifd_eval *x) { return encode(x, IFD_LOOKUP_BITS); }
static ifd_status eval_encoder_4(ifd_eval *x) { return encode(x, IFD_LOOKUP_VALUES); }

static ifd_status infer_encoder(ifd_infer *x) {
  return ifd_infer_same_as(x, 0, 0, list_dtype(x->node, &of_values));
}

/* ---- strings to integers or back: LabelEncoder 1, CategoryMapper ---- */

static ifd_status infer_either_way(ifd_infer *x) {
  ifd_dtype dtype = ifd_infer_dtype(x, 0);
  return ifd_infer_same_as(x, 0, 0, !dtype ? IFD_UNDEFINED : dtype == IFD_STRING ? IFD_INT64 : IFD_STRING);
}

static ifd_status either_way(ifd_eval *x, const ifd_tensor *strings, const ifd_tensor *ints) {
  bool from_strings = ifd_eval_in(x, 0)->dtype == IFD_STRING;
  table t = {.keys = from_strings ? *strings : *ints, .values = from_strings ? *ints : *strings};
  TRY(read_default(x, &t, true));
  return replace(x, &t);
}

static ifd_status eval_encoder_1(ifd_eval *x) {
  ifd_tensor classes = {.dtype = IFD_STRING, .shape.rank = 1}, places;
  (void)ifd_attr_as_tensor(x->node, "classes_strings", &classes);
  TRY(ifd_tensor_new(x->err, &places, x->scratch, IFD_INT64, &classes.shape));
  for (int64_t i = 0; i < ifd_tensor_count(&classes); i++) ((int64_t *)places.data)[i] = i;
  return either_way(x, &classes, &places);
}

static ifd_status eval_CategoryMapper(ifd_eval *x) {
  ifd_tensor strings = {.dtype = IFD_STRING, .shape.rank = 1}, ints = {.dtype = IFD_INT64, .shape.rank = 1};
  (void)ifd_attr_as_tensor(x->node, "cats_strings", &strings);
  (void)ifd_attr_as_tensor(x->node, "cats_int64s", &ints);
  return either_way(x, &strings, &ints);
}

#define ROW(name_, since_, infer_, eval_)                                                                    \
  { .name = name_, .domain = "ai.onnx.ml", .since = since_, .infer = infer_, .eval = eval_ }
const ifd_op ifd_ops_label_encoder[] = {ROW("LabelEncoder", 1, infer_either_way, eval_encoder_1),
                                        ROW("LabelEncoder", 2, infer_encoder, eval_encoder_2),
                                        ROW("LabelEncoder", 4, infer_encoder, eval_encoder_4),
                                        ROW("CategoryMapper", 1, infer_either_way, eval_CategoryMapper),
                                        {0}};
