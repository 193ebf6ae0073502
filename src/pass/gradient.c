#include "pass/gradient.h"

#include "ops/infer.h"
#include "pass/inline.h"
#include <ctype.h>
#include <string.h>

/* ---- derivatives ---- */

/* What each input of an operator adds to its gradient, postfix: g is the gradient of the output y, a and b
 * the inputs; numbers; operators of ai.onnx by name; `reshaped` and `repeated` give what comes first the
 * shape of what comes second, as an operator that keeps elements or sums them undoes it; `turned`
 * transposes. */
typedef struct derivative {
  const char *op, *terms[2];
  bool exact_shape; /* terms have the inputs' shapes: nothing was broadcast */
} derivative;

static const derivative derivatives[] = {{"Abs", {"g a Sign Mul"}},
                                         {"Add", {"g", "g"}},
                                         {"Cos", {"g a Sin Mul Neg"}},
                                         {"Div", {"g b Div", "g y Mul b Div Neg"}},
                                         {"Exp", {"g y Mul"}},
                                         {"Expand", {"g"}},
                                         {"Flatten", {"g a reshaped"}, true},
                                         {"Identity", {"g"}},
                                         {"Log", {"g a Div"}},
                                         {"MatMul", {"g b turned MatMul", "a turned g MatMul"}, true},
                                         {"Mul", {"g b Mul", "g a Mul"}},
                                         {"Neg", {"g Neg"}},
                                         {"Pow", {"g b Mul a b 1 Sub Pow Mul", "g y Mul a Log Mul"}},
                                         {"Reciprocal", {"g y Mul y Mul Neg"}},
                                         {"ReduceSum", {"g a repeated"}, true},
                                         {"Relu", {"g y Sign Mul"}},
                                         {"Reshape", {"g a reshaped"}, true},
                                         {"Sigmoid", {"g y Mul 1 y Sub Mul"}},
                                         {"Sin", {"g a Cos Mul"}},
                                         {"Softplus", {"g a Sigmoid Mul"}},
                                         {"Sqrt", {"g y Div 2 Div"}},
                                         {"Squeeze", {"g a reshaped"}, true},
                                         {"Sub", {"g", "g Neg"}},
                                         {"Tanh", {"g 1 y y Mul Sub Mul"}},
                                         {"Unsqueeze", {"g a reshaped"}, true}};

/* Steps: what comes through them does not change with what goes in. */
static const char *const steps[] = {"ArgMax",  "ArgMin",         "Ceil", "Equal",       "Floor",
                                    "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Round",
                                    "Shape",   "Sign",           "Size"};

typedef struct expansion {
  ifd_error *err;
  ifd_model *model;
  ifd_graph *graph;
  ifd_node *call; /* the Gradient; nodes are made before it */
  ifd_arena *scratch;
  int n_values;       /* of the model before this expansion; arrays below are by value id */
  ifd_value **stands; /* what stands for a value where it is computed at other xs and zs */
  bool *active;       /* depends on xs */
  ifd_value **gradient;
  ifd_dtype dtype; /* of y */
} expansion;

/* ---- making nodes ---- */

static ifd_status emit(expansion *e, ifd_value **out, const char *op, ifd_value *const *inputs, int n) {
  ifd_node *node;
  TRY(ifd_node_new(e->err, &node, e->graph, "", op, n, 1));
  for (int i = 0; i < n; i++) TRY(ifd_node_set_input(e->err, node, i, inputs[i]));
  TRY(ifd_value_new(e->err, out, e->graph, NULL));
  TRY(ifd_node_set_output(e->err, node, 0, *out));
  ifd_node_insert(node, e->call);
  return IFD_OK;
}

static ifd_status constant(expansion *e, ifd_value **out, ifd_dtype dtype, const ifd_shape *shape,
                           const double *v) {
  ifd_tensor t;
  TRY(ifd_tensor_new(e->err, &t, &e->model->arena, dtype, shape));
  for (int64_t i = 0; i < ifd_tensor_count(&t); i++) ifd_tensor_set_f64(&t, i, v[i]);
  TRY(ifd_value_new(e->err, out, e->graph, NULL));
  return ifd_graph_add_constant(e->err, e->graph, *out, &t);
}

static ifd_status number(expansion *e, ifd_value **out, double v) {
  return constant(e, out, e->dtype, &(ifd_shape){0}, &v);
}

/* Reshape or Expand of a value to the shape of another. */
static ifd_status to_shape_of(expansion *e, ifd_value **out, const char *op, ifd_value *value,
                              ifd_value *like) {
  ifd_value *shape;
  TRY(emit(e, &shape, "Shape", &like, 1));
  return emit(e, out, op, (ifd_value *[]){value, shape}, 2);
}

/* ---- terms ---- */

typedef struct operands {
  ifd_value *g, *y, *in[2];
} operands;

enum { MOST_OPERANDS = 8 };

static int n_operands(const char *op) {
  static const char *const two[] = {"Add", "Sub", "Mul", "Div", "Pow", "MatMul"};
  for (size_t i = 0; i < sizeof two / sizeof *two; i++)
    if (strcmp(op, two[i]) == 0) return 2;
  return 1;
}

static ifd_value *operand(const operands *o, const char *word) {
  if (word[1]) return NULL;
  return *word == 'g' ? o->g : *word == 'y' ? o->y : *word == 'a' ? o->in[0] : *word == 'b' ? o->in[1] : NULL;
}

/* One word of a term on the stack of its operands. */
static ifd_status apply(expansion *e, const char *word, const operands *o, ifd_value **stack, int *n) {
  ifd_value *v = operand(o, word);
  if (v) {
    stack[(*n)++] = v;
    return IFD_OK;
  }
  if (isdigit((unsigned char)*word)) return number(e, &stack[(*n)++], *word - '0');
  if (strcmp(word, "reshaped") == 0 || strcmp(word, "repeated") == 0) {
    --*n;
    return to_shape_of(e, &stack[*n - 1], word[3] == 'h' ? "Reshape" : "Expand", stack[*n - 1], stack[*n]);
  }
  if (strcmp(word, "turned") == 0) return emit(e, &stack[*n - 1], "Transpose", &stack[*n - 1], 1);
  int k = n_operands(word);
  *n -= k - 1;
  return emit(e, &stack[*n - 1], word, &stack[*n - 1], k);
}

static ifd_status make_term(expansion *e, ifd_value **out, const char *term, const operands *o) {
  ifd_value *stack[MOST_OPERANDS];
  int n = 0;
  char word[16];
  while (*term) {
    size_t len = strcspn(term, " ");
    memcpy(word, term, len);
    word[len] = '\0';
    TRY(apply(e, word, o, stack, &n));
    term += len + (term[len] == ' ');
  }
  *out = stack[0];
  return IFD_OK;
}

/* A gradient of the shape of y is summed to that of an input which was broadcast to it. */
static ifd_status sum_to(expansion *e, ifd_value **out, ifd_value *term, const ifd_value *y, ifd_value *in) {
  const ifd_type *ty = y->type, *ti = in->type;
  double axes[IFD_MAX_RANK];
  int n = 0;
  EXPECT(e->err, ty->has_rank && ti->has_rank && ti->rank <= ty->rank && ty->rank <= IFD_MAX_RANK,
         UNSUPPORTED, "the gradient of '%s' needs its shape, which is not known", in->name);
  for (int i = 0; i < ty->rank; i++) {
    int k = i - (ty->rank - ti->rank);
    if (k >= 0 && ti->dims[k] == ty->dims[i]) continue;
    EXPECT(e->err, k < 0 || ti->dims[k] == 1, UNSUPPORTED,
           "whether dimension %d of '%s' is broadcast is not known", k, in->name);
    axes[n++] = i;
  }
  *out = term;
  if (n == 0) return IFD_OK;
  ifd_value *list;
  int64_t as_attr[IFD_MAX_RANK];
  for (int i = 0; i < n; i++) as_attr[i] = (int64_t)axes[i];
  if (ifd_graph_opset(e->graph, "") >= 13) {
    TRY(constant(e, &list, IFD_INT64, &(ifd_shape){1, {n}}, axes));
    TRY(emit(e, out, "ReduceSum", (ifd_value *[]){term, list}, 2));
  } else {
    TRY(emit(e, out, "ReduceSum", &term, 1));
    TRY(ifd_node_set_ints(e->err, (*out)->producer, "axes", as_attr, n));
  }
  return to_shape_of(e, out, "Reshape", *out, in);
}

static ifd_status add_gradient(expansion *e, const ifd_value *in, ifd_value *term) {
  ifd_value **sum = &e->gradient[in->id];
  if (!*sum) {
    *sum = term;
    return IFD_OK;
  }
  return emit(e, sum, "Add", (ifd_value *[]){*sum, term}, 2);
}

static ifd_value *stand_of(const expansion *e, ifd_value *v) {
  return v->id < e->n_values && e->stands[v->id] ? e->stands[v->id] : v;
}

/* A sum that drops its axes cannot be undone by repetition, unless nothing is left of them. */
static bool can_repeat(const ifd_node *node) {
  const ifd_type *t = node->outputs[0]->type;
  return ifd_node_int(node, "keepdims", 1) || (t->has_rank && t->rank == 0);
}

static ifd_status differentiate(expansion *e, ifd_node *node) {
  const derivative *d = NULL;
  ifd_value *y = node->outputs[0];
  if (!y || !e->gradient[y->id] || !e->active[y->id]) return IFD_OK; /* nothing changes through it */
  for (size_t i = 0; i < sizeof derivatives / sizeof *derivatives; i++)
    if (ifd_node_is(node, derivatives[i].op)) d = &derivatives[i];
  bool flat = true; /* MatMul of matrices */
  for (int i = 0; d && strcmp(d->op, "MatMul") == 0 && i < 2; i++)
    flat = flat && node->inputs[i]->type->has_rank && node->inputs[i]->type->rank == 2;
  EXPECT(e->err, d && flat && node->opset >= 7 && (strcmp(d->op, "ReduceSum") != 0 || can_repeat(node)),
         UNSUPPORTED, "the derivative of %s (node '%s') is not known", node->op_type, node->name);
  operands o = {.g = e->gradient[y->id], .y = stand_of(e, y)};
  for (int i = 0; i < 2; i++) o.in[i] = ifd_node_input(node, i) ? stand_of(e, node->inputs[i]) : NULL;
  for (int i = 0; i < 2 && d->terms[i]; i++) {
    ifd_value *in = node->inputs[i], *term;
    if (!e->active[in->id]) continue;
    TRY(make_term(e, &term, d->terms[i], &o));
    if (!d->exact_shape) TRY(sum_to(e, &term, term, y, in));
    TRY(add_gradient(e, in, term));
  }
  return IFD_OK;
}

/* ---- the part of the graph between xs and y ---- */

static ifd_status find_named(expansion *e, ifd_value **out, ifd_str name) {
  char *text;
  ALLOC(e->err, text, ifd_arena_strndup(e->scratch, name.s, name.len));
  *out = ifd_graph_find_value(e->graph, text);
  EXPECT(e->err, *out, BAD_MODEL, "no value is named '%s'", text);
  return IFD_OK;
}

static int names_of(const ifd_node *node, const char *attr, const ifd_str **out) {
  const ifd_attr *a = ifd_node_find_attr(node, attr);
  *out = a && a->type == IFD_ATTR_STRINGS ? a->strings : NULL;
  return *out ? a->n : 0;
}

/* The inputs of the call stand for xs and zs. */
static ifd_status bind_inputs(expansion *e, ifd_value **xs) {
  const ifd_str *names[2];
  int n[] = {names_of(e->call, "xs", &names[0]), names_of(e->call, "zs", &names[1])};
  EXPECT(e->err, n[0] + n[1] == e->call->n_inputs && e->call->n_outputs <= n[0], BAD_MODEL,
         "%d inputs and %d outputs for %d xs and %d zs", e->call->n_inputs, e->call->n_outputs, n[0], n[1]);
  for (int k = 0, i = 0; k < 2; k++)
    for (int j = 0; j < n[k]; j++, i++) {
      ifd_value *v;
      TRY(find_named(e, &v, names[k][j]));
      EXPECT(e->err, e->call->inputs[i], BAD_MODEL, "input %d is missing", i);
      e->stands[v->id] = e->call->inputs[i];
      e->active[v->id] = k == 0;
      if (k == 0) xs[j] = v;
    }
  return IFD_OK;
}

/* Nodes that y needs, up to xs and zs, in order. */
static ifd_status find_path(expansion *e, const ifd_value *y, ifd_node **path, int *n) {
  bool *needed;
  ALLOC(e->err, needed, ifd_new_array(e->scratch, bool, e->n_values));
  needed[y->id] = true;
  int count = 0;
  for (ifd_node *node = e->call->prev; node; node = node->prev) {
    bool is_needed = false;
    for (int i = 0; i < node->n_outputs; i++)
      if (node->outputs[i]) is_needed |= needed[node->outputs[i]->id] && !e->stands[node->outputs[i]->id];
    if (!is_needed) continue;
    path[count++] = node;
    for (int i = 0; i < node->n_inputs; i++)
      if (node->inputs[i]) needed[node->inputs[i]->id] = true;
  }
  for (int i = 0; i < count / 2; i++) {
    ifd_node *swap = path[i];
    path[i] = path[count - 1 - i];
    path[count - 1 - i] = swap;
  }
  *n = count;
  return IFD_OK;
}

/* A copy of the node where another value stands for one of its inputs; marks what depends on xs. */
static ifd_status follow(expansion *e, ifd_node *node) {
  bool moved = false, active = false;
  for (int i = 0; i < node->n_inputs; i++) {
    if (!node->inputs[i]) continue;
    moved |= stand_of(e, node->inputs[i]) != node->inputs[i];
    active |= e->active[node->inputs[i]->id];
  }
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
    if (ifd_node_is(node, steps[i])) active = false;
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i]) e->active[node->outputs[i]->id] |= active;
  if (!moved) return IFD_OK;
  ifd_node *copy;
  TRY(ifd_node_new(e->err, &copy, e->graph, node->domain, node->op_type, node->n_inputs, node->n_outputs));
  for (int i = 0; i < node->n_attrs; i++) {
    bool has_graph = node->attrs[i].type == IFD_ATTR_GRAPH || node->attrs[i].type == IFD_ATTR_GRAPHS;
    EXPECT(e->err, !has_graph, UNSUPPORTED, "%s (node '%s') cannot be computed at other values",
           node->op_type, node->name);
    TRY(ifd_node_set_attr(e->err, copy, &node->attrs[i]));
  }
  for (int i = 0; i < node->n_inputs; i++)
    if (node->inputs[i]) TRY(ifd_node_set_input(e->err, copy, i, stand_of(e, node->inputs[i])));
  for (int i = 0; i < node->n_outputs; i++) {
    ifd_value *v;
    if (!node->outputs[i]) continue;
    TRY(ifd_value_new(e->err, &v, e->graph, NULL));
    TRY(ifd_node_set_output(e->err, copy, i, v));
    e->stands[node->outputs[i]->id] = v;
  }
  ifd_node_insert(copy, e->call);
  return IFD_OK;
}

/* ---- the expansion ---- */

static ifd_status expand(expansion *e) {
  const ifd_attr *name = ifd_node_find_attr(e->call, "y");
  ifd_value *y, **xs, **made, *one, *zero;
  ifd_node **path;
  int n;
  EXPECT(e->err, name && name->type == IFD_ATTR_STRING, BAD_MODEL, "attribute y is missing");
  ALLOC(e->err, e->stands, ifd_new_array(e->scratch, ifd_value *, e->n_values));
  ALLOC(e->err, e->active, ifd_new_array(e->scratch, bool, e->n_values));
  ALLOC(e->err, e->gradient, ifd_new_array(e->scratch, ifd_value *, e->n_values));
  ALLOC(e->err, path, ifd_new_array(e->scratch, ifd_node *, e->graph->n_nodes));
  ALLOC(e->err, xs, ifd_new_array(e->scratch, ifd_value *, e->call->n_inputs));
  ALLOC(e->err, made, ifd_new_array(e->scratch, ifd_value *, e->call->n_outputs));
  TRY(find_named(e, &y, name->s));
  EXPECT(e->err, y->graph == e->graph && ifd_graph_opset(e->graph, "") >= 8, UNSUPPORTED,
         "the gradient of '%s', of another graph or of an opset below 8", y->name);
  e->dtype = y->type->kind == IFD_KIND_TENSOR ? y->type->dtype : IFD_UNDEFINED;
  EXPECT(e->err, ifd_dtype_is_float(e->dtype), UNSUPPORTED,
         "the gradient of '%s', which is not known to be floats", y->name);
  TRY(bind_inputs(e, xs));
  TRY(find_path(e, y, path, &n));
  for (int i = 0; i < n; i++) TRY(follow(e, path[i]));
  TRY(number(e, &one, 1));
  TRY(to_shape_of(e, &e->gradient[y->id], "Expand", one, stand_of(e, y)));
  for (int i = n - 1; i >= 0; i--) TRY(differentiate(e, path[i]));
  TRY(number(e, &zero, 0));
  for (int i = 0; i < e->call->n_outputs; i++) {
    if (!e->call->outputs[i]) continue;
    made[i] = e->gradient[xs[i]->id];
    if (!made[i]) TRY(to_shape_of(e, &made[i], "Expand", zero, stand_of(e, xs[i])));
    for (int k = 0; k < i; k++)
      if (made[k] == made[i]) TRY(emit(e, &made[i], "Identity", &made[k], 1));
  }
  TRY(ifd_splice_outputs(e->err, e->call, made));
  ifd_node_remove(e->call);
  return IFD_OK;
}

static bool is_gradient(const ifd_node *node) {
  return strcmp(node->op_type, "Gradient") == 0 && strcmp(node->domain, "ai.onnx.preview.training") == 0;
}

static ifd_status find_gradient(ifd_graph *graph, void *context) {
  ifd_node **found = context;
  IFD_EACH_NODE(node, graph)
  if (!*found && is_gradient(node)) *found = node;
  return IFD_OK;
}

ifd_status ifd_expand_gradients(ifd_error *err, ifd_model *model) {
  for (ifd_node *call = NULL;; call = NULL) {
    TRY(ifd_graph_visit(model->graph, find_gradient, &call));
    if (!call) return IFD_OK;
    ifd_inference inf;
    ifd_arena scratch;
    TRY(ifd_inference_init(&inf, err, &model->arena, model->dims, model->n_values));
    TRY(ifd_infer_model(&inf, model));
    ifd_arena_init(&scratch, model->arena.budget);
    expansion e = {.err = err,
                   .model = model,
                   .graph = call->graph,
                   .call = call,
                   .scratch = &scratch,
                   .n_values = model->n_values};
    const char *name = call->name;
    ifd_status status = expand(&e);
    ifd_arena_free(&scratch);
    if (status != IFD_OK) {
      ifd_error_add(err, "node '%s' (Gradient)", name);
      return status;
    }
  }
}
