#include "pass/fold.h"

#include "pass/manager.h"
#include <string.h>

/* More than this is not computed while optimizing: a model may hide terabytes behind a few nodes. */
enum { MAX_ELEMENTS = 1 << 28 };

/* An input of which nothing but its type counts: what a constant is cast like. */
static bool counts_by_type(ifd_rewrite *rw, const ifd_node *node, int i) {
  return i == 1 && ifd_node_is(node, "CastLike") && ifd_rw_dtype(rw, node->inputs[1]);
}

static bool all_constant(ifd_rewrite *rw, const ifd_node *node) {
  for (int i = 0; i < node->n_inputs; i++)
    if (node->inputs[i] && !ifd_rw_known(rw, node->inputs[i]) && !counts_by_type(rw, node, i)) return false;
  return true;
}

static bool any_read(const ifd_node *node) {
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i] && ifd_value_n_readers(node->outputs[i])) return true;
  return false;
}

/* An output of the graph is made by a node. */
static ifd_status replace_graph_output(ifd_rewrite *rw, ifd_value *old, const ifd_tensor *t) {
  ifd_attr value = {.name = "value", .type = IFD_ATTR_TENSOR, .n = 1};
  ifd_node *made;
  ALLOC(ifd_rw_error(rw), value.tensor, ifd_arena_memdup(ifd_rw_arena(rw), t, sizeof *t));
  TRY(ifd_rw_add_node(rw, &made, "Constant", NULL, 0, 1));
  TRY(ifd_node_set_attr(ifd_rw_error(rw), made, &value));
  return ifd_rw_replace(rw, old, made->outputs[0]);
}

static ifd_status replace_output(ifd_rewrite *rw, ifd_node *node, int i, const ifd_tensor *t) {
  ifd_value *c;
  if (!ifd_node_has_output(node, i) || !ifd_value_n_readers(node->outputs[i])) return IFD_OK;
  if (node->outputs[i]->n_outputs && !t->splat && !ifd_node_is(node, "Constant"))
    return replace_graph_output(rw, node->outputs[i], t);
  TRY(ifd_rw_add_constant(rw, &c, t, node->outputs[i]->name));
  return ifd_rw_replace(rw, node->outputs[i], c);
}

/* ---- shape arithmetic that inference has solved ---- */

static bool number_elements(const ifd_facts *f) {
  if (!f->elements || f->type->kind != IFD_KIND_TENSOR || !f->type->dtype) return false;
  for (int i = 0; i < f->elements->n; i++)
    if (!ifd_dim_is_number(f->elements->d[i])) return false;
  return true;
}

static ifd_status fold_known(ifd_rewrite *rw, ifd_node *node) {
  const ifd_facts *f = ifd_rw_facts(rw, node->outputs[0]);
  ifd_tensor t;
  ifd_shape shape = {.rank = f->elements->rank, .dim = {f->elements->n}};
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), f->type->dtype, &shape));
  for (int i = 0; i < f->elements->n; i++) ifd_tensor_set_i64(&t, i, f->elements->d[i]);
  return replace_output(rw, node, 0, &t);
}

/* ---- evaluation ---- */

/* An input as the evaluation sees it: dense, where that matters, or one element of a splat. */
static ifd_status dense_input(ifd_rewrite *rw, ifd_tensor *out, const ifd_op *op, const ifd_tensor *t,
                              bool one) {
  bool anywhere = (op->flags & IFD_OP_ANYWHERE) && ifd_dtypes[t->dtype].bits >= 8;
  *out = *t;
  if (anywhere) out->packed = false;
  if (!t->splat && !out->packed) return IFD_OK;
  ifd_shape shape = t->shape;
  for (int i = 0; one && i < shape.rank; i++) shape.dim[i] = 1;
  TRY(ifd_tensor_new_raw(ifd_rw_error(rw), out, ifd_rw_scratch(rw), t->dtype, &shape));
  ifd_tensor one_element = *t;
  one_element.shape = shape;
  ifd_tensor_expand(one ? &one_element : t, out->data);
  return IFD_OK;
}

static bool number_shape(const ifd_type *t, ifd_shape *shape) {
  if (t->kind != IFD_KIND_TENSOR || !t->has_rank || t->rank > IFD_MAX_RANK) return false;
  shape->rank = t->rank;
  for (int i = 0; i < t->rank; i++) {
    if (!ifd_dim_is_number(t->dims[i])) return false;
    shape->dim[i] = t->dims[i];
  }
  return true;
}

/* Memory in the model's arena for the outputs whose size is known: they need not be copied there. */
static ifd_status place_outputs(ifd_rewrite *rw, const ifd_node *node, void **places, size_t *bytes) {
  for (int i = 0; i < node->n_outputs; i++) {
    ifd_tensor t = {.dtype = ifd_rw_dtype(rw, node->outputs[i])};
    if (!t.dtype || t.dtype == IFD_STRING ||
        !number_shape(ifd_rw_facts(rw, node->outputs[i])->type, &t.shape) ||
        ifd_shape_count(&t.shape) > MAX_ELEMENTS)
      continue;
    bytes[i] = ifd_tensor_bytes(&t);
    ALLOC(ifd_rw_error(rw), places[i], ifd_arena_alloc_raw_data(ifd_rw_arena(rw), bytes[i]));
  }
  return IFD_OK;
}

static ifd_status eval_on(ifd_rewrite *rw, const ifd_node *node, const ifd_tensor *const *inputs, bool one,
                          void *const *places, const size_t *bytes, ifd_datum *out) {
  ifd_error *err = ifd_rw_error(rw);
  ifd_arena *scratch = ifd_rw_scratch(rw);
  ifd_datum *in;
  const ifd_datum **pointers;
  uint64_t random = 0;
  int64_t steps = 0;
  ALLOC(err, in, ifd_new_array(scratch, ifd_datum, node->n_inputs));
  ALLOC(err, pointers, ifd_new_array(scratch, const ifd_datum *, node->n_inputs));
  for (int i = 0; i < node->n_inputs; i++) {
    if (!inputs[i]) continue;
    in[i].kind = IFD_KIND_TENSOR;
    pointers[i] = &in[i];
    TRY(dense_input(rw, &in[i].tensor, node->op, inputs[i], one));
  }
  ifd_eval x = {.err = err,
                .node = node,
                .n_in = node->n_inputs,
                .n_out = node->n_outputs,
                .in = pointers,
                .out = out,
                .scratch = scratch,
                .budget = ifd_rw_arena(rw)->budget,
                .isa = ifd_cpu_isa(),
                .random = &random,
                .steps_left = &steps,
                .planned = places,
                .planned_bytes = bytes};
  return ifd_eval_node(&x);
}

static ifd_status eval(ifd_rewrite *rw, ifd_node *node, bool one, void *const *places, const size_t *bytes,
                       ifd_datum *out) {
  const ifd_tensor **inputs;
  ifd_tensor empty;
  ALLOC(ifd_rw_error(rw), inputs, ifd_new_array(ifd_rw_scratch(rw), const ifd_tensor *, node->n_inputs));
  for (int i = 0; i < node->n_inputs; i++) {
    if (!node->inputs[i]) continue;
    inputs[i] = ifd_rw_known(rw, node->inputs[i]);
    if (inputs[i]) continue;
    TRY(ifd_tensor_new(ifd_rw_error(rw), &empty, ifd_rw_scratch(rw), ifd_rw_dtype(rw, node->inputs[i]),
                       &(ifd_shape){1, {0}}));
    inputs[i] = &empty;
  }
  return eval_on(rw, node, inputs, one, places, bytes, out);
}

/* What was computed elsewhere than in its place moves into the model's arena. */
static ifd_status keep(ifd_rewrite *rw, ifd_tensor *out, const ifd_tensor *made, const void *place) {
  *out = *made;
  out->buf = NULL;
  if (place && made->data == place) return IFD_OK;
  size_t bytes = made->buf ? made->buf->size - sizeof *made->buf : ifd_tensor_bytes(made);
  if (made->dtype != IFD_STRING) bytes = ifd_tensor_bytes(made);
  ALLOC(ifd_rw_error(rw), out->data, ifd_arena_alloc_raw_data(ifd_rw_arena(rw), bytes));
  if (made->dtype != IFD_STRING) {
    if (bytes) memcpy(out->data, made->data, bytes);
    return IFD_OK;
  }
  ifd_str *to = out->data;
  const ifd_str *from = made->data;
  for (int64_t i = 0, n = ifd_tensor_count(made); i < n; i++) {
    ALLOC(ifd_rw_error(rw), to[i].s, ifd_arena_strndup(ifd_rw_arena(rw), from[i].s, from[i].len));
    to[i].len = from[i].len;
  }
  return IFD_OK;
}

static ifd_status keep_outputs(ifd_rewrite *rw, ifd_node *node, const ifd_datum *out, void *const *places,
                               const ifd_shape *splat) {
  for (int i = 0; i < node->n_outputs; i++) {
    ifd_tensor t;
    if (!node->outputs[i]) continue;
    if (out[i].kind != IFD_KIND_TENSOR) return ifd_rw_refuse(rw, "its result is no tensor");
    TRY(keep(rw, &t, &out[i].tensor, places[i]));
    if (splat) {
      t.shape = *splat;
      t.splat = true;
    }
    rw->manager->dead_bytes += (int64_t)ifd_tensor_stored_bytes(&t); /* unless it is remembered, or used */
    TRY(ifd_rw_remember(rw, node->outputs[i], &t));
    TRY(replace_output(rw, node, i, &t));
  }
  return IFD_OK;
}

/* Content that an earlier attempt computed, which did not go into the file. */
static ifd_status fold_remembered(ifd_rewrite *rw, ifd_node *node) {
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i]) TRY(replace_output(rw, node, i, ifd_rw_known(rw, node->outputs[i])));
  return IFD_OK;
}

static bool all_remembered(ifd_rewrite *rw, const ifd_node *node) {
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i] && !ifd_rw_known(rw, node->outputs[i])) return false;
  return true;
}

static ifd_status evaluate(ifd_rewrite *rw, ifd_node *node, const ifd_shape *splat) {
  ifd_datum *out;
  void **places;
  size_t *bytes;
  ALLOC(ifd_rw_error(rw), out, ifd_new_array(ifd_rw_scratch(rw), ifd_datum, node->n_outputs));
  ALLOC(ifd_rw_error(rw), places, ifd_new_array(ifd_rw_scratch(rw), void *, node->n_outputs));
  ALLOC(ifd_rw_error(rw), bytes, ifd_new_array(ifd_rw_scratch(rw), size_t, node->n_outputs));
  if (!splat) TRY(place_outputs(rw, node, places, bytes));
  ifd_status status = eval(rw, node, splat != NULL, places, bytes, out);
  if (status == IFD_BAD_INPUT || status == IFD_UNSUPPORTED) {
    /* It fails when it runs, if it runs: not for the optimizer to say. */
    ifd_error *err = ifd_rw_error(rw);
    char text[256];
    memcpy(text, err->text, sizeof text - 1);
    text[sizeof text - 1] = 0;
    ifd_error_clear(err);
    return ifd_rw_refuse(rw, "evaluating it fails: %s", text);
  }
  if (status == IFD_OK) status = keep_outputs(rw, node, out, places, splat);
  for (int i = 0; i < node->n_outputs; i++) ifd_datum_unref(&out[i]);
  return status;
}

/* ---- splats stay splats ---- */

/* An operator of elements over splats (and single elements) gives a splat; so does a view of one. */
static bool gives_splat(ifd_rewrite *rw, const ifd_node *node) {
  bool splat = false;
  if (node->op->flags & IFD_OP_VIEW) return ifd_rw_known(rw, node->inputs[0])->splat;
  if (!(node->op->flags & IFD_OP_ELEMENTWISE)) return false;
  for (int i = 0; i < node->n_inputs; i++) {
    const ifd_tensor *t = ifd_rw_known(rw, node->inputs[i]);
    if (t && !t->splat && ifd_tensor_count(t) != 1) return false;
    splat |= t && t->splat;
  }
  return splat;
}

static ifd_status fold_splat(ifd_rewrite *rw, ifd_node *node, const ifd_shape *shape) {
  if (!(node->op->flags & IFD_OP_VIEW)) return evaluate(rw, node, shape);
  ifd_tensor t = *ifd_rw_known(rw, node->inputs[0]);
  t.shape = *shape;
  return replace_output(rw, node, 0, &t);
}

/* ConstantOfShape of a known shape is the splat itself. */
static ifd_status fold_constant_of_shape(ifd_rewrite *rw, ifd_node *node, const ifd_shape *shape) {
  const ifd_tensor *value = ifd_node_tensor(node, "value");
  ifd_tensor t;
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), value ? value->dtype : IFD_FLOAT,
                     &(ifd_shape){1, {1}}));
  if (value) ifd_tensor_expand(value, t.data);
  t.shape = *shape;
  t.splat = ifd_shape_count(shape) > 1;
  return replace_output(rw, node, 0, &t);
}

/* Grids of indices and the like: made in no time, and gigabytes when all of a model's are kept. Numbers that
 * only become wider, such as dequantized ones, are no more than they were. */
static bool is_blown_up(ifd_rewrite *rw, const ifd_node *node, int64_t count, int64_t bytes) {
  enum { LARGE = 1 << 24 };
  int64_t of = 0;
  for (int i = 0; i < node->n_inputs; i++) {
    const ifd_tensor *t = ifd_rw_known(rw, node->inputs[i]);
    if (t) of += ifd_tensor_count(t);
  }
  return bytes > LARGE && count / 2 > of;
}

ifd_status ifd_rw_fold(ifd_rewrite *rw, ifd_node *node) {
  ifd_shape shape;
  if (!any_read(node) || !node->op || (node->op->flags & IFD_OP_IMPURE) || ifd_node_has_graphs(node))
    return IFD_OK;
  if (all_remembered(rw, node)) return fold_remembered(rw, node);
  const ifd_type *type = ifd_rw_facts(rw, node->outputs[0])->type;
  bool known = number_shape(type, &shape);
  if (ifd_node_is(node, "ConstantOfShape") && known && ifd_rw_known(rw, node->inputs[0]))
    return fold_constant_of_shape(rw, node, &shape);
  if (node->n_outputs == 1 && number_elements(ifd_rw_facts(rw, node->outputs[0])))
    return fold_known(rw, node);
  if (!node->op->eval || !all_constant(rw, node)) return IFD_OK;
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i] && ifd_rw_facts(rw, node->outputs[i])->type->kind != IFD_KIND_TENSOR) return IFD_OK;
  if (known && node->n_inputs && gives_splat(rw, node) && ifd_shape_count(&shape) > 1)
    return fold_splat(rw, node, &shape);
  if (known && ifd_shape_count(&shape) > MAX_ELEMENTS)
    return ifd_rw_refuse(rw, "its result has more than 2^28 elements");
  if (known && is_blown_up(rw, node, ifd_shape_count(&shape),
                           ifd_shape_count(&shape) * (int64_t)ifd_dtype_size(type->dtype)))
    return ifd_rw_refuse(rw, "its result is far larger than what it is made of");
  return evaluate(rw, node, NULL);
}

ifd_status ifd_rw_evaluate(ifd_rewrite *rw, ifd_tensor *out, const ifd_node *node,
                           const ifd_tensor *const *inputs) {
  ifd_datum made = {0};
  ifd_status status = eval_on(rw, node, inputs, false, NULL, NULL, &made);
  if (status == IFD_OK) status = keep(rw, out, &made.tensor, NULL);
  ifd_datum_unref(&made);
  return status;
}
