/* Col2Im: columns of blocks summed into an image of any number of dimensions. */
#include <string.h>

#include "ops/shared/elements.h"
#include "ops/shared/window.h"
#include "ops/shared/move.h"
#include "tensor/convert.h"

typedef struct col2im {
  ifd_window w; /* of the image; a block is a window */
  int64_t n_planes, n_blocks, block_len, image_len;
} col2im;

/* ---- sizes ---- */

/* Attribute `name` has n elements, or is absent: `otherwise`. */
static ifd_status read_sizes(ifd_error *err, const ifd_node *node, const char *name, int64_t *out, int n,
                             int64_t otherwise, int64_t least) {
  const int64_t *v;
  int has = ifd_node_ints(node, name, &v);
  EXPECT(err, has == 0 || has == n, BAD_MODEL, "attribute %s has %d elements, not %d", name, has, n);
  for (int i = 0; i < n; i++) {
    out[i] = has ? v[i] : otherwise;
    EXPECT(err, out[i] >= least && out[i] <= INT32_MAX, BAD_MODEL, "attribute %s has %lld", name,
           (long long)out[i]);
  }
  return IFD_OK;
}

static ifd_status read_input_sizes(ifd_error *err, const ifd_tensor *t, int input, int64_t *out, int rank) {
  EXPECT(err, ifd_tensor_count(t) == rank, BAD_INPUT, "input %d has %lld elements, not %d", input,
         (long long)ifd_tensor_count(t), rank);
  for (int d = 0; d < rank; d++) {
    out[d] = ifd_tensor_get_i64(t, d);
    EXPECT(err, out[d] > 0 && out[d] <= INT32_MAX, BAD_INPUT, "input %d has size %lld", input,
           (long long)out[d]);
  }
  return IFD_OK;
}

/* How many blocks fit along each dimension of the padded image. */
static ifd_status count_blocks(ifd_error *err, col2im *c) {
  ifd_window *w = &c->w;
  c->n_blocks = c->block_len = c->image_len = 1;
  for (int d = 0; d < w->n; d++) {
    int64_t span = w->image[d] + w->begin[d] + w->end[d] - w->dilation[d] * (w->kernel[d] - 1) - 1;
    w->windows[d] = span < 0 ? 0 : span / w->stride[d] + 1;
    EXPECT(err,
           ifd_mul_i64(&c->n_blocks, c->n_blocks, w->windows[d]) &&
               ifd_mul_i64(&c->block_len, c->block_len, w->kernel[d]) &&
               ifd_mul_i64(&c->image_len, c->image_len, w->image[d]),
           LIMIT, "the image is larger than memory can address");
  }
  return IFD_OK;
}

/* From the node and its inputs; *shape is that of the output. */
static ifd_status read_col2im(ifd_error *err, const ifd_node *node, const ifd_tensor *const *in, col2im *c,
                              ifd_shape *shape) {
  const ifd_shape *s = &in[0]->shape;
  int64_t pads[2 * IFD_MAX_RANK], rank = ifd_tensor_count(in[1]);
  EXPECT(err, s->rank == 3, BAD_INPUT, "the input has rank %d, not [N, C * block, L]", s->rank);
  EXPECT(err, rank >= 1 && rank <= IFD_MAX_RANK - 2, UNSUPPORTED, "an image of %lld dimensions",
         (long long)rank);
  ifd_window *w = &c->w;
  w->n = (int)rank;
  TRY(read_input_sizes(err, in[1], 1, w->image, w->n));
  TRY(read_input_sizes(err, in[2], 2, w->kernel, w->n));
  TRY(read_sizes(err, node, "strides", w->stride, w->n, 1, 1));
  TRY(read_sizes(err, node, "dilations", w->dilation, w->n, 1, 1));
  TRY(read_sizes(err, node, "pads", pads, 2 * w->n, 0, 0));
  memcpy(w->begin, pads, (size_t)w->n * sizeof *pads);
  memcpy(w->end, pads + w->n, (size_t)w->n * sizeof *pads);
  TRY(count_blocks(err, c));
  EXPECT(err, s->dim[1] % c->block_len == 0 && s->dim[2] == c->n_blocks, BAD_INPUT,
         "input [%lld, %lld, %lld] does not hold %lld blocks of %lld elements", (long long)s->dim[0],
         (long long)s->dim[1], (long long)s->dim[2], (long long)c->n_blocks, (long long)c->block_len);
  *shape = ifd_window_image_shape(w, w->n + 2, s->dim[0], s->dim[1] / c->block_len);
  TRY(ifd_shape_check(err, shape, 2 * sizeof(double)));
  c->n_planes = shape->dim[0] * shape->dim[1];
  return IFD_OK;
}

/* ---- summing ---- */

/* Adds one plane of blocks [block_len, n_blocks] to an image, which begins as zeros; elements of `parts`
 * numbers. */
#define ADD_PLANE(type)                                                                                      \
  static void add_pairs_##type(type *restrict to, const type *restrict from, int64_t n) {                    \
    for (int64_t i = 0; i < n - 1; i++) to[2 * i] += from[i], to[2 * i + 1] += 0;                            \
    to[2 * n - 2] += from[n - 1];                                                                            \
  }                                                                                                          \
  static void add_plane_##type(const col2im *c, int64_t parts, const type *in, type *image) {                \
    ifd_box taps = ifd_box_of(c->w.n, c->w.kernel);                                                          \
    ifd_window_rows r;                                                                                       \
    for (bool tap = ifd_box_start(&taps); tap; tap = ifd_box_next(&taps), in += c->n_blocks * parts)         \
      for (bool row = ifd_window_rows_start(&r, &c->w, taps.at); row; row = ifd_window_rows_next(&r)) {      \
        const type *from = in + r.window * parts;                                                            \
        type *to = image + r.image * parts;                                                                  \
        if (r.step == 1)                                                                                     \
          for (int64_t i = 0; i < r.n * parts; i++) to[i] += from[i];                                        \
        else if (parts == 1 && r.step == 2) /* zeros between, so that vectors are stored */                  \
          add_pairs_##type(to, from, r.n);                                                                   \
        else if (parts == 1)                                                                                 \
          for (int64_t i = 0; i < r.n; i++) to[i * r.step] += from[i];                                       \
        else                                                                                                 \
          for (int64_t i = 0; i < r.n * parts; i++) to[i / parts * r.step * parts + i % parts] += from[i];   \
      }                                                                                                      \
  }
ADD_PLANE(float)
ADD_PLANE(double)
ADD_PLANE(uint64_t)

static ifd_status eval_Col2Im(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  col2im c;
  ifd_shape shape;
  ifd_tensor *out;
  void *from, *to;
  EXPECT(x->err, in->dtype != IFD_STRING, UNSUPPORTED, "blocks of strings cannot be summed");
  const ifd_tensor *const inputs[] = {in, ifd_eval_in(x, 1), ifd_eval_in(x, 2)};
  TRY(read_col2im(x->err, x->node, inputs, &c, &shape));
  TRY(ifd_move_out(x, &out, 0, in->dtype, &shape));
  bool complex = ifd_dtypes[in->dtype].class == IFD_CLASS_COMPLEX;
  ifd_dtype part = in->dtype == IFD_COMPLEX64    ? IFD_FLOAT
                   : in->dtype == IFD_COMPLEX128 ? IFD_DOUBLE
                                                 : in->dtype;
  bool whole = !ifd_dtype_is_float(part);
  int64_t parts = complex ? 2 : 1, n_in = ifd_tensor_count(in) * parts, n_out = ifd_tensor_count(out) * parts;
  ALLOC(x->err, from, ifd_arena_alloc_array(x->scratch, (size_t)n_in, 8));
  ALLOC(x->err, to, ifd_arena_alloc_array(x->scratch, (size_t)n_out, 8));
  if (whole)
    ifd_load_i64(part, in->data, from, n_in);
  else
    ifd_load_f64(part, in->data, from, n_in);
  for (int64_t p = 0; p < c.n_planes; p++) {
    int64_t first = p * c.block_len * c.n_blocks * parts, first_out = p * c.image_len * parts;
    if (whole)
      add_plane_uint64_t(&c, parts, (uint64_t *)from + first, (uint64_t *)to + first_out);
    else
      add_plane_double(&c, parts, (double *)from + first, (double *)to + first_out);
  }
  for (int64_t i = 0; in->dtype == IFD_BOOL && i < n_out; i++) ((int64_t *)to)[i] = ((int64_t *)to)[i] != 0;
  if (whole)
    ifd_store_i64(part, out->data, to, n_out);
  else
    ifd_store_f64(part, out->data, to, n_out);
  return IFD_OK;
}

/* ---- lowering ---- */

/* A task is a plane. Sums of float elements are float: an element of the image has few terms. */
static void run_plane(const void *params, const ifd_args *args, int plane) {
  const col2im *c = params;
  float *image = (float *)args->out[0] + plane * c->image_len;
  memset(image, 0, (size_t)c->image_len * sizeof *image);
  add_plane_float(c, 1, (const float *)args->in[0] + plane * c->block_len * c->n_blocks, image);
}

static ifd_status lower_Col2Im(ifd_lower *x) {
  const ifd_tensor *in = x->in[0];
  col2im c;
  ifd_shape shape;
  bool known = in->dtype == IFD_FLOAT && x->in[1]->data && x->in[2]->data && x->out[0];
  if (!known) return IFD_OK;
  TRY(read_col2im(x->err, x->node, x->in, &c, &shape));
  x->work->algorithm = "planes";
  return c.image_len ? ifd_lower_launch(x, run_plane, &c, sizeof c, c.n_planes, 0) : IFD_OK;
}

/* ---- inference ---- */

static ifd_status infer_Col2Im(ifd_infer *x) {
  const ifd_elements *image = ifd_elements_find(x, 1), *block = ifd_elements_find(x, 2);
  ifd_dtype dtype = ifd_infer_dtype(x, 0);
  ifd_dim dims[IFD_MAX_RANK], block_len = 1;
  int rank = image ? image->n : -1;
  if (rank < 0 && ifd_infer_rank(x, 1) == 1 && ifd_dim_is_number(ifd_infer_dim(x, 1, 0)))
    rank = (int)ifd_min_i64(ifd_infer_dim(x, 1, 0), IFD_MAX_RANK);
  if (rank < 0 || rank > IFD_MAX_RANK - 2) return ifd_infer_unranked(x, 0, dtype);
  bool known = ifd_infer_rank(x, 0) == 3;
  for (int d = 0; block && d < block->n; d++) block_len = ifd_dim_mul(x->dims, block_len, block->d[d]);
  dims[0] = known ? ifd_infer_dim(x, 0, 0) : ifd_dim_unknown(x->dims);
  dims[1] = known && block ? ifd_dim_floor_div(x->dims, ifd_infer_dim(x, 0, 1), block_len)
                           : ifd_dim_unknown(x->dims);
  for (int d = 0; d < rank; d++) dims[d + 2] = image ? image->d[d] : ifd_dim_unknown(x->dims);
  return ifd_infer_tensor(x, 0, dtype, rank + 2, dims);
}

const ifd_op ifd_ops_col2im[] = {
    {.name = "Col2Im", .since = 18, .infer = infer_Col2Im, .eval = eval_Col2Im, .lower = lower_Col2Im}, {0}};
