#include "ops/shared/matmul.h"

#include "ops/shared/walk.h"

/* Batch, rows and columns of an operand: rank 1 becomes a row (first) or a column. */
static ifd_status split(ifd_error *err, const ifd_shape *s, bool first, ifd_shape *batch, int64_t *rows,
                        int64_t *columns) {
  EXPECT(err, s->rank >= 1, BAD_INPUT, "a scalar in a matrix product");
  *batch = (ifd_shape){0};
  if (s->rank == 1) {
    *rows = first ? 1 : s->dim[0];
    *columns = first ? s->dim[0] : 1;
    return IFD_OK;
  }
  *rows = s->dim[s->rank - 2];
  *columns = s->dim[s->rank - 1];
  batch->rank = s->rank - 2;
  for (int i = 0; i < batch->rank; i++) batch->dim[i] = s->dim[i];
  return IFD_OK;
}

ifd_status ifd_matmul_init(ifd_error *err, ifd_matmul *p, const ifd_shape *a, const ifd_shape *b) {
  ifd_shape a_batch, b_batch;
  int64_t k;
  char ta[256], tb[256];
  TRY(split(err, a, true, &a_batch, &p->m, &p->k));
  TRY(split(err, b, false, &b_batch, &k, &p->n));
  EXPECT(err, p->k == k, BAD_INPUT, "shapes %s and %s cannot be multiplied", ifd_shape_text(a, ta, sizeof ta),
         ifd_shape_text(b, tb, sizeof tb));
  TRY(ifd_shape_broadcast(err, &p->batch, &a_batch, &b_batch));
  ifd_shape_broadcast_strides(&a_batch, &p->batch, p->a_batch);
  ifd_shape_broadcast_strides(&b_batch, &p->batch, p->b_batch);
  for (int i = 0; i < p->batch.rank; i++) {
    p->a_batch[i] *= p->m * p->k;
    p->b_batch[i] *= p->k * p->n;
  }
  p->out = p->batch;
  if (a->rank > 1) p->out.dim[p->out.rank++] = p->m;
  if (b->rank > 1) p->out.dim[p->out.rank++] = p->n;
  return ifd_shape_check(err, &p->out, sizeof(double));
}

ifd_status ifd_matmul_infer(ifd_infer *x, int a, int b, ifd_dtype dtype) {
  int ra = ifd_infer_rank(x, a), rb = ifd_infer_rank(x, b), n = 0;
  ifd_dim out[IFD_MAX_RANK + 2];
  if (ra < 0 || rb < 0) return ifd_infer_unranked(x, 0, dtype);
  EXPECT(x->err, ra >= 1 && rb >= 1, BAD_MODEL, "a scalar in a matrix product");
  int batch_a = ra > 2 ? ra - 2 : 0, batch_b = rb > 2 ? rb - 2 : 0;
  for (int batch = batch_a > batch_b ? batch_a : batch_b; n < batch; n++) {
    int i = n - batch + batch_a, j = n - batch + batch_b;
    TRY(ifd_infer_broadcast_dim(x, &out[n], i < 0 ? 1 : ifd_infer_dim(x, a, i),
                                j < 0 ? 1 : ifd_infer_dim(x, b, j)));
  }
  ifd_dim inner_a = ifd_infer_dim(x, a, ra - 1), inner_b = ifd_infer_dim(x, b, rb == 1 ? 0 : rb - 2);
  EXPECT(x->err, !ifd_dim_is_number(inner_a) || !ifd_dim_is_number(inner_b) || inner_a == inner_b, BAD_MODEL,
         "%lld columns times %lld rows", (long long)inner_a, (long long)inner_b);
  if (ra > 1) out[n++] = ifd_infer_dim(x, a, ra - 2);
  if (rb > 1) out[n++] = ifd_infer_dim(x, b, rb - 1);
  return ifd_infer_tensor(x, 0, dtype, n, out);
}

#define PRODUCT(suffix, type)                                                                                \
  void ifd_matmul_add_##suffix(type *c, ifd_matrix_##suffix a, ifd_matrix_##suffix b, int64_t m, int64_t n,  \
                               int64_t k) {                                                                  \
    for (int64_t i = 0; i < m; i++, c += n)                                                                  \
      for (int64_t p = 0; p < k; p++) {                                                                      \
        const type factor = a.at[i * a.row + p * a.column], *row = b.at + p * b.row;                         \
        if (b.column == 1)                                                                                   \
          for (int64_t j = 0; j < n; j++) c[j] += factor * row[j];                                           \
        else                                                                                                 \
          for (int64_t j = 0; j < n; j++) c[j] += factor * row[j * b.column];                                \
      }                                                                                                      \
  }                                                                                                          \
  void ifd_matmul_run_##suffix(const ifd_matmul *p, const type *a, const type *b, type *c) {                 \
    ifd_walk w = ifd_walk_over(&p->batch);                                                                   \
    ifd_walk_add(&w, p->a_batch);                                                                            \
    ifd_walk_add(&w, p->b_batch);                                                                            \
    if (p->m == 0 || p->n == 0) return;                                                                      \
    while (ifd_walk_next(&w))                                                                                \
      for (int64_t i = 0; i < w.n; i++, c += p->m * p->n)                                                    \
        ifd_matmul_add_##suffix(c, (ifd_matrix_##suffix){a + w.offset[0] + i * w.step[0], p->k, 1},          \
                                (ifd_matrix_##suffix){b + w.offset[1] + i * w.step[1], p->n, 1}, p->m, p->n, \
                                p->k);                                                                       \
  }
PRODUCT(f64, double)
PRODUCT(u64, uint64_t)
