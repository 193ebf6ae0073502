/* Scatter, ScatterElements, ScatterND, TensorScatter: a copy of the data with elements replaced, or combined
 * with what is there. */
#include "ops/shared/places.h"
#include "tensor/convert.h"
#include <math.h>
#include <string.h>

/* ---- reductions ---- */

enum { CHUNK = 256 };

/* X(name, of floats, of signed, of unsigned numbers and bool). Integers wrap; NaN wins, as in NumPy. */
#define REDUCTIONS(X)                                                                                        \
  X(add, a + b, (uint64_t)a + (uint64_t)b, a + b)                                                            \
  X(mul, a *b, (uint64_t)a *(uint64_t)b, a *b)                                                               \
  X(min, a != a || a < b ? a : b, a < b ? a : b, a < b ? a : b)                                              \
  X(max, a != a || a > b ? a : b, a > b ? a : b, a > b ? a : b)

#define FUNCTION(name, type, expression)                                                                     \
  static void name(type *to, const type *from, int64_t n) {                                                  \
    for (int64_t i = 0; i < n; i++) {                                                                        \
      const type a = to[i], b = from[i];                                                                     \
      to[i] = (type)(expression);                                                                            \
    }                                                                                                        \
  }
/* Single elements, each into its place. */
typedef void scatter_each(void *to, const void *from, const int64_t *at, int64_t n);
#define SCATTER(name, type, expression)                                                                      \
  static void name##_each_##type(void *data, const void *from, const int64_t *at, int64_t n) {               \
    type *to = data;                                                                                         \
    for (int64_t i = 0; i < n; i++) {                                                                        \
      const type a = to[at[i]], b = ((const type *)from)[i];                                                 \
      to[at[i]] = (type)(expression);                                                                        \
    }                                                                                                        \
  }
/* Floats are reduced as they are: in double and rounded they would be the same. */
#define FUNCTIONS(name, f, i, u)                                                                             \
  FUNCTION(name##_f32, float, f)                                                                             \
  FUNCTION(name##_f64, double, f)                                                                            \
  FUNCTION(name##_i64, int64_t, i)                                                                           \
  FUNCTION(name##_u64, uint64_t, u)                                                                          \
  SCATTER(name, float, f)                                                                                    \
  SCATTER(name, double, f)                                                                                   \
  SCATTER(name, int32_t, i)                                                                                  \
  SCATTER(name, int64_t, i)
REDUCTIONS(FUNCTIONS)

typedef struct reduction {
  const char *name;
  void (*f32)(float *to, const float *from, int64_t n);
  void (*f64)(double *to, const double *from, int64_t n);
  void (*i64)(int64_t *to, const int64_t *from, int64_t n);
  void (*u64)(uint64_t *to, const uint64_t *from, int64_t n);
  scatter_each *each[IFD_N_DTYPES]; /* or NULL */
} reduction;

#define ROW(name, f, i, u)                                                                                   \
  {#name,                                                                                                    \
   name##_f32,                                                                                               \
   name##_f64,                                                                                               \
   name##_i64,                                                                                               \
   name##_u64,                                                                                               \
   {[IFD_FLOAT] = name##_each_float,                                                                         \
    [IFD_DOUBLE] = name##_each_double,                                                                       \
    [IFD_INT32] = name##_each_int32_t,                                                                       \
    [IFD_INT64] = name##_each_int64_t}},
static const reduction reductions[] = {{"none"}, REDUCTIONS(ROW)};
#undef ROW

static ifd_status find_reduction(ifd_error *err, const ifd_node *node, const reduction **out) {
  for (size_t i = 0; i < sizeof reductions / sizeof *reductions; i++)
    if (ifd_node_string_is(node, "reduction", "none", reductions[i].name)) {
      *out = &reductions[i];
      return IFD_OK;
    }
  FAIL(err, BAD_MODEL, "attribute reduction is none of none, add, mul, min and max");
}

static void reduce(const reduction *r, ifd_dtype dtype, char *to, const char *from, int64_t n) {
  union {
    double f64[CHUNK];
    int64_t i64[CHUNK];
    uint64_t u64[CHUNK];
  } a, b;
  size_t size = ifd_dtype_size(dtype);
  if (dtype == IFD_FLOAT) {
    r->f32((float *)to, (const float *)from, n);
    return;
  }
  for (int64_t i = 0; i < n; i += CHUNK, to += CHUNK * size, from += CHUNK * size) {
    int64_t m = ifd_min_i64(n - i, CHUNK);
    if (ifd_dtype_is_float(dtype)) {
      ifd_load_f64(dtype, to, a.f64, m);
      ifd_load_f64(dtype, from, b.f64, m);
      r->f64(a.f64, b.f64, m);
      ifd_store_f64(dtype, to, a.f64, m);
      continue;
    }
    ifd_load_i64(dtype, to, a.i64, m);
    ifd_load_i64(dtype, from, b.i64, m);
    if (ifd_dtypes[dtype].class == IFD_CLASS_INT)
      r->i64(a.i64, b.i64, m);
    else
      r->u64(a.u64, b.u64, m);
    ifd_store_i64(dtype, to, a.i64, m);
  }
}

/* ---- scattering ---- */

/* A batch of blocks is put or reduced into its places, one after another. */
static void scatter_batch(const reduction *r, const ifd_places *p, const ifd_tensor *out, const char *from) {
  size_t bytes = (size_t)p->block * ifd_dtype_size(out->dtype);
  if (r->each[out->dtype] && p->block == 1)
    r->each[out->dtype](out->data, from, p->at, p->n);
  else if (r->f64)
    for (int64_t i = 0; i < p->n; i++)
      reduce(r, out->dtype, (char *)out->data + (size_t)p->at[i] * bytes, from + (size_t)i * bytes, p->block);
  else
    ifd_scatter_blocks(out->data, from, p->at, p->n, bytes);
}

/* Output 0: input 0 with the blocks of input 2 scattered into it. */
static ifd_status scatter(ifd_eval *x, ifd_places *p) {
  const ifd_tensor *in = ifd_eval_in(x, 0), *updates = ifd_eval_in(x, 2);
  const reduction *r;
  ifd_tensor *out;
  TRY(find_reduction(x->err, x->node, &r));
  TRY(ifd_expect_same_type(x, 2, 0));
  ifd_dtype_class class = ifd_dtypes[in->dtype].class;
  EXPECT(x->err, !r->f64 || (class != IFD_CLASS_STRING && class != IFD_CLASS_COMPLEX), UNSUPPORTED,
         "reduction of elements of type %s", ifd_dtype_name(in->dtype));
  TRY(ifd_move_out(x, &out, 0, in->dtype, &in->shape));
  if (ifd_tensor_count(in) == 0) return IFD_OK;
  memcpy(out->data, in->data, ifd_tensor_bytes(in));
  size_t bytes = (size_t)p->block * ifd_dtype_size(in->dtype);
  while (ifd_places_next(p)) scatter_batch(r, p, out, (const char *)updates->data + (size_t)p->first * bytes);
  return p->status;
}

static ifd_status eval_ScatterElements(ifd_eval *x) {
  const ifd_shape *s = &ifd_eval_in(x, 0)->shape, *indices = &ifd_eval_in(x, 1)->shape;
  ifd_places p;
  int axis;
  TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", 0), s->rank));
  EXPECT(x->err, ifd_shape_equal(indices, &ifd_eval_in(x, 2)->shape), BAD_INPUT,
         "indices and updates differ in shape");
  TRY(ifd_places_along(x, &p, s, 1, axis));
  return scatter(x, &p);
}

static ifd_status eval_ScatterND(ifd_eval *x) {
  const ifd_shape *s = &ifd_eval_in(x, 0)->shape, *indices = &ifd_eval_in(x, 1)->shape,
                  *updates = &ifd_eval_in(x, 2)->shape;
  ifd_places p;
  TRY(ifd_places_of_tuples(x, &p, s, 1, 0));
  int q = indices->rank - 1, k = (int)indices->dim[q];
  bool fits = updates->rank == q + s->rank - k;
  for (int i = 0; fits && i < updates->rank; i++)
    fits = updates->dim[i] == (i < q ? indices->dim[i] : s->dim[k + i - q]);
  char tu[256], ti[256];
  EXPECT(x->err, fits, BAD_INPUT, "updates of shape %s do not fit indices of shape %s",
         ifd_shape_text(updates, tu, sizeof tu), ifd_shape_text(indices, ti, sizeof ti));
  return scatter(x, &p);
}

/* ---- TensorScatter ---- */

static ifd_status expect_cache(ifd_eval *x, int axis) {
  const ifd_shape *cache = &ifd_eval_in(x, 0)->shape, *update = &ifd_eval_in(x, 1)->shape;
  char tc[256], tu[256];
  bool fits = axis > 0 && update->rank == cache->rank;
  for (int i = 0; fits && i < cache->rank; i++)
    fits = i == axis ? update->dim[i] <= cache->dim[i] : update->dim[i] == cache->dim[i];
  EXPECT(x->err, fits, BAD_INPUT, "an update of shape %s does not fit a cache of shape %s along axis %d",
         ifd_shape_text(update, tu, sizeof tu), ifd_shape_text(cache, tc, sizeof tc), axis);
  return ifd_expect_same_type(x, 1, 0);
}

/* Where the update of a sample starts in the cache. */
static ifd_status read_start(ifd_eval *x, const int64_t *starts, int64_t sample, int64_t length, int64_t room,
                             bool circular, int64_t *start) {
  *start = starts ? starts[sample] : 0;
  if (circular && room) *start %= room;
  EXPECT(x->err, *start >= 0 && (circular || *start <= room - length), BAD_INPUT,
         "sample %lld: %lld steps cannot be written at %lld of %lld", (long long)sample, (long long)length,
         (long long)*start, (long long)room);
  return IFD_OK;
}

static ifd_status eval_TensorScatter(ifd_eval *x) {
  const ifd_tensor *cache = ifd_eval_in(x, 0), *update = ifd_eval_in(x, 1);
  const int64_t *starts = NULL;
  int64_t n = cache->shape.dim[0], start;
  int axis;
  ifd_tensor *out;
  bool circular = ifd_node_string_is(x->node, "mode", "linear", "circular");
  EXPECT(x->err, circular || ifd_node_string_is(x->node, "mode", "linear", "linear"), BAD_MODEL,
         "attribute mode is neither linear nor circular");
  TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", -2), cache->shape.rank));
  TRY(expect_cache(x, axis));
  if (ifd_eval_has(x, 2)) TRY(ifd_eval_ints(x, &starts, &n, 2));
  EXPECT(x->err, n == cache->shape.dim[0], BAD_INPUT, "%lld write indices for %lld samples", (long long)n,
         (long long)cache->shape.dim[0]);
  TRY(ifd_move_out(x, &out, 0, cache->dtype, &cache->shape));
  if (ifd_tensor_count(cache) == 0) return IFD_OK;
  memcpy(out->data, cache->data, ifd_tensor_bytes(cache));
  size_t size = ifd_dtype_size(cache->dtype);
  int64_t room = cache->shape.dim[axis], length = update->shape.dim[axis];
  for (int64_t i = 0; i < n; i++) {
    TRY(read_start(x, starts, i, length, room, circular, &start));
    ifd_view to = ifd_view_from(ifd_view_of(out), 0, i), from = ifd_view_from(ifd_view_of(update), 0, i);
    ifd_shape part = update->shape;
    int64_t before_end = ifd_min_i64(length, room - start);
    part.dim[0] = 1;
    part.dim[axis] = before_end;
    ifd_move(&part, size, ifd_view_from(to, axis, start), from);
    part.dim[axis] = length - before_end;
    ifd_move(&part, size, to, ifd_view_from(from, axis, before_end));
  }
  return IFD_OK;
}

#define ROW(name_, since_, eval_)                                                                            \
  { .name = #name_, .since = since_, .infer = ifd_infer_like_first, .eval = eval_ }
const ifd_op ifd_ops_scatter[] = {ROW(Scatter, 9, eval_ScatterElements),
                                  ROW(ScatterElements, 11, eval_ScatterElements),
                                  ROW(ScatterND, 11, eval_ScatterND),
                                  ROW(TensorScatter, 24, eval_TensorScatter),
                                  {0}};
