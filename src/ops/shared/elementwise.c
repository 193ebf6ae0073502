#include "ops/shared/elementwise.h"

#include "ops/shared/walk.h"
#include "tensor/convert.h"

enum { CHUNK = 512 }; /* elements computed at a time: all operands fit in the first-level cache */

typedef enum compute { F64, I64, U64 } compute;

/* Elements of an operand in a compute type; one of the three, as `compute` says. */
typedef union block {
  double f64[CHUNK];
  int64_t i64[CHUNK];
  uint64_t u64[CHUNK];
} block;

static compute choose(const ifd_elementwise *f, const ifd_tensor *const *in, int n_in) {
  for (int k = 0; k < n_in; k++)
    if (ifd_dtype_is_float(in[k]->dtype)) return F64;
  if (f->i64 && (ifd_dtypes[in[0]->dtype].class == IFD_CLASS_INT || !f->u64)) return I64;
  return f->u64 ? U64 : F64;
}

static void load(compute c, const ifd_tensor *t, int64_t from, block *to, int64_t n) {
  const char *p = (const char *)t->data + from * (int64_t)ifd_dtype_size(t->dtype);
  if (c == F64)
    ifd_load_f64(t->dtype, p, to->f64, n);
  else
    ifd_load_i64(t->dtype, p, to->i64, n);
}

/* n elements from `from` on, `step` apart. */
static void load_strided(compute c, const ifd_tensor *t, int64_t from, int64_t step, block *to, int64_t n) {
  if (step == 1) {
    load(c, t, from, to, n);
    return;
  }
  block one;
  for (int64_t i = 0; i < n; i++) {
    if (i == 0 || step != 0) load(c, t, from + i * step, &one, 1);
    to->u64[i] = one.u64[0];
  }
}

static void store(compute c, const ifd_tensor *t, int64_t from, const block *values, int64_t n) {
  char *p = (char *)t->data + from * (int64_t)ifd_dtype_size(t->dtype);
  if (c == F64)
    ifd_store_f64(t->dtype, p, values->f64, n);
  else
    ifd_store_i64(t->dtype, p, values->i64, n);
}

static void call(const ifd_elementwise *f, compute c, block *out, const block *in, int n_in, int64_t n,
                 const double *p) {
  const block *b[IFD_ELEMENTWISE_INPUTS];
  for (int k = 0; k < IFD_ELEMENTWISE_INPUTS; k++) b[k] = &in[k < n_in ? k : 0];
  if (c == F64)
    f->f64(out->f64, (const double *const[]){b[0]->f64, b[1]->f64, b[2]->f64}, n, p);
  else if (c == I64)
    f->i64(out->i64, (const int64_t *const[]){b[0]->i64, b[1]->i64, b[2]->i64}, n, p);
  else
    f->u64(out->u64, (const uint64_t *const[]){b[0]->u64, b[1]->u64, b[2]->u64}, n, p);
}

static bool is_number(ifd_dtype t) {
  ifd_dtype_class class = ifd_dtypes[t].class;
  return class != IFD_CLASS_NONE && class != IFD_CLASS_COMPLEX && class != IFD_CLASS_STRING;
}

ifd_status ifd_elementwise_apply(ifd_error *err, const ifd_elementwise *f, const ifd_tensor *out,
                                 const ifd_tensor *const *in, int n_in, const double *p) {
  ifd_walk w = ifd_walk_over(&out->shape);
  for (int k = 0; k < n_in; k++) {
    EXPECT(err, is_number(in[k]->dtype), UNSUPPORTED, "elements of type %s", ifd_dtype_name(in[k]->dtype));
    ifd_walk_add_shape(&w, &in[k]->shape);
  }
  ifd_walk_add_shape(&w, &out->shape);
  compute c = choose(f, in, n_in);
  EXPECT(err, c != F64 || f->f64, UNSUPPORTED, "elements of type %s", ifd_dtype_name(in[0]->dtype));
  block values[IFD_ELEMENTWISE_INPUTS], result;
  while (ifd_walk_next(&w))
    for (int64_t i = 0; i < w.n; i += CHUNK) {
      int64_t n = ifd_min_i64(w.n - i, CHUNK);
      for (int k = 0; k < n_in; k++)
        load_strided(c, in[k], w.offset[k] + i * w.step[k], w.step[k], &values[k], n);
      call(f, c, &result, values, n_in, n, p);
      store(c, out, w.offset[n_in] + i, &result, n);
    }
  return IFD_OK;
}

/* Output 0, of the shape that inputs 0 … n_in - 1 broadcast to. */
static ifd_status make_output(ifd_eval *x, ifd_tensor **out, const ifd_tensor *const *in, int n_in,
                              ifd_dtype dtype) {
  ifd_shape shape = in[0]->shape;
  for (int k = 1; k < n_in; k++) TRY(ifd_shape_broadcast(x->err, &shape, &shape, &in[k]->shape));
  return ifd_eval_out(x, out, 0, dtype ? dtype : in[0]->dtype, &shape);
}

ifd_status ifd_elementwise_eval(ifd_eval *x, const ifd_elementwise *f, ifd_dtype dtype, const double *p) {
  const ifd_tensor *in[IFD_ELEMENTWISE_INPUTS];
  EXPECT(x->err, x->n_in >= 1 && x->n_in <= IFD_ELEMENTWISE_INPUTS, BAD_MODEL, "%d inputs", x->n_in);
  for (int k = 0; k < x->n_in; k++) in[k] = ifd_eval_in(x, k);
  ifd_tensor *out;
  TRY(make_output(x, &out, in, x->n_in, dtype));
  return ifd_elementwise_apply(x->err, f, out, in, x->n_in, p);
}

/* ---- broadcasting before opset 7 ---- */

ifd_status ifd_legacy_broadcast(ifd_error *err, const ifd_node *node, const ifd_shape *a, const ifd_shape *b,
                                ifd_shape *view) {
  char ta[256], tb[256];
  *view = *b;
  if (ifd_shape_count(b) == 1 && b->rank <= a->rank) {
    view->rank = 0;
    return IFD_OK;
  }
  int64_t axis = ifd_node_int(node, "axis", a->rank - b->rank);
  bool stretch = ifd_attr_int(node, "broadcast");
  if (!stretch) axis = a->rank == b->rank ? 0 : -1;
  bool fits = axis >= 0 && axis + b->rank <= a->rank;
  for (int i = 0; fits && i < b->rank; i++)
    fits = b->dim[i] == a->dim[axis + i] || (stretch && b->dim[i] == 1);
  EXPECT(err, fits, BAD_INPUT, "shape %s does not lie in shape %s as broadcast and axis say",
         ifd_shape_text(b, tb, sizeof tb), ifd_shape_text(a, ta, sizeof ta));
  while (axis + view->rank < a->rank) view->dim[view->rank++] = 1;
  return IFD_OK;
}

ifd_status ifd_elementwise_legacy_eval(ifd_eval *x, const ifd_elementwise *f, ifd_dtype dtype) {
  const ifd_tensor *a = ifd_eval_in(x, 0);
  ifd_tensor b = *ifd_eval_in(x, 1), *out;
  TRY(ifd_legacy_broadcast(x->err, x->node, &a->shape, &b.shape, &b.shape));
  TRY(ifd_eval_out(x, &out, 0, dtype ? dtype : a->dtype, &a->shape));
  return ifd_elementwise_apply(x->err, f, out, (const ifd_tensor *const[]){a, &b}, 2, NULL);
}

/* ---- attributes ---- */

static const ifd_schema_attr *default_of(const ifd_node *node, const char *name) {
  return node->schema ? ifd_schema_find_attr(node->schema, name) : NULL;
}

double ifd_attr_float(const ifd_node *node, const char *name) {
  const ifd_schema_attr *a = default_of(node, name);
  return ifd_node_float(node, name, a && a->has_default ? a->value.f : 0);
}

int64_t ifd_attr_int(const ifd_node *node, const char *name) {
  const ifd_schema_attr *a = default_of(node, name);
  return ifd_node_int(node, name, a && a->has_default ? a->value.i : 0);
}
