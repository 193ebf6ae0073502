/* MaxUnpool: puts the greatest elements of windows back where they were. */
#include "ops/shared/places.h"
#include "ops/shared/values.h"
#include "ops/shared/window.h"

static ifd_status infer_max_unpool(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0);
  ifd_dim out[IFD_MAX_RANK];
  if (rank < 0) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  TRY(ifd_window_infer_transposed(x, rank, x->in[0]->dims, NULL, out));
  out[0] = ifd_infer_dim(x, 0, 0);
  out[1] = ifd_infer_dim(x, 0, 1);
  if (ifd_node_has_input(x->node, 2)) {
    const ifd_elements *e = x->elements[2];
    for (int i = 0; i < rank; i++) out[i] = e && e->n == rank ? e->d[i] : ifd_dim_unknown(x->dims);
  }
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, out);
}

/* The output's shape: input output_shape, or what the attributes say. */
static ifd_status unpool_shape(ifd_eval *x, const ifd_shape *natural, ifd_shape *out) {
  *out = *natural;
  if (!ifd_eval_has(x, 2)) return IFD_OK;
  const int64_t *sizes;
  int64_t n;
  TRY(ifd_eval_ints(x, &sizes, &n, 2));
  EXPECT(x->err, n == natural->rank, BAD_INPUT, "output_shape has %lld elements for an input of rank %d",
         (long long)n, natural->rank);
  for (int i = 0; i < natural->rank; i++) out->dim[i] = sizes[i];
  return ifd_shape_check(x->err, out, sizeof(double));
}

/* Where element `index` of a tensor of shape `from` lies in one of shape `to`, at the same coordinates. */
static ifd_status move_index(ifd_error *err, int64_t index, const ifd_shape *from, const ifd_shape *to,
                             int64_t *out) {
  int64_t rest = index, stride = 1;
  EXPECT(err, index >= 0 && index < ifd_shape_count(from), BAD_INPUT,
         "index %lld of an image of %lld elements", (long long)index, (long long)ifd_shape_count(from));
  *out = 0;
  for (int a = from->rank - 1; a >= 0; a--) {
    int64_t at = rest % from->dim[a];
    EXPECT(err, at < to->dim[a], BAD_INPUT, "index %lld is outside the output", (long long)index);
    *out += at * stride;
    stride *= to->dim[a];
    rest /= from->dim[a];
  }
  return IFD_OK;
}

/* Indices count in the image that the attributes imply, also where output_shape asks for another: the image
 * then stands at the start of the output (ONNX's reference implementation and test cases). */
static ifd_status eval_max_unpool(ifd_eval *x) {
  const ifd_shape *in = ifd_eval_shape(x, 0);
  const ifd_tensor *v = ifd_eval_in(x, 0);
  ifd_window w;
  const int64_t *indices;
  int64_t n;
  ifd_tensor *y;
  TRY(ifd_window_init_transposed(x->err, &w, x->node, in, NULL));
  ifd_shape natural = ifd_window_image_shape(&w, in->rank, in->dim[0], in->dim[1]), out;
  TRY(ifd_shape_check(x->err, &natural, sizeof(double)));
  TRY(unpool_shape(x, &natural, &out));
  TRY(ifd_eval_ints(x, &indices, &n, 1));
  EXPECT(x->err, n == ifd_shape_count(in), BAD_INPUT, "%lld indices for %lld elements", (long long)n,
         (long long)ifd_shape_count(in));
  const int64_t *places = indices;
  bool as_they_are = ifd_shape_equal(&natural, &out), outside = false;
  const uint64_t count = (uint64_t)ifd_shape_count(&natural);
  for (int64_t i = 0; i < n; i++) outside |= (uint64_t)indices[i] >= count;
  if (!as_they_are || outside) {
    int64_t *moved;
    ALLOC(x->err, moved, ifd_new_array(x->scratch, int64_t, n));
    for (int64_t i = 0; i < n; i++) TRY(move_index(x->err, indices[i], &natural, &out, &moved[i]));
    places = moved;
  }
  TRY(ifd_move_out(x, &y, 0, v->dtype, &out));
  ifd_fill(y, NULL);
  ifd_scatter_blocks(y->data, v->data, places, n, ifd_dtype_size(v->dtype));
  return IFD_OK;
}

const ifd_op ifd_ops_unpool[] = {
    {.name = "MaxUnpool", .since = 9, .infer = infer_max_unpool, .eval = eval_max_unpool}, {0}};
