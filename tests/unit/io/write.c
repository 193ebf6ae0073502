#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ir/clone.h"
#include "ir/text.h"
#include "unit/io/protos.h"

#define OK(call)                                                                                             \
  do {                                                                                                       \
    if ((call) != IFD_OK) fail_msg("%s%s", err.where, err.text);                                             \
  } while (0)

static ifd_error err;

static ifd_model *parse(const char *text) {
  ifd_model *m;
  OK(ifd_text_parse(&err, &m, text, strlen(text), NULL));
  return m;
}

/* The model as it is written, for protobuf-c's own unpacker. */
static Onnx__ModelProto *written(const ifd_model *m) {
  void *buf;
  size_t len;
  OK(ifd_onnx_write_memory(&err, &buf, &len, m, NULL));
  Onnx__ModelProto *p = onnx__model_proto__unpack(NULL, len, (uint8_t *)buf);
  assert_non_null(p);
  free(buf);
  return p;
}

static void drop(Onnx__ModelProto *p) { onnx__model_proto__free_unpacked(p, NULL); }

/* What a text model reads like after it was written and read. */
static void expect_same(const char *text) {
  ifd_model *m = parse(text), *again;
  void *buf;
  size_t len;
  char *a, *b;
  ifd_arena arena;
  ifd_arena_init(&arena, NULL);
  OK(ifd_onnx_write_memory(&err, &buf, &len, m, NULL));
  OK(ifd_onnx_read_memory(&err, &again, buf, len, NULL, NULL));
  OK(ifd_text_print(&err, &a, &arena, m, NULL));
  OK(ifd_text_print(&err, &b, &arena, again, NULL));
  assert_string_equal(a, b);
  ifd_model_destroy(again);
  ifd_model_destroy(m);
  free(buf);
  ifd_arena_free(&arena);
}

static void new_models_are_written(void **state) {
  (void)state;
  expect_same(
      "<ir_version: 10, opset_import: [\"\" : 21, \"d\" : 1]>\n"
      "g (float[N,3] x, seq(int64[]) s, optional(string[?,2]) o, map(int64, float) m) => (y, z)\n"
      "<float[2] w = {1, 2}, string[2] t = {\"a\", \"b\"}, int4[3] q = {1, -2, 3}> {\n"
      "  [n] y = Conv <pads = [1, 2], alpha = 0.5, mode = \"constant\", names = [\"a\", \"b\"]> (x, , w)\n"
      "  z, , k = d.Other <body = h (a) => (b) <float v = {3}> { b = Add (a, w)  }, fs = [1.0, 2.0]> (y, s, "
      "t, q)\n"
      "}\n");
  expect_same("<ir_version: 9, opset_import: [\"\" : 17, \"d\" : 1]>\n"
              "g (float[N] x) => (y) { y = d.f <k = 3> (x) }\n"
              "<domain: \"d\", opset_import: [\"\" : 13]> f <k, j = 2> (x) => (y) { y = Softmax <axis: int = "
              "@k> (x) }\n");
}

/* ---- splats ---- */

static const char splats[] = "g (float[1000] x) => (y) <float[1000] w = splat 2, float[2] v = splat 3> "
                             "{ a = Add (x, w)  y = Mul (a, v) }";

static ifd_model *parse_splats(int ir_version, int opset) {
  char text[512];
  snprintf(text, sizeof text, "<ir_version: %d, opset_import: [\"\" : %d]> %s", ir_version, opset, splats);
  return parse(text);
}

static void splats_are_written_as_nodes(void **state) {
  (void)state;
  ifd_model *m = parse_splats(8, 17);
  Onnx__ModelProto *p = written(m);
  const Onnx__GraphProto *g = p->graph;
  const Onnx__NodeProto *node = g->node[0];
  assert_string_equal(node->op_type, "ConstantOfShape");
  assert_string_equal(node->input[0], "w_shape");
  assert_string_equal(node->output[0], "w");
  assert_string_equal(node->attribute[0]->name, "value");
  assert_int_equal(node->attribute[0]->t->raw_data.len, 4);
  assert_int_equal(g->n_node, 3);
  assert_int_equal(g->n_initializer, 2); /* w_shape; v is smaller than a node */
  assert_string_equal(g->initializer[0]->name, "w_shape");
  assert_int_equal(g->initializer[0]->data_type, IFD_INT64);
  assert_int_equal(*(int64_t *)g->initializer[0]->raw_data.data, 1000);
  assert_int_equal(g->initializer[1]->raw_data.len, 8);
  assert_int_equal(g->n_input, 1);
  drop(p);
  ifd_model_destroy(m);
}

static void splats_are_written_whole_before_opset_9(void **state) {
  (void)state;
  ifd_model *m = parse_splats(8, 8);
  Onnx__ModelProto *p = written(m);
  assert_int_equal(p->graph->n_node, 2);
  assert_int_equal(p->graph->initializer[0]->raw_data.len, 4000);
  for (int i = 0; i < 1000; i++) assert_true(((float *)p->graph->initializer[0]->raw_data.data)[i] == 2);
  drop(p);
  ifd_model_destroy(m);
}

static void made_up_names_are_new(void **state) {
  (void)state;
  ifd_model *m =
      parse("<ir_version: 8, opset_import: [\"\" : 17]> g (float[1000] x) => (y) <float[1000] w = splat 2> "
            "{ w_shape = Neg (x)  y = Add (w_shape, w) }");
  Onnx__ModelProto *p = written(m);
  assert_string_equal(p->graph->initializer[0]->name, "w_shape_1");
  drop(p);
  ifd_model_destroy(m);
}

/* ---- IR version 3 ---- */

static void initializers_are_inputs_in_ir_3(void **state) {
  (void)state;
  ifd_model *m = parse_splats(3, 9);
  Onnx__ModelProto *p = written(m);
  const Onnx__GraphProto *g = p->graph;
  assert_int_equal(g->n_input, 3);
  assert_string_equal(g->input[0]->name, "x");
  assert_string_equal(g->input[1]->name, "w_shape");
  assert_string_equal(g->input[2]->name, "v");
  assert_int_equal(g->input[2]->type->tensor_type->shape->dim[0]->dim_value, 2);
  drop(p);
  ifd_model_destroy(m);
}

static void removed_initializers_are_no_inputs_in_ir_3(void **state) {
  (void)state;
  static float two[] = {1, 2};
  int64_t dim = 2;
  protos p;
  ifd_model *m;
  void *bytes;
  begin_protos(&p);
  p.model.ir_version = 3;
  add_input(&p, "x");
  add_input(&p, "w");
  add_node(&p, "Relu", "x", "y");
  add_output(&p, "y");
  p.tensor.dims = &dim;
  p.tensor.n_dims = 1;
  p.tensor.float_data = two;
  p.tensor.n_float_data = 2;
  p.graph.n_initializer = 1;
  OK(read_protos(&err, &m, &bytes, &p, NULL));
  ifd_graph_remove_constant(ifd_graph_find_value(m->graph, "w"));
  Onnx__ModelProto *out = written(m);
  assert_int_equal(out->graph->n_initializer, 0);
  assert_int_equal(out->graph->n_input, 1);
  drop(out);
  ifd_model_destroy(m);
  free(bytes);
}

/* ---- changed models ---- */

/* x -> Neg "first" -> a -> Relu "second" -> y with value_info of a and z, doc strings and an annotation of
 * a. */
static ifd_model *read_chain(void **bytes, int ir) {
  protos p;
  ifd_model *m;
  Onnx__ValueInfoProto *infos[2];
  Onnx__TensorAnnotation note = ONNX__TENSOR_ANNOTATION__INIT, *notes[] = {&note};
  begin_protos(&p);
  p.model.ir_version = ir;
  add_input(&p, "x");
  add_node(&p, "Neg", "x", "a")->name = "first";
  Onnx__NodeProto *second = add_node(&p, "Relu", "a", "y");
  second->name = "second";
  second->doc_string = "kept";
  second->n_attribute = 1;
  second->attribute = p.attrs;
  p.attr[0].name = "k";
  p.attr[0].has_type = p.attr[0].has_i = true;
  p.attr[0].type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
  p.attr[0].i = 5;
  p.attr[0].doc_string = "of k";
  add_output(&p, "y");
  infos[0] = new_info(&p, "a", true);
  infos[1] = new_info(&p, "nowhere", true);
  note.tensor_name = "a";
  p.graph.value_info = infos;
  p.graph.n_value_info = 2;
  p.graph.quantization_annotation = notes;
  p.graph.n_quantization_annotation = 1;
  OK(read_protos(&err, &m, bytes, &p, NULL));
  return m;
}

static void removed_nodes_leave_nothing(void **state) {
  (void)state;
  void *bytes;
  ifd_model *m = read_chain(&bytes, 8);
  ifd_node *first = m->graph->first;
  OK(ifd_value_replace(&err, first->outputs[0], first->inputs[0], true));
  ifd_node_remove(first);
  Onnx__ModelProto *p = written(m);
  assert_int_equal(p->graph->n_node, 1);
  assert_string_equal(p->graph->node[0]->input[0], "x");
  assert_string_equal(p->graph->node[0]->doc_string, "kept");
  assert_int_equal(p->graph->n_value_info, 1); /* of what nothing ever made */
  assert_string_equal(p->graph->value_info[0]->name, "nowhere");
  assert_int_equal(p->graph->n_quantization_annotation, 0);
  drop(p);
  ifd_model_destroy(m);
  free(bytes);
}

static void changed_attributes_are_written(void **state) {
  (void)state;
  void *bytes;
  ifd_model *m = read_chain(&bytes, 8);
  ifd_attr attr = *ifd_node_find_attr(m->graph->last, "k");
  attr.i = 6;
  OK(ifd_node_set_attr(&err, m->graph->last, &attr));
  Onnx__ModelProto *p = written(m);
  assert_int_equal(p->graph->node[1]->attribute[0]->i, 6);
  assert_string_equal(p->graph->node[1]->attribute[0]->doc_string, "of k");
  drop(p);
  ifd_model_destroy(m);
  free(bytes);
}

static void changed_types_are_written(void **state) {
  (void)state;
  void *bytes;
  ifd_model *m = read_chain(&bytes, 8);
  ifd_value *x = m->graph->inputs.v[0];
  ifd_dim dims[] = {ifd_dim_symbol(m->dims, "N"), 7, ifd_dim_unknown(m->dims)};
  x->type = x->declared = ifd_type_tensor(&m->arena, IFD_FLOAT, 3, dims);
  Onnx__ModelProto *p = written(m);
  const Onnx__TensorShapeProto *shape = p->graph->input[0]->type->tensor_type->shape;
  assert_int_equal(shape->n_dim, 3);
  assert_string_equal(shape->dim[0]->dim_param, "N");
  assert_int_equal(shape->dim[1]->dim_value, 7);
  assert_int_equal(shape->dim[2]->value_case, 0);
  drop(p);
  ifd_model_destroy(m);
  free(bytes);
}

static void provenance_is_written(void **state) {
  (void)state;
  for (int ir = 9; ir <= 10; ir++) {
    void *bytes;
    ifd_model *m = read_chain(&bytes, ir), *again;
    void *buf;
    size_t len;
    m->graph->last->provenance = "a,b";
    OK(ifd_onnx_write_memory(&err, &buf, &len, m, NULL));
    OK(ifd_onnx_read_memory(&err, &again, buf, len, NULL, NULL));
    assert_string_equal(again->graph->last->provenance, "a,b");
    ifd_model_destroy(again);
    free(buf);
    ifd_model_destroy(m);
    free(bytes);
  }
}

static void constants_of_functions_become_nodes(void **state) {
  (void)state;
  ifd_model *m = parse("<ir_version: 9, opset_import: [\"\" : 17, \"d\" : 1]>\n"
                       "g (float[N] x) => (y) { y = d.f (x) }\n"
                       "<domain: \"d\", opset_import: [\"\" : 13]> f (x) => (y) { y = Neg (x) }\n");
  ifd_graph *body = m->functions.v[0]->body;
  ifd_value *w;
  ifd_tensor t;
  OK(ifd_value_new(&err, &w, body, "w"));
  OK(ifd_tensor_new(&err, &t, &m->arena, IFD_FLOAT, &(ifd_shape){0}));
  OK(ifd_graph_add_constant(&err, body, w, &t));
  Onnx__ModelProto *p = written(m);
  assert_int_equal(p->functions[0]->n_node, 2);
  assert_string_equal(p->functions[0]->node[0]->op_type, "Constant");
  assert_string_equal(p->functions[0]->node[0]->output[0], "w");
  drop(p);
  ifd_model_destroy(m);
}

/* A copy of a model is written as the model is. */
static void clones_are_written_alike(void **state) {
  (void)state;
  static const char *const paths[] = {"digits.onnx", "control_flow/model.onnx", "sparse_weights/model.onnx",
                                      "local_functions/model.onnx", "quant_qdq/model.onnx"};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    char path[512];
    ifd_model *m, *copy;
    void *a, *b;
    size_t a_len, b_len;
    snprintf(path, sizeof path, "%s/models/%s", IFD_SOURCE_DIR, paths[i]);
    OK(ifd_onnx_read_file(&err, &m, path, NULL, NULL));
    OK(ifd_model_clone(&err, &copy, m, NULL));
    OK(ifd_onnx_write_memory(&err, &a, &a_len, m, NULL));
    OK(ifd_onnx_write_memory(&err, &b, &b_len, copy, NULL));
    assert_int_equal(a_len, b_len);
    assert_memory_equal(a, b, a_len);
    free(a);
    free(b);
    ifd_model_destroy(copy);
    ifd_model_destroy(m);
  }
}

/* ---- limits ---- */

static void out_of_memory_is_a_status(void **state) {
  (void)state;
  ifd_model *m = parse_splats(8, 17);
  ifd_status status = IFD_NO_MEMORY;
  for (int n = 1; status != IFD_OK; n++) {
    ifd_budget budget = {.fail_after = n};
    void *buf = NULL;
    size_t len;
    ifd_error failed = {0};
    status = ifd_onnx_write_memory(&failed, &buf, &len, m, &budget);
    assert_true(status == IFD_OK || status == IFD_NO_MEMORY);
    free(buf);
    assert_int_equal(budget.used, 0);
    assert_true(n < 1000);
  }
  ifd_model_destroy(m);
}

/* Weights of 3 GiB, all at one address that no memory stands behind. */
static void too_large_a_message_is_refused_in_memory(void **state) {
  (void)state;
  enum { N = 3 };
  size_t size = (size_t)1 << 30;
  void *zeros = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  assert_ptr_not_equal(zeros, MAP_FAILED);
  ifd_model *m = parse("<ir_version: 8, opset_import: [\"\" : 17]> g (float[1] x) => (y) { y = Neg (x) }");
  for (int i = 0; i < N; i++) {
    ifd_value *w;
    ifd_tensor t = {.dtype = IFD_UINT8, .shape = {.rank = 1, .dim = {(int64_t)size}}, .data = zeros};
    OK(ifd_value_new(&err, &w, m->graph, NULL));
    OK(ifd_graph_add_constant(&err, m->graph, w, &t));
  }
  void *buf = NULL;
  size_t len;
  ifd_error failed = {0};
  assert_int_equal(ifd_onnx_write_memory(&failed, &buf, &len, m, NULL), IFD_LIMIT);
  assert_non_null(strstr(failed.text, "2 GiB"));
  ifd_model_destroy(m);
  munmap(zeros, size);
}

static void nothing_is_left_of_a_failure(void **state) {
  (void)state;
  ifd_model *m = parse_splats(8, 17);
  ifd_error failed = {0};
  assert_int_equal(ifd_onnx_write_file(&failed, m, "/nonexistent/folder/m.onnx", NULL), IFD_IO);
  ifd_write_options options = {.external_data = "../w"};
  ifd_error_clear(&failed);
  assert_int_equal(ifd_onnx_write_file(&failed, m, "m.onnx", &options), IFD_USAGE);
  assert_int_not_equal(access("m.onnx", F_OK), 0);
  ifd_model_destroy(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(new_models_are_written),
      cmocka_unit_test(splats_are_written_as_nodes),
      cmocka_unit_test(splats_are_written_whole_before_opset_9),
      cmocka_unit_test(made_up_names_are_new),
      cmocka_unit_test(initializers_are_inputs_in_ir_3),
      cmocka_unit_test(removed_initializers_are_no_inputs_in_ir_3),
      cmocka_unit_test(removed_nodes_leave_nothing),
      cmocka_unit_test(changed_attributes_are_written),
      cmocka_unit_test(changed_types_are_written),
      cmocka_unit_test(provenance_is_written),
      cmocka_unit_test(constants_of_functions_become_nodes),
      cmocka_unit_test(clones_are_written_alike),
      cmocka_unit_test(out_of_memory_is_a_status),
      cmocka_unit_test(too_large_a_message_is_refused_in_memory),
      cmocka_unit_test(nothing_is_left_of_a_failure),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
