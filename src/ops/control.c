/* If and Loop. The runner finds what their graphs read of outer ones. */
#include "ops/shared/elements.h"
#include "ops/shared/trips.h"
#include "ops/shared/types.h"
#include <string.h>

static void release(ifd_datum *d, int n) {
  for (int i = 0; i < n; i++) ifd_datum_unref(&d[i]);
}

/* The one element of a boolean tensor. */
static ifd_status read_condition(ifd_error *err, const ifd_datum *d, bool *out) {
  EXPECT(err, d->kind == IFD_KIND_TENSOR && d->tensor.dtype == IFD_BOOL && ifd_tensor_count(&d->tensor) == 1,
         BAD_INPUT, "the condition is not one bool");
  *out = ifd_tensor_get_i64(&d->tensor, 0);
  return IFD_OK;
}

/* ---- If ---- */

static ifd_status read_branches(ifd_error *err, const ifd_node *node, const ifd_graph *branches[2]) {
  branches[0] = ifd_node_graph(node, "else_branch");
  branches[1] = ifd_node_graph(node, "then_branch");
  for (int i = 0; i < 2; i++)
    EXPECT(err, branches[i] && branches[i]->inputs.n == 0 && branches[i]->outputs.n == node->n_outputs,
           BAD_MODEL, "a branch does not give the node's %d outputs", node->n_outputs);
  return IFD_OK;
}

static ifd_status infer_If(ifd_infer *x) {
  const ifd_graph *branches[2];
  const ifd_type **types[2];
  const int64_t *condition;
  TRY(read_branches(x->err, x->node, branches));
  for (int i = 0; i < 2; i++) {
    ALLOC(x->err, types[i], ifd_new_array(x->arena, const ifd_type *, x->node->n_outputs));
    TRY(ifd_infer_subgraph(x, branches[i], NULL, 0, types[i]));
  }
  int known = ifd_infer_numbers(x, 0, &condition) == 1 ? *condition != 0 : -1;
  for (int i = 0; i < x->node->n_outputs; i++)
    if (known >= 0)
      x->out[i] = types[known][i];
    else
      ALLOC(x->err, x->out[i], ifd_type_join(x, types[0][i], types[1][i]));
  return IFD_OK;
}

static ifd_status eval_If(ifd_eval *x) {
  const ifd_graph *branches[2];
  bool condition;
  TRY(read_branches(x->err, x->node, branches));
  EXPECT(x->err, ifd_eval_has(x, 0), BAD_MODEL, "the condition is missing");
  TRY(read_condition(x->err, x->in[0], &condition));
  return x->run_graph(x, branches[condition], NULL, 0, x->out, x->n_out);
}

/* ---- Loop: the body's inputs are trip, condition, N carried values; its outputs condition, N carried
 * values, K scanned elements. The node's inputs are M, condition, N initial values; its outputs N final
 * values, K scan outputs. ---- */

typedef struct counts {
  const ifd_graph *body;
  int n, k;
} counts;

static ifd_status read_counts(ifd_error *err, const ifd_node *node, counts *c) {
  c->body = ifd_node_graph(node, "body");
  c->n = node->n_inputs > 2 ? node->n_inputs - 2 : 0;
  EXPECT(err, c->body && c->body->inputs.n == c->n + 2 && c->body->outputs.n >= c->n + 1, BAD_MODEL,
         "the body does not carry the node's %d values", c->n);
  c->k = c->body->outputs.n - 1 - c->n;
  EXPECT(err, node->n_outputs <= c->n + c->k, BAD_MODEL, "the body does not give the node's %d outputs",
         node->n_outputs);
  return IFD_OK;
}

/* Trip and condition are scalars, or of one dimension where the body declares one. */
static ifd_shape control_shape(const ifd_value *v) {
  const ifd_type *t = v->declared;
  bool has_dim = t && t->kind == IFD_KIND_TENSOR && t->has_rank && t->rank == 1;
  return has_dim ? (ifd_shape){1, {1}} : (ifd_shape){0};
}

static ifd_status control_type(ifd_infer *x, const ifd_type **out, const ifd_value *v, ifd_dtype dtype) {
  ifd_shape s = control_shape(v);
  ALLOC(x->err, *out, ifd_type_tensor(x->arena, dtype, s.rank, s.dim));
  return IFD_OK;
}

/* Whether the body hands its condition on as it came, or makes it true, so that only M ends the loop. */
static bool is_counted(const ifd_infer *x, const counts *c) {
  const int64_t *first;
  const ifd_value *v = c->body->outputs.v[0], *given = c->body->inputs.v[1];
  if (!ifd_node_has_input(x->node, 1)) return true;
  if (ifd_infer_numbers(x, 1, &first) != 1 || !*first) return false;
  while (v->producer && ifd_node_is(v->producer, "Identity") && v->producer->inputs[0])
    v = v->producer->inputs[0];
  const ifd_tensor *t = ifd_value_constant(v);
  if (!t && v->producer && ifd_node_is(v->producer, "Constant")) t = ifd_node_tensor(v->producer, "value");
  return v == given || (t && ifd_tensor_count(t) == 1 && ifd_tensor_get_i64(t, 0));
}

static ifd_dim count_trips(const ifd_infer *x, const counts *c) {
  const ifd_elements *m = ifd_elements_find(x, 0);
  bool known = m && m->n == 1 &&
               (ifd_dim_is_number(m->d[0]) ? m->d[0] >= 0 : ifd_dim_known_positive(x->dims, m->d[0]));
  return known && is_counted(x, c) ? m->d[0] : ifd_dim_unknown(x->dims);
}

static ifd_status infer_scanned(ifd_infer *x, int output, const ifd_type *element, ifd_dim trips) {
  ifd_dim dims[IFD_MAX_RANK + 1] = {trips};
  ifd_dtype dtype = element->kind == IFD_KIND_TENSOR ? element->dtype : IFD_UNDEFINED;
  if (!dtype || !element->has_rank || element->rank >= IFD_MAX_RANK)
    return ifd_infer_unranked(x, output, dtype);
  memcpy(dims + 1, element->dims, (size_t)element->rank * sizeof *dims);
  return ifd_infer_tensor(x, output, dtype, element->rank + 1, dims);
}

static ifd_status infer_Loop(ifd_infer *x) {
  counts c;
  const ifd_type **in, **out;
  TRY(read_counts(x->err, x->node, &c));
  ALLOC(x->err, in, ifd_new_array(x->arena, const ifd_type *, c.n + 2));
  ALLOC(x->err, out, ifd_new_array(x->arena, const ifd_type *, 1 + c.n + c.k));
  TRY(control_type(x, &in[0], c.body->inputs.v[0], IFD_INT64));
  TRY(control_type(x, &in[1], c.body->inputs.v[1], IFD_BOOL));
  for (int i = 2; i < c.n + 2; i++) in[i] = x->in[i];
  TRY(ifd_infer_repeated(x, c.body, &(ifd_carried){c.n, 2, 1}, in, c.n + 2, out));
  ifd_dim trips = count_trips(x, &c);
  for (int i = 0; i < x->node->n_outputs; i++)
    if (i < c.n)
      x->out[i] = in[2 + i];
    else
      TRY(infer_scanned(x, i, out[1 + i], trips));
  return IFD_OK;
}

typedef struct loop {
  counts c;
  int64_t trips, most; /* made, allowed by M */
  bool go;             /* the condition; always true where none is given */
  ifd_datum *in;       /* of the body; carried values are the loop's own after the first trip */
  ifd_datum *made;     /* by the body */
  ifd_list **scanned;  /* by scan output; NULL where nobody wants it */
} loop;

static ifd_status start_loop(ifd_eval *x, loop *l) {
  const counts *c = &l->c;
  l->most = INT64_MAX;
  l->go = true;
  if (ifd_eval_has(x, 0)) {
    int64_t n;
    const int64_t *m;
    TRY(ifd_eval_ints(x, &m, &n, 0));
    EXPECT(x->err, n == 1, BAD_INPUT, "M has %lld elements, not one", (long long)n);
    l->most = *m;
  }
  if (ifd_eval_has(x, 1)) TRY(read_condition(x->err, x->in[1], &l->go));
  ALLOC(x->err, l->in, ifd_new_array(x->scratch, ifd_datum, c->n + 2));
  ALLOC(x->err, l->made, ifd_new_array(x->scratch, ifd_datum, 1 + c->n + c->k));
  ALLOC(x->err, l->scanned, ifd_new_array(x->scratch, ifd_list *, c->k));
  for (int i = 0; i < 2; i++) {
    ifd_shape shape = control_shape(c->body->inputs.v[i]);
    l->in[i].kind = IFD_KIND_TENSOR;
    TRY(ifd_tensor_new(x->err, &l->in[i].tensor, x->scratch, i ? IFD_BOOL : IFD_INT64, &shape));
  }
  for (int i = 2; i < c->n + 2; i++) {
    EXPECT(x->err, ifd_eval_has(x, i), BAD_MODEL, "input %d is missing", i);
    l->in[i] = *x->in[i];
  }
  for (int i = 0; i < c->k; i++)
    if (ifd_eval_wants(x, c->n + i)) ALLOC(x->err, l->scanned[i], ifd_list_create(x->budget, 0));
  return IFD_OK;
}

static ifd_status scan_element(ifd_eval *x, ifd_list *list, ifd_datum *made, int64_t trip) {
  if (!list) return IFD_OK;
  TRY(ifd_expect_same_element(x->err, made, list->n ? &list->items[0].tensor : &made->tensor, trip));
  EXPECT(x->err, ifd_list_push(list, made), NO_MEMORY, "out of memory");
  *made = (ifd_datum){0};
  return IFD_OK;
}

/* A carried tensor may change its shape, not its type. */
static ifd_status expect_same_dtype(ifd_error *err, int i, const ifd_datum *was, const ifd_datum *is) {
  bool tensors = was->kind == IFD_KIND_TENSOR && is->kind == IFD_KIND_TENSOR;
  EXPECT(err, !tensors || was->tensor.dtype == is->tensor.dtype, BAD_INPUT,
         "carried value %d is a tensor of %s, then one of %s", i, ifd_dtype_name(was->tensor.dtype),
         ifd_dtype_name(is->tensor.dtype));
  return IFD_OK;
}

static ifd_status make_trip(ifd_eval *x, loop *l) {
  const counts *c = &l->c;
  TRY(ifd_trip(x));
  ifd_tensor_set_i64(&l->in[0].tensor, 0, l->trips);
  ifd_tensor_set_i64(&l->in[1].tensor, 0, l->go);
  TRY(x->run_graph(x, c->body, l->in, c->n + 2, l->made, 1 + c->n + c->k));
  for (int i = 0; i < c->n; i++) {
    TRY(expect_same_dtype(x->err, i, &l->in[2 + i], &l->made[1 + i]));
    if (l->trips) ifd_datum_unref(&l->in[2 + i]);
    l->in[2 + i] = l->made[1 + i];
    l->made[1 + i] = (ifd_datum){0};
  }
  l->trips++;
  for (int i = 0; i < c->k; i++) TRY(scan_element(x, l->scanned[i], &l->made[1 + c->n + i], l->trips - 1));
  if (ifd_eval_has(x, 1)) TRY(read_condition(x->err, &l->made[0], &l->go));
  release(l->made, 1 + c->n + c->k);
  return IFD_OK;
}

/* Output i: the elements of all trips after one another. */
static ifd_status stack(ifd_eval *x, int i, const ifd_list *list) {
  const ifd_tensor *first = &list->items[0].tensor;
  ifd_shape shape = first->shape;
  ifd_tensor *out;
  TRY(ifd_shape_insert(x->err, &shape, 0, list->n));
  TRY(ifd_move_out(x, &out, i, first->dtype, &shape));
  size_t bytes = ifd_tensor_bytes(first);
  for (int k = 0; k < list->n; k++) {
    ifd_tensor element = list->items[k].tensor;
    TRY(ifd_keep_strings(x, &element));
    memcpy((char *)out->data + (size_t)k * bytes, element.data, bytes);
  }
  return IFD_OK;
}

static ifd_status finish_loop(ifd_eval *x, loop *l) {
  for (int i = 0; i < x->n_out; i++) {
    int k = i - l->c.n;
    if (!ifd_eval_wants(x, i)) continue;
    if (k >= 0 && l->trips)
      TRY(stack(x, i, l->scanned[k]));
    else if (k >= 0)
      TRY(ifd_trips_none(x, i, l->c.body->outputs.v[1 + i], 0, (int64_t[]){0}, 1));
    else
      TRY(ifd_datum_own(x->err, &x->out[i], &l->in[2 + i], x->budget));
  }
  return IFD_OK;
}

static ifd_status run_loop(ifd_eval *x, loop *l) {
  TRY(start_loop(x, l));
  while (l->go && l->trips < l->most) TRY(make_trip(x, l));
  return finish_loop(x, l);
}

static ifd_status eval_Loop(ifd_eval *x) {
  loop l = {0};
  TRY(read_counts(x->err, x->node, &l.c));
  ifd_status status = run_loop(x, &l);
  if (l.trips) release(l.in + 2, l.c.n);
  if (l.made) release(l.made, 1 + l.c.n + l.c.k);
  for (int i = 0; l.scanned && i < l.c.k; i++) ifd_list_unref(l.scanned[i]);
  return status;
}

const ifd_op ifd_ops_control[] = {{.name = "If", .since = 1, .infer = infer_If, .eval = eval_If},
                                  {.name = "Loop", .since = 1, .infer = infer_Loop, .eval = eval_Loop},
                                  {0}};
