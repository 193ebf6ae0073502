/* Features made ready for a model: Scaler, Normalizer, Binarizer, Imputer, ArrayFeatureExtractor,
 * FeatureVectorizer, OneHotEncoder. */
#include <math.h>
#include <string.h>

#include "ops/shared/elementwise.h"
#include "ops/shared/lookup.h"
#include "ops/shared/places.h"
#include "ops/shared/rows.h"
#include "ops/shared/scores.h"
#include "ops/shared/values.h"
#include "tensor/convert.h"

/* Size of the last dimension: the number of features; 1 for a scalar. */
static int64_t n_features(const ifd_shape *s) { return s->rank ? s->dim[s->rank - 1] : 1; }

static ifd_status infer_as_float(ifd_infer *x) { return ifd_infer_same_as(x, 0, 0, IFD_FLOAT); }

/* ---- Scaler ---- */

/* A value for each feature: the attribute has as many, or one for all, or is absent. */
static ifd_status read_by_feature(ifd_eval *x, const char *name, double otherwise, double **out) {
  int64_t features = n_features(ifd_eval_shape(x, 0));
  const float *v;
  int n = ifd_node_floats(x->node, name, &v);
  EXPECT(x->err, n <= 1 || n == features, BAD_MODEL, "attribute %s has %d elements for %lld features", name,
         n, (long long)features);
  TRY(ifd_eval_zeros(x, out, features));
  for (int64_t i = 0; i < features; i++) (*out)[i] = n == 0 ? otherwise : v[n == 1 ? 0 : i];
  return IFD_OK;
}

static ifd_status eval_Scaler(ifd_eval *x) {
  const ifd_shape *s = ifd_eval_shape(x, 0);
  const double *in;
  double *y, *offset, *scale;
  int64_t n = ifd_shape_count(s), features = n_features(s);
  TRY(read_by_feature(x, "offset", 0, &offset));
  TRY(read_by_feature(x, "scale", 1, &scale));
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_zeros(x, &y, n));
  for (int64_t i = 0; i < n; i += features)
    for (int64_t f = 0; f < features; f++) y[i + f] = (in[i + f] - offset[f]) * scale[f];
  return ifd_eval_put_f64(x, 0, IFD_FLOAT, s, y);
}

/* ---- Normalizer ---- */

/* Norms take absolute values, as they do in every implementation and in ONNX's reference; the formulas in the
 * operator's text leave that out. */
static double norm_max(const double *v, int64_t n) {
  double y = 0;
  for (int64_t i = 0; i < n; i++) y = fmax(y, fabs(v[i]));
  return y;
}
static double norm_l1(const double *v, int64_t n) {
  double y = 0;
  for (int64_t i = 0; i < n; i++) y += fabs(v[i]);
  return y;
}
static double norm_l2(const double *v, int64_t n) {
  double y = 0;
  for (int64_t i = 0; i < n; i++) y += v[i] * v[i];
  return sqrt(y);
}

static ifd_status eval_Normalizer(ifd_eval *x) {
  static const struct {
    const char *name;
    double (*norm)(const double *, int64_t);
  } norms[] = {{"MAX", norm_max}, {"L1", norm_l1}, {"L2", norm_l2}};
  const double *in;
  double *y;
  ifd_samples s;
  int k = 0;
  while (k < 3 && !ifd_node_string_is(x->node, "norm", "MAX", norms[k].name)) k++;
  EXPECT(x->err, k < 3, BAD_MODEL, "attribute norm is not MAX, L1 or L2");
  TRY(ifd_samples_of(x->err, &s, ifd_eval_shape(x, 0)));
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_zeros(x, &y, s.n * s.n_features));
  for (int64_t i = 0; i < s.n; i++) {
    double norm = norms[k].norm(in + i * s.n_features, s.n_features);
    for (int64_t j = i * s.n_features; j < (i + 1) * s.n_features; j++)
      y[j] = norm == 0 ? in[j] : in[j] / norm;
  }
  return ifd_eval_put_f64(x, 0, IFD_FLOAT, ifd_eval_shape(x, 0), y);
}

/* In float, with chains for every eighth element, joined in order. */
typedef float float_norm(const float *v, int64_t n);
#define NORM(name, step, join, end)                                                                          \
  static float name(const float *v, int64_t n) {                                                             \
    enum { CHAINS = 8 };                                                                                     \
    float chain[CHAINS] = {0};                                                                               \
    int64_t i = 0;                                                                                           \
    for (; i + CHAINS <= n; i += CHAINS)                                                                     \
      for (int k = 0; k < CHAINS; k++) {                                                                     \
        const float y = chain[k], a = fabsf(v[i + k]);                                                       \
        chain[k] = step;                                                                                     \
      }                                                                                                      \
    for (int k = 0; i + k < n; k++) {                                                                        \
      const float y = chain[k], a = fabsf(v[i + k]);                                                         \
      chain[k] = step;                                                                                       \
    }                                                                                                        \
    float y = chain[0];                                                                                      \
    for (int k = 1; k < CHAINS; k++) {                                                                       \
      const float a = chain[k];                                                                              \
      y = join;                                                                                              \
    }                                                                                                        \
    return end;                                                                                              \
  }
NORM(float_max, a > y ? a : y, a > y ? a : y, y)
NORM(float_l1, y + a, y + a, y)
NORM(float_l2, y + a * a, y + a, sqrtf(y))

typedef struct normalizer {
  float_norm *norm;
  int64_t n_features;
  ifd_rows rows;
} normalizer;

static void run_normalizer(const void *params, const ifd_args *args, int task) {
  const normalizer *p = params;
  int64_t from, to;
  ifd_rows_of(&p->rows, task, &from, &to);
  for (; from < to; from++) {
    const float *in = (const float *)args->in[0] + from * p->n_features;
    float *out = (float *)args->out[0] + from * p->n_features, norm = p->norm(in, p->n_features);
    if (norm == 0) norm = 1;
    for (int64_t i = 0; i < p->n_features; i++) out[i] = in[i] / norm;
  }
}

static ifd_status lower_Normalizer(ifd_lower *x) {
  normalizer p = {0};
  ifd_samples s;
  if (!ifd_lower_all_float(x, 1)) return IFD_OK;
  p.norm = ifd_node_string_is(x->node, "norm", "MAX", "MAX")  ? float_max
           : ifd_node_string_is(x->node, "norm", "MAX", "L1") ? float_l1
           : ifd_node_string_is(x->node, "norm", "MAX", "L2") ? float_l2
                                                              : NULL;
  if (!p.norm) return IFD_OK;
  TRY(ifd_samples_of(x->err, &s, &x->in[0]->shape));
  p.n_features = s.n_features;
  p.rows = ifd_rows_split(s.n, 2 * (double)s.n_features);
  x->work->algorithm = "rows";
  return ifd_lower_rows(x, run_normalizer, &p, sizeof p, &p.rows);
}

/* ---- Binarizer ---- */

IFD_COMPUTE_F64(Binarizer, a > p[0])
static const ifd_elementwise Binarizer = {.f64 = Binarizer_f64};

static ifd_status eval_Binarizer(ifd_eval *x) {
  const double threshold = ifd_attr_float(x->node, "threshold");
  return ifd_elementwise_eval(x, &Binarizer, IFD_UNDEFINED, &threshold);
}

/* ---- Imputer ---- */

/* In each row, what equals `replaced` (NaN where that is NaN) becomes the feature's value of `to`. */
#define IMPUTE(type)                                                                                         \
  static void impute_##type(const void *from, void *out, int64_t n, const type *to, int64_t features,        \
                            type replaced) {                                                                 \
    const type *in = from;                                                                                   \
    type *y = out;                                                                                           \
    bool nan = replaced != replaced;                                                                         \
    for (int64_t i = 0; i < n; i += features)                                                                \
      for (int64_t f = 0; f < features; f++)                                                                 \
        y[i + f] = (nan ? in[i + f] != in[i + f] : in[i + f] == replaced) ? to[f] : in[i + f];               \
  }
IMPUTE(float)
IMPUTE(double)
IMPUTE(int32_t)
IMPUTE(int64_t)

/* The value for each feature, as an element of the output's type. */
static ifd_status read_imputed(ifd_eval *x, ifd_tensor *out, ifd_dtype dtype) {
  bool whole = !ifd_dtype_is_float(dtype);
  const char *name = whole ? "imputed_value_int64s" : "imputed_value_floats";
  int64_t features = n_features(ifd_eval_shape(x, 0));
  const int64_t *ints = NULL;
  const float *floats = NULL;
  int n = whole ? ifd_node_ints(x->node, name, &ints) : ifd_node_floats(x->node, name, &floats);
  EXPECT(x->err, n == 1 || (n > 0 && n == features), BAD_MODEL,
         "attribute %s has %d elements for %lld features", name, n, (long long)features);
  TRY(ifd_tensor_new(x->err, out, x->scratch, dtype, &(ifd_shape){1, {features}}));
  for (int64_t i = 0; i < features; i++)
    if (whole)
      ifd_tensor_set_i64(out, i, ints[n == 1 ? 0 : i]);
    else
      ifd_tensor_set_f64(out, i, floats[n == 1 ? 0 : i]);
  return IFD_OK;
}

static ifd_status eval_Imputer(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  ifd_tensor to, *out;
  int64_t n = ifd_tensor_count(in), features = n_features(&in->shape);
  TRY(read_imputed(x, &to, in->dtype));
  TRY(ifd_move_out(x, &out, 0, in->dtype, &in->shape));
  double replaced = ifd_attr_float(x->node, "replaced_value_float");
  int64_t whole = ifd_attr_int(x->node, "replaced_value_int64");
  switch (in->dtype) {
  case IFD_FLOAT: impute_float(in->data, out->data, n, to.data, features, (float)replaced); return IFD_OK;
  case IFD_DOUBLE: impute_double(in->data, out->data, n, to.data, features, replaced); return IFD_OK;
  case IFD_INT64: impute_int64_t(in->data, out->data, n, to.data, features, whole); return IFD_OK;
  case IFD_INT32:
    if (whole == (int32_t)whole)
      impute_int32_t(in->data, out->data, n, to.data, features, (int32_t)whole);
    else
      memcpy(out->data, in->data, ifd_tensor_bytes(in)); /* no element can equal it */
    return IFD_OK;
  default: FAIL(x->err, BAD_INPUT, "the input is of type %s", ifd_dtype_name(in->dtype));
  }
}

/* ---- ArrayFeatureExtractor ---- */

static ifd_status infer_ArrayFeatureExtractor(ifd_infer *x) {
  int rank = ifd_known_rank(x, 0), indices = ifd_infer_rank(x, 1);
  ifd_dim dims[IFD_MAX_RANK], n = 1;
  if (rank < 1) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  if (indices < 0) n = ifd_dim_unknown(x->dims);
  for (int i = 0; i < indices; i++) n = ifd_dim_mul(x->dims, n, ifd_infer_dim(x, 1, i));
  dims[0] = 1;
  for (int i = 0; i + 1 < rank; i++) dims[i] = ifd_infer_dim(x, 0, i);
  dims[rank > 1 ? rank - 1 : 1] = n;
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank > 1 ? rank : 2, dims);
}

/* The indices count from 0 in the last dimension; a vector gives a matrix of one row (as ONNX's reference has
 * it: the text is silent). */
static ifd_status eval_ArrayFeatureExtractor(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  const int64_t *indices;
  int64_t n, *at, features = n_features(&in->shape);
  ifd_tensor *out;
  ifd_shape shape = in->shape;
  TRY(ifd_eval_ints(x, &indices, &n, 1));
  EXPECT(x->err, shape.rank > 0, BAD_INPUT, "a scalar has no features to select");
  for (int64_t i = 0; i < n; i++)
    EXPECT(x->err, indices[i] >= 0 && indices[i] < features, BAD_INPUT, "index %lld is outside [0, %lld)",
           (long long)indices[i], (long long)features);
  int64_t rows = ifd_shape_span(&shape, 0, shape.rank - 1);
  if (shape.rank == 1) shape = (ifd_shape){2, {1}};
  shape.dim[shape.rank - 1] = n;
  TRY(ifd_move_out(x, &out, 0, in->dtype, &shape));
  ALLOC(x->err, at, ifd_new_array(x->scratch, int64_t, rows * n));
  for (int64_t r = 0, i = 0; r < rows; r++)
    for (int64_t k = 0; k < n; k++) at[i++] = r * features + indices[k];
  ifd_gather_blocks(out->data, in->data, at, rows * n, ifd_dtype_size(in->dtype));
  return IFD_OK;
}

/* Elements of 4 or 8 bytes of rows, by indices known before the run or read in it. */
typedef struct extractor {
  int64_t features, n;
  size_t size;
  ifd_rows rows;
} extractor;

#define EXTRACT(type)                                                                                        \
  static void extract_##type(type *to, const type *row, const int64_t *indices, int64_t n) {                 \
    for (int64_t k = 0; k < n; k++) to[k] = row[indices[k]];                                                 \
  }
EXTRACT(uint32_t)
EXTRACT(uint64_t)

static void run_extractor(const void *params, const ifd_args *args, int task) {
  const extractor *p = params;
  const int64_t *indices = args->in[1];
  int64_t from, to;
  for (int64_t k = 0; k < p->n; k++)
    if (indices[k] < 0 || indices[k] >= p->features) {
      *args->failed = 1;
      return;
    }
  ifd_rows_of(&p->rows, task, &from, &to);
  for (; from < to; from++) {
    const char *row = (const char *)args->in[0] + (size_t)(from * p->features) * p->size;
    char *out = (char *)args->out[0] + (size_t)(from * p->n) * p->size;
    if (p->size == 4)
      extract_uint32_t((uint32_t *)out, (const uint32_t *)row, indices, p->n);
    else
      extract_uint64_t((uint64_t *)out, (const uint64_t *)row, indices, p->n);
  }
}

static ifd_status lower_ArrayFeatureExtractor(ifd_lower *x) {
  const ifd_tensor *in = x->in[0];
  extractor p = {.features = n_features(&in->shape), .n = ifd_tensor_count(x->in[1])};
  p.size = ifd_dtype_size(in->dtype);
  bool plain = in->dtype != IFD_STRING && (p.size == 4 || p.size == 8) && in->shape.rank > 0;
  if (!plain || !x->out[0] || ifd_tensor_count(x->out[0]) == 0) return IFD_OK;
  p.rows = ifd_rows_split(ifd_shape_span(&in->shape, 0, in->shape.rank - 1), (double)p.n);
  x->work->algorithm = "rows";
  return ifd_lower_rows(x, run_extractor, &p, sizeof p, &p.rows);
}

/* ---- FeatureVectorizer ---- */

static ifd_status infer_FeatureVectorizer(ifd_infer *x) {
  const int64_t *sizes;
  int n = ifd_node_ints(x->node, "inputdimensions", &sizes);
  ifd_dim dims[] = {ifd_infer_samples(x), 0};
  for (int i = 0; i < x->node->n_inputs; i++) {
    int rank = ifd_infer_rank(x, i);
    ifd_dim size = i < n       ? ifd_dim_number(x->dims, sizes[i])
                   : rank <= 0 ? ifd_dim_unknown(x->dims)
                               : ifd_infer_dim(x, i, rank - 1);
    dims[1] = ifd_dim_add(x->dims, dims[1], size);
  }
  return ifd_infer_tensor(x, 0, IFD_FLOAT, 2, dims);
}

/* Input i has `size` features in the output: more are cut off, missing ones are 0. */
static ifd_status put_features(ifd_eval *x, double *out, int64_t stride, int i, int64_t size, int64_t rows) {
  ifd_samples s;
  const double *in;
  TRY(ifd_samples_of(x->err, &s, ifd_eval_shape(x, i)));
  EXPECT(x->err, s.n == rows, BAD_INPUT, "input %d has %lld samples, input 0 has %lld", i, (long long)s.n,
         (long long)rows);
  TRY(ifd_eval_f64(x, &in, i));
  for (int64_t r = 0; r < rows; r++)
    memcpy(out + r * stride, in + r * s.n_features, (size_t)ifd_min_i64(size, s.n_features) * sizeof *in);
  return IFD_OK;
}

static ifd_status eval_FeatureVectorizer(ifd_eval *x) {
  const int64_t *sizes;
  int64_t *size, total = 0;
  ifd_samples s = {0};
  double *y;
  int n = ifd_node_ints(x->node, "inputdimensions", &sizes);
  EXPECT(x->err, n == 0 || n == x->n_in, BAD_MODEL, "attribute inputdimensions has %d elements for %d inputs",
         n, x->n_in);
  ALLOC(x->err, size, ifd_new_array(x->scratch, int64_t, x->n_in));
  for (int i = 0; i < x->n_in; i++) {
    EXPECT(x->err, ifd_eval_has(x, i), BAD_MODEL, "input %d is missing", i);
    size[i] = n ? sizes[i] : n_features(ifd_eval_shape(x, i));
    EXPECT(x->err, size[i] >= 0 && ifd_add_i64(&total, total, size[i]), BAD_MODEL,
           "attribute inputdimensions says %lld for input %d", (long long)size[i], i);
  }
  if (x->n_in) TRY(ifd_samples_of(x->err, &s, ifd_eval_shape(x, 0)));
  ifd_shape shape = {2, {s.n, total}};
  TRY(ifd_shape_check(x->err, &shape, sizeof *y));
  TRY(ifd_eval_zeros(x, &y, s.n * total));
  for (int64_t i = 0, at = 0; i < x->n_in; at += size[i++])
    TRY(put_features(x, y + at, total, (int)i, size[i], s.n));
  return ifd_eval_put_f64(x, 0, IFD_FLOAT, &shape, y);
}

/* Parts of a row of the output, each from an input of floats. */
typedef struct vectorizer_part {
  int64_t n_features, used, size; /* of the input; taken; of the part, zeros after what is taken */
} vectorizer_part;
typedef struct vectorizer {
  const vectorizer_part *parts;
  int n;
  int64_t total;
  ifd_rows rows;
} vectorizer;

static void run_vectorizer(const void *params, const ifd_args *args, int task) {
  const vectorizer *p = params;
  int64_t from, to;
  ifd_rows_of(&p->rows, task, &from, &to);
  for (int64_t r = from; r < to; r++) {
    float *out = (float *)args->out[0] + r * p->total;
    for (int i = 0; i < p->n; out += p->parts[i++].size) {
      const vectorizer_part *part = &p->parts[i];
      memcpy(out, (const float *)args->in[i] + r * part->n_features, (size_t)part->used * sizeof *out);
      memset(out + part->used, 0, (size_t)(part->size - part->used) * sizeof *out);
    }
  }
}

static ifd_status lower_FeatureVectorizer(ifd_lower *x) {
  const int64_t *sizes;
  vectorizer_part *parts;
  vectorizer p = {.n = x->node->n_inputs};
  ifd_samples s = {0}, first;
  int n = ifd_node_ints(x->node, "inputdimensions", &sizes);
  if (!ifd_lower_all_float(x, p.n) || (n && n != p.n)) return IFD_OK;
  ALLOC(x->err, parts, ifd_new_array(x->arena, vectorizer_part, p.n));
  TRY(ifd_samples_of(x->err, &first, &x->in[0]->shape));
  for (int i = 0; i < p.n; i++) {
    if (!x->in[i]) return IFD_OK;
    TRY(ifd_samples_of(x->err, &s, &x->in[i]->shape));
    int64_t size = n ? sizes[i] : s.n_features;
    if (s.n != first.n || size < 0) return IFD_OK;
    parts[i] = (vectorizer_part){s.n_features, ifd_min_i64(size, s.n_features), size};
    p.total += size;
  }
  p.parts = parts;
  p.rows = ifd_rows_split(first.n, (double)p.total);
  x->work->algorithm = "rows";
  return ifd_lower_rows(x, run_vectorizer, &p, sizeof p, &p.rows);
}

/* ---- OneHotEncoder ---- */

static ifd_status read_categories(ifd_error *err, ifd_tensor *out, const ifd_node *node) {
  int n = ifd_attr_as_tensor(node, "cats_strings", out) + ifd_attr_as_tensor(node, "cats_int64s", out);
  EXPECT(err, n == 1, BAD_MODEL, "%s of the attributes cats_strings and cats_int64s must be given",
         n ? "only one" : "one");
  return IFD_OK;
}

static ifd_status infer_OneHotEncoder(ifd_infer *x) {
  ifd_tensor categories = {0};
  int rank = ifd_known_rank(x, 0);
  ifd_dim dims[IFD_MAX_RANK + 1];
  TRY(read_categories(x->err, &categories, x->node));
  if (rank < 0) return ifd_infer_unranked(x, 0, IFD_FLOAT);
  for (int i = 0; i < rank; i++) dims[i] = ifd_infer_dim(x, 0, i);
  dims[rank] = ifd_tensor_count(&categories);
  return ifd_infer_tensor(x, 0, IFD_FLOAT, rank + 1, dims);
}

/* Numbers are looked up as integers, floats truncated. */
static int64_t category_of(const ifd_lookup *l, ifd_dtype dtype, const void *data, int64_t i) {
  int64_t v;
  if (!ifd_dtype_is_float(dtype)) return ifd_lookup_find(l, dtype, data, i);
  ifd_load_i64(dtype, (const char *)data + (size_t)i * ifd_dtype_size(dtype), &v, 1);
  return ifd_lookup_find(l, IFD_INT64, &v, 0);
}

static ifd_status eval_OneHotEncoder(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  ifd_tensor categories = {0}, *out;
  ifd_lookup lookup;
  ifd_shape shape = in->shape;
  bool zeros = ifd_attr_int(x->node, "zeros") != 0;
  TRY(read_categories(x->err, &categories, x->node));
  EXPECT(x->err, (in->dtype == IFD_STRING) == (categories.dtype == IFD_STRING), BAD_INPUT,
         "the input is of type %s, the categories are of type %s", ifd_dtype_name(in->dtype),
         ifd_dtype_name(categories.dtype));
  TRY(ifd_lookup_init(x->err, &lookup, x->scratch, &categories, IFD_LOOKUP_VALUES));
  EXPECT(x->err, shape.rank < IFD_MAX_RANK, UNSUPPORTED, "an output of more than %d dimensions",
         IFD_MAX_RANK);
  shape.dim[shape.rank++] = ifd_tensor_count(&categories);
  TRY(ifd_eval_out(x, &out, 0, IFD_FLOAT, &shape));
  ifd_fill(out, NULL);
  for (int64_t i = 0; i < ifd_tensor_count(in); i++) {
    int64_t at = category_of(&lookup, in->dtype, in->data, i);
    EXPECT(x->err, at >= 0 || zeros, BAD_INPUT, "element %lld of the input is in no category", (long long)i);
    if (at < 0) continue;
    at += i * ifd_tensor_count(&categories);
    if (out->dtype == IFD_FLOAT)
      ((float *)out->data)[at] = 1;
    else
      ((double *)out->data)[at] = 1;
  }
  return IFD_OK;
}

#define ROW(name_, infer_, lower_)                                                                           \
  {                                                                                                          \
    .name = #name_, .domain = "ai.onnx.ml", .since = 1, .infer = infer_, .eval = eval_##name_,               \
    .lower = lower_                                                                                          \
  }
const ifd_op ifd_ops_feature[] = {
    ROW(Scaler, infer_as_float, NULL),
    ROW(Normalizer, infer_as_float, lower_Normalizer),
    ROW(Binarizer, ifd_infer_like_first, NULL),
    ROW(Imputer, ifd_infer_like_first, NULL),
    ROW(ArrayFeatureExtractor, infer_ArrayFeatureExtractor, lower_ArrayFeatureExtractor),
    ROW(FeatureVectorizer, infer_FeatureVectorizer, lower_FeatureVectorizer),
    ROW(OneHotEncoder, infer_OneHotEncoder, NULL),
    {0}};
