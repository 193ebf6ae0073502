#include "ops/infer.h"

#include "ops/shared/foreign.h"
#include "ops/shared/signature.h"
#include <string.h>

enum { MAX_ELEMENTS = 256 }; /* shape arithmetic stays below; larger integer tensors are data */

/* ---- builders ---- */

ifd_status ifd_infer_tensor(ifd_infer *x, int output, ifd_dtype dtype, int rank, const ifd_dim *dims) {
  if (!ifd_node_has_output(x->node, output)) return IFD_OK;
  EXPECT(x->err, rank <= IFD_MAX_RANK, UNSUPPORTED, "output %d would have rank %d; at most %d is supported",
         output, rank, IFD_MAX_RANK);
  for (int i = 0; i < rank; i++)
    EXPECT(x->err, !ifd_dim_is_number(dims[i]) || dims[i] >= 0, BAD_MODEL,
           "output %d would have dimension %d of %lld", output, i, (long long)dims[i]);
  ALLOC(x->err, x->out[output], ifd_type_tensor(x->arena, dtype, rank, dims));
  return IFD_OK;
}

ifd_status ifd_infer_unranked(ifd_infer *x, int output, ifd_dtype dtype) {
  if (!ifd_node_has_output(x->node, output)) return IFD_OK;
  ALLOC(x->err, x->out[output], ifd_type_tensor_unranked(x->arena, dtype));
  return IFD_OK;
}

ifd_status ifd_infer_same(ifd_infer *x, int output, int input) {
  if (ifd_node_has_output(x->node, output) && input < x->node->n_inputs) x->out[output] = x->in[input];
  return IFD_OK;
}

ifd_status ifd_infer_same_as(ifd_infer *x, int output, int input, ifd_dtype dtype) {
  int rank = ifd_infer_rank(x, input);
  return rank < 0 ? ifd_infer_unranked(x, output, dtype)
                  : ifd_infer_tensor(x, output, dtype, rank, x->in[input]->dims);
}

/* Proven 1 <= a <= b: they are equal or a is 1, where they can be broadcast at all. */
static bool is_lesser(ifd_dims *dims, ifd_dim a, ifd_dim b) {
  return ifd_dim_min(dims, a, b) == a && ifd_dim_known_positive(dims, a);
}

/* One dimension of a broadcast. A symbol against a number above 1 is that number: anything else fails when it
 * runs. */
ifd_status ifd_infer_broadcast_dim(ifd_infer *x, ifd_dim *out, ifd_dim a, ifd_dim b) {
  if (a == b || b == 1)
    *out = a;
  else if (a == 1)
    *out = b;
  else if (ifd_dim_is_number(a) && ifd_dim_is_number(b))
    FAIL(x->err, BAD_MODEL, "inputs cannot be broadcast: %lld against %lld", (long long)a, (long long)b);
  else if (ifd_dim_is_number(a))
    *out = a;
  else if (ifd_dim_is_number(b))
    *out = b;
  else if (is_lesser(x->dims, b, a))
    *out = a;
  else if (is_lesser(x->dims, a, b))
    *out = b;
  else
    *out = ifd_dim_unknown(x->dims);
  return IFD_OK;
}

ifd_status ifd_infer_broadcast(ifd_infer *x, int output, ifd_dtype dtype, int first, int last) {
  int rank = 0;
  ifd_dim dims[IFD_MAX_RANK];
  for (int i = first; i <= last; i++) {
    int r = ifd_infer_rank(x, i);
    if (r < 0 || r > IFD_MAX_RANK) return ifd_infer_unranked(x, output, dtype);
    if (r > rank) rank = r;
  }
  for (int d = 0; d < rank; d++) dims[d] = 1;
  for (int i = first; i <= last; i++)
    for (int r = ifd_infer_rank(x, i), k = 0; k < r; k++) {
      ifd_dim *to = &dims[rank - r + k];
      TRY(ifd_infer_broadcast_dim(x, to, *to, ifd_infer_dim(x, i, k)));
    }
  return ifd_infer_tensor(x, output, dtype, rank, dims);
}

ifd_status ifd_infer_elements(ifd_infer *x, int output, int rank, int n, const ifd_dim *d) {
  if (!ifd_node_has_output(x->node, output) || n > MAX_ELEMENTS) return IFD_OK;
  ifd_elements *e;
  ifd_dim *copy;
  ALLOC(x->err, e, ifd_new(x->arena, ifd_elements));
  ALLOC(x->err, copy, ifd_new_array(x->arena, ifd_dim, n));
  if (n) memcpy(copy, d, (size_t)n * sizeof *d);
  *e = (ifd_elements){rank, n, copy};
  x->out_elements[output] = e;
  return IFD_OK;
}

ifd_status ifd_infer_like_first(ifd_infer *x) { return ifd_infer_same(x, 0, 0); }
ifd_status ifd_infer_bool_like_first(ifd_infer *x) { return ifd_infer_same_as(x, 0, 0, IFD_BOOL); }

ifd_status ifd_infer_broadcast_all(ifd_infer *x) {
  return ifd_infer_broadcast(x, 0, ifd_infer_dtype(x, 0), 0, x->node->n_inputs - 1);
}

ifd_status ifd_infer_broadcast_bool(ifd_infer *x) {
  return ifd_infer_broadcast(x, 0, IFD_BOOL, 0, x->node->n_inputs - 1);
}

/* ---- the table ---- */

ifd_status ifd_inference_init(ifd_inference *inf, ifd_error *err, ifd_arena *arena, ifd_dims *dims,
                              int n_values) {
  *inf = (ifd_inference){.err = err, .arena = arena, .dims = dims, .n_facts = n_values + 16};
  ALLOC(err, inf->facts, ifd_new_array(arena, ifd_facts, inf->n_facts));
  for (int i = 0; i < inf->n_facts; i++) inf->facts[i].type = &ifd_type_unknown;
  return IFD_OK;
}

ifd_facts *ifd_inference_get(ifd_inference *inf, const ifd_value *value) {
  if (value->id >= inf->n_facts) {
    int n = value->id * 2 + 16;
    ifd_facts *facts = ifd_new_array(inf->arena, ifd_facts, n);
    if (!facts) return NULL;
    memcpy(facts, inf->facts, (size_t)inf->n_facts * sizeof *facts);
    for (int i = inf->n_facts; i < n; i++) facts[i].type = &ifd_type_unknown;
    inf->facts = facts;
    inf->n_facts = n;
  }
  return &inf->facts[value->id];
}

static bool are_numbers(const ifd_elements *e) {
  for (int i = 0; i < e->n; i++)
    if (!ifd_dim_is_number(e->d[i])) return false;
  return true;
}

/* Whether all that are numbers are such of the element type: dims do not wrap where its elements do. */
static bool are_in_range(const ifd_elements *e, ifd_dtype dtype) {
  int bits = ifd_dtypes[dtype].bits;
  bool is_signed = ifd_dtypes[dtype].class == IFD_CLASS_INT;
  int64_t high = bits < 64 ? ((int64_t)1 << (bits - is_signed)) - 1 : INT64_MAX;
  int64_t low = is_signed ? -high - 1 : 0;
  for (int i = 0; i < e->n; i++)
    if (ifd_dim_is_number(e->d[i]) && (e->d[i] < low || e->d[i] > high)) return false;
  return true;
}

ifd_status ifd_elements_of(ifd_error *err, ifd_arena *arena, const ifd_elements **out, const ifd_tensor *t) {
  *out = NULL;
  int64_t n = ifd_tensor_count(t);
  if ((!ifd_dtype_is_integer(t->dtype) && t->dtype != IFD_BOOL) || t->shape.rank > 1 || n > MAX_ELEMENTS ||
      (n && !t->data))
    return IFD_OK;
  ifd_elements *e;
  ifd_dim *d;
  ALLOC(err, e, ifd_new(arena, ifd_elements));
  ALLOC(err, d, ifd_new_array(arena, ifd_dim, n));
  for (int64_t i = 0; i < n; i++) d[i] = ifd_tensor_get_i64(t, i);
  *e = (ifd_elements){t->shape.rank, (int)n, d};
  if (are_numbers(e) && are_in_range(e, t->dtype)) *out = e;
  return IFD_OK;
}

ifd_status ifd_inference_set_tensor(ifd_inference *inf, const ifd_value *value, const ifd_tensor *tensor) {
  ifd_facts *f;
  ALLOC(inf->err, f, ifd_inference_get(inf, value));
  ALLOC(inf->err, f->type, ifd_type_of_tensor(inf->arena, tensor));
  f->constant = tensor;
  return ifd_elements_of(inf->err, inf->arena, &f->elements, tensor);
}

/* ---- the driver ---- */

static ifd_status infer_subgraph(ifd_infer *x, const ifd_graph *graph, const ifd_type *const *in, int n_in,
                                 const ifd_type **out, int n_out) {
  ifd_inference *inf = x->driver;
  for (int i = 0; i < graph->inputs.n; i++) {
    ifd_facts *f;
    ALLOC(x->err, f, ifd_inference_get(inf, graph->inputs.v[i]));
    *f = (ifd_facts){.type = i < n_in ? in[i] : &ifd_type_unknown};
  }
  TRY(ifd_infer_graph(inf, graph));
  for (int i = 0; i < n_out; i++) {
    ifd_facts *f;
    ALLOC(x->err, f, ifd_inference_get(inf, graph->outputs.v[i]));
    out[i] = f->type;
  }
  return IFD_OK;
}

/* What an operator infers, or the file's claim for an operator that is not known here. */
static ifd_status settle_output(ifd_inference *inf, const ifd_node *node, int i, const ifd_type *type,
                                const ifd_elements *elements) {
  const ifd_value *v = node->outputs[i];
  ifd_facts *f;
  ALLOC(inf->err, f, ifd_inference_get(inf, v));
  if (!node->op && v->declared && !type->has_rank) type = v->declared;
  *f = (ifd_facts){.type = type, .elements = elements};
  return IFD_OK;
}

ifd_status ifd_infer_facts(ifd_infer *x, const ifd_facts *const *in, ifd_facts *out) {
  const ifd_node *node = x->node;
  int n_in = node->n_inputs, n_out = node->n_outputs;
  const void **p;
  ALLOC(x->err, p, ifd_new_array(x->arena, const void *, 3 * n_in + 2 * n_out));
  const ifd_type **types = (const ifd_type **)p;
  const ifd_tensor **constants = (const ifd_tensor **)(p + n_in);
  const ifd_elements **elements = (const ifd_elements **)(p + 2 * n_in);
  x->out = (const ifd_type **)(p + 3 * n_in);
  x->out_elements = (const ifd_elements **)(p + 3 * n_in + n_out);
  for (int i = 0; i < n_in; i++) {
    types[i] = in[i] ? in[i]->type : &ifd_type_unknown;
    constants[i] = in[i] ? in[i]->constant : NULL;
    elements[i] = in[i] ? in[i]->elements : NULL;
  }
  x->in = types, x->constant = constants, x->elements = elements;
  for (int i = 0; i < n_out; i++) x->out[i] = &ifd_type_unknown;
  if (node->op && node->op->infer && !ifd_node_is_open(node)) {
    ifd_status status = node->op->infer(x);
    if (status != IFD_OK) {
      char label[256];
      ifd_error_add(x->err, "%s", ifd_node_label(node, label, sizeof label));
      return status;
    }
  }
  if (!node->op) TRY(ifd_infer_foreign(x));
  for (int i = 0; i < n_out; i++) {
    const ifd_elements *e = x->out_elements[i];
    bool known = e && x->out[i]->kind == IFD_KIND_TENSOR && are_in_range(e, x->out[i]->dtype);
    out[i] = (ifd_facts){.type = x->out[i], .elements = known ? e : NULL};
  }
  return IFD_OK;
}

ifd_status ifd_infer_node(ifd_inference *inf, const ifd_node *node) {
  const ifd_facts **in;
  ifd_facts *out;
  ALLOC(inf->err, in, ifd_new_array(inf->arena, const ifd_facts *, node->n_inputs));
  ALLOC(inf->err, out, ifd_new_array(inf->arena, ifd_facts, node->n_outputs));
  /* The table may move while it grows: grow it before pointers into it are taken. */
  for (int i = 0; i < node->n_inputs; i++)
    if (node->inputs[i])
      EXPECT(inf->err, ifd_inference_get(inf, node->inputs[i]), NO_MEMORY, "out of memory");
  for (int i = 0; i < node->n_inputs; i++)
    if (node->inputs[i]) in[i] = ifd_inference_get(inf, node->inputs[i]);
  ifd_infer x = {.err = inf->err,
                 .node = node,
                 .arena = inf->arena,
                 .dims = inf->dims,
                 .subgraph = infer_subgraph,
                 .driver = inf};
  TRY(ifd_infer_facts(&x, in, out));
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i]) TRY(settle_output(inf, node, i, out[i].type, out[i].elements));
  return IFD_OK;
}

ifd_status ifd_infer_graph(ifd_inference *inf, const ifd_graph *graph) {
  for (int i = 0; i < graph->constants.n; i++) {
    const ifd_value *v = graph->constants.v[i];
    if (ifd_value_constant(v)) TRY(ifd_inference_set_tensor(inf, v, ifd_value_constant(v)));
  }
  for (int i = 0; i < graph->inputs.n; i++) {
    const ifd_value *v = graph->inputs.v[i];
    ifd_facts *f;
    ALLOC(inf->err, f, ifd_inference_get(inf, v));
    if (f->type->kind == IFD_KIND_UNKNOWN && v->declared) f->type = v->declared;
  }
  IFD_EACH_NODE(node, graph) TRY(ifd_infer_node(inf, node));
  return IFD_OK;
}

static ifd_status put_types(ifd_graph *graph, void *context) {
  ifd_inference *inf = context;
  for (int i = 0; i < graph->inputs.n; i++) {
    ifd_facts *f;
    ALLOC(inf->err, f, ifd_inference_get(inf, graph->inputs.v[i]));
    graph->inputs.v[i]->type = f->type;
  }
  for (int i = 0; i < graph->constants.n; i++) {
    ifd_facts *f;
    ALLOC(inf->err, f, ifd_inference_get(inf, graph->constants.v[i]));
    if (f->type->kind != IFD_KIND_UNKNOWN) graph->constants.v[i]->type = f->type;
  }
  IFD_EACH_NODE(node, graph) {
    for (int i = 0; i < node->n_outputs; i++)
      if (node->outputs[i]) {
        ifd_facts *f;
        ALLOC(inf->err, f, ifd_inference_get(inf, node->outputs[i]));
        node->outputs[i]->type = f->type;
      }
    TRY(ifd_signature_check_types(inf->err, node));
  }
  return IFD_OK;
}

ifd_status ifd_infer_model(ifd_inference *inf, ifd_model *model) {
  TRY(ifd_infer_graph(inf, model->graph));
  return ifd_graph_visit(model->graph, put_types, inf);
}
