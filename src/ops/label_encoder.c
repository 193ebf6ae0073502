/* LabelEncoder, CategoryMapper: elements replaced by the value that a table in the attributes has for
 * them. */
#include "ops/shared/elementwise.h"
#include "ops/shared/lookup.h"
#include "ops/shared/operand.h"
#include "ops/shared/places.h"
#include "tensor/convert.h"
#include <string.h>

typedef struct table {
  ifd_lookup lookup;
  int64_t n;          /* keys */
  ifd_tensor choices; /* the value of each key and, last, that of any other element */
  ifd_dtype in, values_dtype;
} table;
typedef struct reader reader;
typedef ifd_status read_table(const reader *r, table *t);

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

/* ---- tables ---- */

struct reader {
  ifd_error *err;
  const ifd_node *node;
  ifd_arena *arena;
  ifd_dtype in, out; /* element types of the input and, float64 runs considered, of the output */
};

/* The default of the values' type; defaults_of_type: attributes default_string … count. */
static ifd_status read_default(const reader *r, ifd_tensor *out, ifd_dtype dtype, bool defaults_of_type) {
  const ifd_tensor *given = ifd_node_tensor(r->node, "default_tensor");
  if (given) {
    EXPECT(r->err, given->dtype == dtype && ifd_tensor_count(given) == 1, BAD_MODEL,
           "attribute default_tensor has %lld elements of type %s, not one of type %s",
           (long long)ifd_tensor_count(given), ifd_dtype_name(given->dtype), ifd_dtype_name(dtype));
    return dense(r->err, r->arena, out, given);
  }
  TRY(ifd_tensor_new(r->err, out, r->arena, dtype, &(ifd_shape){1, {1}}));
  if (dtype == IFD_STRING)
    *(ifd_str *)out->data = ifd_node_string(r->node, defaults_of_type ? "default_string" : "", "_Unused");
  else if (ifd_dtype_is_float(dtype))
    ifd_tensor_set_f64(out, 0, defaults_of_type ? ifd_node_float(r->node, "default_float", -0.0f) : -0.0);
  else
    ifd_tensor_set_i64(out, 0, defaults_of_type ? ifd_node_int(r->node, "default_int64", -1) : -1);
  return IFD_OK;
}

/* The values and, behind them, the default, as elements of `dtype`. */
static ifd_status join_choices(const reader *r, ifd_tensor *out, const ifd_tensor *values,
                               const ifd_tensor *otherwise, ifd_dtype dtype) {
  const ifd_tensor *parts[] = {values, otherwise};
  int64_t n = ifd_tensor_count(values);
  TRY(ifd_tensor_new(r->err, out, r->arena, dtype, &(ifd_shape){1, {n + 1}}));
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

/* keys[i] becomes values[i], anything else the default. */
static ifd_status make_table(const reader *r, table *t, const ifd_tensor *keys, const ifd_tensor *values,
                             ifd_lookup_rule rule, bool defaults_of_type) {
  ifd_tensor otherwise;
  t->n = ifd_tensor_count(keys);
  EXPECT(r->err, ifd_tensor_count(values) == t->n, BAD_MODEL, "%lld keys for %lld values", (long long)t->n,
         (long long)ifd_tensor_count(values));
  EXPECT(r->err, r->in == keys->dtype, BAD_INPUT, "the input is of type %s, the keys are of type %s",
         ifd_dtype_name(r->in), ifd_dtype_name(keys->dtype));
  t->in = r->in;
  t->values_dtype = values->dtype;
  TRY(ifd_lookup_init(r->err, &t->lookup, r->arena, keys, rule));
  TRY(read_default(r, &otherwise, values->dtype, defaults_of_type));
  ifd_dtype dtype = values->dtype == IFD_FLOAT && r->out == IFD_DOUBLE ? IFD_DOUBLE : values->dtype;
  return join_choices(r, &t->choices, values, &otherwise, dtype);
}

/* ---- the operators ---- */

/* LabelEncoder from version 2. */
static ifd_status read_encoder(const reader *r, table *t, ifd_lookup_rule rule) {
  ifd_tensor keys, values;
  TRY(read_list(r->err, r->arena, &keys, r->node, &of_keys));
  TRY(read_list(r->err, r->arena, &values, r->node, &of_values));
  return make_table(r, t, &keys, &values, rule, !ifd_node_tensor(r->node, "values_tensor"));
}
static ifd_status read_encoder_2(const reader *r, table *t) { return read_encoder(r, t, IFD_LOOKUP_BITS); }
static ifd_status read_encoder_4(const reader *r, table *t) { return read_encoder(r, t, IFD_LOOKUP_VALUES); }

/* Strings to integers or back, as the input has it. */
static ifd_status read_either_way(const reader *r, table *t, const ifd_tensor *strings,
                                  const ifd_tensor *ints) {
  bool from_strings = r->in == IFD_STRING;
  return make_table(r, t, from_strings ? strings : ints, from_strings ? ints : strings, IFD_LOOKUP_VALUES,
                    true);
}

/* A string's integer is its place in the list. */
static ifd_status read_encoder_1(const reader *r, table *t) {
  ifd_tensor classes = {.dtype = IFD_STRING, .shape.rank = 1}, places;
  (void)ifd_attr_as_tensor(r->node, "classes_strings", &classes);
  TRY(ifd_tensor_new(r->err, &places, r->arena, IFD_INT64, &classes.shape));
  for (int64_t i = 0; i < ifd_tensor_count(&classes); i++) ((int64_t *)places.data)[i] = i;
  return read_either_way(r, t, &classes, &places);
}

static ifd_status read_mapper(const reader *r, table *t) {
  ifd_tensor strings = {.dtype = IFD_STRING, .shape.rank = 1}, ints = {.dtype = IFD_INT64, .shape.rank = 1};
  (void)ifd_attr_as_tensor(r->node, "cats_strings", &strings);
  (void)ifd_attr_as_tensor(r->node, "cats_int64s", &ints);
  return read_either_way(r, t, &strings, &ints);
}

static ifd_status infer_encoder(ifd_infer *x) {
  return ifd_infer_same_as(x, 0, 0, list_dtype(x->node, &of_values));
}

static ifd_status infer_either_way(ifd_infer *x) {
  ifd_dtype dtype = ifd_infer_dtype(x, 0);
  return ifd_infer_same_as(x, 0, 0, !dtype ? IFD_UNDEFINED : dtype == IFD_STRING ? IFD_INT64 : IFD_STRING);
}

/* ---- replacing ---- */

enum { CHUNK = 512 };

/* Elements [first, last). */
static void replace(const table *t, const void *in, void *out, int64_t first, int64_t last) {
  size_t size = ifd_dtype_size(t->choices.dtype);
  int64_t at[CHUNK];
  for (; first < last; first += CHUNK) {
    int64_t n = ifd_min_i64(CHUNK, last - first);
    for (int64_t i = 0; i < n; i++) {
      at[i] = ifd_lookup_find(&t->lookup, t->in, in, first + i);
      if (at[i] < 0) at[i] = t->n;
    }
    ifd_gather_blocks((char *)out + (size_t)first * size, t->choices.data, at, n, size);
  }
}

/* Float keys stay float in a float64 run: an element is rounded to be found. */
static ifd_status evaluate(ifd_eval *x, read_table *read) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  ifd_tensor *out;
  table t;
  if (x->float64 && list_dtype(x->node, &of_keys) == IFD_FLOAT) TRY(ifd_eval_as(x, &in, 0, IFD_FLOAT));
  const reader r = {x->err, x->node, x->scratch, in->dtype, x->float64 ? IFD_DOUBLE : IFD_UNDEFINED};
  TRY(read(&r, &t));
  TRY(ifd_eval_out(x, &out, 0, t.values_dtype, &in->shape));
  replace(&t, in->data, out->data, 0, ifd_tensor_count(in));
  return IFD_OK;
}

typedef struct task {
  table t;
  int64_t n, grain;
} task;

static void run_task(const void *params, const ifd_args *args, int number) {
  const task *k = params;
  int64_t first = number * k->grain;
  replace(&k->t, args->in[0], args->out[0], first, ifd_min_i64(first + k->grain, k->n));
}

/* Strings have to be owned by the output, which an evaluation sees to. */
static ifd_status lower(ifd_lower *x, read_table *read) {
  enum { ELEMENT_OPS = 32 };
  const reader r = {x->err, x->node, x->arena, x->in[0]->dtype, IFD_UNDEFINED};
  task k = {.n = ifd_tensor_count(x->in[0])};
  if (!x->out[0] || x->out[0]->dtype == IFD_STRING || k.n == 0) return IFD_OK;
  TRY(read(&r, &k.t));
  k.grain = ifd_lower_grain(k.n, ELEMENT_OPS);
  x->work->algorithm = "hash table";
  return ifd_lower_launch(x, run_task, &k, sizeof k, ifd_ceil_div(k.n, k.grain), 0);
}

#define OPERATOR(read)                                                                                       \
  static ifd_status eval_##read(ifd_eval *x) { return evaluate(x, read); }                                   \
  static ifd_status lower_##read(ifd_lower *x) { return lower(x, read); }
OPERATOR(read_encoder_1)
OPERATOR(read_encoder_2)
OPERATOR(read_encoder_4)
OPERATOR(read_mapper)

#define ROW(name_, since_, infer_, read)                                                                     \
  {                                                                                                          \
    .name = name_, .domain = "ai.onnx.ml", .since = since_, .infer = infer_, .eval = eval_##read,            \
    .lower = lower_##read                                                                                    \
  }
const ifd_op ifd_ops_label_encoder[] = {ROW("LabelEncoder", 1, infer_either_way, read_encoder_1),
                                        ROW("LabelEncoder", 2, infer_encoder, read_encoder_2),
                                        ROW("LabelEncoder", 4, infer_encoder, read_encoder_4),
                                        ROW("CategoryMapper", 1, infer_either_way, read_mapper),
                                        {0}};
