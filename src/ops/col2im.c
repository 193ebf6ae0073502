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

static ifd_status read_input_sizes(ifd_eval *x, int i, int64_t *out, int rank) {
  const int64_t *v;
  int64_t n;
  TRY(ifd_eval_ints(x, &v, &n, i));
  EXPECT(x->err, n == rank, BAD_INPUT, "input %d has %lld elements, not %d", i, (long long)n, rank);
  for (int d = 0; d < rank; d++) {
    out[d] = v[d];
    EXPECT(x->err, v[d] > 0 && v[d] <= INT32_MAX, BAD_INPUT, "input %d has size %lld", i, (long long)v[d]);
  }
  return IFD_OK;
}

/* How many blocks fit along each dimension of the padded image. */
static ifd_status count_blocks(ifd_eval *x, col2im *c, const int64_t *pads) {
  c->n_blocks = c->block_len = c->image_len = 1;
  for (int d = 0; d < c->rank; d++) {
    int64_t span = c->image[d] + pads[d] + pads[c->rank + d] - c->dilation[d] * (c->block[d] - 1) - 1;
    c->begin[d] = pads[d];
    c->count[d] = span < 0 ? 0 : span / c->stride[d] + 1;
    EXPECT(x->err,
           ifd_mul_i64(&c->n_blocks, c->n_blocks, c->count[d]) &&
               ifd_mul_i64(&c->block_len, c->block_len, c->block[d]) &&
               ifd_mul_i64(&c->image_len, c->image_len, c->image[d]),
           LIMIT, "the image is larger than memory can address");
  }
  return IFD_OK;
}

static ifd_status read_col2im(ifd_eval *x, col2im *c, ifd_shape *shape) {
  const ifd_shape *s = ifd_eval_shape(x, 0);
  int64_t pads[2 * IFD_MAX_RANK], rank = ifd_tensor_count(ifd_eval_in(x, 1));
  EXPECT(x->err, s->rank == 3, BAD_INPUT, "the input has rank %d, not [N, C * block, L]", s->rank);
  EXPECT(x->err, rank >= 1 && rank <= IFD_MAX_RANK - 2, UNSUPPORTED, "an image of %lld dimensions",
         (long long)rank);
  c->rank = (int)rank;
  TRY(read_input_sizes(x, 1, c->image, c->rank));
  TRY(read_input_sizes(x, 2, c->block, c->rank));
  TRY(read_sizes(x->err, x->node, "strides", c->stride, c->rank, 1, 1));
  TRY(read_sizes(x->err, x->node, "dilations", c->dilation, c->rank, 1, 1));
  TRY(read_sizes(x->err, x->node, "pads", pads, 2 * c->rank, 0, 0));
  TRY(count_blocks(x, c, pads));
  EXPECT(x->err, s->dim[1] % c->block_len == 0 && s->dim[2] == c->n_blocks, BAD_INPUT,
         "input [%lld, %lld, %lld] does not hold %lld blocks of %lld elements", (long long)s->dim[0],
         (long long)s->dim[1], (long long)s->dim[2], (long long)c->n_blocks, (long long)c->block_len);
  *shape = (ifd_shape){c->rank + 2, {s->dim[0], s->dim[1] / c->block_len}};
  memcpy(shape->dim + 2, c->image, (size_t)c->rank * sizeof *c->image);
  TRY(ifd_shape_check(x->err, shape, 2 * sizeof(double)));
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

/* to[l]: the place in the image of element k of block l, or -1 in the padding. */
static void find_places(const col2im *c, int64_t k, int64_t *to) {
  int64_t in_block[IFD_MAX_RANK], at[IFD_MAX_RANK];
  split_index(k, c->block, c->rank, in_block);
  for (int64_t l = 0; l < c->n_blocks; l++) {
    split_index(l, c->count, c->rank, at);
    to[l] = 0;
    for (int d = 0; d < c->rank && to[l] >= 0; d++) {
      int64_t i = at[d] * c->stride[d] + in_block[d] * c->dilation[d] - c->begin[d];
      to[l] = i >= 0 && i < c->image[d] ? to[l] * c->image[d] + i : -1;
    }
  }
}

/* Elements of `parts` numbers each are added; numbers are doubles or, where `whole`, integers. */
static ifd_status add_blocks(ifd_eval *x, const col2im *c, int parts, const void *in, void *out, bool whole) {
  int64_t *to, columns = c->block_len * c->n_blocks;
  ALLOC(x->err, to, ifd_new_array(x->scratch, int64_t, c->n_blocks));
  for (int64_t k = 0; k < c->block_len; k++) {
    find_places(c, k, to);
    for (int64_t i = 0; i < c->n_planes * c->n_blocks * parts; i++) {
      int64_t plane = i / parts / c->n_blocks, l = i / parts % c->n_blocks, part = i % parts;
      if (to[l] < 0) continue;
      int64_t from = (plane * columns + k * c->n_blocks + l) * parts + part;
      int64_t at = (plane * c->image_len + to[l]) * parts + part;
      if (whole)
        ((uint64_t *)out)[at] += ((const uint64_t *)in)[from];
      else
        ((double *)out)[at] += ((const double *)in)[from];
    }
  }
  return IFD_OK;
}

static ifd_status eval_Col2Im(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  col2im c;
  ifd_shape shape;
  ifd_tensor *out;
  void *from, *to;
  EXPECT(x->err, in->dtype != IFD_STRING, UNSUPPORTED, "blocks of strings cannot be summed");
  TRY(read_col2im(x, &c, &shape));
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
  TRY(add_blocks(x, &c, (int)parts, from, to, whole));
  for (int64_t i = 0; in->dtype == IFD_BOOL && i < n_out; i++) ((int64_t *)to)[i] = ((int64_t *)to)[i] != 0;
  if (whole)
    ifd_store_i64(part, out->data, to, n_out);
  else
    ifd_store_f64(part, out->data, to, n_out);
  return IFD_OK;
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

const ifd_op ifd_ops_col2im[] = {{.name = "Col2Im", .since = 18, .infer = infer_Col2Im, .eval = eval_Col2Im},
                                 {0}};
