#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "ir/ir.h"
#include "unit/arena_data.h"

#define OK(call) assert_int_equal(call, IFD_OK)

typedef struct fixture {
  ifd_error err;
  ifd_model *model;
  ifd_graph *graph;
} fixture;

static void begin_within(fixture *f, ifd_budget *budget) {
  *f = (fixture){.model = ifd_model_create(budget)};
  assert_non_null(f->model);
  f->graph = f->model->graph;
  ifd_opset opset = {"", 17};
  f->model->opsets.v = ifd_arena_memdup(&f->model->arena, &opset, sizeof opset);
  f->model->opsets.n = f->model->opsets.cap = 1;
}

static void begin(fixture *f) { begin_within(f, NULL); }
static void end(fixture *f) { ifd_model_destroy(f->model); }

static ifd_value *value(fixture *f, ifd_graph *graph, const char *name) {
  ifd_value *v;
  OK(ifd_value_new(&f->err, &v, graph, name));
  return v;
}

/* y = op(x), at the end of the graph */
static ifd_node *unary(fixture *f, ifd_graph *graph, const char *op, ifd_value *x, ifd_value *y) {
  ifd_node *node;
  OK(ifd_node_new(&f->err, &node, graph, "", op, 1, 1));
  OK(ifd_node_set_input(&f->err, node, 0, x));
  OK(ifd_node_set_output(&f->err, node, 0, y));
  ifd_node_insert(node, NULL);
  return node;
}

static void uses_and_producers_follow(void **state) {
  (void)state;
  fixture f;
  begin(&f);
  ifd_value *x = value(&f, f.graph, "x"), *y = value(&f, f.graph, "y"), *z = value(&f, f.graph, "z");
  OK(ifd_graph_add_input(&f.err, f.graph, x));
  ifd_node *a = unary(&f, f.graph, "Relu", x, y), *b = unary(&f, f.graph, "Neg", y, z);
  OK(ifd_graph_add_output(&f.err, f.graph, z));
  assert_ptr_equal(y->producer, a);
  assert_ptr_equal(ifd_value_only_reader(y), b);
  assert_int_equal(ifd_value_n_readers(z), 1);
  assert_null(ifd_value_only_reader(z));
  assert_string_equal(a->schema ? "known" : "unknown", "known");
  assert_int_equal(a->opset, 17);

  OK(ifd_value_replace(&f.err, y, x, true));
  assert_ptr_equal(b->inputs[0], x);
  assert_int_equal(x->uses.n, 2);
  assert_int_equal(y->uses.n, 0);
  ifd_node_remove(a);
  assert_null(y->producer);
  assert_ptr_equal(ifd_value_only_reader(x), b);
  assert_ptr_equal(f.graph->first, b);
  assert_int_equal(f.graph->n_nodes, 1);

  /* outputs of the graph move only when asked for */
  ifd_value *w = value(&f, f.graph, "w");
  unary(&f, f.graph, "Abs", z, w);
  OK(ifd_value_replace(&f.err, z, w, false));
  assert_ptr_equal(f.graph->outputs.v[0], z);
  OK(ifd_value_replace(&f.err, z, w, true));
  assert_ptr_equal(f.graph->outputs.v[0], w);
  assert_int_equal(z->n_outputs, 0);
  assert_int_equal(w->n_outputs, 1);
  end(&f);
}

static void rules_of_values_are_kept(void **state) {
  (void)state;
  fixture f;
  begin(&f);
  ifd_value *x = value(&f, f.graph, "x"), *y = value(&f, f.graph, "y"), *again;
  OK(ifd_graph_add_input(&f.err, f.graph, x));
  ifd_node *a = unary(&f, f.graph, "Relu", x, y), *b;
  assert_int_equal(ifd_value_new(&f.err, &again, f.graph, "x"), IFD_BAD_MODEL);
  ifd_error_clear(&f.err);
  assert_int_equal(ifd_value_new(&f.err, &again, f.graph, ""), IFD_BAD_MODEL);
  assert_int_equal(ifd_graph_add_input(&f.err, f.graph, x), IFD_BAD_MODEL);
  assert_int_equal(ifd_graph_add_input(&f.err, f.graph, y), IFD_BAD_MODEL);
  OK(ifd_node_new(&f.err, &b, f.graph, "ai.onnx", "Neg", 1, 1));
  assert_string_equal(b->domain, "");
  assert_int_equal(ifd_node_set_output(&f.err, b, 0, y), IFD_BAD_MODEL);
  assert_int_equal(ifd_node_set_output(&f.err, b, 0, x), IFD_BAD_MODEL);
  OK(ifd_node_set_output(&f.err, a, 0, NULL));
  OK(ifd_node_set_output(&f.err, b, 0, y));
  assert_ptr_equal(y->producer, b);
  ifd_tensor t = {.dtype = IFD_FLOAT};
  assert_int_equal(ifd_graph_add_constant(&f.err, f.graph, y, &t), IFD_BAD_MODEL);
  end(&f);
}

static void constants_may_be_defaults(void **state) {
  (void)state;
  fixture f;
  begin(&f);
  float data = 2;
  ifd_tensor t = {.dtype = IFD_FLOAT, .data = &data};
  ifd_value *c = value(&f, f.graph, "c");
  OK(ifd_graph_add_constant(&f.err, f.graph, c, &t));
  assert_ptr_equal(ifd_value_constant(c)->data, &data);
  OK(ifd_graph_add_input(&f.err, f.graph, c));
  assert_null(ifd_value_constant(c));
  f.model->ir_version = 3;
  assert_non_null(ifd_value_constant(c));
  ifd_graph_remove_constant(c);
  assert_null(ifd_value_constant(c));
  OK(ifd_graph_add_constant(&f.err, f.graph, c, &t));
  assert_int_equal(f.graph->constants.n, 1);
  end(&f);
}

static void names_are_unique(void **state) {
  (void)state;
  fixture f;
  begin(&f);
  ifd_graph *inner = ifd_graph_new(f.model, f.graph);
  assert_string_equal(ifd_graph_unique_name(f.graph, "x"), "x");
  value(&f, inner, "x");
  assert_string_equal(ifd_graph_unique_name(f.graph, "x"), "x_1");
  value(&f, f.graph, "x_1");
  value(&f, f.graph, "x_2");
  assert_string_equal(ifd_graph_unique_name(f.graph, "x"), "x_3");
  assert_string_equal(ifd_graph_unique_name(f.graph, "x_1"), "x_1_1");
  char last[32];
  for (int i = 0; i < 20000; i++) snprintf(last, sizeof last, "%s", value(&f, f.graph, NULL)->name);
  assert_string_equal(last, "v_19999");
  end(&f);
}

static void expect_ordered(const ifd_graph *graph) {
  int n = 0;
  for (const ifd_node *node = graph->first; node; node = node->next, n++) {
    assert_ptr_equal(node->next ? node->next->prev : graph->last, node);
    assert_true(!node->next || node->rank < node->next->rank);
  }
  assert_int_equal(n, graph->n_nodes);
}

/* Order keys grow along the list wherever nodes are put, however many at one place. */
static void ranks_stay_ordered(void **state) {
  (void)state;
  fixture f;
  begin(&f);
  enum { N = 4000 };
  ifd_node *node[3 * N], *fixed = NULL;
  for (int i = 0; i < 3 * N; i++) {
    OK(ifd_node_new(&f.err, &node[i], f.graph, "", "Relu", 1, 1));
    ifd_node *before = i < N       ? NULL                        /* at the end */
                       : i < 2 * N ? fixed                       /* all before one node */
                                   : node[(i * 7919) % (i - 1)]; /* anywhere */
    if (i >= 2 * N && i % 2) before = node[i - 1];               /* each before the last one */
    ifd_node_insert(node[i], before);
    if (i == N / 2) fixed = node[i];
  }
  expect_ordered(f.graph);
  for (int i = 0; i < 3 * N; i++) ifd_node_remove(node[i]);
  assert_null(f.graph->first);
  assert_null(f.graph->last);
  end(&f);
}

static ifd_status count_graph(ifd_graph *graph, void *context) {
  (void)graph;
  ++*(int *)context;
  return IFD_OK;
}

static void subgraphs_read_outer_values(void **state) {
  (void)state;
  fixture f;
  begin(&f);
  ifd_value *x = value(&f, f.graph, "x"), *y = value(&f, f.graph, "y");
  ifd_node *node;
  OK(ifd_node_new(&f.err, &node, f.graph, "", "If", 1, 1));
  OK(ifd_node_set_output(&f.err, node, 0, y));
  ifd_node_insert(node, NULL);
  const char *names[] = {"then_branch", "else_branch"};
  ifd_graph *inner[2];
  for (int i = 0; i < 2; i++) {
    inner[i] = ifd_graph_new(f.model, f.graph);
    ifd_value *local = value(&f, inner[i], "local");
    unary(&f, inner[i], "Relu", x, local);
    ifd_attr attr = {.name = names[i], .type = IFD_ATTR_GRAPH, .graph = inner[i]};
    OK(ifd_node_set_attr(&f.err, node, &attr));
  }
  assert_ptr_equal(inner[0]->owner, node);
  assert_ptr_equal(ifd_graph_find_value(inner[1], "x"), x);
  assert_null(ifd_graph_find_value(f.graph, "local"));
  int n = 0;
  OK(ifd_graph_visit(f.graph, count_graph, &n));
  assert_int_equal(n, 3);
  /* an outer value that a branch gives back goes through a node of the branch */
  OK(ifd_graph_add_output(&f.err, inner[1], x));
  assert_true(ifd_node_is(inner[1]->last, "Identity"));
  assert_ptr_equal(inner[1]->outputs.v[0]->graph, inner[1]);
  assert_int_equal(x->uses.n, 3);
  ifd_node_remove_attr(node, "then_branch");
  assert_int_equal(x->uses.n, 2);
  ifd_node_remove(node);
  assert_int_equal(x->uses.n, 0);
  end(&f);
}

static void attributes_by_name_and_type(void **state) {
  (void)state;
  fixture f;
  begin(&f);
  ifd_node *node;
  OK(ifd_node_new(&f.err, &node, f.graph, "", "Conv", 2, 1));
  int64_t pads[] = {1, 2, 3, 4};
  const int64_t *ints;
  OK(ifd_node_set_int(&f.err, node, "group", 4));
  OK(ifd_node_set_ints(&f.err, node, "pads", pads, 4));
  OK(ifd_node_set_string(&f.err, node, "auto_pad", "SAME_UPPER"));
  OK(ifd_node_set_float(&f.err, node, "alpha", 0.5f));
  pads[0] = 9;
  assert_int_equal(ifd_node_int(node, "group", 1), 4);
  assert_int_equal(ifd_node_int(node, "alpha", 7), 7);
  assert_int_equal(ifd_node_ints(node, "pads", &ints), 4);
  assert_int_equal(ints[0], 1);
  assert_int_equal(ifd_node_ints(node, "strides", &ints), 0);
  assert_true(ifd_node_string_is(node, "auto_pad", "NOTSET", "SAME_UPPER"));
  assert_true(ifd_node_string_is(node, "mode", "NOTSET", "NOTSET"));
  OK(ifd_node_set_int(&f.err, node, "group", 2));
  assert_int_equal(node->n_attrs, 4);
  ifd_node_remove_attr(node, "pads");
  assert_int_equal(node->n_attrs, 3);
  assert_null(ifd_node_find_attr(node, "pads"));
  assert_int_equal(ifd_node_int(node, "group", 1), 2);
  assert_true(ifd_node_float(node, "alpha", 0) == 0.5f);
  ifd_attr ref = {.name = "group", .type = IFD_ATTR_INT, .ref = "g"};
  OK(ifd_node_set_attr(&f.err, node, &ref));
  assert_int_equal(ifd_node_int(node, "group", 1), 1);
  ifd_status status = IFD_OK;
  for (int i = 0; i < 2000 && status == IFD_OK; i++) {
    char name[16];
    snprintf(name, sizeof name, "a%d", i);
    status = ifd_node_set_int(&f.err, node, name, i);
  }
  assert_int_equal(status, IFD_LIMIT);
  assert_int_equal(ifd_node_int(node, "a900", 0), 900);
  end(&f);
}

static void functions_take_their_own_opsets(void **state) {
  (void)state;
  fixture f;
  begin(&f);
  ifd_function *fn, *again;
  ifd_node *inside, *call;
  OK(ifd_function_new(&f.err, &fn, f.model, "com.acme", "Relu", ""));
  assert_int_equal(ifd_function_new(&f.err, &again, f.model, "com.acme", "Relu", NULL), IFD_BAD_MODEL);
  ifd_error_clear(&f.err);
  OK(ifd_function_new(&f.err, &again, f.model, "com.acme", "Relu", "fast"));
  ifd_opset opset = {"ai.onnx", 12};
  fn->opsets.v = &opset;
  fn->opsets.n = 1;
  OK(ifd_node_new(&f.err, &inside, fn->body, "", "Clip", 1, 1));
  assert_int_equal(inside->opset, 12);
  assert_non_null(inside->schema);
  OK(ifd_node_new(&f.err, &call, f.graph, "com.acme", "Relu", 1, 1));
  assert_null(call->schema);
  assert_int_equal(call->opset, 0);
  assert_ptr_equal(ifd_model_find_function(f.model, "com.acme", "Relu", ""), fn);
  assert_ptr_equal(ifd_model_find_function(f.model, "com.acme", "Relu", "fast"), again);
  assert_null(ifd_model_find_function(f.model, "", "Relu", ""));
  end(&f);
}

static void types_compare_and_print(void **state) {
  (void)state;
  fixture f;
  begin(&f);
  ifd_arena *a = &f.model->arena;
  char text[64];
  ifd_dim dims[] = {ifd_dim_symbol(f.model->dims, "N"), 3};
  const ifd_type *t = ifd_type_tensor(a, IFD_FLOAT, 2, dims), *u = ifd_type_tensor(a, IFD_FLOAT, 2, dims);
  const ifd_type *unranked = ifd_type_tensor_unranked(a, IFD_INT64);
  assert_true(ifd_type_equal(t, u));
  dims[1] = 4;
  assert_false(ifd_type_equal(t, ifd_type_tensor(a, IFD_FLOAT, 2, dims)));
  assert_false(ifd_type_equal(t, ifd_type_tensor(a, IFD_DOUBLE, 2, t->dims)));
  assert_false(ifd_type_equal(unranked, ifd_type_tensor(a, IFD_INT64, 0, NULL)));
  const ifd_type *seq = ifd_type_of(a, IFD_KIND_SEQUENCE, t), *map = ifd_type_map(a, IFD_STRING, unranked);
  assert_true(ifd_type_equal(seq, ifd_type_of(a, IFD_KIND_SEQUENCE, u)));
  assert_false(ifd_type_equal(seq, ifd_type_of(a, IFD_KIND_OPTIONAL, t)));
  assert_false(ifd_type_equal(seq, ifd_type_of(a, IFD_KIND_SEQUENCE, NULL)));
  const struct {
    const ifd_type *type;
    const char *text;
  } cases[] = {{t, "float[N,3]"},
               {unranked, "int64[]"},
               {ifd_type_tensor(a, IFD_BOOL, 0, NULL), "bool"},
               {seq, "seq(float[N,3])"},
               {map, "map(string, int64[])"},
               {ifd_type_of(a, IFD_KIND_OPTIONAL, NULL), "optional(?)"},
               {&ifd_type_unknown, "?"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_string_equal(ifd_type_text(f.model->dims, cases[i].type, text, sizeof text), cases[i].text);
  end(&f);
}

static ifd_tensor large(ifd_graph *graph) {
  ifd_error err = {0};
  ifd_tensor t;
  ifd_shape shape = {.rank = 1, .dim = {IFD_ARENA_LARGE}};
  OK(ifd_tensor_new(&err, &t, &graph->model->arena, IFD_INT8, &shape));
  return t;
}

/* Data of constants that are gone goes when it is asked for; that of others, of attributes, of graphs inside
 * nodes and of tensors that the caller names stays. */
static void unused_data_is_collected(void **state) {
  (void)state;
  fixture f;
  ifd_budget budget = {0};
  begin_within(&f, &budget);
  ifd_value *gone = value(&f, f.graph, "gone"), *kept = value(&f, f.graph, "kept");
  ifd_graph *inner = ifd_graph_new(f.model, f.graph);
  ifd_value *deep = value(&f, inner, "deep");
  ifd_tensor t[5];
  for (int i = 0; i < 5; i++) t[i] = large(f.graph);
  OK(ifd_graph_add_constant(&f.err, f.graph, gone, &t[0]));
  OK(ifd_graph_add_constant(&f.err, f.graph, kept, &t[1]));
  OK(ifd_graph_add_constant(&f.err, inner, deep, &t[2]));
  ifd_node *node = unary(&f, f.graph, "If", kept, value(&f, f.graph, "y"));
  OK(ifd_node_set_attr(&f.err, node, &(ifd_attr){.name = "g", .type = IFD_ATTR_GRAPH, .graph = inner}));
  OK(ifd_node_set_attr(&f.err, node, &(ifd_attr){.name = "t", .type = IFD_ATTR_TENSOR, .tensor = &t[3]}));
  const ifd_tensor *others[2] = {NULL, &t[4]};
  size_t before = budget.used;
  OK(ifd_model_collect(&f.err, f.model, others, 2));
  assert_int_equal(budget.used, before);
  ifd_graph_remove_constant(gone);
  OK(ifd_model_collect(&f.err, f.model, others, 2));
  assert_in_range(before - budget.used, IFD_ARENA_LARGE, IFD_ARENA_LARGE + 4096);
  assert_false(arena_has_data(&f.model->arena, t[0].data, 1));
  for (int i = 1; i < 5; i++) assert_true(arena_has_data(&f.model->arena, t[i].data, IFD_ARENA_LARGE));
  OK(ifd_model_collect(&f.err, f.model, NULL, 0));
  assert_true(arena_has_data(&f.model->arena, t[1].data, 1));
  assert_false(arena_has_data(&f.model->arena, t[4].data, 1));
  end(&f);
  assert_int_equal(budget.used, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(uses_and_producers_follow),   cmocka_unit_test(rules_of_values_are_kept),
      cmocka_unit_test(constants_may_be_defaults),   cmocka_unit_test(names_are_unique),
      cmocka_unit_test(ranks_stay_ordered),          cmocka_unit_test(subgraphs_read_outer_values),
      cmocka_unit_test(attributes_by_name_and_type), cmocka_unit_test(functions_take_their_own_opsets),
      cmocka_unit_test(types_compare_and_print),     cmocka_unit_test(unused_data_is_collected),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
