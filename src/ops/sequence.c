/* Sequences and optionals: values that hold values. */
#include "ops/shared/sequence.h"
#include "ops/shared/types.h"

/* ---- helpers ---- */

/* A place in a sequence of n from scalar input i, in [-n, most]; `otherwise` when it is absent. */
static ifd_status read_position(ifd_eval *x, int i, int n, int most, int otherwise, int *out) {
  const int64_t *position;
  int64_t count;
  *out = otherwise;
  if (!ifd_eval_has(x, i)) return IFD_OK;
  TRY(ifd_eval_ints(x, &position, &count, i));
  EXPECT(x->err, count == 1, BAD_INPUT, "the position has %lld elements, not one", (long long)count);
  EXPECT(x->err, *position >= -n && *position <= most, BAD_INPUT, "position %lld is outside [%d, %d]",
         (long long)*position, -n, most);
  *out = (int)(*position < 0 ? *position + n : *position);
  return IFD_OK;
}

static const ifd_type *element_type(const ifd_infer *x, int i) {
  const ifd_type *t = i < x->node->n_inputs ? x->in[i] : &ifd_type_unknown;
  bool holds = t->kind == IFD_KIND_SEQUENCE || t->kind == IFD_KIND_OPTIONAL;
  return holds && t->elem ? t->elem : &ifd_type_unknown;
}

static ifd_status infer_sequence_of(ifd_infer *x, int output, const ifd_type *item) {
  if (!ifd_node_has_output(x->node, output)) return IFD_OK;
  EXPECT(x->err, item, NO_MEMORY, "out of memory");
  ALLOC(x->err, x->out[output], ifd_type_of(x->arena, IFD_KIND_SEQUENCE, item));
  return IFD_OK;
}

static ifd_status infer_scalar(ifd_infer *x, ifd_dtype dtype) {
  return ifd_infer_tensor(x, 0, dtype, 0, NULL);
}

/* ---- making ---- */

static ifd_status read_dtype(ifd_error *err, const ifd_node *node, ifd_dtype *out) {
  int64_t number = ifd_node_int(node, "dtype", IFD_FLOAT);
  EXPECT(err, ifd_dtype_valid(number), BAD_MODEL, "attribute dtype is %lld", (long long)number);
  *out = (ifd_dtype)number;
  return IFD_OK;
}

static ifd_status infer_SequenceEmpty(ifd_infer *x) {
  ifd_dtype dtype;
  TRY(read_dtype(x->err, x->node, &dtype));
  return infer_sequence_of(x, 0, ifd_type_tensor_unranked(x->arena, dtype));
}

static ifd_status eval_SequenceEmpty(ifd_eval *x) {
  ifd_dtype dtype;
  TRY(read_dtype(x->err, x->node, &dtype));
  return ifd_sequence_out(x, 0, dtype, 0);
}

static ifd_status infer_SequenceConstruct(ifd_infer *x) {
  const ifd_type *item = x->node->n_inputs ? x->in[0] : &ifd_type_unknown;
  for (int i = 1; i < x->node->n_inputs; i++) ALLOC(x->err, item, ifd_type_join(x, item, x->in[i]));
  return infer_sequence_of(x, 0, item);
}

static ifd_status eval_SequenceConstruct(ifd_eval *x) {
  EXPECT(x->err, x->n_in > 0, BAD_MODEL, "no inputs");
  for (int i = 0; i < x->n_in; i++) {
    EXPECT(x->err, ifd_eval_has(x, i) && x->in[i]->kind == IFD_KIND_TENSOR, BAD_INPUT,
           "input %d is no tensor", i);
    TRY(ifd_expect_same_type(x, i, 0));
    if (i == 0) TRY(ifd_sequence_out(x, 0, ifd_eval_in(x, 0)->dtype, x->n_in));
    TRY(ifd_sequence_add(x, 0, x->in[i]));
  }
  return IFD_OK;
}

/* ---- changing ---- */

static ifd_status infer_SequenceInsert(ifd_infer *x) {
  return infer_sequence_of(x, 0, ifd_type_join(x, element_type(x, 0), x->in[1]));
}

static ifd_status eval_SequenceInsert(ifd_eval *x) {
  const ifd_datum *from;
  int at;
  TRY(ifd_sequence_in(x, &from, 0));
  int n = ifd_sequence_len(from);
  TRY(read_position(x, 2, n, n, n, &at));
  ifd_dtype dtype = ifd_eval_in(x, 1)->dtype;
  EXPECT(x->err, from->elem == dtype || !from->elem, BAD_INPUT, "%s does not go into a sequence of %s",
         ifd_dtype_name(dtype), ifd_dtype_name(from->elem));
  TRY(ifd_sequence_out(x, 0, dtype, (int64_t)n + 1));
  for (int i = 0; i <= n; i++)
    TRY(ifd_sequence_add(x, 0, i == at ? x->in[1] : &from->list->items[i - (i > at)]));
  return IFD_OK;
}

static ifd_status eval_SequenceErase(ifd_eval *x) {
  const ifd_datum *from;
  int at;
  TRY(ifd_sequence_in(x, &from, 0));
  int n = ifd_sequence_len(from);
  EXPECT(x->err, n > 0, BAD_INPUT, "the sequence is empty");
  TRY(read_position(x, 1, n, n - 1, n - 1, &at));
  TRY(ifd_sequence_out(x, 0, from->elem, n));
  for (int i = 0; i < n; i++)
    if (i != at) TRY(ifd_sequence_add(x, 0, &from->list->items[i]));
  return IFD_OK;
}

/* ---- asking ---- */

static ifd_status infer_SequenceAt(ifd_infer *x) {
  x->out[0] = element_type(x, 0);
  return IFD_OK;
}

static ifd_status eval_SequenceAt(ifd_eval *x) {
  const ifd_datum *from;
  int at;
  TRY(ifd_sequence_in(x, &from, 0));
  int n = ifd_sequence_len(from);
  EXPECT(x->err, n > 0, BAD_INPUT, "the sequence is empty");
  TRY(read_position(x, 1, n, n - 1, 0, &at));
  return ifd_datum_own(x->err, &x->out[0], &from->list->items[at], x->budget);
}

static ifd_status give_scalar(ifd_eval *x, ifd_dtype dtype, int64_t value) {
  ifd_tensor *out;
  TRY(ifd_eval_out(x, &out, 0, dtype, &(ifd_shape){0}));
  ifd_tensor_set_i64(out, 0, value);
  return IFD_OK;
}

static ifd_status infer_SequenceLength(ifd_infer *x) { return infer_scalar(x, IFD_INT64); }

static ifd_status eval_SequenceLength(ifd_eval *x) {
  const ifd_datum *from;
  TRY(ifd_sequence_in(x, &from, 0));
  return give_scalar(x, IFD_INT64, ifd_sequence_len(from));
}

/* ---- optionals ---- */

static ifd_status infer_Optional(ifd_infer *x) {
  const ifd_attr *a = ifd_node_find_attr(x->node, "type");
  const ifd_type *item = &ifd_type_unknown;
  if (ifd_node_has_input(x->node, 0))
    item = x->in[0];
  else if (a && a->type == IFD_ATTR_TYPE_PROTO && a->type_proto)
    item = a->type_proto;
  ALLOC(x->err, x->out[0], ifd_type_of(x->arena, IFD_KIND_OPTIONAL, item));
  return IFD_OK;
}

static ifd_dtype inner_dtype(const ifd_type *t) {
  while (t && t->kind != IFD_KIND_TENSOR) t = t->elem;
  return t ? t->dtype : IFD_UNDEFINED;
}

static ifd_status eval_Optional(ifd_eval *x) {
  ifd_datum *d = &x->out[0], item;
  const ifd_attr *a = ifd_node_find_attr(x->node, "type");
  *d = (ifd_datum){.kind = IFD_KIND_OPTIONAL};
  if (!ifd_eval_has(x, 0)) {
    bool typed = a && a->type == IFD_ATTR_TYPE_PROTO && a->type_proto;
    EXPECT(x->err, typed, BAD_MODEL, "neither an input nor attribute type is given");
    d->elem_kind = a->type_proto->kind;
    d->elem = inner_dtype(a->type_proto);
    return IFD_OK;
  }
  d->elem_kind = x->in[0]->kind;
  d->elem = d->elem_kind == IFD_KIND_TENSOR ? x->in[0]->tensor.dtype : x->in[0]->elem;
  ALLOC(x->err, d->list, ifd_list_create(x->budget, 1));
  TRY(ifd_datum_own(x->err, &item, x->in[0], x->budget));
  ifd_list_push(d->list, &item); /* has room: made for one */
  return IFD_OK;
}

static bool is_absent(const ifd_eval *x) {
  return !ifd_eval_has(x, 0) || (x->in[0]->kind == IFD_KIND_OPTIONAL && ifd_sequence_len(x->in[0]) == 0);
}

static ifd_status infer_OptionalGetElement(ifd_infer *x) {
  x->out[0] = x->in[0]->kind == IFD_KIND_OPTIONAL ? element_type(x, 0) : x->in[0];
  return IFD_OK;
}

static ifd_status eval_OptionalGetElement(ifd_eval *x) {
  EXPECT(x->err, !is_absent(x), BAD_INPUT, "the optional has no element");
  if (x->in[0]->kind != IFD_KIND_OPTIONAL) return ifd_eval_forward(x, 0, 0);
  return ifd_datum_own(x->err, &x->out[0], &x->in[0]->list->items[0], x->budget);
}

static ifd_status infer_OptionalHasElement(ifd_infer *x) { return infer_scalar(x, IFD_BOOL); }
static ifd_status eval_OptionalHasElement(ifd_eval *x) { return give_scalar(x, IFD_BOOL, !is_absent(x)); }

/* ---- SequenceMap ---- */

static ifd_status infer_SequenceMap(ifd_infer *x) {
  const ifd_graph *body = ifd_node_graph(x->node, "body");
  const ifd_type **in, **out;
  int n_in = x->node->n_inputs;
  EXPECT(x->err, body && body->inputs.n == n_in && body->outputs.n == x->node->n_outputs, BAD_MODEL,
         "the body's inputs and outputs do not match the node's");
  ALLOC(x->err, in, ifd_new_array(x->arena, const ifd_type *, n_in));
  ALLOC(x->err, out, ifd_new_array(x->arena, const ifd_type *, body->outputs.n));
  for (int i = 0; i < n_in; i++) in[i] = x->in[i]->kind == IFD_KIND_SEQUENCE ? element_type(x, i) : x->in[i];
  TRY(ifd_infer_subgraph(x, body, in, n_in, out));
  for (int i = 0; i < body->outputs.n; i++) TRY(infer_sequence_of(x, i, out[i]));
  return IFD_OK;
}

/* The results of one sample join the output sequences. */
static ifd_status add_results(ifd_eval *x, ifd_datum *results) {
  for (int i = 0; i < x->n_out; i++) {
    EXPECT(x->err, results[i].kind == IFD_KIND_TENSOR, BAD_MODEL, "output %d of the body is no tensor", i);
    x->out[i].elem = results[i].tensor.dtype;
    TRY(ifd_sequence_add(x, i, &results[i]));
  }
  return IFD_OK;
}

static ifd_status eval_SequenceMap(ifd_eval *x) {
  const ifd_graph *body = ifd_node_graph(x->node, "body");
  const ifd_datum *first;
  ifd_datum *in, *results;
  ifd_status status = IFD_OK;
  TRY(ifd_sequence_in(x, &first, 0));
  int n = ifd_sequence_len(first);
  EXPECT(x->err, body && body->inputs.n == x->n_in && body->outputs.n == x->n_out, BAD_MODEL,
         "the body's inputs and outputs do not match the node's");
  ALLOC(x->err, in, ifd_new_array(x->scratch, ifd_datum, x->n_in));
  ALLOC(x->err, results, ifd_new_array(x->scratch, ifd_datum, x->n_out));
  for (int i = 0; i < x->n_in; i++) {
    EXPECT(x->err, ifd_eval_has(x, i), BAD_MODEL, "input %d is missing", i);
    bool fits = x->in[i]->kind != IFD_KIND_SEQUENCE || ifd_sequence_len(x->in[i]) == n;
    EXPECT(x->err, fits, BAD_INPUT, "input %d has %d items, input 0 has %d", i, ifd_sequence_len(x->in[i]),
           n);
  }
  for (int i = 0; i < x->n_out; i++) TRY(ifd_sequence_out(x, i, inner_dtype(body->outputs.v[i]->type), n));
  for (int k = 0; k < n && status == IFD_OK; k++) {
    EXPECT(x->err, --*x->steps_left >= 0, LIMIT, "the run takes more steps than its limit allows");
    for (int i = 0; i < x->n_in; i++)
      in[i] = x->in[i]->kind == IFD_KIND_SEQUENCE ? x->in[i]->list->items[k] : *x->in[i];
    TRY(x->run_graph(x, body, in, x->n_in, results, x->n_out));
    status = add_results(x, results);
    for (int i = 0; i < x->n_out; i++) ifd_datum_unref(&results[i]);
  }
  return status;
}

#define ROW(name_, since_, infer_)                                                                           \
  { .name = #name_, .since = since_, .infer = infer_, .eval = eval_##name_ }
const ifd_op ifd_ops_sequence[] = {ROW(SequenceEmpty, 11, infer_SequenceEmpty),
                                   ROW(SequenceConstruct, 11, infer_SequenceConstruct),
                                   ROW(SequenceInsert, 11, infer_SequenceInsert),
                                   ROW(SequenceErase, 11, ifd_infer_like_first),
                                   ROW(SequenceAt, 11, infer_SequenceAt),
                                   ROW(SequenceLength, 11, infer_SequenceLength),
                                   ROW(SequenceMap, 17, infer_SequenceMap),
                                   ROW(Optional, 15, infer_Optional),
                                   ROW(OptionalGetElement, 15, infer_OptionalGetElement),
                                   ROW(OptionalHasElement, 15, infer_OptionalHasElement),
                                   {0}};
