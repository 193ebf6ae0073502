/* Random tensors, samples and dropout. */
#include <math.h>

#include "ops/shared/elementwise.h"
#include "ops/shared/random.h"
#include "tensor/convert.h"

/* ---- RandomNormal, RandomUniform, and those like an input ---- */

enum { CHUNK = 256 }; /* elements stored at a time */
typedef double draw(ifd_random *r);

static char *element(const ifd_tensor *t, int64_t i) {
  return (char *)t->data + (size_t)i * ifd_dtype_size(t->dtype);
}

static inline ifd_status fill_random(ifd_eval *x, const ifd_shape *shape, ifd_dtype dtype, draw *next,
                                     double scale, double shift) {
  ifd_random *r;
  ifd_tensor *out;
  ALLOC(x->err, r, ifd_new(x->scratch, ifd_random));
  EXPECT(x->err, ifd_dtype_is_float(dtype), BAD_MODEL, "random numbers are floats, not %s",
         ifd_dtype_name(dtype));
  TRY(ifd_eval_out(x, &out, 0, dtype, shape));
  ifd_random_start(r, x);
  for (int64_t i = 0, n = ifd_shape_count(shape); i < n; i += CHUNK) {
    double chunk[CHUNK];
    int64_t m = ifd_min_i64(CHUNK, n - i);
    for (int64_t k = 0; k < m; k++) chunk[k] = next(r) * scale + shift;
    ifd_store_f64(out->dtype, element(out, i), chunk, m);
  }
  return IFD_OK;
}

static ifd_status shape_attr(ifd_error *err, const ifd_node *node, ifd_shape *out) {
  const int64_t *dims;
  *out = (ifd_shape){.rank = ifd_node_ints(node, "shape", &dims)};
  EXPECT(err, out->rank <= IFD_MAX_RANK, UNSUPPORTED, "attribute shape has more than %d dimensions",
         IFD_MAX_RANK);
  for (int i = 0; i < out->rank; i++) out->dim[i] = dims[i];
  return ifd_shape_check(err, out, sizeof(double));
}

static ifd_status fill_normal(ifd_eval *x, const ifd_shape *shape, ifd_dtype dtype) {
  return fill_random(x, shape, dtype, ifd_random_normal, ifd_attr_float(x->node, "scale"),
                     ifd_attr_float(x->node, "mean"));
}

static ifd_status fill_uniform(ifd_eval *x, const ifd_shape *shape, ifd_dtype dtype) {
  double low = ifd_attr_float(x->node, "low"), high = ifd_attr_float(x->node, "high");
  return fill_random(x, shape, dtype, ifd_random_uniform, high - low, low);
}

typedef ifd_status (*fill)(ifd_eval *x, const ifd_shape *shape, ifd_dtype dtype);

static ifd_status eval_shaped(ifd_eval *x, fill f) {
  ifd_shape shape;
  ifd_dtype dtype;
  TRY(shape_attr(x->err, x->node, &shape));
  TRY(ifd_node_dtype(x->err, x->node, "dtype", IFD_FLOAT, &dtype));
  return f(x, &shape, dtype);
}

static ifd_status eval_like(ifd_eval *x, fill f) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  ifd_dtype dtype;
  TRY(ifd_node_dtype(x->err, x->node, "dtype", in->dtype, &dtype));
  return f(x, &in->shape, dtype);
}

static ifd_status eval_RandomNormal(ifd_eval *x) { return eval_shaped(x, fill_normal); }
static ifd_status eval_RandomUniform(ifd_eval *x) { return eval_shaped(x, fill_uniform); }
static ifd_status eval_RandomNormalLike(ifd_eval *x) { return eval_like(x, fill_normal); }
static ifd_status eval_RandomUniformLike(ifd_eval *x) { return eval_like(x, fill_uniform); }

static ifd_status infer_shaped(ifd_infer *x) {
  ifd_shape shape;
  ifd_dtype dtype;
  TRY(shape_attr(x->err, x->node, &shape));
  TRY(ifd_node_dtype(x->err, x->node, "dtype", IFD_FLOAT, &dtype));
  return ifd_infer_tensor(x, 0, dtype, shape.rank, shape.dim);
}

static ifd_status infer_like(ifd_infer *x) {
  ifd_dtype dtype;
  TRY(ifd_node_dtype(x->err, x->node, "dtype", ifd_infer_dtype(x, 0), &dtype));
  return ifd_infer_same_as(x, 0, 0, dtype);
}

/* ---- Bernoulli ---- */

static ifd_status eval_Bernoulli(ifd_eval *x) {
  const ifd_tensor *p = ifd_eval_in(x, 0);
  ifd_dtype dtype;
  ifd_tensor *out;
  ifd_random *r;
  ALLOC(x->err, r, ifd_new(x->scratch, ifd_random));
  TRY(ifd_node_dtype(x->err, x->node, "dtype", p->dtype, &dtype));
  TRY(ifd_eval_out(x, &out, 0, dtype, &p->shape));
  ifd_random_start(r, x);
  for (int64_t i = 0, n = ifd_tensor_count(p); i < n; i += CHUNK) {
    double chance[CHUNK];
    int64_t drawn[CHUNK], m = ifd_min_i64(CHUNK, n - i);
    ifd_load_f64(p->dtype, element(p, i), chance, m);
    for (int64_t k = 0; k < m; k++) {
      EXPECT(x->err, chance[k] >= 0 && chance[k] <= 1, BAD_INPUT, "%g is no probability", chance[k]);
      drawn[k] = ifd_random_bernoulli(r, chance[k]);
    }
    ifd_store_i64(out->dtype, element(out, i), drawn, m);
  }
  return IFD_OK;
}

/* ---- Multinomial ---- */

/* One outcome by inversion: the first whose cumulated weight exceeds a uniform part of the whole. */
static int64_t sample(const double *cumulated, int64_t n, double u) {
  int64_t low = 0, high = n - 1;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (cumulated[middle] > u * cumulated[n - 1])
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

static void cumulate_weights(double *log_weights, int64_t n) {
  double top = -INFINITY, sum = 0;
  for (int64_t i = 0; i < n; i++) top = fmax(top, log_weights[i]);
  for (int64_t i = 0; i < n; i++) log_weights[i] = sum += exp(log_weights[i] - top);
}

static ifd_status eval_Multinomial(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  EXPECT(x->err, in->shape.rank == 2 && in->shape.dim[1] > 0, BAD_INPUT, "input is not [batch, classes]");
  int64_t batch = in->shape.dim[0], classes = in->shape.dim[1];
  ifd_shape shape = {2, {batch, ifd_attr_int(x->node, "sample_size")}};
  ifd_dtype dtype;
  ifd_tensor *out;
  ifd_random *r;
  double *weights;
  ALLOC(x->err, r, ifd_new(x->scratch, ifd_random));
  ALLOC(x->err, weights, ifd_new_array(x->scratch, double, classes));
  TRY(ifd_node_dtype(x->err, x->node, "dtype", IFD_INT32, &dtype));
  EXPECT(x->err, ifd_dtype_is_integer(dtype), BAD_MODEL, "samples are int32 or int64, not %s",
         ifd_dtype_name(dtype));
  TRY(ifd_eval_out(x, &out, 0, dtype, &shape));
  ifd_random_start(r, x);
  for (int64_t b = 0; b < batch; b++) {
    ifd_load_f64(in->dtype, (const char *)in->data + b * classes * (int64_t)ifd_dtype_size(in->dtype),
                 weights, classes);
    cumulate_weights(weights, classes);
    for (int64_t i = 0; i < shape.dim[1]; i++)
      ifd_tensor_set_i64(out, b * shape.dim[1] + i, sample(weights, classes, ifd_random_uniform(r)));
  }
  return IFD_OK;
}

static ifd_status infer_Multinomial(ifd_infer *x) {
  ifd_dtype dtype;
  TRY(ifd_node_dtype(x->err, x->node, "dtype", IFD_INT32, &dtype));
  ifd_dim dims[] = {ifd_infer_rank(x, 0) == 2 ? ifd_infer_dim(x, 0, 0) : ifd_dim_unknown(x->dims),
                    ifd_attr_int(x->node, "sample_size")};
  return ifd_infer_tensor(x, 0, dtype, 2, dims);
}

/* ---- Dropout ---- */

static void set_all(ifd_tensor *t, int64_t value) {
  for (int64_t i = 0, n = ifd_tensor_count(t); i < n; i++) ifd_tensor_set_i64(t, i, value);
}

/* Nothing is dropped: the output is the input, a mask wanted is all ones. */
static ifd_status keep_all(ifd_eval *x, ifd_dtype mask_dtype) {
  ifd_tensor *mask;
  TRY(ifd_eval_forward(x, 0, 0));
  if (!ifd_eval_wants(x, 1)) return IFD_OK;
  TRY(ifd_eval_out(x, &mask, 1, mask_dtype, &ifd_eval_in(x, 0)->shape));
  set_all(mask, 1);
  return IFD_OK;
}

/* Each element is dropped with probability `ratio`, the others are scaled to keep the sum. */
static ifd_status drop(ifd_eval *x, double ratio, ifd_dtype mask_dtype) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  ifd_tensor *out, *mask = NULL;
  ifd_random *r;
  EXPECT(x->err, ratio >= 0 && ratio < 1, BAD_INPUT, "ratio %g is outside [0, 1)", ratio);
  if (ratio == 0) return keep_all(x, mask_dtype);
  ALLOC(x->err, r, ifd_new(x->scratch, ifd_random));
  TRY(ifd_eval_out(x, &out, 0, in->dtype, &in->shape));
  if (ifd_eval_wants(x, 1)) TRY(ifd_eval_out(x, &mask, 1, mask_dtype, &in->shape));
  ifd_random_start(r, x);
  for (int64_t i = 0, n = ifd_tensor_count(in); i < n; i += CHUNK) {
    double chunk[CHUNK];
    int64_t kept[CHUNK], m = ifd_min_i64(CHUNK, n - i);
    ifd_load_f64(in->dtype, element(in, i), chunk, m);
    for (int64_t k = 0; k < m; k++) {
      kept[k] = ifd_random_uniform(r) >= ratio;
      chunk[k] = kept[k] ? chunk[k] / (1 - ratio) : 0;
    }
    ifd_store_f64(out->dtype, element(out, i), chunk, m);
    if (mask) ifd_store_i64(mask->dtype, element(mask, i), kept, m);
  }
  return IFD_OK;
}

static ifd_status eval_Dropout_1(ifd_eval *x) {
  ifd_dtype dtype = ifd_eval_in(x, 0)->dtype;
  return ifd_attr_int(x->node, "is_test") ? keep_all(x, dtype)
                                          : drop(x, ifd_attr_float(x->node, "ratio"), dtype);
}
static ifd_status eval_Dropout_7(ifd_eval *x) { return keep_all(x, ifd_eval_in(x, 0)->dtype); }
static ifd_status eval_Dropout_10(ifd_eval *x) { return keep_all(x, IFD_BOOL); }

static ifd_status eval_Dropout(ifd_eval *x) {
  double input[] = {0, .5, 0}; /* data, ratio, training_mode */
  for (int i = 1; i < 3; i++) {
    if (!ifd_eval_has(x, i)) continue;
    EXPECT(x->err, ifd_tensor_count(ifd_eval_in(x, i)) == 1, BAD_INPUT, "input %d is not a scalar", i);
    input[i] = ifd_tensor_get_f64(ifd_eval_in(x, i), 0);
  }
  return input[2] ? drop(x, input[1], IFD_BOOL) : keep_all(x, IFD_BOOL);
}

static ifd_status infer_Dropout_1(ifd_infer *x) {
  TRY(ifd_infer_same(x, 0, 0));
  return ifd_infer_same(x, 1, 0);
}

static ifd_status infer_Dropout(ifd_infer *x) {
  TRY(ifd_infer_same(x, 0, 0));
  return ifd_infer_same_as(x, 1, 0, IFD_BOOL);
}

#define ROW(name_, since_, flags_, infer_, eval_)                                                            \
  { .name = #name_, .since = since_, .flags = flags_, .infer = infer_, .eval = eval_ }
const ifd_op ifd_ops_random[] = {ROW(RandomNormal, 1, IFD_OP_IMPURE, infer_shaped, eval_RandomNormal),
                                 ROW(RandomUniform, 1, IFD_OP_IMPURE, infer_shaped, eval_RandomUniform),
                                 ROW(RandomNormalLike, 1, IFD_OP_IMPURE, infer_like, eval_RandomNormalLike),
                                 ROW(RandomUniformLike, 1, IFD_OP_IMPURE, infer_like, eval_RandomUniformLike),
                                 ROW(Bernoulli, 15, IFD_OP_IMPURE, infer_like, eval_Bernoulli),
                                 ROW(Multinomial, 7, IFD_OP_IMPURE, infer_Multinomial, eval_Multinomial),
                                 ROW(Dropout, 1, IFD_OP_IMPURE, infer_Dropout_1, eval_Dropout_1),
                                 ROW(Dropout, 7, 0, infer_Dropout_1, eval_Dropout_7),
                                 ROW(Dropout, 10, 0, infer_Dropout, eval_Dropout_10),
                                 ROW(Dropout, 12, IFD_OP_IMPURE, infer_Dropout, eval_Dropout),
                                 {0}};
