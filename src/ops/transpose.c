/* Transpose, DepthToSpace, SpaceToDepth: the same elements in another order of dimensions. */
#include "ops/shared/batch.h"
#include "ops/shared/elements.h"
#include "ops/shared/mover.h"

/* ---- Transpose ---- */

/* The permutation of rank dimensions: attribute perm, or all reversed. */
static ifd_status read_perm(ifd_error *err, const ifd_node *node, int rank, int *perm) {
  const int64_t *p;
  bool seen[IFD_MAX_RANK] = {false};
  int n = ifd_node_ints(node, "perm", &p);
  bool given = ifd_node_find_attr(node, "perm");
  EXPECT(err, !given || n == rank, BAD_INPUT, "attribute perm has %d entries, the input %d dimensions", n,
         rank);
  for (int i = 0; i < rank; i++) {
    perm[i] = rank - 1 - i;
    if (given) {
      EXPECT(err, p[i] >= 0 && p[i] < rank && !seen[p[i]], BAD_MODEL,
             "attribute perm is no permutation of %d dimensions: it holds %lld", rank, (long long)p[i]);
      perm[i] = (int)p[i];
    }
    seen[perm[i]] = true;
  }
  return IFD_OK;
}

static ifd_status infer_Transpose(ifd_infer *x) {
  int rank = ifd_known_rank(x, 0), perm[IFD_MAX_RANK];
  ifd_dim dims[IFD_MAX_RANK];
  if (rank < 0) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  TRY(read_perm(x->err, x->node, rank, perm));
  for (int i = 0; i < rank; i++) dims[i] = ifd_infer_dim(x, 0, perm[i]);
  TRY(ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, dims));
  return rank <= 1 ? ifd_elements_forward(x, 0) : IFD_OK;
}

static ifd_status transpose(ifd_mover *m) {
  const ifd_tensor *in = ifd_mover_in(m, 0);
  ifd_shape shape = {.rank = in->shape.rank};
  ifd_view all = ifd_mover_view(m, 0), from = all, to;
  int perm[IFD_MAX_RANK];
  TRY(read_perm(m->err, m->node, shape.rank, perm));
  for (int i = 0; i < shape.rank; i++) {
    shape.dim[i] = in->shape.dim[perm[i]];
    from.stride[i] = all.stride[perm[i]];
  }
  TRY(ifd_mover_out(m, &to, 0, in->dtype, &shape));
  return ifd_mover_move(m, &shape, ifd_dtype_size(in->dtype), to, from);
}

/* ---- blocks of space as channels ---- */

enum { N, C, H, W };

static ifd_status read_block(ifd_error *err, const ifd_node *node, int rank, int64_t *block, bool *crd) {
  *block = ifd_node_int(node, "blocksize", 0);
  *crd = ifd_node_string_is(node, "mode", "DCR", "CRD");
  EXPECT(err, rank == 4 || rank < 0, BAD_INPUT, "the input has %d dimensions, not 4", rank);
  EXPECT(err, *block > 0 && *block <= INT32_MAX, BAD_MODEL, "attribute blocksize is %lld", (long long)*block);
  EXPECT(err, *crd || ifd_node_string_is(node, "mode", "DCR", "DCR"), BAD_MODEL,
         "attribute mode is neither DCR nor CRD");
  return IFD_OK;
}

static ifd_status expect_multiple(ifd_error *err, int64_t dim, int64_t block) {
  EXPECT(err, dim % block == 0, BAD_INPUT, "a dimension of %lld is not a multiple of %lld", (long long)dim,
         (long long)block);
  return IFD_OK;
}

/* dim * factor, or a failure where an empty image lets them be too large. */
static ifd_status scale_dim(ifd_error *err, int64_t *dim, int64_t factor) {
  EXPECT(err, ifd_mul_i64(dim, *dim, factor), LIMIT, "a dimension would be larger than memory can address");
  return IFD_OK;
}

/* Input 0, seen with six dimensions, is permuted and seen as `shape`. */
static ifd_status permute_blocks(ifd_mover *m, const int64_t *six, const int *perm, const ifd_shape *shape) {
  const ifd_tensor *in = ifd_mover_in(m, 0);
  ifd_shape permuted = {.rank = 6};
  ifd_view to, from = ifd_mover_view(m, 0);
  int64_t strides[6];
  ifd_shape_strides(&(ifd_shape){6, {six[0], six[1], six[2], six[3], six[4], six[5]}}, strides);
  for (int i = 0; i < 6; i++) {
    permuted.dim[i] = six[perm[i]];
    from.stride[i] = strides[perm[i]];
  }
  TRY(ifd_mover_out(m, &to, 0, in->dtype, shape));
  ifd_shape_strides(&permuted, to.stride);
  return ifd_mover_move(m, &permuted, ifd_dtype_size(in->dtype), to, from);
}

static ifd_status depth_to_space(ifd_mover *m) {
  const ifd_shape *s = &ifd_mover_in(m, 0)->shape;
  const int64_t *d = s->dim;
  int64_t b;
  bool crd;
  TRY(read_block(m->err, m->node, s->rank, &b, &crd));
  TRY(expect_multiple(m->err, d[C], b * b));
  int64_t c = d[C] / (b * b);
  ifd_shape shape = {4, {d[N], c, d[H], d[W]}};
  TRY(scale_dim(m->err, &shape.dim[H], b));
  TRY(scale_dim(m->err, &shape.dim[W], b));
  return permute_blocks(m,
                        crd ? (int64_t[]){d[N], c, b, b, d[H], d[W]} : (int64_t[]){d[N], b, b, c, d[H], d[W]},
                        crd ? (int[]){0, 1, 4, 2, 5, 3} : (int[]){0, 3, 4, 1, 5, 2}, &shape);
}

static ifd_status space_to_depth(ifd_mover *m) {
  const ifd_shape *s = &ifd_mover_in(m, 0)->shape;
  const int64_t *d = s->dim;
  int64_t b;
  bool crd;
  TRY(read_block(m->err, m->node, s->rank, &b, &crd));
  TRY(expect_multiple(m->err, d[H], b));
  TRY(expect_multiple(m->err, d[W], b));
  ifd_shape shape = {4, {d[N], d[C], d[H] / b, d[W] / b}};
  TRY(scale_dim(m->err, &shape.dim[C], b * b));
  return permute_blocks(m, (int64_t[]){d[N], d[C], d[H] / b, b, d[W] / b, b},
                        crd ? (int[]){0, 1, 3, 5, 2, 4} : (int[]){0, 3, 5, 1, 2, 4}, &shape);
}

static ifd_status infer_blocks(ifd_infer *x, bool to_depth) {
  int64_t b;
  bool crd;
  ifd_dim out[4];
  TRY(read_block(x->err, x->node, ifd_infer_rank(x, 0), &b, &crd));
  if (ifd_infer_rank(x, 0) < 0) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  for (int i = N; i <= W; i++) {
    ifd_dim d = ifd_infer_dim(x, 0, i);
    int64_t factor = i == N ? 1 : i == C ? b * b : b;
    bool divided = (i == C) != to_depth;
    if (divided && ifd_dim_is_number(d)) TRY(expect_multiple(x->err, d, factor));
    out[i] = divided ? ifd_dim_floor_div(x->dims, d, factor) : ifd_dim_mul(x->dims, d, factor);
  }
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), 4, out);
}

static ifd_status infer_DepthToSpace(ifd_infer *x) { return infer_blocks(x, false); }
static ifd_status infer_SpaceToDepth(ifd_infer *x) { return infer_blocks(x, true); }

static const char *batch_transpose(const ifd_batch *b) {
  const int64_t *perm;
  return ifd_node_ints(b->node, "perm", &perm) && perm[0] == 0 ? "p" : NULL;
}

#define ROW(name_, since_, moves, batch_)                                                                    \
  {                                                                                                          \
    .name = #name_, .since = since_, .flags = IFD_OP_ANYWHERE, .infer = infer_##name_, .eval = eval_##moves, \
    .lower = lower_##moves, .batch = batch_                                                                  \
  }
IFD_MOVES(transpose, 1)
IFD_MOVES(depth_to_space, 1)
IFD_MOVES(space_to_depth, 1)
const ifd_op ifd_ops_transpose[] = {ROW(Transpose, 1, transpose, batch_transpose),
                                    ROW(DepthToSpace, 1, depth_to_space, ifd_batch_each),
                                    ROW(SpaceToDepth, 1, space_to_depth, ifd_batch_each),
                                    {0}};
