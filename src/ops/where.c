/* Where: elements of any type from one of two inputs. */
#include <string.h>

#include "kernels/eltwise/eltwise.h"
#include "kernels/kernels.h"
#include "ops/shared/elements.h"
#include "ops/shared/eltwise_loop.h"
#include "ops/shared/operand.h"
#include "ops/shared/walk.h"

static ifd_status eval_Where(ifd_eval *x) {
  const ifd_tensor *condition = ifd_eval_in(x, 0), *in[2];
  ifd_shape shape = condition->shape;
  ifd_tensor *out;
  for (int k = 1; k < 3; k++) TRY(ifd_shape_broadcast(x->err, &shape, &shape, &ifd_eval_in(x, k)->shape));
  TRY(ifd_eval_out(x, &out, 0, ifd_eval_in(x, 1)->dtype, &shape));
  ifd_walk w = ifd_walk_over(&shape);
  ifd_walk_add_shape(&w, &condition->shape);
  for (int k = 0; k < 2; k++) {
    TRY(ifd_eval_as(x, &in[k], k + 1, out->dtype));
    ifd_walk_add_shape(&w, &in[k]->shape);
  }
  ifd_walk_add_shape(&w, &shape);
  size_t size = ifd_dtype_size(out->dtype);
  const uint8_t *which = condition->data;
  while (ifd_walk_next(&w))
    for (int64_t i = 0; i < w.n; i++) {
      int k = which[w.offset[0] + i * w.step[0]] ? 0 : 1;
      const char *from = (const char *)in[k]->data + (size_t)(w.offset[k + 1] + i * w.step[k + 1]) * size;
      memcpy((char *)out->data + (size_t)(w.offset[3] + i * w.step[3]) * size, from, size);
    }
  return IFD_OK;
}

typedef struct select_params {
  ifd_el_select_row *row;
  int step[3];
} select_params;

static void run_select(const void *params, const ifd_args *args, const char *const *in, char *out, size_t n) {
  const select_params *p = params;
  (void)args;
  p->row((const uint8_t *)in[0], p->step[0], in[1], p->step[1], in[2], p->step[2], out, n);
}

static ifd_status lower_Where(ifd_lower *x) {
  ifd_dtype t = x->out[0]->dtype;
  ifd_loop loop = {0};
  if (t == IFD_STRING) return IFD_OK;
  select_params p = {.row = ifd_k_eltwise(x->isa)->select(ifd_dtype_size(t))};
  for (int i = 0; i < 3; i++) {
    if (i > 0 && x->in[i]->dtype != t) return IFD_OK;
    ifd_loop_input(&loop, x, i, NULL);
  }
  loop.declined = loop.declined || !p.row;
  for (int i = 1; i < 3 && !x->work->in_place; i++)
    if (ifd_loop_is_whole(&loop, x, i) && !x->constant[i]) x->work->in_place = 1 + i;
  TRY(ifd_loop_plan(&loop, x));
  for (int i = 0; i < 3; i++) p.step[i] = loop.operands[i].step;
  x->work->algorithm = "rows";
  return ifd_loop_launch(&loop, x, run_select, &p, sizeof p, 1, 0);
}

static ifd_dim select_dim(ifd_dims *dims, const ifd_dim *d) {
  if (ifd_dim_is_number(d[0])) return d[0] ? d[1] : d[2];
  return d[1] == d[2] ? d[1] : ifd_dim_unknown(dims);
}

static ifd_status infer_Where(ifd_infer *x) {
  ifd_dtype dtype = ifd_infer_dtype(x, 1);
  TRY(ifd_infer_broadcast(x, 0, dtype ? dtype : ifd_infer_dtype(x, 2), 0, 2));
  return ifd_elements_map(x, 3, select_dim);
}

const ifd_op ifd_ops_where[] = {{.name = "Where",
                                 .since = 9,
                                 .flags = IFD_OP_ELEMENTWISE,
                                 .infer = infer_Where,
                                 .eval = eval_Where,
                                 .lower = lower_Where},
                                {0}};
