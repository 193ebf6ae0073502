/* LRN: each element over a power of the squares of those at its place in neighbouring channels. */
#include <math.h>

#include "kernels/kernels.h"
#include "kernels/norm/norm.h"
#include "ops/shared/batch.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/rows.h"
#include "ops/shared/values.h"

static ifd_status eval_lrn(ifd_eval *x) {
  const ifd_shape *s = ifd_eval_shape(x, 0);
  const double *in;
  double *y, alpha = ifd_attr_float(x->node, "alpha"), beta = ifd_attr_float(x->node, "beta"),
             bias = ifd_attr_float(x->node, "bias");
  int64_t size = ifd_attr_int(x->node, "size");
  EXPECT(x->err, s->rank >= 2, BAD_INPUT, "the input has rank %d; batch and channels are needed", s->rank);
  EXPECT(x->err, size > 0, BAD_MODEL, "attribute size is %lld", (long long)size);
  int64_t channels = s->dim[1], plane = ifd_shape_span(s, 2, s->rank);
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(s)));
  for (int64_t r = 0; r < s->dim[0] * channels; r++) {
    int64_t c = r % channels, first = r - ifd_min_i64((size - 1) / 2, c),
            last = r + ifd_min_i64(size / 2, channels - 1 - c);
    for (int64_t i = 0; i < plane; i++) {
      double squares = 0;
      for (int64_t k = first; k <= last; k++) squares += in[k * plane + i] * in[k * plane + i];
      y[r * plane + i] = in[r * plane + i] / pow(bias + alpha / (double)size * squares, beta);
    }
  }
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), s, y);
}

typedef struct lrn_params {
  const struct ifd_k_norm_table *kernels;
  ifd_k_lrn lrn;
  bool blocked;
  int64_t parts, sample; /* channels, or blocks of them, and floats of a sample */
  ifd_rows rows;         /* parts of all samples */
} lrn_params;

static void run_lrn(const void *params, const ifd_args *args, int task) {
  const lrn_params *p = params;
  int64_t from, to, end;
  ifd_rows_of(&p->rows, task, &from, &to);
  for (int64_t n = from / p->parts; from < to; from = end, n++) {
    end = ifd_min_i64(to, (n + 1) * p->parts);
    (p->blocked ? p->kernels->lrn_blocked : p->kernels->lrn)(
        &p->lrn, (const float *)args->in[0] + n * p->sample, (size_t)(from - n * p->parts),
        (size_t)(end - n * p->parts), (float *)args->out[0] + n * p->sample);
  }
}

/* Of blocked images (ops/blocked.c), attribute `channels` says how many there are. */
static ifd_status lower_lrn_of(ifd_lower *x, bool blocked) {
  const ifd_shape *s = &x->in[0]->shape;
  int64_t size = ifd_node_int(x->node, "size", 0);
  if (!ifd_lower_all_float(x, 1) || s->rank < 2 || size <= 0) return IFD_OK;
  lrn_params p = {.kernels = ifd_k_norm(x->isa), .blocked = blocked, .parts = s->dim[1]};
  p.sample = ifd_shape_span(s, 1, s->rank);
  p.lrn = (ifd_k_lrn){.channels = (size_t)ifd_node_int(x->node, "channels", s->dim[1]),
                      .plane = (size_t)ifd_shape_span(s, 2, s->rank - blocked),
                      .before = (size_t)((size - 1) / 2),
                      .after = (size_t)(size / 2),
                      .alpha = (float)(ifd_node_float(x->node, "alpha", 1e-4) / (double)size),
                      .beta = (float)ifd_node_float(x->node, "beta", 0.75),
                      .bias = (float)ifd_node_float(x->node, "bias", 1)};
  double part = (double)p.sample / (double)p.parts;
  p.rows = ifd_rows_split(s->dim[0] * p.parts, part * (double)(size < 64 ? size + 32 : 96));
  x->work->algorithm = "rows";
  return ifd_lower_rows(x, run_lrn, &p, sizeof p, &p.rows);
}
static ifd_status lower_lrn(ifd_lower *x) { return lower_lrn_of(x, false); }
static ifd_status lower_blocked_lrn(ifd_lower *x) { return lower_lrn_of(x, true); }

const ifd_op ifd_ops_lrn[] = {{.name = "LRN",
                               .since = 1,
                               .infer = ifd_infer_like_first,
                               .eval = eval_lrn,
                               .lower = lower_lrn,
                               .batch = ifd_batch_each},
                              {.name = "LRN",
                               .domain = "infold",
                               .infer = ifd_infer_like_first,
                               .lower = lower_blocked_lrn,
                               .batch = ifd_batch_each},
                              {0}};
