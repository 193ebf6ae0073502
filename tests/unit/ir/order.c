#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "ir/order.h"

#define OK(call) assert_int_equal(call, IFD_OK)

static ifd_node *add_node(ifd_model *m, int n_inputs) {
  ifd_error err = {0};
  ifd_node *node;
  ifd_value *out;
  OK(ifd_node_new(&err, &node, m->graph, "", "Sum", n_inputs, 1));
  OK(ifd_value_new(&err, &out, m->graph, NULL));
  OK(ifd_node_set_output(&err, node, 0, out));
  ifd_node_insert(node, NULL);
  return node;
}

static void reads(ifd_node *reader, int index, ifd_node *from) {
  ifd_error err = {0};
  OK(ifd_node_set_input(&err, reader, index, from->outputs[0]));
}

static void expect_sorted(const ifd_graph *graph) {
  int n = 0;
  for (const ifd_node *node = graph->first; node; node = node->next, n++) {
    assert_ptr_equal(node->next ? node->next->prev : graph->last, node);
    for (int i = 0; i < node->n_inputs; i++)
      if (node->inputs[i]) assert_true(node->inputs[i]->producer->rank < node->rank);
  }
  assert_int_equal(n, graph->n_nodes);
}

static void a_reversed_chain_is_turned(void **state) {
  (void)state;
  enum { N = 100000 };
  ifd_error err = {0};
  ifd_model *m = ifd_model_create(NULL);
  ifd_node *before = NULL, *first = NULL;
  for (int i = 0; i < N; i++) {
    ifd_node *node = add_node(m, 1);
    if (before) reads(before, 0, node);
    if (!first) first = node;
    before = node;
  }
  OK(ifd_graph_sort(&err, m->graph));
  expect_sorted(m->graph);
  assert_ptr_equal(m->graph->last, first);
  ifd_model_destroy(m);
}

static void sorted_lists_and_free_nodes_stay(void **state) {
  (void)state;
  ifd_error err = {0};
  ifd_model *m = ifd_model_create(NULL);
  ifd_node *n[5];
  for (int i = 0; i < 5; i++) n[i] = add_node(m, 2);
  reads(n[3], 0, n[0]);
  reads(n[3], 1, n[0]);
  OK(ifd_graph_sort(&err, m->graph));
  int i = 0;
  IFD_EACH_NODE(node, m->graph) assert_ptr_equal(node, n[i++]);
  reads(n[1], 0, n[4]); /* 4 comes just before 1 */
  OK(ifd_graph_sort(&err, m->graph));
  static const int expected[] = {0, 4, 1, 2, 3};
  i = 0;
  IFD_EACH_NODE(node, m->graph) assert_ptr_equal(node, n[expected[i++]]);
  expect_sorted(m->graph);
  ifd_model_destroy(m);
}

static void cycles_are_named(void **state) {
  (void)state;
  for (int length = 1; length < 4; length++) {
    ifd_error err = {0};
    ifd_model *m = ifd_model_create(NULL);
    ifd_node *n[4];
    for (int i = 0; i < 4; i++) n[i] = add_node(m, 1);
    for (int i = 0; i < length; i++) reads(n[i], 0, n[(i + 1) % length]);
    for (int i = 0; i < 4; i++) n[i]->name = "ring";
    assert_int_equal(ifd_graph_sort(&err, m->graph), IFD_BAD_MODEL);
    assert_non_null(strstr(err.text, "node 'ring' (Sum)"));
    ifd_model_destroy(m);
  }
}

static void subgraphs_count_as_readers(void **state) {
  (void)state;
  ifd_error err = {0};
  ifd_model *m = ifd_model_create(NULL);
  ifd_node *branch = add_node(m, 0), *outer = add_node(m, 0), *inner;
  ifd_graph *body = ifd_graph_new(m, m->graph);
  OK(ifd_node_new(&err, &inner, body, "", "Relu", 1, 0));
  OK(ifd_node_set_input(&err, inner, 0, outer->outputs[0]));
  ifd_node_insert(inner, NULL);
  ifd_attr attr = {.name = "body", .type = IFD_ATTR_GRAPH, .graph = body};
  OK(ifd_node_set_attr(&err, branch, &attr));
  OK(ifd_graph_sort(&err, m->graph));
  assert_ptr_equal(m->graph->first, outer);
  assert_ptr_equal(m->graph->last, branch);
  OK(ifd_node_set_input(&err, inner, 0, branch->outputs[0]));
  assert_int_equal(ifd_graph_sort(&err, m->graph), IFD_BAD_MODEL);
  ifd_model_destroy(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_reversed_chain_is_turned),
      cmocka_unit_test(sorted_lists_and_free_nodes_stay),
      cmocka_unit_test(cycles_are_named),
      cmocka_unit_test(subgraphs_count_as_readers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
