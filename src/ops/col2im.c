/* Col2Im: columns of blocks summed into an image of any number of dimensions. */
#include <string.h>

#include "ops/shared/elements.h"
#include "ops/shared/values.h"
#include "ops/shared/move.h"
#include "tensor/convert.h"

typedef struct col2im {
  int rank; /* spatial dimensions */
  int64_t image[IFD_MAX_RANK], block[IFD_MAX_RANK], stride[IFD_MAX_RANK], dilation[IFD_MAX_RANK],
      begin[IFD_MAX_RANK];
  int64_t count[IFD_MAX_RANK]; /* blocks along each dimension */
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
static ifd_status count_blocks(ifd_error *err, col2im *c, const int64_t *pads) {
  c->n_blocks = c->block_len = c->image_len = 1;
  for (int d = 0; d < c->rank; d++) {
    int64_t span = c->image[d] + pads[d] + pads[c->rank + d] - c->dilation[d] * (c->block[d] - 1) - 1;
    c->begin[d] = pads[d];
    c->count[d] = span < 0 ? 0 : span / c->stride[d] + 1;
    EXPECT(err,
           ifd_mul_i64(&c->n_blocks, c->n_blocks, c->count[d]) &&
               ifd_mul_i64(&c->block_len, c->block_len, c->block[d]) &&
               ifd_mul_i64(&c->image_len, c->image_len, c->image[d]),
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
  c->rank = (int)rank;
  TRY(read_input_sizes(err, in[1], 1, c->image, c->rank));
  TRY(read_input_sizes(err, in[2], 2, c->block, c->rank));
  TRY(read_sizes(err, node, "strides", c->stride, c->rank, 1, 1));
  TRY(read_sizes(err, node, "dilations", c->dilation, c->rank, 1, 1));
  TRY(read_sizes(err, node, "pads", pads, 2 * c->rank, 0, 0));
  TRY(count_blocks(err, c, pads));
  EXPECT(err, s->dim[1] % c->block_len == 0 && s->dim[2] == c->n_blocks, BAD_INPUT,
         "input [%lld, %lld, %lld] does not hold %lld blocks of %lld elements", (long long)s->dim[0],
         (long long)s->dim[1], (long long)s->dim[2], (long long)c->n_blocks, (long long)c->block_len);
  *shape = (ifd_shape){c->rank + 2, {s->dim[0], s->dim[1] / c->block_len}};
  memcpy(shape->dim + 2, c->image, (size_t)c->rank * sizeof *c->image);
  TRY(ifd_shape_check(err, shape, 2 * sizeof(double)));
  c->n_planes = shape->dim[0] * shape->dim[1];
  return IFD_OK;
}

/* ---- summing ---- */

/* Digits of `number` in the mixed radix of sizes, the last dimension fastest. */
static void split_index(int64_t number, const int64_t *sizes, int rank, int64_t *out) {
  for (int d = rank - 1; d >= 0; d--) {
    out[d] = number % sizes[d];
    number /= sizes[d];
  }
}

/* A row of blocks: those that differ in the last dimension alone. Element k of its blocks [from, to) lies in
 * the image, in steps of the last stride from `start` on. */
typedef struct block_row {
  int64_t from, to, start;
} block_row;

static block_row find_row(const col2im *c, const int64_t *in_block, const int64_t *outer) {
  block_row r = {0};
  int last = c->rank - 1;
  for (int d = 0; d < last; d++) {
    int64_t i = outer[d] * c->stride[d] + in_block[d] * c->dilation[d] - c->begin[d];
    if (i < 0 || i >= c->image[d]) return r;
    r.start = r.start * c->image[d] + i;
  }
  int64_t shift = in_block[last] * c->dilation[last] - c->begin[last], stride = c->stride[last];
  r.from = shift < 0 ? (-shift + stride - 1) / stride : 0;
  r.to = shift >= c->image[last] ? 0 : ifd_min_i64(c->count[last], (c->image[last] - 1 - shift) / stride + 1);
  r.start = r.start * c->image[last] + shift;
  return r;
}

/* Adds one plane of blocks [block_len, n_blocks] to an image, which begins as zeros; elements of `parts`
 * numbers. */
#define ADD_PLANE(type)                                                                                      \
  static void add_plane_##type(const col2im *c, int64_t parts, const type *in, type *image) {                \
    int64_t last = c->rank - 1, n = c->count[last], rows = n ? c->n_blocks / n : 0, step = c->stride[last];  \
    int64_t in_block[IFD_MAX_RANK], outer[IFD_MAX_RANK];                                                     \
    for (int64_t k = 0; k < c->block_len; k++) {                                                             \
      split_index(k, c->block, c->rank, in_block);                                                           \
      for (int64_t r = 0; r < rows; r++, in += n * parts) {                                                  \
        split_index(r, c->count, c->rank - 1, outer);                                                        \
        block_row b = find_row(c, in_block, outer);                                                          \
        type *to = image + b.start * parts;                                                                  \
        if (step == 1)                                                                                       \
          for (int64_t i = b.from * parts; i < b.to * parts; i++) to[i] += in[i];                            \
        else                                                                                                 \
          for (int64_t i = b.from; i < b.to; i++)                                                            \
            for (int64_t p = 0; p < parts; p++) to[i * step * parts + p] += in[i * parts + p];               \
      }                                                                                                      \
    }                                                                                                        \
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
