#include "ops/shared/mover.h"

#include "ops/shared/picks.h"

#include "base/vec.h"
#include "kernels/kernels.h"
#include <string.h>

enum { MOST_RECORDED = 4096 };

const ifd_tensor *ifd_mover_in(const ifd_mover *m, int i) {
  if (i >= m->node->n_inputs) return NULL;
  if (m->lower) return m->lower->in[i];
  return ifd_eval_has(m->eval, i) ? ifd_eval_in(m->eval, i) : NULL;
}

ifd_view ifd_mover_view(const ifd_mover *m, int i) {
  ifd_view v = ifd_view_of(ifd_mover_in(m, i));
  v.operand = i;
  return v;
}

static ifd_status known_list(ifd_mover *m, const int64_t **out, int64_t *n, const ifd_tensor *t) {
  int64_t *v;
  *n = ifd_tensor_count(t);
  ALLOC(m->err, v, ifd_new_array(m->arena, int64_t, *n));
  for (int64_t i = 0; i < *n; i++) v[i] = ifd_tensor_get_i64(t, i);
  *out = v;
  return IFD_OK;
}

ifd_status ifd_mover_list(ifd_mover *m, const int64_t **out, int64_t *n, const char *attr, int i) {
  const ifd_tensor *t = ifd_mover_in(m, i);
  *n = -1;
  *out = NULL;
  if (!attr) return t ? known_list(m, out, n, t) : IFD_OK;
  if (ifd_node_find_attr(m->node, attr)) *n = ifd_node_ints(m->node, attr, out);
  return IFD_OK;
}

ifd_status ifd_mover_out(ifd_mover *m, ifd_view *to, int i, ifd_dtype dtype, const ifd_shape *shape) {
  ifd_tensor *out;
  if (m->eval) {
    TRY(ifd_move_out(m->eval, &out, i, dtype, shape));
    *to = ifd_view_of(out);
    return IFD_OK;
  }
  const ifd_tensor *planned = m->lower->out[i];
  *to = (ifd_view){.operand = -1 - i};
  if (planned && planned->dtype == dtype && ifd_shape_equal(&planned->shape, shape))
    ifd_shape_strides(shape, to->stride);
  else
    m->declined = true;
  return IFD_OK;
}

static ifd_status record(ifd_mover *m, const ifd_shape *shape, size_t size, ifd_view to, ifd_view from) {
  ifd_recorded r = {.to = to.operand,
                    .from = from.operand,
                    .to_at = (size_t)to.at * size,
                    .from_at = (size_t)from.at * size};
  if (m->n >= MOST_RECORDED || m->phase >= IFD_MOVER_PHASES) m->declined = true;
  if (m->declined) return IFD_OK;
  if (from.operand == IFD_MOVER_VALUE) memcpy(r.value, from.data, size);
  ifd_k_move_plan(&r.plan, size, shape->rank, shape->dim, to.stride, from.stride);
  if (!r.plan.tasks) return IFD_OK;
  struct {
    ifd_recorded *v;
    int n, cap;
  } list = {m->recorded, m->n, m->cap};
  IFD_PUSH(m->err, m->arena, &list, r);
  m->recorded = list.v, m->n = list.n, m->cap = list.cap;
  m->n_phase[m->phase]++;
  return IFD_OK;
}

static void move_by_kernel(ifd_isa isa, const ifd_shape *shape, size_t size, ifd_view to, ifd_view from) {
  ifd_k_copy plan;
  ifd_k_move_plan(&plan, size, shape->rank, shape->dim, to.stride, from.stride);
  if (plan.tasks)
    ifd_k_move(isa)->copy(&plan, to.data + to.at * (int64_t)size, from.data + from.at * (int64_t)size, 0,
                          plan.tasks);
}

ifd_status ifd_mover_move(ifd_mover *m, const ifd_shape *shape, size_t size, ifd_view to, ifd_view from) {
  if (m->lower) return record(m, shape, size, to, from);
  if (m->eval->isa == IFD_ISA_REF)
    ifd_move(shape, size, to, from);
  else
    move_by_kernel(m->eval->isa, shape, size, to, from);
  return IFD_OK;
}

ifd_status ifd_mover_fill(ifd_mover *m, const ifd_shape *shape, size_t size, ifd_view to, const void *value) {
  static const uint64_t zero[2];
  return ifd_mover_move(m, shape, size, to,
                        (ifd_view){.data = (char *)(value ? value : zero), .operand = IFD_MOVER_VALUE});
}

bool ifd_mover_lowers(const ifd_mover *m) { return m->lower; }

ifd_status ifd_mover_pick(ifd_mover *m, const int64_t *const *index, const void *value) {
  const ifd_tensor *in = ifd_mover_in(m, 0);
  m->declined = true;
  return ifd_lower_picks(m->lower, &in->shape, ifd_dtype_size(in->dtype), index, value);
}

void ifd_mover_barrier(ifd_mover *m) {
  if (m->lower && m->phase < IFD_MOVER_PHASES && m->n_phase[m->phase]) m->phase++;
}

ifd_status ifd_eval_moves(ifd_eval *x, ifd_status (*moves)(ifd_mover *m)) {
  return moves(
      &(ifd_mover){.err = x->err, .node = x->node, .arena = x->scratch, .n_out = x->n_out, .eval = x});
}

/* ---- lowering ---- */

/* The copies of one phase laid end to end, cut into tasks of about as many bytes each. */
typedef struct phase {
  const struct ifd_k_move_table *kernels;
  int n;
  const ifd_recorded *copies;
  size_t bytes;
  int n_tasks;
} phase;

static char *operand(const ifd_args *args, const ifd_recorded *r, int which) {
  if (which == IFD_MOVER_VALUE) return (char *)r->value;
  return which < 0 ? args->out[-1 - which] : (char *)args->in[which];
}

/* How many of n tasks of `each` bytes begin before `end`, counted from `begin`. */
static int64_t tasks_before(size_t begin, size_t end, size_t each, int64_t n) {
  return end <= begin ? 0 : ifd_min_i64(n, (int64_t)((end - begin + each - 1) / each));
}

static void run_phase(const void *params, const ifd_args *args, int task) {
  const phase *p = params;
  size_t from = p->bytes * (size_t)task / (size_t)p->n_tasks;
  size_t to = p->bytes * ((size_t)task + 1) / (size_t)p->n_tasks, at = 0;
  for (int i = 0; i < p->n && at < to; i++) {
    const ifd_recorded *r = &p->copies[i];
    const ifd_k_copy *m = &r->plan;
    int64_t first = tasks_before(at, from, m->task_bytes, m->tasks);
    int64_t last = tasks_before(at, to, m->task_bytes, m->tasks);
    char *there = operand(args, r, r->to) + r->to_at, *here = operand(args, r, r->from) + r->from_at;
    if (first < last && there != here) p->kernels->copy(m, there, here, first, last);
    at += (size_t)m->tasks * m->task_bytes;
  }
}

/* The copies that are bytes side by side, when they may all be made in any order. */
static ifd_status find_spans(ifd_lower *x, const ifd_mover *m) {
  ifd_span *spans;
  int n = 0;
  if (m->n_phase[0] != m->n) return IFD_OK;
  ALLOC(x->err, spans, ifd_new_array(x->arena, ifd_span, m->n));
  for (int i = 0; i < m->n; i++) {
    const ifd_recorded *r = &m->recorded[i];
    const ifd_k_copy *c = &r->plan;
    bool dense = c->rank == 1 && (c->n[0] == 1 || (c->to[0] == c->from[0] && c->to[0] == (int64_t)c->size));
    if (!dense || r->from == IFD_MOVER_VALUE || r->from < 0 || r->to >= 0) continue;
    spans[n++] = (ifd_span){.in = r->from,
                            .out = -1 - r->to,
                            .in_at = r->from_at,
                            .out_at = r->to_at,
                            .bytes = (size_t)c->n[0] * c->size};
  }
  x->work->spans = spans, x->work->n_spans = n, x->work->only_spans = n == m->n;
  return IFD_OK;
}

static ifd_status launch(ifd_lower *x, const ifd_mover *m) {
  enum { TASK_BYTES = 1 << 17, MOST_TASKS = 32 };
  const ifd_recorded *at = m->recorded;
  for (int i = 0; i < IFD_MOVER_PHASES; at += m->n_phase[i++]) {
    phase p = {.kernels = ifd_k_move(x->isa), .n = m->n_phase[i], .copies = at};
    for (int k = 0; k < p.n; k++) p.bytes += (size_t)at[k].plan.tasks * at[k].plan.task_bytes;
    p.n_tasks = (int)ifd_min_i64(MOST_TASKS, 1 + (int64_t)(p.bytes / TASK_BYTES));
    if (p.n) TRY(ifd_lower_launch(x, run_phase, &p, sizeof p, p.n_tasks, 0));
  }
  x->work->algorithm = "move";
  return find_spans(x, m);
}

ifd_status ifd_lower_moves(ifd_lower *x, ifd_status (*moves)(ifd_mover *m), int n_data) {
  ifd_mover m = {.err = x->err, .node = x->node, .arena = x->arena, .n_out = x->node->n_outputs, .lower = x};
  for (int i = 0; i < x->node->n_inputs; i++) {
    const ifd_tensor *t = x->in[i];
    if (t && (t->dtype == IFD_STRING || (i >= n_data && !t->data && ifd_tensor_count(t)))) return IFD_OK;
  }
  TRY(moves(&m));
  return m.declined ? IFD_OK : launch(x, &m);
}
